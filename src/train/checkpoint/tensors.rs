//! Tensor files: written, read back, and compared with the values in memory.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use xxhash_rust::xxh3::Xxh3;

use crate::{
    config::experiment::OptimizerKind,
    disk::sealed::FileRecord,
    error::{Error, Result},
    model::{
        paper::TensorSpec,
        parameters::Parameter,
        tensor_file::{self, TensorValues},
    },
    train::optimizer::{Moment, ParameterState, States, moment_names},
};

/// Writes `tensors`, and reads the file back to make sure that it holds their values.
pub(super) fn write<T: TensorValues>(
    tensors: impl IntoIterator<Item = (String, T)>,
    path: &Path,
) -> Result<FileRecord> {
    let mut written = Xxh3::new();
    tensor_file::write_tensors(tensors, path, |bytes| written.update(bytes))?;
    if hash_of_values(path)? != written.digest() {
        return Err(Error::run(
            path,
            "verification failed: the file does not match what was written",
        )
        .fact("the previous checkpoint is kept")
        .help("check the disk"));
    }
    FileRecord::of(path)
}

/// Writes the parameters of a model that a checkpoint holds.
pub(super) fn write_parameters(parameters: &[Parameter], path: &Path) -> Result<FileRecord> {
    let named = parameters.iter();
    let named = named.map(|parameter| (parameter.path().to_owned(), parameter));
    write(named, path)
}

/// The hash of the values in a safetensors file: of everything after the header, which begins with its own length.
fn hash_of_values(path: &Path) -> Result<u64> {
    let failed = || Error::io("read back", path);
    let mut file = BufReader::new(File::open(path).map_err(failed())?);
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(failed())?;
    let skipped = i64::from_le_bytes(length);
    file.seek(SeekFrom::Current(skipped)).map_err(failed())?;
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed())? {
            0 => return Ok(hasher.digest()),
            n_bytes => hasher.update(&buffer[..n_bytes]),
        }
    }
}

/// Writes the optimizer's state by parameter, under PyTorch's names: `classifier.0.weight.exp_avg`.
pub(super) fn write_optimizer(
    states: &States,
    kind: OptimizerKind,
    specs: &[TensorSpec],
    path: &Path,
) -> Result<FileRecord> {
    let names = moment_names(kind);
    let mut tensors = Vec::new();
    for (index, state) in states {
        let parameter = &specs[*index].path;
        let step = StateValues::Step(state.step as f32);
        tensors.push((format!("{parameter}.step"), step));
        for (name, moment) in names.iter().zip(&state.moments) {
            let moment = StateValues::Moment(moment);
            tensors.push((format!("{parameter}.{name}"), moment));
        }
    }
    write(tensors, path)
}

/// One tensor of an optimizer's state.
enum StateValues<'a> {
    Step(f32),
    Moment(&'a Moment),
}

impl TensorValues for StateValues<'_> {
    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Step(_) => vec![1],
            Self::Moment(moment) => vec![moment.n_values()],
        }
    }

    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        match self {
            Self::Step(step) => visitor(&[*step]),
            Self::Moment(moment) => visitor(&moment.values()),
        }
    }
}

pub(super) fn read_optimizer(
    path: &Path,
    kind: OptimizerKind,
    specs: &[TensorSpec],
) -> Result<States> {
    let damaged =
        |fact: String| Error::run(path, format!("the optimizer state is damaged: {fact}"));
    let file = File::open(path).map_err(Error::io("read", path))?;
    let n_bytes = file.metadata().map_err(Error::io("read", path))?.len();
    let mut tensors = tensor_file::read(BufReader::new(file), n_bytes).map_err(damaged)?;
    let names = moment_names(kind);
    let mut states = States::new();
    for (index, spec) in specs.iter().enumerate() {
        let Some(step) = tensors.remove(&format!("{}.step", spec.path)) else {
            continue;
        };
        let moments = names.iter().map(|name| {
            let name = format!("{}.{name}", spec.path);
            let moment = tensors.remove(&name).map(|tensor| tensor.values);
            moment.filter(|values| values.len() == spec.n_elements())
        });
        let moments: Option<Vec<Moment>> = moments.map(|it| it.map(Moment::Host)).collect();
        let (Some(moments), [step]) = (moments, step.values.as_slice()) else {
            return Err(damaged(format!("it lacks the moments of `{}`", spec.path)));
        };
        let step = *step as usize;
        states.insert(index, ParameterState { step, moments });
    }
    Ok(states)
}

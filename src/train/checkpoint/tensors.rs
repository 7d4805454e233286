//! Tensor files: written, read back, and compared with the values in memory.

use std::{
    cell::RefCell,
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use safetensors::{Dtype, View};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    config::experiment::OptimizerKind,
    disk::sealed::FileRecord,
    error::{Error, Result},
    model::{
        paper::TensorSpec,
        state::{self, Float32View},
    },
    train::optimizer::{Moment, ParameterState, States, moment_names},
};

/// Writes `tensors`, and reads the file back to make sure that it holds their values.
pub(super) fn write<S: AsRef<str> + Ord + std::fmt::Display, V: View>(
    tensors: impl IntoIterator<Item = (S, V)>,
    path: &Path,
) -> Result<FileRecord> {
    let written = RefCell::new(Xxh3::new());
    let tensors = tensors.into_iter().map(|(name, view)| {
        let hasher = &written;
        (name, HashedView { view, hasher })
    });
    state::write_tensors(tensors, path)?;
    if hash_of_values(path)? != written.borrow().digest() {
        return Err(Error::run(
            path,
            "verification failed: the file does not match what was written",
        )
        .fact("the previous checkpoint is kept")
        .help("check the disk"));
    }
    FileRecord::of(path)
}

/// A tensor whose values are hashed as they are passed to the writer.
struct HashedView<'a, V> {
    view: V,
    hasher: &'a RefCell<Xxh3>,
}

impl<V: View> View for HashedView<'_, V> {
    fn dtype(&self) -> Dtype {
        self.view.dtype()
    }

    fn shape(&self) -> &[usize] {
        self.view.shape()
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        let data = self.view.data();
        self.hasher.borrow_mut().update(&data);
        data
    }

    fn data_len(&self) -> usize {
        self.view.data_len()
    }
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
        let step = vec![state.step as f32];
        tensors.push((format!("{parameter}.step"), Float32View::new(step)));
        for (name, moment) in names.iter().zip(&state.moments) {
            tensors.push((
                format!("{parameter}.{name}"),
                Float32View::new(moment.values()),
            ));
        }
    }
    write(tensors, path)
}

pub(super) fn read_optimizer(
    path: &Path,
    kind: OptimizerKind,
    specs: &[TensorSpec],
) -> Result<States> {
    let damaged =
        |fact: String| Error::run(path, format!("the optimizer state is damaged: {fact}"));
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let mut tensors = state::read_safetensors(&bytes).map_err(damaged)?;
    drop(bytes);
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

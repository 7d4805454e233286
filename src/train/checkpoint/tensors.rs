//! Tensor files: written, read back, and compared with the values in memory.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Write},
    panic::resume_unwind,
    path::Path,
    sync::mpsc,
    thread,
};

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    config::experiment::OptimizerKind,
    disk::{hash, sealed::FileRecord},
    error::{Error, Result},
    model::{
        paper::TensorSpec,
        tensor_file::{self, TensorValues},
    },
    train::optimizer::{Moment, ParameterState, States, moment_names},
};

/// How many bytes are written between two flushes. Early flushes let the disk work while the rest is written.
const FLUSHED_AT_ONCE: u64 = 64 << 20;
/// How many bytes are hashed and written, or read back, at a time: few enough to stay in the CPU cache.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Writes `tensors`, flushes the file to the disk and reads it back to make sure that it holds their values. A failure leaves half
/// a file, so `path` must be in a directory that is not in use yet.
pub(super) fn write<T: TensorValues>(
    tensors: impl IntoIterator<Item = (String, T)>,
    path: &Path,
) -> Result<FileRecord> {
    let file = &File::create(path).map_err(Error::io("write", path))?;
    let (sender, requests) = mpsc::channel();
    let (verified, expected, flushed) = thread::scope(|scope| {
        let flushing = scope.spawn(move || flush(file, &requests));
        let mut writer = HashingWriter {
            file,
            hasher: Xxh3::new(),
            n_bytes: 0,
            flushes: sender,
        };
        let mut buffered = BufWriter::new(&mut writer);
        let written = tensor_file::write_tensors(tensors, &mut buffered);
        let written = written.and_then(|()| buffered.flush());
        drop(buffered);
        let expected = (writer.n_bytes, writer.hasher.digest());
        // Nobody can ask for a flush any more, so the last one begins.
        drop(writer);
        let verified = written
            .map_err(Error::io("write", path))
            .and_then(|()| read_back(path).map_err(Error::io("read back", path)));
        let flushed = flushing.join().unwrap_or_else(|panic| resume_unwind(panic));
        (verified, expected, flushed)
    });
    let (record, hash) = verified?;
    flushed.map_err(Error::io("flush", path))?;
    if (record.bytes, hash) != expected {
        return Err(Error::run(
            path,
            "verification failed: the file does not match what was written",
        )
        .fact("the previous checkpoint is kept")
        .help("check the disk"));
    }
    Ok(record)
}

/// Flushes the file whenever it is asked to, and once more when nobody can ask any more.
fn flush(file: &File, requests: &mpsc::Receiver<()>) -> io::Result<()> {
    while requests.recv().is_ok() {
        // One flush serves all who asked meanwhile.
        while requests.try_recv().is_ok() {}
        file.sync_data()?;
    }
    file.sync_all()
}

/// Hashes and counts what it writes, and asks for flushes.
struct HashingWriter<'a> {
    file: &'a File,
    hasher: Xxh3,
    n_bytes: u64,
    flushes: mpsc::Sender<()>,
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(BYTES_AT_ONCE)];
        let n_written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n_written]);
        let n_before = self.n_bytes;
        self.n_bytes += n_written as u64;
        if n_before / FLUSHED_AT_ONCE != self.n_bytes / FLUSHED_AT_ONCE {
            // If flushing failed, its error is reported at the end.
            let _ = self.flushes.send(());
        }
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a file, and returns its record and the quick hash of the same bytes.
fn read_back(path: &Path) -> io::Result<(FileRecord, u64)> {
    let mut file = File::open(path)?;
    let (mut sha256, mut quick) = (Sha256::new(), Xxh3::new());
    let mut buffer = vec![0; BYTES_AT_ONCE];
    let mut bytes = 0;
    loop {
        let n_read = file.read(&mut buffer)?;
        if n_read == 0 {
            break;
        }
        bytes += n_read as u64;
        quick.update(&buffer[..n_read]);
        sha256.update(&buffer[..n_read]);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let record = FileRecord {
        name: name.into_owned(),
        bytes,
        sha256: hash::hex(&sha256.finalize()),
    };
    Ok((record, quick.digest()))
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

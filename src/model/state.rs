//! State dicts in host memory, under torchvision's names and in PyTorch's shapes: read from and written to `.pth` and
//! `.safetensors` files, and converted from and to the model. Knows no Burn.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use pytorch_reader::PytorchReader;
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use serde_json::json;

use crate::{
    disk::files,
    error::{Error, Result},
};

/// A tensor with row-major `f32` values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Tensors by torchvision's parameter path.
pub(crate) type StateDict = BTreeMap<String, HostTensor>;

/// Keys under which training scripts usually nest the state dict.
const NESTED_UNDER: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];
/// The prefixes that `DataParallel` and `torch.compile` add to every name.
const WRAPPER_PREFIXES: [&str; 2] = ["module.", "_orig_mod."];

/// Reads a state dict. Floating point of any width becomes `f32`; tensors of other types are skipped.
pub(crate) fn read(path: &Path) -> Result<StateDict> {
    let is_safetensors = path
        .extension()
        .is_some_and(|extension| extension == "safetensors");
    let state = if is_safetensors {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        read_safetensors(&bytes).map_err(|fact| unreadable(path, &fact))?
    } else {
        read_pytorch(path)?
    };
    if state.is_empty() {
        return Err(unreadable(path, "the file has no floating-point tensors"));
    }
    Ok(unwrapped(state))
}

fn unreadable(path: &Path, fact: &str) -> Error {
    Error::weights(format!(
        "cannot read weights from `{}`: {fact}",
        path.display()
    ))
    .at(path)
}

/// Reads safetensors from memory.
pub(crate) fn read_safetensors(bytes: &[u8]) -> std::result::Result<StateDict, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut state = StateDict::new();
    for (name, view) in file.tensors() {
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F64 => from_f64(bytes),
            Dtype::F32 => from_f32(bytes),
            Dtype::F16 => from_f16(bytes),
            Dtype::BF16 => from_bf16(bytes),
            _ => continue,
        };
        state.insert(
            name,
            HostTensor {
                shape: view.shape().to_vec(),
                values,
            },
        );
    }
    Ok(state)
}

fn read_pytorch(path: &Path) -> Result<StateDict> {
    if !path.is_file() {
        return Err(unreadable(path, "file not found"));
    }
    let tensors = open_pytorch(path).map_err(|fact| unreadable(path, &fact))?;
    check_size(path, &tensors)?;
    let mut state = StateDict::new();
    for (name, tensor) in tensors {
        let read = || {
            tensor
                .read()
                .map_err(|error| unreadable(path, &error.to_string()))
        };
        let values = match tensor.dtype() {
            pytorch_reader::DType::F64 => from_f64(&read()?),
            pytorch_reader::DType::F32 => from_f32(&read()?),
            pytorch_reader::DType::F16 => from_f16(&read()?),
            pytorch_reader::DType::BF16 => from_bf16(&read()?),
            _ => continue,
        };
        state.insert(
            name,
            HostTensor {
                shape: tensor.shape().to_vec(),
                values,
            },
        );
    }
    Ok(state)
}

/// Fails if the tensors would take far more memory than the file. Names may share a storage, and a tensor may repeat its own
/// values, so a file of 2 kB can describe more than any memory holds.
fn check_size(path: &Path, tensors: &HashMap<String, pytorch_reader::Tensor>) -> Result<()> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    let most = metadata.len().saturating_mul(4).saturating_add(1 << 20);
    let n_bytes = tensors.values().fold(0_u64, |n_bytes, tensor| {
        let n_values = tensor.num_elements().saturating_mul(size_of::<f32>());
        n_bytes.saturating_add(n_values as u64)
    });
    if n_bytes <= most {
        return Ok(());
    }
    let n_file = metadata.len();
    let fact = format!(
        "the tensors would take {n_bytes} bytes, far more than the {n_file} bytes of the file"
    );
    Err(unreadable(path, &fact))
}

/// The tensors at the top level of the file, or under the first of the usual keys that has any.
fn open_pytorch(
    path: &Path,
) -> std::result::Result<HashMap<String, pytorch_reader::Tensor>, String> {
    let top = PytorchReader::new(path).map_err(|error| error.to_string())?;
    let keys = top.keys();
    for nested in NESTED_UNDER {
        let prefix = format!("{nested}.");
        if keys.iter().any(|key| key.starts_with(&prefix)) {
            let reader = PytorchReader::with_top_level_key(path, nested)
                .map_err(|error| error.to_string())?;
            return Ok(reader.into_tensors());
        }
    }
    Ok(top.into_tensors())
}

fn unwrapped(mut state: StateDict) -> StateDict {
    for prefix in WRAPPER_PREFIXES {
        if state.keys().all(|name| name.starts_with(prefix)) {
            state = state
                .into_iter()
                .map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor))
                .collect();
        }
    }
    state
}

fn from_f64(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| f64::from_le_bytes(*chunk) as f32)
        .collect()
}

fn from_f32(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| f32::from_le_bytes(*chunk))
        .collect()
}

fn from_f16(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| half::f16::from_le_bytes(*chunk).to_f32())
        .collect()
}

fn from_bf16(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| half::bf16::from_le_bytes(*chunk).to_f32())
        .collect()
}

impl HostTensor {
    /// The values as little-endian bytes, whatever the byte order of the host.
    pub(crate) fn bytes(&self) -> Cow<'_, [u8]> {
        little_endian(&self.values)
    }
}

fn little_endian(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return bytemuck::cast_slice(values).into();
    }
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect::<Vec<u8>>()
        .into()
}

impl View for &HostTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.bytes()
    }

    fn data_len(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

/// A one-dimensional tensor that is written without a copy.
pub(crate) struct Float32View<'a> {
    values: Cow<'a, [f32]>,
    shape: [usize; 1],
}

impl<'a> Float32View<'a> {
    pub(crate) fn new(values: impl Into<Cow<'a, [f32]>>) -> Self {
        let values = values.into();
        let shape = [values.len()];
        Self { values, shape }
    }
}

impl View for Float32View<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        little_endian(&self.values)
    }

    fn data_len(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

/// Writes a safetensors file that `safetensors.torch.load_file` can read. It is written atomically.
pub(crate) fn write_safetensors(
    state: &StateDict,
    metadata: &BTreeMap<&str, String>,
    path: &Path,
) -> Result<()> {
    files::write_with(path, |temporary| {
        let mut file = BufWriter::new(File::create(temporary)?);
        serialize_sorted(state, metadata, &mut file)?;
        file.flush()
    })
}

/// Writes a safetensors file with sorted metadata. The library keeps metadata in a hash map, whose order differs from process to
/// process, so that two exports of the same checkpoint would have different bytes.
fn serialize_sorted(
    state: &StateDict,
    metadata: &BTreeMap<&str, String>,
    file: &mut impl Write,
) -> io::Result<()> {
    let mut header = BTreeMap::from([("__metadata__", json!(metadata))]);
    let mut begin = 0;
    for (name, tensor) in state {
        let end = begin + tensor.data_len();
        let offsets = [begin, end];
        header.insert(
            name,
            json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": offsets }),
        );
        begin = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    // Readers map the file into memory, so tensors must begin at a multiple of their alignment.
    header.resize(header.len().next_multiple_of(size_of::<u64>()), b' ');
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    let mut tensors = state.values();
    tensors.try_for_each(|tensor| file.write_all(&tensor.bytes()))
}

/// Writes tensors that are computed one by one. A failure leaves half a file, so `path` must be in a directory that is not in
/// use yet.
pub(crate) fn write_tensors<S: AsRef<str> + Ord + std::fmt::Display, V: View>(
    tensors: impl IntoIterator<Item = (S, V)>,
    path: &Path,
) -> Result<()> {
    serialize(tensors, path).map_err(Error::io("write", path))?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("flush", path))
}

fn serialize<S: AsRef<str> + Ord + std::fmt::Display, V: View>(
    tensors: impl IntoIterator<Item = (S, V)>,
    path: &Path,
) -> io::Result<()> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(tensors, Some(metadata), path).map_err(|error| match error {
        SafeTensorError::IoError(error) => error,
        error => io::Error::other(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_bit_for_bit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.safetensors");
        let tensor = HostTensor {
            shape: vec![2, 2],
            values: vec![1.5, -0.0, f32::MIN_POSITIVE, 3e38],
        };
        let state = StateDict::from([("features.0.weight".to_owned(), tensor)]);
        let metadata = BTreeMap::from([("format", "pt".to_owned()), ("a", "\"\n".to_owned())]);
        write_safetensors(&state, &metadata, &path).unwrap();
        assert_eq!(read(&path).unwrap(), state);
        let bytes = fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let read = header.metadata().clone().unwrap();
        assert_eq!((read["a"].as_str(), read.len()), ("\"\n", 2));
        assert_eq!(bytes[..8], (bytes.len() as u64 - 8 - 16).to_le_bytes());
        assert_eq!(bytes.len() % 8, 0);
    }

    #[test]
    fn wrapper_prefixes_are_taken_off() {
        let tensor = HostTensor {
            shape: vec![1],
            values: vec![1.0],
        };
        let state = StateDict::from([("module.classifier.6.bias".to_owned(), tensor)]);
        assert!(unwrapped(state).contains_key("classifier.6.bias"));
    }

    #[test]
    fn a_file_that_is_no_weights_is_an_error_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["broken.pth", "broken.safetensors"] {
            let path = directory.path().join(name);
            fs::write(&path, b"not weights at all").unwrap();
            assert!(read(&path).unwrap_err().to_string().contains(name));
        }
    }
}

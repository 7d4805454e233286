//! State dicts in host memory, under torchvision's names and in PyTorch's shapes, read from `.pth` and `.safetensors` files. Knows
//! no Burn.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::BufReader,
    path::Path,
};

use pytorch_reader::PytorchReader;

use super::tensor_file::{self, TensorValues};
use crate::error::{Error, Result};

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
        let file = File::open(path).map_err(Error::io("read", path))?;
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        tensor_file::read(BufReader::new(file), metadata.len())
            .map_err(|fact| unreadable(path, &fact))?
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
            pytorch_reader::DType::F64 => tensor_file::from_f64(&read()?),
            pytorch_reader::DType::F32 => tensor_file::from_f32(&read()?),
            pytorch_reader::DType::F16 => tensor_file::from_f16(&read()?),
            pytorch_reader::DType::BF16 => tensor_file::from_bf16(&read()?),
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

impl TensorValues for HostTensor {
    fn shape(&self) -> Vec<usize> {
        self.shape.clone()
    }

    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        visitor(&self.values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

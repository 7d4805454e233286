//! Safetensors files, read and written piece by piece, so that neither a file nor a large tensor is copied as a whole. Knows no Burn.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use safetensors::{
    Dtype, SafeTensorError,
    tensor::{Metadata, TensorInfo},
};
use serde_json::json;

use super::state::{HostTensor, StateDict};
use crate::{disk::files, error::Result, kernels::buffer};

/// The number of values that a task converts.
const CONVERTED_AT_ONCE: usize = 1 << 14;
/// The largest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// A tensor whose values can be visited piece by piece.
pub(crate) trait TensorValues {
    fn shape(&self) -> Vec<usize>;

    /// Passes all values to `visitor`, in row-major order.
    fn visit(&self, visitor: &mut dyn FnMut(&[f32]));
}

impl<T: TensorValues> TensorValues for &T {
    fn shape(&self) -> Vec<usize> {
        (*self).shape()
    }

    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        (*self).visit(visitor);
    }
}

/// Passes the values as little-endian bytes, whatever the byte order of the host.
pub(crate) fn visit_bytes(tensor: &impl TensorValues, visitor: &mut dyn FnMut(&[u8])) {
    tensor.visit(&mut |values| {
        if cfg!(target_endian = "little") {
            visitor(bytemuck::cast_slice(values));
        } else {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            visitor(&bytes.collect::<Vec<u8>>());
        }
    });
}

fn n_bytes(shape: &[usize]) -> usize {
    shape.iter().product::<usize>() * size_of::<f32>()
}

/// Reads a safetensors file of `length` bytes, tensor by tensor. Floating point of any width becomes `f32`; tensors of other types
/// are skipped.
pub(crate) fn read(mut source: impl Read, length: u64) -> std::result::Result<StateDict, String> {
    let text = |error: SafeTensorError| error.to_string();
    let metadata = read_header(&mut source, length).map_err(text)?;
    let mut infos: Vec<(String, &TensorInfo)> = metadata.tensors().into_iter().collect();
    // The values follow each other without gaps, which the header was checked for.
    infos.sort_unstable_by_key(|(_, info)| info.data_offsets);
    let mut state = StateDict::new();
    for (name, info) in infos {
        let n_bytes = info.data_offsets.1 - info.data_offsets.0;
        let mut raw = |convert: fn(&[u8]) -> Vec<f32>| {
            let mut bytes = vec![0; n_bytes];
            source.read_exact(&mut bytes).map(|()| convert(&bytes))
        };
        let values = match info.dtype {
            Dtype::F64 => raw(from_f64),
            Dtype::F16 => raw(from_f16),
            Dtype::BF16 => raw(from_bf16),
            Dtype::F32 => read_f32(&mut source, n_bytes),
            _ => {
                let skipped = io::copy(&mut (&mut source).take(n_bytes as u64), &mut io::sink());
                skipped.map_err(|error| error.to_string())?;
                continue;
            }
        };
        let values = values.map_err(|error| error.to_string())?;
        let shape = info.shape.clone();
        state.insert(name, HostTensor { shape, values });
    }
    Ok(state)
}

/// Reads and checks the header: the tensors must take the rest of the file exactly, so none of them is larger than the file.
fn read_header(
    source: &mut impl Read,
    length: u64,
) -> std::result::Result<Metadata, SafeTensorError> {
    let mut n_header = [0; 8];
    if length < n_header.len() as u64 {
        return Err(SafeTensorError::HeaderTooSmall);
    }
    source.read_exact(&mut n_header)?;
    let n_header = u64::from_le_bytes(n_header);
    if n_header > MAX_HEADER {
        return Err(SafeTensorError::HeaderTooLarge);
    }
    if n_header > length - 8 {
        return Err(SafeTensorError::InvalidHeaderLength);
    }
    let mut header = vec![0; n_header as usize];
    source.read_exact(&mut header)?;
    let text = std::str::from_utf8(&header).map_err(SafeTensorError::InvalidHeader)?;
    let metadata: Metadata =
        serde_json::from_str(text).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    if metadata.data_len() as u64 != length - 8 - n_header {
        return Err(SafeTensorError::MetadataIncompleteBuffer);
    }
    Ok(metadata)
}

/// Reads values without a second buffer.
fn read_f32(source: &mut impl Read, n_bytes: usize) -> io::Result<Vec<f32>> {
    let mut values = vec![0.0_f32; n_bytes / size_of::<f32>()];
    source.read_exact(bytemuck::cast_slice_mut(&mut values))?;
    for value in &mut values {
        *value = f32::from_bits(u32::from_le(value.to_bits()));
    }
    Ok(values)
}

pub(super) fn from_f64(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| f64::from_le_bytes(*chunk) as f32)
        .collect()
}

pub(super) fn from_f32(bytes: &[u8]) -> Vec<f32> {
    let chunks: &[[u8; size_of::<f32>()]] = bytes.as_chunks().0;
    // By several threads, because most of the time the system clears new pages.
    buffer::computed(chunks.len(), CONVERTED_AT_ONCE, |index, part| {
        let chunks = &chunks[index * CONVERTED_AT_ONCE..];
        for (value, chunk) in part.iter_mut().zip(chunks) {
            *value = f32::from_le_bytes(*chunk);
        }
    })
}

pub(super) fn from_f16(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| half::f16::from_le_bytes(*chunk).to_f32())
        .collect()
}

pub(super) fn from_bf16(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| half::bf16::from_le_bytes(*chunk).to_f32())
        .collect()
}

/// Writes a safetensors file that `safetensors.torch.load_file` can read. It is written atomically.
pub(crate) fn write(
    state: &StateDict,
    metadata: &BTreeMap<&str, String>,
    path: &Path,
) -> Result<()> {
    files::write_with(path, |temporary| {
        let mut file = BufWriter::new(File::create(temporary)?);
        write_header(&mut file, &sorted_header(state, metadata)?)?;
        for tensor in state.values() {
            write_values(tensor, &mut file)?;
        }
        file.flush()
    })
}

/// A header with sorted metadata. The library keeps metadata in a hash map, whose order differs from process to process, so that
/// two exports of the same checkpoint would have different bytes.
fn sorted_header(state: &StateDict, metadata: &BTreeMap<&str, String>) -> io::Result<Vec<u8>> {
    let mut header = BTreeMap::from([("__metadata__", json!(metadata))]);
    let mut begin = 0;
    for (name, tensor) in state {
        let end = begin + n_bytes(&tensor.shape);
        let offsets = [begin, end];
        header.insert(
            name,
            json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": offsets }),
        );
        begin = end;
    }
    Ok(serde_json::to_vec(&header)?)
}

/// Writes tensors to `file` one by one, in the order of their names.
pub(crate) fn write_tensors<T: TensorValues>(
    tensors: impl IntoIterator<Item = (String, T)>,
    file: &mut impl Write,
) -> io::Result<()> {
    let tensors: BTreeMap<String, T> = tensors.into_iter().collect();
    let shapes = tensors.iter();
    let header = header(shapes.map(|(name, tensor)| (name.clone(), tensor.shape())))?;
    write_header(file, &header)?;
    tensors
        .values()
        .try_for_each(|tensor| write_values(tensor, file))
}

/// The header of a file with tensors of these names and shapes, which come in the order of their names.
fn header(shapes: impl Iterator<Item = (String, Vec<usize>)>) -> io::Result<Vec<u8>> {
    let mut begin = 0;
    let infos = shapes.map(|(name, shape)| {
        let end = begin + n_bytes(&shape);
        let data_offsets = (std::mem::replace(&mut begin, end), end);
        let dtype = Dtype::F32;
        let info = TensorInfo {
            dtype,
            shape,
            data_offsets,
        };
        (name, info)
    });
    let infos = infos.collect();
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let header = Metadata::new(Some(metadata), infos).map_err(io::Error::other)?;
    Ok(serde_json::to_vec(&header)?)
}

/// The length in bytes of the file that [`write_tensors`] writes for tensors of these names and shapes.
pub(crate) fn length(shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> u64 {
    let shapes: BTreeMap<String, Vec<usize>> = shapes.into_iter().collect();
    let n_values: usize = shapes.values().map(|shape| n_bytes(shape)).sum();
    // Without its header, which fails only where offsets overflow, the length would still be nearly right.
    let header = header(shapes.into_iter()).map_or(0, |header| header.len());
    (size_of::<u64>() + header.next_multiple_of(size_of::<u64>()) + n_values) as u64
}

fn write_header(file: &mut impl Write, header: &[u8]) -> io::Result<()> {
    // Readers map the file into memory, so tensors must begin at a multiple of their alignment.
    let n_bytes = header.len().next_multiple_of(size_of::<u64>());
    file.write_all(&(n_bytes as u64).to_le_bytes())?;
    file.write_all(header)?;
    file.write_all(&vec![b' '; n_bytes - header.len()])
}

fn write_values(tensor: &impl TensorValues, file: &mut impl Write) -> io::Result<()> {
    let mut outcome = Ok(());
    visit_bytes(tensor, &mut |bytes| {
        if outcome.is_ok() {
            outcome = file.write_all(bytes);
        }
    });
    outcome
}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::SafeTensors;

    use super::*;
    use crate::model::state;

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
        write(&state, &metadata, &path).unwrap();
        assert_eq!(state::read(&path).unwrap(), state);
        let bytes = fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let read = header.metadata().clone().unwrap();
        assert_eq!((read["a"].as_str(), read.len()), ("\"\n", 2));
        assert_eq!(bytes[..8], (bytes.len() as u64 - 8 - 16).to_le_bytes());
        assert_eq!(bytes.len() % 8, 0);
    }

    #[test]
    fn checkpoints_have_the_bytes_that_the_library_would_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.safetensors");
        let tensor = |n: usize| HostTensor {
            shape: vec![n, 1],
            values: (0..n).map(|value| value as f32 / 3.0).collect(),
        };
        let tensors = [
            ("b.weight", tensor(3)),
            ("a", tensor(5)),
            ("b.bias", tensor(0)),
        ];
        let named = tensors.iter().map(|(name, it)| ((*name).to_owned(), it));
        write_tensors(named, &mut File::create(&path).unwrap()).unwrap();
        let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, it)| from_values(it)).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, it), bytes)| {
            let view = safetensors::tensor::TensorView::new(Dtype::F32, it.shape.clone(), bytes);
            (*name, view.unwrap())
        });
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let expected = safetensors::serialize(views, Some(metadata)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), expected);
        let shapes = tensors.iter();
        let shapes = shapes.map(|(name, it)| ((*name).to_owned(), it.shape.clone()));
        assert_eq!(length(shapes), expected.len() as u64);
        assert_eq!(state::read(&path).unwrap()["b.weight"], tensor(3));
    }

    fn from_values(tensor: &HostTensor) -> Vec<u8> {
        let values = tensor.values.iter();
        values.flat_map(|value| value.to_le_bytes()).collect()
    }
}

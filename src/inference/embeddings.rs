//! The file of embeddings: one row of `f32` for each row of the table, as `.npy` or as safetensors. Rows are appended to
//! `FILE.partial`, and the header, which states their number, is written when all are there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::partial::partial_path;
use crate::{
    disk::files,
    error::{Error, Result},
};

/// The format of the file, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EmbeddingsFormat {
    Npy,
    Safetensors,
}

/// The name of the tensor in a safetensors file.
const TENSOR: &str = "embeddings";

pub(crate) struct EmbeddingsFile {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    format: EmbeddingsFormat,
    /// The values of one row.
    n_values: usize,
    n_rows: u64,
    /// Facts about the model, for safetensors, whose header has room for some.
    metadata: Vec<(&'static str, String)>,
}

impl EmbeddingsFormat {
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|it| it.to_string_lossy());
        match extension.as_deref() {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(Error::usage(format!(
                "cannot tell the format of `{}` from its extension",
                path.display()
            ))
            .at(path)
            .help("use a name that ends with `.npy` or `.safetensors`")),
        }
    }

    /// The bytes before the values, with room for any number of rows.
    fn header_bytes(self) -> usize {
        match self {
            Self::Npy => 128,
            Self::Safetensors => 1024,
        }
    }
}

/// Fails if the name of the file does not tell its format.
pub(crate) fn check_name(path: &Path) -> Result<()> {
    EmbeddingsFormat::of(path).map(drop)
}

impl EmbeddingsFile {
    /// Begins the file, or with `resumes` continues the one that was begun.
    pub(crate) fn open(
        path: &Path,
        n_values: usize,
        metadata: Vec<(&'static str, String)>,
        resumes: bool,
    ) -> Result<Self> {
        let format = EmbeddingsFormat::of(path)?;
        let partial = partial_path(path);
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(!resumes)
            .open(&partial);
        let file = opened.map_err(Error::io("open", &partial))?;
        let n_bytes = file.metadata().map_err(Error::io("read", &partial))?.len();
        let n_bytes = n_bytes.saturating_sub(format.header_bytes() as u64);
        let mut embeddings = Self {
            path: path.to_owned(),
            partial,
            file,
            format,
            n_values,
            n_rows: n_bytes / (4 * n_values as u64),
            metadata,
        };
        embeddings.cut(embeddings.n_rows)?;
        Ok(embeddings)
    }

    /// The complete rows that are there.
    pub(crate) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Keeps only the first `n_rows` rows.
    pub(crate) fn cut(&mut self, n_rows: u64) -> Result<()> {
        let end = self.format.header_bytes() as u64 + n_rows * 4 * self.n_values as u64;
        let cut = self.file.set_len(end);
        let cut = cut.and_then(|()| self.file.seek(SeekFrom::Start(end)));
        cut.map_err(Error::io("write", &self.partial))?;
        self.n_rows = n_rows;
        Ok(())
    }

    /// Appends whole rows.
    pub(crate) fn append(&mut self, values: &[f32]) -> Result<()> {
        let written = if cfg!(target_endian = "little") {
            self.file.write_all(bytemuck::cast_slice(values))
        } else {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            self.file.write_all(&bytes.collect::<Vec<u8>>())
        };
        written.map_err(Error::io("write", &self.partial))?;
        self.n_rows += (values.len() / self.n_values) as u64;
        Ok(())
    }

    /// Writes the header and gives the file its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        let header = self.header();
        let finish = |file: &mut File| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)?;
            file.sync_all()
        };
        finish(&mut self.file)
            .and_then(|()| fs::rename(&self.partial, &self.path))
            .map_err(Error::io("write", &self.path))?;
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        files::flush_folder(folder.unwrap_or(Path::new(".")))
    }

    /// Deletes what was written.
    pub(crate) fn discard(self) {
        let removed: io::Result<()> = fs::remove_file(&self.partial);
        // What cannot be removed stays, as a file that says by its name that it is not finished.
        drop(removed);
    }

    fn header(&self) -> Vec<u8> {
        let n_header = self.format.header_bytes();
        let (n_rows, n_values) = (self.n_rows, self.n_values);
        let mut header = Vec::with_capacity(n_header);
        match self.format {
            // Format: numpy/lib/_format_impl.py, version 1.0.
            EmbeddingsFormat::Npy => {
                header.extend_from_slice(b"\x93NUMPY\x01\x00");
                header.extend_from_slice(&(n_header as u16 - 10).to_le_bytes());
                let text = format!(
                    "{{'descr': '<f4', 'fortran_order': False, 'shape': ({n_rows}, {n_values}), }}"
                );
                header.extend_from_slice(text.as_bytes());
                header.resize(n_header - 1, b' ');
                header.push(b'\n');
            }
            EmbeddingsFormat::Safetensors => {
                header.extend_from_slice(&(n_header as u64 - 8).to_le_bytes());
                let end = n_rows * 4 * n_values as u64;
                let metadata: serde_json::Map<_, _> = self
                    .metadata
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), json!(value)))
                    .collect();
                let text = json!({
                    "__metadata__": metadata,
                    TENSOR: { "dtype": "F32", "shape": [n_rows, n_values], "data_offsets": [0, end] },
                });
                header.extend_from_slice(text.to_string().as_bytes());
                header.resize(n_header, b' ');
            }
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::state;

    #[test]
    fn rows_that_are_appended_in_two_goes_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.npy", "a.safetensors"] {
            let path = folder.path().join(name);
            let about = || vec![("model_sha256", "0".repeat(64))];
            let mut file = EmbeddingsFile::open(&path, 2, about(), false).unwrap();
            file.append(&[1.0, 2.0, 3.0, 4.0]).unwrap();
            // A killed process leaves half a row.
            file.file.write_all(&[1, 2, 3, 4, 5]).unwrap();
            drop(file);
            assert!(!path.exists());
            let mut file = EmbeddingsFile::open(&path, 2, about(), true).unwrap();
            assert_eq!(file.n_rows(), 2);
            file.cut(1).unwrap();
            file.append(&[5.0, -0.0]).unwrap();
            file.finish().unwrap();
            let bytes = fs::read(&path).unwrap();
            let values: Vec<f32> = vec![1.0, 2.0, 5.0, -0.0];
            let expected: &[u8] = bytemuck::cast_slice(&values);
            assert!(bytes.ends_with(expected), "{name}");
            if name == "a.npy" {
                assert_eq!(bytes.len(), 128 + expected.len());
                assert!(bytes.starts_with(
                    b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
                ));
            } else {
                let read = &state::read(&path).unwrap()["embeddings"];
                assert_eq!((&read.shape, &read.values), (&vec![2, 2], &values));
            }
        }
    }
}

//! Files whose damage is detected, by a record of their size and SHA-256 in another file, or by a seal in their last line. Knows
//! nothing of their content.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::{
    disk::{
        files::{self, write_atomic},
        hash::{self, sha256_of_bytes, sha256_of_file},
    },
    error::{Error, Result},
    rundir::records,
};

/// The beginning of the last line of a sealed file, a comment in TOML. The line ends with the hash of all lines before it.
const SEAL: &str = "# SHA-256 of the lines above: ";

/// The name, size and hash of a file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// The hash in lower-case hexadecimal digits.
    pub(crate) sha256: String,
}

impl FileRecord {
    /// Makes the record of a file on the disk.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            bytes: metadata.len(),
            sha256: sha256_of_file(path)?,
        })
    }

    /// Makes the record of a file called `name` that contains `bytes`.
    pub(crate) fn of_bytes(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: sha256_of_bytes(bytes),
        }
    }

    /// Writes a file of any size. Returns the record of the bytes passed to the disk, so that [`Self::check`] also reveals damage
    /// done while writing.
    pub(crate) fn write(
        path: &Path,
        write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (mut bytes, mut hasher) = (0, Sha256::new());
        files::write_streamed(path, |to| {
            let (bytes, hasher) = (&mut bytes, &mut hasher);
            write(&mut HashingWriter { to, bytes, hasher })
        })?;
        Ok(Self {
            name: name.into_owned(),
            bytes,
            sha256: hash::hex(&hasher.finalize()),
        })
    }

    /// Makes the record of the same bytes under another name.
    pub(crate) fn renamed(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// Fails unless the file in `folder` still matches the record.
    pub(crate) fn check(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.name);
        let n_bytes = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) => return Err(unreadable(&path, error)),
        };
        if n_bytes != self.bytes {
            return Err(damaged(&path, &self.wrong_size(n_bytes)));
        }
        if sha256_of_file(&path)? != self.sha256 {
            return Err(damaged(&path, WRONG_HASH));
        }
        Ok(())
    }

    /// Reads the file in `folder`. Fails unless it still matches the record.
    pub(crate) fn read(&self, folder: &Path) -> Result<Vec<u8>> {
        let path = folder.join(&self.name);
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, error))?;
        if bytes.len() as u64 != self.bytes {
            return Err(damaged(&path, &self.wrong_size(bytes.len() as u64)));
        }
        if sha256_of_bytes(&bytes) != self.sha256 {
            return Err(damaged(&path, WRONG_HASH));
        }
        Ok(bytes)
    }

    /// Whether `bytes` begin with the recorded ones, which is true of an undamaged table that has grown since.
    pub(crate) fn begins(&self, bytes: &[u8]) -> bool {
        let prefix = usize::try_from(self.bytes)
            .ok()
            .and_then(|n_bytes| bytes.get(..n_bytes));
        prefix.is_some_and(|prefix| sha256_of_bytes(prefix) == self.sha256)
    }

    fn wrong_size(&self, n_bytes: u64) -> String {
        format!("it has {n_bytes} bytes, expected {}", self.bytes)
    }
}

/// A writer that counts and hashes the bytes that it passes on.
struct HashingWriter<'a> {
    to: &'a mut dyn io::Write,
    bytes: &'a mut u64,
    hasher: &'a mut Sha256,
}

impl io::Write for HashingWriter<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n_written = self.to.write(buffer)?;
        *self.bytes += n_written as u64;
        self.hasher.update(&buffer[..n_written]);
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

const WRONG_HASH: &str = "its SHA-256 differs from the recorded one";

fn damaged(path: &Path, fact: &str) -> Error {
    Error::run(path, format!("the file is damaged: {fact}"))
}

/// Converts an error of reading. A missing file counts as damage to its run; an error of the disk does not.
fn unreadable(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            Error::run(path, "the file is missing")
        }
        _ => Error::io("read", path)(error),
    }
}

/// Appends the seal to `text` as its last line.
pub(crate) fn seal(text: &str) -> String {
    let hash = hash::sha256_of_bytes(text.as_bytes());
    format!("{text}{SEAL}{hash}\n")
}

/// Writes a sealed file whose lines come from `write`, piece by piece and without flushing to the disk.
pub(crate) fn stream_sealed(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    files::stream_unflushed(path, |to| {
        let (mut bytes, mut hasher) = (0, Sha256::new());
        write(&mut HashingWriter {
            to: &mut *to,
            bytes: &mut bytes,
            hasher: &mut hasher,
        })?;
        writeln!(to, "{SEAL}{}", hash::hex(&hasher.finalize()))
    })
}

/// Whether a file must have a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    Always,
    /// The seal may be absent, because earlier versions wrote the file without one.
    Maybe,
}

/// Checks the seal and returns the lines above it. Fails with a clause about the damage.
pub(crate) fn unseal(bytes: &[u8], sealed: Sealed) -> std::result::Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let Some((lines, hash)) = text.rsplit_once(SEAL) else {
        return match sealed {
            Sealed::Always => Err("its last line, with the SHA-256, is missing".to_owned()),
            Sealed::Maybe => Ok(text),
        };
    };
    if hash.trim_end() != hash::sha256_of_bytes(lines.as_bytes()) {
        return Err(WRONG_HASH.to_owned());
    }
    Ok(lines)
}

pub(crate) fn write_toml<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    write_atomic(path, seal(&records::toml_text(path, value)?).as_bytes())
}

/// Reads a sealed TOML file. Fails with an error of kind `Run` if it is missing or damaged.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path, sealed: Sealed) -> Result<T> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, error))?;
    let text = unseal(&bytes, sealed).map_err(|fact| damaged(path, &fact))?;
    toml::from_str(text).map_err(|error| damaged(path, error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_misses_no_byte_and_a_stranger_needs_no_seal() {
        let text = "a = 1\n\n[b]\nc = \"d\"\n";
        let sealed = seal(text);
        assert_eq!(unseal(sealed.as_bytes(), Sealed::Always), Ok(text));
        assert_eq!(unseal(text.as_bytes(), Sealed::Maybe), Ok(text));
        assert!(unseal(text.as_bytes(), Sealed::Always).is_err());
        let without_a_line = sealed.replacen("[b]\n", "", 1);
        assert!(unseal(without_a_line.as_bytes(), Sealed::Maybe).is_err());
        for end in 0..sealed.len() - 1 {
            let cut = &sealed.as_bytes()[..end];
            assert!(unseal(cut, Sealed::Always).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn a_record_tells_damage_and_knows_what_has_only_grown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let record = FileRecord::of_bytes("a.csv", b"one\n");
        let error = record.check(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("a.csv: the file is missing"), "{error}");
        let written = FileRecord::write(&path, |to| {
            to.write_all(b"on")?;
            to.write_all(b"e\n")
        });
        assert_eq!(written.unwrap(), record);
        assert_eq!(FileRecord::of(&path).unwrap(), record);
        record.check(folder.path()).unwrap();
        for damage in ["two\n", "one"] {
            fs::write(&path, damage).unwrap();
            assert!(record.check(folder.path()).is_err());
            assert!(record.read(folder.path()).is_err());
            assert!(!record.begins(damage.as_bytes()));
        }
        assert!(record.begins(b"one\ntwo\n"));
        assert!(!record.begins(b"onE\ntwo\n"));
    }
}

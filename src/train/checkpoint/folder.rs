//! Directories that are whole or absent: files are written, flushed and read back, a manifest with their sizes and hashes
//! comes last, and only then does the directory get its name. Knows nothing of what the files hold.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Result},
    files::write_atomic,
    hash::{self, sha256_of_file},
    records,
};

/// Written last: a directory without it is none.
const MANIFEST: &str = "state.toml";
/// Begins the manifest's last line, which has the hash of all lines before it.
const SEAL: &str = "# SHA-256 of the lines above: ";
/// The generation before the current one.
const PREVIOUS: &str = "previous-";
/// A generation that is not current yet.
const NEW: &str = "new-";
/// A generation on its way out.
const OLD: &str = "old-";

/// A file as it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FileRecord {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl FileRecord {
    /// Of a file that is on the disk.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(Error::io("reading", path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            bytes: metadata.len(),
            sha256: sha256_of_file(path)?,
        })
    }

    /// Fails unless the file in `folder` is still this one.
    pub(super) fn check(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.name);
        let damaged = |fact: String| Error::Run {
            path: path.clone(),
            fact,
        };
        let n_bytes = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged("is missing".to_owned()));
            }
            Err(error) => return Err(Error::io("reading", &path)(error)),
        };
        if n_bytes != self.bytes {
            let fact = format!("is damaged: it has {n_bytes} bytes, not {}", self.bytes);
            return Err(damaged(fact));
        }
        if sha256_of_file(&path)? != self.sha256 {
            let fact = "is damaged: its SHA-256 is not the one it was written with";
            return Err(damaged(fact.to_owned()));
        }
        Ok(())
    }
}

/// A directory under way, of the generations called `name` in `parent`; gone if it is dropped before it is published.
pub(super) struct Draft {
    parent: PathBuf,
    name: &'static str,
    is_published: bool,
}

impl Draft {
    pub(super) fn new(parent: &Path, name: &'static str) -> Result<Self> {
        let draft = Self {
            parent: parent.to_owned(),
            name,
            is_published: false,
        };
        remove(&draft.path())?;
        fs::create_dir(draft.path()).map_err(Error::io("creating", draft.path()))?;
        Ok(draft)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.parent.join(format!("{NEW}{}", self.name))
    }

    /// Makes it whole.
    pub(super) fn seal<T: Serialize>(&self, manifest: &T) -> Result<()> {
        let path = self.path().join(MANIFEST);
        let text = records::toml_text(&path, manifest)?;
        write_atomic(&path, sealed(&text).as_bytes())?;
        flush_folder(&self.path())
    }

    /// Makes it the current generation. The one before stays if `keeps_previous`, which the next one after that replaces.
    pub(super) fn publish(mut self, keeps_previous: bool) -> Result<()> {
        let [current, previous, old] = ["", PREVIOUS, OLD].map(|prefix| self.named(prefix));
        let after = if keeps_previous { &previous } else { &old };
        remove(&old)?;
        if current.exists() {
            if after.exists() {
                rename(after, &old)?;
            }
            rename(&current, after)?;
        }
        rename(&self.path(), &current)?;
        self.is_published = true;
        flush_folder(&self.parent)?;
        remove(&old)
    }

    fn named(&self, prefix: &str) -> PathBuf {
        self.parent.join(format!("{prefix}{}", self.name))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            // On a full disk this is also what makes room for saying so.
            let _ = fs::remove_dir_all(self.path());
        }
    }
}

/// The whole directories called `name`, the one to use first. A process that dies while it publishes leaves a generation
/// under another name.
pub(super) fn generations(parent: &Path, name: &str) -> Vec<PathBuf> {
    ["", NEW, PREVIOUS, OLD]
        .iter()
        .map(|prefix| parent.join(format!("{prefix}{name}")))
        .filter(|path| path.join(MANIFEST).is_file())
        .collect()
}

/// Removes what processes that died left under way.
pub(super) fn tidy(parent: &Path, name: &str) -> Result<()> {
    [NEW, OLD]
        .iter()
        .try_for_each(|prefix| remove(&parent.join(format!("{prefix}{name}"))))
}

pub(super) fn manifest<T: DeserializeOwned>(folder: &Path) -> Result<T> {
    let path = folder.join(MANIFEST);
    let bytes = fs::read(&path).map_err(Error::io("reading", &path))?;
    parse(&bytes).map_err(|fact| Error::Run {
        path,
        fact: format!("is damaged: {fact}"),
    })
}

pub(crate) fn sealed(text: &str) -> String {
    let seal = hash::sha256_of_bytes(text.as_bytes());
    format!("{text}{SEAL}{seal}\n")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let (text, seal) = text
        .split_once(SEAL)
        .ok_or("it has no line with its SHA-256")?;
    if seal.trim_end() != hash::sha256_of_bytes(text.as_bytes()) {
        return Err("its SHA-256 is not the one it was written with".to_owned());
    }
    toml::from_str(text).map_err(|error| error.message().to_owned())
}

/// The same bytes under a second name, without a copy where the file system can.
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(|_| ()))
        .map_err(Error::io("copying", to))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io("renaming", from))
}

/// The manifest goes first: what is left of a removal that breaks off is none.
fn remove(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let manifest = path.join(MANIFEST);
    if manifest.exists() {
        fs::remove_file(&manifest).map_err(Error::io("removing", manifest))?;
    }
    fs::remove_dir_all(path).map_err(Error::io("removing", path))
}

/// Names survive a power cut only if their directory has been flushed; not every system can.
#[cfg(unix)]
fn flush_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io("flushing", path))
}

#[cfg(not(unix))]
fn flush_folder(_path: &Path) -> Result<()> {
    Ok(())
}

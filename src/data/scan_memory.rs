//! What the last scan of a data folder found out, so that files that did not change are not read again.
//! Knows names and stamps; damage to it costs time, never correctness.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    data::stamp::Stamp,
    disk::{
        files, hash,
        sealed::{Sealed, seal, unseal},
    },
};

/// Raised whenever decoding changes what it accepts or says, or the file what it holds.
const FORMAT: u32 = 3;

/// What reading one file gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ScanVerdict {
    /// SHA-256 of the bytes, lower-case hexadecimal.
    Image(String),
    /// Why it is no readable image.
    Rejected(String),
    /// It does not claim to be one.
    NoImage,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    stamp: Stamp,
    verdict: ScanVerdict,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    root: String,
    max_pixels: u64,
    files: HashMap<String, Remembered>,
}

/// The memory of one data folder.
#[derive(Debug)]
pub(crate) struct ScanMemory {
    path: PathBuf,
    content: Content,
}

impl ScanMemory {
    /// Opens the memory of `root` in `folder`; empty where there is none, or none that fits.
    pub(crate) fn open(folder: &Path, root: &Path, max_pixels: u64) -> Self {
        let mut memory = Self::empty(folder, root, max_pixels);
        if let Some(old) = read(&memory.path)
            && old.root == memory.content.root
            && old.max_pixels == max_pixels
        {
            memory.content = old;
        }
        memory
    }

    /// A memory of `root` that knows no file yet; nothing is read.
    pub(crate) fn empty(folder: &Path, root: &Path, max_pixels: u64) -> Self {
        let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        let name = hash::hex(&Sha256::digest(root.as_os_str().as_encoded_bytes()));
        Self {
            path: folder.join(format!("scan-{}.json", &name[..16])),
            content: Content {
                format: FORMAT,
                root: root.to_string_lossy().into_owned(),
                max_pixels,
                files: HashMap::new(),
            },
        }
    }

    /// The file that holds it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was found in a file of this name and stamp.
    pub(crate) fn recall(&self, file: &str, stamp: &Stamp) -> Option<&ScanVerdict> {
        self.content
            .files
            .get(file)
            .filter(|known| known.stamp == *stamp)
            .map(|known| &known.verdict)
    }

    /// Replaces the whole memory by what a scan that began at `scanned` found, but for files that may still change without
    /// getting another stamp.
    pub(crate) fn store<'a>(
        mut self,
        scanned: SystemTime,
        verdicts: impl Iterator<Item = (&'a str, &'a Stamp, &'a ScanVerdict)>,
    ) -> io::Result<()> {
        self.content.files = verdicts
            .filter(|(_, stamp, _)| stamp.is_settled(scanned))
            .map(|(file, stamp, verdict)| {
                let remembered = Remembered {
                    stamp: *stamp,
                    verdict: verdict.clone(),
                };
                (file.to_owned(), remembered)
            })
            .collect();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        files::clear_litter(folder, files::STALE);
        write(&self.path, &self.content)
    }

    pub(crate) fn n_files(&self) -> usize {
        self.content.files.len()
    }
}

/// Makes the memory in the file `path` forget one file of the data folder, which is read again by the next scan.
pub(crate) fn forget(path: &Path, file: &str) -> io::Result<()> {
    match read(path) {
        Some(mut content) => match content.files.remove(file) {
            Some(_) => write(path, &content),
            None => Ok(()),
        },
        None => fs::remove_file(path),
    }
}

/// The content of the file `path`, if it is whole and of this format.
fn read(path: &Path) -> Option<Content> {
    let bytes = fs::read(path).ok()?;
    let content: Content = serde_json::from_str(unseal(&bytes, Sealed::Always).ok()?).ok()?;
    (content.format == FORMAT).then_some(content)
}

/// Writes in one step: a reader finds the old file or the new one.
fn write(path: &Path, content: &Content) -> io::Result<()> {
    let text = serde_json::to_string(content)? + "\n";
    files::write_unflushed(path, seal(&text).as_bytes())
}

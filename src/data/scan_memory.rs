//! Stores the results of the last scan of a data folder, so that unchanged files are not read again.
//! Knows names and stamps. If the stored file is damaged, the next scan only takes longer.

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

/// The version of the file. Must be raised whenever decoding accepts other files or gives other reasons, and whenever the
/// content of this file changes.
const FORMAT: u32 = 3;

/// The result of reading one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ScanVerdict {
    /// The file is an image with this SHA-256, in lower-case hexadecimal.
    Image(String),
    /// The file claims to be an image but cannot be used, for this reason.
    Rejected(String),
    /// The file does not claim to be an image.
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

/// The stored scan results of one data folder.
#[derive(Debug)]
pub(crate) struct ScanMemory {
    path: PathBuf,
    content: Content,
}

impl ScanMemory {
    /// Opens the memory of `root` in `folder`. It is empty if there is none, or if it was stored with other options.
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

    /// Makes a memory of `root` that knows no file yet; reads nothing.
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

    /// The file that the memory is stored in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The verdict on a file with this name and stamp, if it is known.
    pub(crate) fn recall(&self, file: &str, stamp: &Stamp) -> Option<&ScanVerdict> {
        self.content
            .files
            .get(file)
            .filter(|known| known.stamp == *stamp)
            .map(|known| &known.verdict)
    }

    /// Replaces the whole memory with the results of a scan that began at `scanned`. Files that changed shortly before are left
    /// out: they could change again without getting another stamp.
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

/// Removes one file of the data folder from the memory at `path`, so that the next scan reads it again.
pub(crate) fn forget(path: &Path, file: &str) -> io::Result<()> {
    match read(path) {
        Some(mut content) => match content.files.remove(file) {
            Some(_) => write(path, &content),
            None => Ok(()),
        },
        None => fs::remove_file(path),
    }
}

/// Reads the memory at `path`; `None` if it is damaged or of another format.
fn read(path: &Path) -> Option<Content> {
    let bytes = fs::read(path).ok()?;
    let content: Content = serde_json::from_str(unseal(&bytes, Sealed::Always).ok()?).ok()?;
    (content.format == FORMAT).then_some(content)
}

/// Writes the memory atomically: a reader finds either the old file or the new one.
fn write(path: &Path, content: &Content) -> io::Result<()> {
    let text = serde_json::to_string(content)? + "\n";
    files::write_unflushed(path, seal(&text).as_bytes())
}

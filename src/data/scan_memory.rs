//! What the last scan of a data folder found out, so that files that did not change are not read again.
//! Knows names, sizes and times; damage to it costs time, never correctness.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{data::walk::Candidate, files, hash};

/// Raised whenever decoding changes what it accepts or says.
const FORMAT: u32 = 1;

/// What reading one file gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// SHA-256 of the bytes, lower-case hexadecimal.
    Image(String),
    /// Why it is no readable image.
    Rejected(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    bytes: u64,
    modified_ns: u64,
    verdict: Verdict,
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
        let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        let name = hash::hex(&Sha256::digest(root.as_os_str().as_encoded_bytes()));
        let path = folder.join(format!("scan-{}.json", &name[..16]));
        let root = root.to_string_lossy().into_owned();
        let content = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Content>(&bytes).ok())
            .filter(|old| old.format == FORMAT && old.root == root && old.max_pixels == max_pixels)
            .unwrap_or_else(|| Content {
                format: FORMAT,
                root,
                max_pixels,
                files: HashMap::new(),
            });
        Self { path, content }
    }

    /// What was found in a file of this name, size and time.
    pub(crate) fn recall(&self, candidate: &Candidate) -> Option<&Verdict> {
        self.content
            .files
            .get(&candidate.file)
            .filter(|known| {
                known.bytes == candidate.bytes && known.modified_ns == candidate.modified_ns
            })
            .map(|known| &known.verdict)
    }

    /// Replaces the whole memory, in one step: a reader finds the old file or the new one.
    pub(crate) fn store<'a>(
        mut self,
        verdicts: impl Iterator<Item = (&'a Candidate, &'a Verdict)>,
    ) -> io::Result<()> {
        self.content.files = verdicts
            .map(|(candidate, verdict)| {
                let &Candidate {
                    bytes, modified_ns, ..
                } = candidate;
                (
                    candidate.file.clone(),
                    Remembered {
                        bytes,
                        modified_ns,
                        verdict: verdict.clone(),
                    },
                )
            })
            .collect();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        files::clear_litter(folder, files::STALE);
        files::write_unflushed(&self.path, &serde_json::to_vec(&self.content)?)
    }

    pub(crate) fn n_files(&self) -> usize {
        self.content.files.len()
    }
}

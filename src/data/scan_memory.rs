//! Stores the results of the last scan of a data folder, so that unchanged files are not read again.
//! Knows names and stamps. If the stored file is damaged, the next scan only takes longer.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use sha2::{Digest, Sha256};

use crate::{
    data::stamp::Stamp,
    disk::{
        files,
        hash::{self, Sha256Hash},
        sealed::{Sealed, stream_sealed, unseal},
    },
};

/// The version of the file. Must be raised whenever decoding accepts other files or gives other reasons, and whenever the
/// content of this file changes.
const FORMAT: u32 = 3;

/// The result of reading one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ScanVerdict {
    /// The file is an image with this SHA-256.
    Image(Sha256Hash),
    /// The file claims to be an image but cannot be used, for this reason.
    Rejected(String),
    /// The file does not claim to be an image.
    NoImage,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    stamp: Stamp,
    verdict: ScanVerdict,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<Files> {
    format: u32,
    root: String,
    max_pixels: u64,
    files: Files,
}

/// Files by name, sorted: a data set may have millions, and a hash table takes twice the memory.
#[derive(Debug, Default, PartialEq, Eq)]
struct RememberedFiles(Vec<(Box<str>, Remembered)>);

impl RememberedFiles {
    fn position(&self, file: &str) -> Option<usize> {
        self.0
            .binary_search_by(|(name, _)| name.as_ref().cmp(file))
            .ok()
    }
}

impl<'de> Deserialize<'de> for RememberedFiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;

        impl<'de> Visitor<'de> for OfMap {
            type Value = RememberedFiles;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of file names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut files = Vec::new();
                while let Some(file) = map.next_entry()? {
                    files.push(file);
                }
                files.sort_unstable_by(|(a, _): &(Box<str>, _), (b, _)| a.cmp(b));
                Ok(RememberedFiles(files))
            }
        }

        deserializer.deserialize_map(OfMap)
    }
}

impl Serialize for RememberedFiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, remembered)| (name, remembered)))
    }
}

/// The results of a scan, written from where they are.
struct Verdicts<I>(I);

impl<'a, I> Serialize for Verdicts<I>
where
    I: Iterator<Item = (&'a str, &'a Stamp, &'a ScanVerdict)> + Clone,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Remembered<'a> {
            stamp: &'a Stamp,
            verdict: &'a ScanVerdict,
        }
        let files = self.0.clone();
        serializer
            .collect_map(files.map(|(file, stamp, verdict)| (file, Remembered { stamp, verdict })))
    }
}

/// The stored scan results of one data folder.
#[derive(Debug)]
pub(crate) struct ScanMemory {
    path: PathBuf,
    content: Content<RememberedFiles>,
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
                files: RememberedFiles::default(),
            },
        }
    }

    /// The file that the memory is stored in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The verdict on a file with this name and stamp, if it is known.
    pub(crate) fn recall(&self, file: &str, stamp: &Stamp) -> Option<&ScanVerdict> {
        let files = &self.content.files;
        let (_, known) = &files.0[files.position(file)?];
        (known.stamp == *stamp).then_some(&known.verdict)
    }

    /// Replaces the whole memory with the results of a scan that began at `scanned`. Files that changed shortly before are left
    /// out: they could change again without getting another stamp.
    pub(crate) fn store<'a>(
        self,
        scanned: SystemTime,
        verdicts: impl Iterator<Item = (&'a str, &'a Stamp, &'a ScanVerdict)> + Clone,
    ) -> io::Result<()> {
        let Content {
            format,
            root,
            max_pixels,
            files,
        } = self.content;
        // The old results may take hundreds of megabytes.
        drop(files);
        let settled = verdicts.filter(|(_, stamp, _)| stamp.is_settled(scanned));
        let content = Content {
            format,
            root,
            max_pixels,
            files: Verdicts(settled),
        };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        files::clear_litter(folder, files::STALE);
        write(&self.path, &content)
    }

    pub(crate) fn n_files(&self) -> usize {
        self.content.files.0.len()
    }
}

/// Removes one file of the data folder from the memory at `path`, so that the next scan reads it again.
pub(crate) fn forget(path: &Path, file: &str) -> io::Result<()> {
    match read(path) {
        Some(mut content) => match content.files.position(file) {
            Some(position) => {
                content.files.0.remove(position);
                write(path, &content)
            }
            None => Ok(()),
        },
        None => fs::remove_file(path),
    }
}

/// Reads the memory at `path`; `None` if it is damaged or of another format.
fn read(path: &Path) -> Option<Content<RememberedFiles>> {
    let bytes = fs::read(path).ok()?;
    let content: Content<_> = serde_json::from_str(unseal(&bytes, Sealed::Always).ok()?).ok()?;
    (content.format == FORMAT).then_some(content)
}

/// Writes the memory atomically: a reader finds either the old file or the new one.
fn write(path: &Path, content: &Content<impl Serialize>) -> io::Result<()> {
    stream_sealed(path, |mut to| {
        serde_json::to_writer(&mut to, content)?;
        writeln!(to)
    })
}

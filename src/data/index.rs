//! The data set: which files of a folder are images, of which class, and which files are rejected and why.
//! Knows no splits and no tensors; changes nothing in the folder.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

pub(crate) use crate::data::walk::Rejected;
use crate::{
    config::experiment::Data,
    data::{
        decode::{DecodeOptions, decode_rgb},
        photo::{self, Unusable},
        scan_memory::{self, ScanMemory, Verdict},
        stamp::Stamp,
        walk::{self, Candidate, Listing},
    },
    error::{Error, Result},
    hash,
    plain::for_a_line,
};

/// Lines of an error before the rest is only counted.
const MAX_LISTED: usize = 20;

/// A scanned data folder; every class has at least one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatasetIndex {
    pub(crate) root: PathBuf,
    /// Sorted folder names; at least two.
    pub(crate) classes: Vec<String>,
    /// By class, then folder, then name.
    pub(crate) images: Vec<ImageEntry>,
    /// By file.
    pub(crate) rejected: Vec<Rejected>,
    /// SHA-256 over class names, file names and contents, lower-case hexadecimal.
    pub(crate) hash: String,
    /// Files whose content this scan read; the others were remembered.
    pub(crate) n_read: usize,
    /// The file that remembers this scan.
    pub(crate) memory: Option<PathBuf>,
    /// Why the scan could not be remembered, if so.
    pub(crate) memory_problem: Option<String>,
}

/// A file that decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageEntry {
    /// Relative to the root, with `/`.
    pub(crate) file: String,
    /// Index into `classes`.
    pub(crate) class: usize,
    /// Size of the file that was read.
    pub(crate) bytes: u64,
    /// SHA-256 of the bytes, lower-case hexadecimal.
    pub(crate) content_hash: String,
}

impl DatasetIndex {
    /// Images per class.
    pub(crate) fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for image in &self.images {
            counts[image.class] += 1;
        }
        counts
    }

    /// The bytes of one image, which are those that were scanned.
    pub(crate) fn read_photo(&self, image: &ImageEntry) -> std::result::Result<Vec<u8>, Unusable> {
        let read = photo::read(&self.root, image);
        if let (Err(Unusable::Changed), Some(memory)) = (&read, &self.memory) {
            // Where a file changed and kept its stamp, the next scan would trust it again.
            let _ = scan_memory::forget(memory, &image.file);
        }
        read
    }
}

/// Lists and decodes every file under `data.root`, in parallel; `progress` hears (files done, files in all).
pub(crate) fn scan(
    data: &Data,
    memory_dir: Option<&Path>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<DatasetIndex> {
    scan_at(SystemTime::now(), data, memory_dir, progress)
}

/// A scan that begins at `now`.
fn scan_at(
    now: SystemTime,
    data: &Data,
    memory_dir: Option<&Path>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<DatasetIndex> {
    check_root(&data.root)?;
    let listing = walk::list(&data.root)?;
    check_listing(data, &listing)?;
    let memory = memory_dir.map(|folder| ScanMemory::open(folder, &data.root, data.max_pixels));
    let (found, n_read) = examine(data, &listing.candidates, memory.as_ref(), progress);

    let n_files = listing.candidates.len();
    let memory_file = memory.as_ref().map(|memory| memory.path().to_owned());
    let memory_problem = memory
        .filter(|memory| n_read > 0 || memory.n_files() != n_files)
        .and_then(|memory| {
            let known = listing.candidates.iter().zip(&found);
            let known = known.filter_map(|(candidate, found)| match found {
                Found::Verdict(stamp, verdict) => Some((candidate.file.as_str(), stamp, verdict)),
                Found::Unread(_) => None,
            });
            memory.store(now, known).err()
        })
        .map(|error| error.to_string());

    let Listing {
        classes,
        candidates,
        mut rejected,
        stray,
    } = listing;
    let mut images = Vec::with_capacity(candidates.len());
    let n_in_classes = candidates.len() + rejected.len();
    for (Candidate { file, class, .. }, found) in candidates.into_iter().zip(found) {
        match found {
            Found::Verdict(stamp, Verdict::Image(content_hash)) => {
                images.push(ImageEntry {
                    file,
                    class,
                    bytes: stamp.bytes,
                    content_hash,
                });
            }
            Found::Verdict(_, Verdict::Rejected(reason)) | Found::Unread(reason) => {
                rejected.push(Rejected { file, reason });
            }
        }
    }
    rejected.sort_by(|a, b| a.file.cmp(&b.file));
    check_share(data, &rejected, n_in_classes)?;
    rejected.extend(stray);
    rejected.sort_by(|a, b| a.file.cmp(&b.file));
    let hash = hash(&classes, &images);
    let root = data.root.clone();
    let index = DatasetIndex {
        root,
        classes,
        images,
        rejected,
        hash,
        n_read,
        memory: memory_file,
        memory_problem,
    };
    check_classes(&index)?;
    Ok(index)
}

/// What became of one candidate.
enum Found {
    /// What became of the file with this stamp.
    Verdict(Stamp, Verdict),
    /// The disk failed or refused: nothing to remember.
    Unread(String),
}

fn examine(
    data: &Data,
    candidates: &[Candidate],
    memory: Option<&ScanMemory>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> (Vec<Found>, usize) {
    let (n_done, n_read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let found = candidates
        .par_iter()
        .map(|candidate| {
            let known = memory.and_then(|memory| memory.recall(candidate)).cloned();
            let found = known.map_or_else(
                || {
                    n_read.fetch_add(1, Ordering::Relaxed);
                    read(data, candidate)
                },
                |verdict| Found::Verdict(candidate.stamp, verdict),
            );
            progress(n_done.fetch_add(1, Ordering::Relaxed) + 1, candidates.len());
            found
        })
        .collect();
    (found, n_read.into_inner())
}

fn read(data: &Data, candidate: &Candidate) -> Found {
    let path = data.root.join(&candidate.file);
    let unread = |error: io::Error| Found::Unread(format!("cannot be read: {error}"));
    let (file, stamp) = match photo::open(&path) {
        Ok((file, metadata)) => (file, Stamp::of(&metadata)),
        Err(error) => return unread(error),
    };
    // No format needs more than 8 bytes a pixel, so a larger file is not read into memory to find that out.
    let max_bytes = data.max_pixels.saturating_mul(8).saturating_add(64 << 20);
    if stamp.bytes > max_bytes {
        let reason = format!(
            "has {} bytes, more than any image of data.max_pixels = {}",
            stamp.bytes, data.max_pixels
        );
        return Found::Verdict(stamp, Verdict::Rejected(reason));
    }
    let bytes = match photo::read_exactly(file, stamp.bytes) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Found::Unread("changed while it was read".to_owned()),
        Err(error) => return unread(error),
    };
    let verdict = match decode_rgb(&bytes, &DecodeOptions::of(data)) {
        Ok(_) => Verdict::Image(hash::sha256_of_bytes(&bytes)),
        Err(reason) => Verdict::Rejected(reason.to_string()),
    };
    Found::Verdict(stamp, verdict)
}

fn hash(classes: &[String], images: &[ImageEntry]) -> String {
    let mut hasher = Sha256::new();
    // No file name holds a zero byte.
    for class in classes {
        hasher.update(format!("{class}\0"));
    }
    for image in images {
        hasher.update(format!("\0{}\0{}", image.file, image.content_hash));
    }
    hash::hex(&hasher.finalize())
}

/// Fails with what to do if there is no such folder; reads nothing.
pub(crate) fn check_root(root: &Path) -> Result<()> {
    let problem = match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "is not a folder".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("cannot be opened: {error}"),
    };
    Err(Error::Data(format!(
        "{}: {problem}\nhelp: data.root must be a folder with one sub-folder of images per class",
        root.display()
    )))
}

fn check_listing(data: &Data, listing: &Listing) -> Result<()> {
    let root = data.root.display();
    match listing.classes.as_slice() {
        [] => {
            let what = if listing
                .stray
                .iter()
                .any(|stray| is_image(&data.root.join(&stray.file)))
            {
                "images lie directly in it, in no class folder"
            } else {
                "has no class folders"
            };
            Err(Error::Data(format!(
                "{root}: {what}\nhelp: make one sub-folder per class and put the images there"
            )))
        }
        [only] => Err(Error::Data(format!(
            "{root}: has only one class, `{only}`\nhelp: a classifier needs at least two class folders; \
             is data.root one folder too deep or too shallow?"
        ))),
        _ => Ok(()),
    }
}

/// By the first bytes; only asked about files beside the class folders.
fn is_image(path: &Path) -> bool {
    let mut start = Vec::new();
    photo::open(path)
        .and_then(|(file, _)| file.take(64).read_to_end(&mut start))
        .is_ok()
        && image::guess_format(&start).is_ok()
}

fn check_share(data: &Data, rejected: &[Rejected], n_files: usize) -> Result<()> {
    if rejected.len() as f64 <= data.max_rejected_fraction * n_files as f64 {
        return Ok(());
    }
    let lines = rejected
        .iter()
        .map(|Rejected { file, reason }| format!("{file}: {reason}"));
    let listed = listed(lines);
    Err(Error::Data(format!(
        "{}: {} of {n_files} files are not readable images, more than data.max_rejected_fraction = {}{listed}\n\
         help: repair or remove them, or raise data.max_rejected_fraction",
        data.root.display(),
        rejected.len(),
        data.max_rejected_fraction,
    )))
}

/// Lines for an error message, each on its own and indented; beyond a page of them the rest is counted.
pub(crate) fn listed(mut lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = String::new();
    for line in lines.by_ref().take(MAX_LISTED) {
        text.push_str("\n  ");
        text.push_str(&for_a_line(&line));
    }
    match lines.len() {
        0 => text,
        n_more => format!("{text}\n  and {n_more} more"),
    }
}

fn check_classes(index: &DatasetIndex) -> Result<()> {
    let classes = index.classes.iter().zip(index.class_counts());
    let empty: Vec<&str> = classes
        .filter(|(_, count)| *count == 0)
        .map(|(class, _)| class.as_str())
        .collect();
    if empty.is_empty() {
        return Ok(());
    }
    let class_of = |file: &str| file.split('/').next().unwrap_or_default().to_owned();
    let reasons: Vec<String> = index
        .rejected
        .iter()
        .filter(|rejected| empty.contains(&class_of(&rejected.file).as_str()))
        .map(|Rejected { file, reason }| format!("{file}: {reason}"))
        .collect();
    let names: Vec<String> = empty.iter().map(|class| format!("`{class}`")).collect();
    Err(Error::Data(format!(
        "{}: no readable image in class {}{}\nhelp: put images there, or remove the folder",
        index.root.display(),
        for_a_line(&names.join(", ")),
        listed(reasons.into_iter()),
    )))
}

#[cfg(test)]
mod tests;

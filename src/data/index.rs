//! The data set: which files of a folder are images, of which class, and which files are rejected and why.
//! Knows no splits and no tensors; changes nothing in the folder.

mod problems;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

pub(crate) use crate::data::walk::Rejected;
use crate::{
    config::experiment::{Data, Duplicates},
    data::{
        claims,
        decode::{DecodeOptions, decode_rgb},
        duplicates,
        layout::{self, LayoutCandidate, Listing},
        part::Part,
        photo::{self, Unusable},
        scan_memory::{self, ScanMemory, ScanVerdict},
        stamp::Stamp,
    },
    disk::hash::{self, Sha256Hash},
    error::{Error, Result},
};

/// A scanned data folder. Every class has at least one image, except in a folder that only tests a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatasetIndex {
    pub(crate) root: PathBuf,
    /// The class names, sorted; at least two.
    pub(crate) classes: Vec<String>,
    /// The images, sorted by class, then folder, then name.
    pub(crate) images: Vec<ImageEntry>,
    /// Files that claim to be images of a class but cannot be decoded, sorted by name.
    pub(crate) rejected: Vec<Rejected>,
    /// Files that are not images or belong to no class, sorted by name.
    pub(crate) ignored: Vec<Rejected>,
    /// The place in which the data set defines its own split, such as "the folders `train` and `val`"; `None` if it has none.
    pub(crate) own_split: Option<String>,
    /// A note for the user that the detected classes may not be the intended ones.
    pub(crate) doubt: Option<String>,
    /// SHA-256 of class names, file names and contents, in lower-case hexadecimal.
    pub(crate) hash: String,
    /// Number of files whose content this scan read; the others were known from an earlier scan.
    pub(crate) n_read: usize,
    /// The file in which the results of this scan are stored.
    pub(crate) memory: Option<PathBuf>,
    /// Why the results could not be stored, if they could not.
    pub(crate) memory_problem: Option<String>,
}

/// An image file that can be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageEntry {
    /// The path relative to the root, with `/` on every system.
    pub(crate) file: String,
    /// Index into `classes`.
    pub(crate) class: usize,
    /// The part of the split, if the data set defines its own.
    pub(crate) part: Option<Part>,
    /// A random split puts all images of a group into the same part.
    pub(crate) group: Option<usize>,
    /// Size of the file that was read.
    pub(crate) bytes: u64,
    /// SHA-256 of the file.
    pub(crate) content_hash: Sha256Hash,
}

impl DatasetIndex {
    /// Counts the images of each class.
    pub(crate) fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for image in &self.images {
            counts[image.class] += 1;
        }
        counts
    }

    /// Reads an image and checks that its bytes are the ones that were scanned.
    pub(crate) fn read_photo(&self, image: &ImageEntry) -> std::result::Result<Vec<u8>, Unusable> {
        let read = photo::read(&self.root, image);
        if let (Err(Unusable::Changed), Some(memory)) = (&read, &self.memory) {
            // The file may have changed without changing its stamp; unless it is forgotten, the next scan would trust it again.
            let _ = scan_memory::forget(memory, &image.file);
        }
        read
    }
}

/// Lists and decodes every file under `data.root` in parallel. `progress` is called with the number of files done and in total.
pub(crate) fn scan(
    data: &Data,
    memory_dir: Option<&Path>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<DatasetIndex> {
    scan_at(SystemTime::now(), data, memory_dir, progress)
}

/// Like [`scan`], with the clock as an argument: files that changed shortly before `now` are not remembered.
fn scan_at(
    now: SystemTime,
    data: &Data,
    memory_dir: Option<&Path>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<DatasetIndex> {
    check_root(&data.root)?;
    let (index, lost) = read_listing(now, data, layout::list(data)?, memory_dir, progress)?;
    problems::check_classes(&index, &lost)?;
    Ok(index)
}

/// Like [`scan`], for images that a model with these classes is to be tested on: the folders in `data.root` must be named like
/// classes, which keep their order, and classes without images are allowed.
pub(crate) fn scan_known(
    data: &Data,
    classes: &[String],
    memory_dir: Option<&Path>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<DatasetIndex> {
    let listing = layout::list_known(&data.root, classes)?;
    let read = read_listing(SystemTime::now(), data, listing, memory_dir, progress)?;
    Ok(read.0)
}

/// Reads the files of a listing. Returns those that are not images as well, each with the class that it would belong to.
fn read_listing(
    now: SystemTime,
    data: &Data,
    listing: Listing,
    memory_dir: Option<&Path>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(DatasetIndex, Vec<(usize, Rejected)>)> {
    let memory = memory_dir.map(|folder| ScanMemory::open(folder, &data.root, data.max_pixels));
    let (found, n_read) = examine(data, &listing.candidates, memory.as_ref(), progress);

    let n_files = listing.candidates.len();
    let memory_file = memory.as_ref().map(|memory| memory.path().to_owned());
    let memory_problem = memory
        .filter(|memory| n_read > 0 || memory.n_files() != n_files)
        .and_then(|memory| {
            let known = listing.candidates.iter().zip(&found);
            let known = known.filter_map(|(candidate, found)| match found {
                ScannedFile::Read(stamp, verdict) => {
                    Some((candidate.file.as_str(), stamp, verdict))
                }
                ScannedFile::Unread(_) => None,
            });
            memory.store(now, known).err()
        })
        .map(|error| error.to_string());

    let Listing {
        classes,
        candidates,
        mut rejected,
        mut ignored,
        own_split,
        doubt,
        names_classes,
    } = listing;
    let mut images = Vec::with_capacity(candidates.len());
    let mut lost = Vec::new();
    for (candidate, found) in candidates.into_iter().zip(found) {
        let LayoutCandidate {
            file,
            class,
            part,
            group,
            ..
        } = candidate;
        let (files, reason) = match found {
            ScannedFile::Read(stamp, ScanVerdict::Image(content_hash)) => {
                images.push(ImageEntry {
                    file,
                    class,
                    part,
                    group,
                    bytes: stamp.bytes,
                    content_hash,
                });
                continue;
            }
            ScannedFile::Read(_, ScanVerdict::NoImage) => (&mut ignored, NO_IMAGE.to_owned()),
            ScannedFile::Read(_, ScanVerdict::Rejected(reason)) | ScannedFile::Unread(reason) => {
                (&mut rejected, reason)
            }
        };
        let file = Rejected { file, reason };
        lost.push((class, file.clone()));
        files.push(file);
    }
    rejected.sort_by(|a, b| a.file.cmp(&b.file));
    ignored.sort_by(|a, b| a.file.cmp(&b.file));
    problems::check_share(data, &rejected, images.len() + rejected.len())?;
    if data.duplicates == Duplicates::Together {
        duplicates::join_groups(&mut images);
    }
    let hash = hash(&classes, &images, names_classes);
    let root = data.root.clone();
    let index = DatasetIndex {
        root,
        classes,
        images,
        rejected,
        ignored,
        own_split,
        doubt,
        hash,
        n_read,
        memory: memory_file,
        memory_problem,
    };
    Ok((index, lost))
}

/// The reason given for files that do not claim to be images.
const NO_IMAGE: &str = "is not an image";

/// The result of examining one candidate.
enum ScannedFile {
    /// The verdict on the file that has this stamp.
    Read(Stamp, ScanVerdict),
    /// The file could not be read, so there is no verdict that a later scan could reuse.
    Unread(String),
}

fn examine(
    data: &Data,
    candidates: &[LayoutCandidate],
    memory: Option<&ScanMemory>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> (Vec<ScannedFile>, usize) {
    let (n_done, n_read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let found = candidates
        .par_iter()
        .map(|candidate| {
            let known = memory
                .and_then(|memory| memory.recall(&candidate.file, &candidate.stamp))
                .cloned();
            let found = known.map_or_else(
                || {
                    n_read.fetch_add(1, Ordering::Relaxed);
                    read(data, candidate)
                },
                |verdict| ScannedFile::Read(candidate.stamp, verdict),
            );
            progress(n_done.fetch_add(1, Ordering::Relaxed) + 1, candidates.len());
            found
        })
        .collect();
    (found, n_read.into_inner())
}

fn read(data: &Data, candidate: &LayoutCandidate) -> ScannedFile {
    let path = data.root.join(&candidate.file);
    let unread = |error: io::Error| ScannedFile::Unread(format!("cannot be read: {error}"));
    let (file, stamp) = match photo::open(&path) {
        Ok((file, metadata)) => (file, Stamp::of(&metadata)),
        Err(error) => return unread(error),
    };
    // Labels and videos beside photos are not read as a whole, and do not count as broken images.
    if !claims::by_name(&candidate.file) {
        match claims::by_content(&file) {
            Ok(true) => {}
            Ok(false) => return ScannedFile::Read(stamp, ScanVerdict::NoImage),
            Err(error) => return unread(error),
        }
    }
    if let Some(reason) = photo::too_large(stamp.bytes, data.max_pixels) {
        return ScannedFile::Read(stamp, ScanVerdict::Rejected(reason));
    }
    let bytes = match photo::read_exactly(file, stamp.bytes) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return ScannedFile::Unread("changed while it was read".to_owned()),
        Err(error) => return unread(error),
    };
    let verdict = match decode_rgb(&bytes, &DecodeOptions::of(data)) {
        Ok(_) => ScanVerdict::Image(Sha256Hash::of(&bytes)),
        Err(reason) => ScanVerdict::Rejected(reason.to_string()),
    };
    ScannedFile::Read(stamp, verdict)
}

/// Hashes the data set. With `names_classes`, class names are hashed per image, because file names do not imply them; without,
/// the hash stays the one that earlier versions computed for class folders.
pub(crate) fn hash(classes: &[String], images: &[ImageEntry], names_classes: bool) -> String {
    let mut hasher = Sha256::new();
    // A zero byte separates the values, because no file name can contain one.
    for class in classes {
        hasher.update(format!("{class}\0"));
    }
    for image in images {
        hasher.update(format!("\0{}\0{}", image.file, image.content_hash));
        if names_classes {
            hasher.update(format!("\0{}", classes[image.class]));
        }
    }
    hash::hex(&hasher.finalize())
}

/// Checks that the data folder exists, without reading it.
pub(crate) fn check_root(root: &Path) -> Result<()> {
    let problem = match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "`data.root` is not a folder".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "the data folder does not exist".to_owned()
        }
        Err(error) => format!("cannot open the data folder: {error}"),
    };
    Err(Error::data(problem)
        .at(root)
        .help("set `data.root` to a folder with one subfolder of images per class"))
}

#[cfg(test)]
mod tests;

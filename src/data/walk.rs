//! The files of a data folder, in the order of torchvision's `ImageFolder`. Reads names and kinds, never contents.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    data::stamp::Stamp,
    error::{Error, Result},
};

/// A file that may hold an image of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Relative to the root, with `/`.
    pub(crate) file: String,
    pub(crate) class: usize,
    pub(crate) stamp: Stamp,
}

/// A file that is no readable image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Relative to the root, with `/`; what is not UTF-8 is replaced.
    pub(crate) file: String,
    pub(crate) reason: String,
}

/// What lies under a root, unread.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Sorted folder names.
    pub(crate) classes: Vec<String>,
    /// By class, then folder, then name.
    pub(crate) candidates: Vec<Candidate>,
    /// Inside class folders, but not to be opened.
    pub(crate) rejected: Vec<Rejected>,
    /// Beside the class folders.
    pub(crate) stray: Vec<Rejected>,
}

/// Lists `root`: every folder in it is a class, and holds its files directly or in folders of its own.
pub(crate) fn list(root: &Path) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut folders = Vec::new();
    let unreadable = |error: io::Error| {
        Error::Data(format!(
            "{}: cannot be listed: {error}\nhelp: data.root must be a folder that may be read",
            root.display()
        ))
    };
    let ancestors = [fs::canonicalize(root).map_err(unreadable)?];
    for (name, path) in sorted_entries(root).map_err(unreadable)? {
        match (kind(&path), name.to_str()) {
            (Kind::Folder, Some(name)) => match real_folder(&path, &ancestors) {
                Ok(real) => folders.push((name.to_owned(), path, real)),
                Err(reason) => listing.stray.push(Rejected {
                    file: name.to_owned(),
                    reason,
                }),
            },
            (Kind::Folder, None) => listing.stray.push(Rejected {
                file: name.to_string_lossy().into_owned(),
                reason: "the name of this class folder is not UTF-8".to_owned(),
            }),
            (Kind::File(_), _) => listing.stray.push(Rejected {
                file: name.to_string_lossy().into_owned(),
                reason: "lies beside the class folders, not in one".to_owned(),
            }),
            (Kind::Unusable(reason), _) => listing.stray.push(Rejected {
                file: name.to_string_lossy().into_owned(),
                reason,
            }),
        }
    }
    let [root] = ancestors;
    for (class, (name, path, real)) in folders.into_iter().enumerate() {
        walk(&path, &name, class, &[root.clone(), real], &mut listing);
        listing.classes.push(name);
    }
    // `ImageFolder` sorts by folder, then by name: `a/z.jpg` comes before `a/b/c.jpg`.
    listing.candidates.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(listing)
}

fn order(candidate: &Candidate) -> (usize, Option<(&str, &str)>) {
    (candidate.class, candidate.file.rsplit_once('/'))
}

/// `ancestors` are the real paths from the root to `folder`.
fn walk(folder: &Path, prefix: &str, class: usize, ancestors: &[PathBuf], listing: &mut Listing) {
    let entries = match sorted_entries(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let reason = format!("cannot be listed: {error}");
            return listing.rejected.push(Rejected {
                file: prefix.to_owned(),
                reason,
            });
        }
    };
    for (name, path) in entries {
        let file = format!("{prefix}/{}", name.to_string_lossy());
        if name.to_str().is_none() {
            let reason = "the name is not UTF-8".to_owned();
            listing.rejected.push(Rejected { file, reason });
            continue;
        }
        match kind(&path) {
            Kind::File(stamp) => listing.candidates.push(Candidate { file, class, stamp }),
            Kind::Unusable(reason) => listing.rejected.push(Rejected { file, reason }),
            Kind::Folder => match real_folder(&path, ancestors) {
                Ok(real) => {
                    let mut ancestors = ancestors.to_vec();
                    ancestors.push(real);
                    walk(&path, &file, class, &ancestors, listing);
                }
                Err(reason) => listing.rejected.push(Rejected { file, reason }),
            },
        }
    }
}

/// Where a folder really is, or why it must not be entered: a link back up is a loop, and on the way leads through the
/// other classes.
fn real_folder(path: &Path, ancestors: &[PathBuf]) -> std::result::Result<PathBuf, String> {
    let real = fs::canonicalize(path).map_err(|error| format!("cannot be opened: {error}"))?;
    if ancestors.iter().any(|ancestor| ancestor.starts_with(&real)) {
        return Err("is a link to a folder that contains it".to_owned());
    }
    Ok(real)
}

enum Kind {
    Folder,
    File(Stamp),
    Unusable(String),
}

/// Follows links; opens nothing, so that a pipe without a writer cannot hold the scan.
fn kind(path: &Path) -> Kind {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if path.is_symlink() => {
            return Kind::Unusable(format!("is a link that leads nowhere: {error}"));
        }
        Err(error) => return Kind::Unusable(format!("cannot be opened: {error}")),
    };
    if metadata.is_dir() {
        return Kind::Folder;
    }
    if !metadata.is_file() {
        return Kind::Unusable("is not a regular file".to_owned());
    }
    Kind::File(Stamp::of(&metadata))
}

/// Names and paths in byte order, without hidden files and the litter of file managers.
fn sorted_entries(folder: &Path) -> io::Result<Vec<(std::ffi::OsString, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !is_litter(&entry.file_name()) {
            entries.push((entry.file_name(), entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

/// What Windows, macOS, Linux and Synology put beside files; the last keeps thumbnails in folders of its own.
const LITTER: [&str; 7] = [
    "thumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "__macosx",
    "lost+found",
    "@eadir",
];

fn is_litter(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
        || LITTER
            .iter()
            .any(|litter| name.eq_ignore_ascii_case(litter))
}

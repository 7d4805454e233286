//! The files below a data folder. Reads names and kinds, never contents; knows nothing of classes.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    data::stamp::Stamp,
    error::{Error, Result},
};

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundFile {
    /// Relative to the root, with `/`.
    pub(crate) file: String,
    pub(crate) stamp: Stamp,
}

/// A file or folder that is not used as an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Relative to the root, with `/`; what is not UTF-8 is replaced.
    pub(crate) file: String,
    pub(crate) reason: String,
}

/// What lies below a root, unread; all names are relative to it, with `/`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Folders, each before what is in it.
    pub(crate) folders: Vec<String>,
    pub(crate) files: Vec<FoundFile>,
    /// What is neither: not to be opened.
    pub(crate) unusable: Vec<Rejected>,
}

impl Tree {
    /// The folders directly in `parent`, by their own names; in the root where that is empty.
    pub(crate) fn folders_in<'a>(&'a self, parent: &'a str) -> impl Iterator<Item = &'a str> {
        self.folders.iter().filter_map(move |folder| {
            let name = match parent {
                "" => folder.as_str(),
                parent => folder.strip_prefix(parent)?.strip_prefix('/')?,
            };
            (!name.contains('/')).then_some(name)
        })
    }
}

/// Lists everything below `root`, in byte order, but for hidden files and the litter of file managers.
pub(crate) fn tree(root: &Path) -> Result<Tree> {
    let unreadable = |error: io::Error| {
        Error::data(format!(
            "{}: cannot be listed: {error}\nhelp: data.root must be a folder that may be read",
            root.display()
        ))
    };
    let real = fs::canonicalize(root).map_err(unreadable)?;
    let entries = sorted_entries(root).map_err(unreadable)?;
    let mut tree = Tree::default();
    walk(entries, "", &[real], &mut tree);
    Ok(tree)
}

/// `ancestors` are the real paths from the root to the folder of `entries`, whose name is `prefix`.
fn walk(
    entries: Vec<(std::ffi::OsString, PathBuf)>,
    prefix: &str,
    ancestors: &[PathBuf],
    tree: &mut Tree,
) {
    for (name, path) in entries {
        let file = match prefix {
            "" => name.to_string_lossy().into_owned(),
            prefix => format!("{prefix}/{}", name.to_string_lossy()),
        };
        let reason = if name.to_str().is_none() {
            "the name is not UTF-8".to_owned()
        } else {
            match kind(&path) {
                FileKind::File(stamp) => {
                    tree.files.push(FoundFile { file, stamp });
                    continue;
                }
                FileKind::Unusable(reason) => reason,
                FileKind::Folder => match fs::canonicalize(&path) {
                    // A link back up is a loop, and on the way leads through the other classes.
                    Ok(real) if ancestors.iter().any(|above| above.starts_with(&real)) => {
                        "is a link to a folder that contains it".to_owned()
                    }
                    real => {
                        // One that cannot be read is a folder all the same: without its images, a class would be missing.
                        tree.folders.push(file.clone());
                        match real.and_then(|real| Ok((real, sorted_entries(&path)?))) {
                            Ok((real, entries)) => {
                                let ancestors = [ancestors, &[real]].concat();
                                walk(entries, &file, &ancestors, tree);
                                continue;
                            }
                            Err(error) => format!("cannot be listed: {error}"),
                        }
                    }
                },
            }
        };
        tree.unusable.push(Rejected { file, reason });
    }
}

enum FileKind {
    Folder,
    File(Stamp),
    Unusable(String),
}

/// Follows links; opens nothing, so that a pipe without a writer cannot hold the scan.
fn kind(path: &Path) -> FileKind {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if path.is_symlink() => {
            return FileKind::Unusable(format!("is a link that leads nowhere: {error}"));
        }
        Err(error) => return FileKind::Unusable(format!("cannot be opened: {error}")),
    };
    if metadata.is_dir() {
        return FileKind::Folder;
    }
    if !metadata.is_file() {
        return FileKind::Unusable("is not a regular file".to_owned());
    }
    FileKind::File(Stamp::of(&metadata))
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

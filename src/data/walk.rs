//! The files below a data folder. Reads names and metadata, never contents; knows nothing of classes.

use std::{
    ffi::OsStr,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::{
    data::stamp::Stamp,
    error::{Error, Result},
};

/// A regular file below the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundFile {
    /// The path relative to the root, with `/` on every system.
    pub(crate) file: String,
    pub(crate) stamp: Stamp,
}

/// A file or folder that is not used as an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// The path relative to the root, with `/` on every system; bytes that are not UTF-8 are replaced.
    pub(crate) file: String,
    /// A predicate whose subject is the file, such as "is truncated". Written to `rejected.csv`.
    pub(crate) reason: String,
}

/// ``  `cats/1.jpg` is truncated ``
impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.file, self.reason)
    }
}

/// Everything below a root, unread. All names are relative to the root, with `/`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// All folders, each before its contents.
    pub(crate) folders: Vec<String>,
    pub(crate) files: Vec<FoundFile>,
    /// Entries that must not be opened: pipes, broken links, names that are not UTF-8.
    pub(crate) unusable: Vec<Rejected>,
}

impl Tree {
    /// The names of the folders directly in `parent`, or directly in the root if `parent` is empty.
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

/// Lists everything below `root` in byte order, except hidden files and the litter of file managers.
pub(crate) fn tree(root: &Path) -> Result<Tree> {
    let unreadable = |error: io::Error| {
        Error::data(format!("cannot list `{}`: {error}", root.display()))
            .at(root)
            .help("set `data.root` to a folder that you are allowed to read")
    };
    let real = fs::canonicalize(root).map_err(unreadable)?;
    let entries = sorted_entries(root).map_err(unreadable)?;
    let mut tree = Tree::default();
    walk(entries, "", &[real], &mut tree);
    Ok(tree)
}

/// Adds `entries` and everything below them to the tree. `prefix` is the name of their folder; `ancestors` are the real paths
/// of the folders from the root to it, which reveal links that lead back up.
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
                    // Following a link to a parent folder would never end, and would list the other classes again below it.
                    Ok(real) if ancestors.iter().any(|above| above.starts_with(&real)) => {
                        "is a link to a folder that contains it".to_owned()
                    }
                    real => {
                        // A folder that cannot be read is still listed: otherwise its class would silently disappear.
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

/// Determines what a path is. Follows links but opens nothing: opening a pipe without a writer would block the scan.
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

/// Lists names and paths in byte order, without hidden files and the litter of file managers.
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

/// Files and folders that Windows, macOS, Linux and Synology (`@eaDir`, with thumbnails) create among the user's own.
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

//! The files below a data folder. Reads names and metadata, never contents; knows nothing of classes.

use std::{
    collections::BinaryHeap,
    ffi::{OsStr, OsString},
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
    let mut tree = Tree::default();
    for entry in Walk::new(root).map_err(unreadable)? {
        match entry {
            Entry::Folder(folder) => tree.folders.push(folder),
            Entry::File(file) => tree.files.push(file),
            Entry::Unusable(rejected) => tree.unusable.push(rejected),
        }
    }
    Ok(tree)
}

/// Something below a folder. Its name is relative to the folder, with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It comes before its contents, even if they cannot be listed: otherwise its class would silently disappear.
    Folder(String),
    File(FoundFile),
    Unusable(Rejected),
}

/// Walks through everything below a folder, in the order of [`tree`]. Reads folders when it comes to them, and holds no more than
/// [`N_NAMES`] names of each folder on the way, so it needs little memory for any number of files.
pub(crate) struct Walk {
    /// The folders from the root to the one that is being read.
    levels: Vec<Level>,
    /// What to return next, before reading on.
    next: Option<Entry>,
}

struct Level {
    names: Names,
    /// The name of the folder; empty for the root.
    prefix: String,
    /// The real path, which reveals links that lead back up.
    real: PathBuf,
}

impl Walk {
    /// Fails if the folder itself cannot be read.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let level = Level {
            real: fs::canonicalize(root)?,
            names: Names::new(root.to_owned(), N_NAMES)?,
            prefix: String::new(),
        };
        Ok(Self {
            levels: vec![level],
            next: None,
        })
    }

    /// Examines the entry `name` of the folder that is being read; a folder is read next.
    fn examine(&mut self, level: &Level, name: &OsStr) -> Entry {
        let file = match level.prefix.as_str() {
            "" => name.to_string_lossy().into_owned(),
            prefix => format!("{prefix}/{}", name.to_string_lossy()),
        };
        let unusable = |file, reason| Entry::Unusable(Rejected { file, reason });
        if name.to_str().is_none() {
            return unusable(file, "the name is not UTF-8".to_owned());
        }
        let path = level.names.folder.join(name);
        match kind(&path) {
            FileKind::File(stamp) => return Entry::File(FoundFile { file, stamp }),
            FileKind::Unusable(reason) => return unusable(file, reason),
            FileKind::Folder => {}
        }
        let real = match fs::canonicalize(&path) {
            Ok(real) => real,
            Err(error) => return self.unlisted(file, &error),
        };
        // Following a link to a parent folder would never end, and would list the other classes again below it.
        let is_above = |above: &Level| above.real.starts_with(&real);
        if is_above(level) || self.levels.iter().any(is_above) {
            let reason = "is a link to a folder that contains it".to_owned();
            return unusable(file, reason);
        }
        match Names::new(path, N_NAMES) {
            Ok(names) => self.levels.push(Level {
                names,
                prefix: file.clone(),
                real,
            }),
            Err(error) => return self.unlisted(file, &error),
        }
        Entry::Folder(file)
    }

    /// A folder, which an entry with the reason why it cannot be listed will follow.
    fn unlisted(&mut self, file: String, error: &io::Error) -> Entry {
        self.next = Some(cannot_be_listed(file.clone(), error));
        Entry::Folder(file)
    }
}

fn cannot_be_listed(file: String, error: &io::Error) -> Entry {
    let reason = format!("cannot be listed: {error}");
    Entry::Unusable(Rejected { file, reason })
}

impl Iterator for Walk {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if let Some(entry) = self.next.take() {
            return Some(entry);
        }
        while let Some(mut level) = self.levels.pop() {
            match level.names.next() {
                None => {}
                Some(Err(error)) => return Some(cannot_be_listed(level.prefix, &error)),
                Some(Ok(name)) => {
                    // A folder is put on top of the one that contains it.
                    let at = self.levels.len();
                    let entry = self.examine(&level, &name);
                    self.levels.insert(at, level);
                    return Some(entry);
                }
            }
        }
        None
    }
}

/// The most names of one folder that are in memory at a time: a few megabytes.
const N_NAMES: usize = 1 << 16;

/// The names in a folder in byte order, without hidden files and the litter of file managers. A folder of more than `n_at_once` is
/// read several times, each time for the names that come next.
struct Names {
    folder: PathBuf,
    n_at_once: usize,
    read: std::vec::IntoIter<OsString>,
    /// The last name of `read`, if the folder has names behind it.
    last: Option<OsString>,
}

impl Names {
    fn new(folder: PathBuf, n_at_once: usize) -> io::Result<Self> {
        let mut names = Self {
            folder,
            n_at_once,
            read: Vec::new().into_iter(),
            last: None,
        };
        names.read_after(None)?;
        Ok(names)
    }

    /// Reads the first `n_at_once` names behind `last`, or of all.
    fn read_after(&mut self, last: Option<&OsStr>) -> io::Result<()> {
        // The largest name is on top of the heap, where a smaller one replaces it.
        let (mut first, mut has_more) = (BinaryHeap::new(), false);
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            if is_litter(&name) || last.is_some_and(|last| *name <= *last) {
                continue;
            }
            if first.len() < self.n_at_once {
                first.push(name);
                continue;
            }
            has_more = true;
            if let Some(mut largest) = first.peek_mut()
                && name < *largest
            {
                *largest = name;
            }
        }
        let names = first.into_sorted_vec();
        self.last = names.last().filter(|_| has_more).cloned();
        self.read = names.into_iter();
        Ok(())
    }
}

impl Iterator for Names {
    type Item = io::Result<OsString>;

    fn next(&mut self) -> Option<io::Result<OsString>> {
        if self.read.len() == 0
            && let Some(last) = self.last.take()
            && let Err(error) = self.read_after(Some(&last))
        {
            return Some(Err(error));
        }
        self.read.next().map(Ok)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_read_in_portions_has_its_names_in_order_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected: Vec<String> = (0..23).map(|n| format!("{}.jpg", n * 7 % 23)).collect();
        for name in &expected {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(folder.path().join(".hidden"), "").unwrap();
        expected.sort();
        for n_at_once in [1, 2, 5, 22, 23, 24] {
            let names = Names::new(folder.path().to_owned(), n_at_once).unwrap();
            let names: Vec<String> = names
                .map(|name| name.unwrap().into_string().unwrap())
                .collect();
            assert_eq!(names, expected, "{n_at_once} at once");
        }
    }

    #[test]
    fn a_folder_comes_before_its_contents_and_the_rest_after_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("b/c")).unwrap();
        for file in ["a", "b/c/d", "b/e", "f"] {
            fs::write(root.join(file), "").unwrap();
        }
        let names = Walk::new(root).unwrap().map(|entry| match entry {
            Entry::Folder(folder) => format!("{folder}/"),
            Entry::File(found) => found.file,
            Entry::Unusable(rejected) => rejected.to_string(),
        });
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["a", "b/", "b/c/", "b/c/d", "b/e", "f"]
        );
    }
}

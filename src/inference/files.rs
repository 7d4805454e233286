//! The files that a command line names: files, folders with everything below them, patterns, and lists on stdin. They are found
//! lazily and in a fixed order, so that a million of them take no memory and an interrupted command finds them again.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::data::{
    claims,
    walk::{Entry, Walk},
};

/// A file to predict, or something in its place that cannot be one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    /// The path as it was given, with `/` on every system; bytes that are not UTF-8 are replaced.
    pub(crate) name: String,
    /// Why it cannot be a photo: a predicate whose subject is the file.
    pub(crate) problem: Option<String>,
    /// Whether it was found in a folder. Such a file is skipped if it does not claim to be an image.
    pub(crate) is_found: bool,
    /// The class that its folder is named after.
    pub(crate) true_class: Option<usize>,
}

impl InputFile {
    /// Whether only the content can tell if the file is skipped.
    pub(crate) fn may_be_skipped(&self) -> bool {
        self.is_found && self.problem.is_none() && !claims::by_name(&self.name)
    }
}

/// The argument that stands for a list on stdin.
pub(crate) const STDIN: &str = "-";

/// The class names of a model, as names of folders.
#[derive(Clone)]
pub(crate) struct ClassFolders(Arc<HashMap<String, usize>>);

impl ClassFolders {
    /// With no classes, no folder tells a class.
    pub(crate) fn new(classes: &[String]) -> Self {
        let numbered = classes.iter().cloned().zip(0..);
        Self(Arc::new(numbered.collect()))
    }

    /// The class of the folder name that comes last.
    fn last_of<'a>(&self, folders: impl DoubleEndedIterator<Item = &'a str>) -> Option<usize> {
        folders.rev().find_map(|name| self.0.get(name).copied())
    }
}

type Files = Box<dyn Iterator<Item = InputFile> + Send>;

/// The files that the arguments name, in the order of the arguments, and in byte order in each folder.
pub(crate) fn find(args: &[PathBuf], list: ListFormat, classes: &ClassFolders) -> Files {
    let (args, classes) = (args.to_vec(), classes.clone());
    Box::new(args.into_iter().flat_map(move |path| {
        if path.as_os_str() == STDIN {
            let classes = classes.clone();
            let paths = Lines::new(std::io::stdin(), list);
            return Box::new(paths.flat_map(move |path| existing(&path, &classes))) as Files;
        }
        if path.symlink_metadata().is_ok() {
            return existing(&path, &classes);
        }
        matching(&path, &classes).unwrap_or_else(|| existing(&path, &classes))
    }))
}

/// A file, or everything in a folder.
fn existing(path: &Path, classes: &ClassFolders) -> Files {
    if path.is_dir() {
        return folder(path, classes);
    }
    let parent = path.parent().and_then(Path::file_name);
    let parent = parent.and_then(|name| name.to_str());
    let mut file = input_file(path);
    file.true_class = classes.last_of(parent.into_iter());
    Box::new(std::iter::once(file))
}

fn input_file(path: &Path) -> InputFile {
    let problem = path
        .to_str()
        .is_none()
        .then(|| "the name is not UTF-8".to_owned());
    InputFile {
        name: shown(path),
        path: path.to_owned(),
        problem,
        ..InputFile::default()
    }
}

/// A path with `/` on every system.
fn shown(path: &Path) -> String {
    let name = path.to_string_lossy().into_owned();
    if std::path::MAIN_SEPARATOR == '/' {
        name
    } else {
        name.replace(std::path::MAIN_SEPARATOR, "/")
    }
}

fn folder(root: &Path, classes: &ClassFolders) -> Files {
    let walk = match Walk::new(root) {
        Ok(walk) => walk,
        Err(error) => {
            let problem = Some(format!("cannot be listed: {error}"));
            let file = InputFile {
                problem,
                ..input_file(root)
            };
            return Box::new(std::iter::once(file));
        }
    };
    let (root, classes) = (root.to_owned(), classes.clone());
    let own = root.file_name().and_then(|name| name.to_str());
    let own_class = classes.last_of(own.into_iter());
    Box::new(walk.filter_map(move |entry| {
        let (file, reason) = match entry {
            Entry::Folder(_) => return None,
            Entry::File(found) => (found.file, None),
            Entry::Unusable(rejected) => (rejected.file, Some(rejected.reason)),
        };
        let mut folders = file.split('/');
        folders.next_back();
        let true_class = classes.last_of(folders).or(own_class);
        let path = root.join(&file);
        Some(InputFile {
            problem: reason,
            is_found: true,
            true_class,
            ..input_file(&path)
        })
    }))
}

/// The files and folders that match a pattern of the shell; `None` if the path is no pattern.
fn matching(pattern: &Path, classes: &ClassFolders) -> Option<Files> {
    let text = pattern
        .to_str()
        .filter(|text| text.contains(['*', '?', '[']))?;
    let problem = |text: String| {
        let file = InputFile {
            problem: Some(text),
            ..input_file(pattern)
        };
        Box::new(std::iter::once(file)) as Files
    };
    let options = glob::MatchOptions {
        // Like the shell, and like folders, which leave hidden files out.
        require_literal_leading_dot: true,
        require_literal_separator: true,
        case_sensitive: true,
    };
    let mut paths = match glob::glob_with(text, options) {
        Ok(paths) => paths.peekable(),
        Err(error) => return Some(problem(format!("is not a valid pattern: {}", error.msg))),
    };
    if paths.peek().is_none() {
        return Some(problem("matches no file".to_owned()));
    }
    let classes = classes.clone();
    Some(Box::new(paths.flat_map(move |path| match path {
        Ok(path) => existing(&path, &classes),
        Err(error) => {
            let reason = format!("cannot be listed: {}", error.error());
            let file = InputFile {
                problem: Some(reason),
                ..input_file(error.path())
            };
            Box::new(std::iter::once(file))
        }
    })))
}

/// What separates the names in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListFormat {
    /// Line ends, of Unix or Windows.
    Lines,
    /// Zero bytes, as by `find -print0`.
    Zeros,
}

/// The paths of a list, one at a time.
struct Lines<R> {
    source: BufReader<R>,
    format: ListFormat,
}

impl<R: Read> Lines<R> {
    fn new(source: R, format: ListFormat) -> Self {
        Self {
            source: BufReader::new(source),
            format,
        }
    }

    fn end(&self) -> u8 {
        match self.format {
            ListFormat::Lines => b'\n',
            ListFormat::Zeros => 0,
        }
    }
}

/// No system has longer paths, so a longer line is not one, and is not read into memory.
const MOST_PATH_BYTES: u64 = 1 << 16;

impl<R: Read> Iterator for Lines<R> {
    type Item = PathBuf;

    fn next(&mut self) -> Option<PathBuf> {
        loop {
            let mut line = Vec::new();
            let end = self.end();
            let n_read = (&mut self.source)
                .take(MOST_PATH_BYTES)
                .read_until(end, &mut line);
            if n_read.ok()? == 0 {
                return None;
            }
            if line.last() == Some(&end) {
                line.pop();
            }
            if self.format == ListFormat::Lines && line.last() == Some(&b'\r') {
                line.pop();
            }
            if !line.is_empty() {
                return Some(path_of(line));
            }
        }
    }
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(text: &[u8], format: ListFormat) -> Vec<String> {
        let paths = Lines::new(text, format);
        paths
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn lists_have_a_path_per_line_or_between_zeros() {
        let text = b"a b.jpg\r\n\n-\nc\n.jpg";
        assert_eq!(
            lines(text, ListFormat::Lines),
            ["a b.jpg", "-", "c", ".jpg"]
        );
        let text = b"a\nb.jpg\0c.jpg\r\0";
        assert_eq!(lines(text, ListFormat::Zeros), ["a\nb.jpg", "c.jpg\r"]);
    }

    #[test]
    fn folders_and_patterns_give_the_files_and_the_classes_of_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("Cat/old")).unwrap();
        fs::create_dir_all(root.join("else[1]")).unwrap();
        for file in [
            "Cat/old/b.jpg",
            "Cat/a.jpg",
            "else[1]/c.jpg",
            "z.txt",
            ".hidden",
        ] {
            fs::write(root.join(file), "").unwrap();
        }
        let classes = ClassFolders::new(&["Cat".to_owned(), "Dog".to_owned()]);
        let found = |args: &[&str]| -> Vec<(String, Option<usize>, Option<String>)> {
            let args: Vec<PathBuf> = args.iter().map(|arg| root.join(arg)).collect();
            let files = find(&args, ListFormat::Lines, &classes);
            let prefix = format!("{}/", shown(root));
            let relative = |name: &str| name.strip_prefix(&prefix).unwrap().to_owned();
            files
                .map(|it| (relative(&it.name), it.true_class, it.problem))
                .collect()
        };
        let fine = |name: &str, class| (name.to_owned(), class, None);
        let all = [
            fine("Cat/a.jpg", Some(0)),
            fine("Cat/old/b.jpg", Some(0)),
            fine("else[1]/c.jpg", None),
            fine("z.txt", None),
        ];
        assert_eq!(found(&["."]).len(), 4);
        assert_eq!(found(&["Cat", "else[1]"]), all[..3]);
        assert_eq!(found(&["*/*.jpg"]), [all[0].clone(), all[2].clone()]);
        assert_eq!(found(&["C*"]), all[..2]);
        // Of a file that a pattern finds, only its own folder counts.
        let by_pattern = [all[0].clone(), fine("Cat/old/b.jpg", None), all[2].clone()];
        assert_eq!(found(&["**/*.jpg"]), by_pattern);
        assert_eq!(
            found(&["Cat/a.jpg", "z.txt"]),
            [all[0].clone(), all[3].clone()]
        );
        let none = |name: &str, problem: &str| (name.to_owned(), None, Some(problem.to_owned()));
        assert_eq!(found(&["*.png"]), [none("*.png", "matches no file")]);
        let problem = "is not a valid pattern: invalid range pattern";
        assert_eq!(found(&["a["]), [none("a[", problem)]);
        assert_eq!(found(&["gone.jpg"]), [fine("gone.jpg", None)]);
    }
}

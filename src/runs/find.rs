//! Resolves the words of a command line to run directories.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::starts::KilledStart;
use crate::{
    error::{Error, Result},
    rundir::{RunDir, is_hidden, recipe},
    text::moment,
    text::suggest::nearest,
};

/// How deep runs are searched in a folder: the trials of a sweep are one level further down.
const MAX_DEPTH: usize = 2;

/// Which directories are accepted as runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Only complete run directories.
    Whole,
    /// Also bare copies: tables without a manifest.
    Bare,
}

/// Run directories, and the errors of others that cannot be read.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) runs: Vec<RunDir>,
    pub(crate) left_out: Vec<Error>,
    /// What killed starts left behind. They do not make a folder a folder of runs.
    pub(crate) starts: Vec<KilledStart>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.left_out.is_empty()
    }

    /// Collects the error of a run that cannot be read, for example of another version, instead of hiding the rest.
    fn add(&mut self, run: Result<RunDir>) {
        match run {
            Ok(run) => self.runs.push(run),
            Err(error) => self.left_out.push(error),
        }
    }

    /// Fails if there are only runs that cannot be read: an empty result would hide the reason.
    fn some(mut self) -> Result<Self> {
        match self.left_out.pop() {
            Some(error) if self.runs.is_empty() => Err(error),
            error => {
                self.left_out.extend(error);
                Ok(self)
            }
        }
    }
}

/// What a word that is not a pattern refers to.
enum RunTarget {
    Run(PathBuf),
    Folder(PathBuf, Found),
}

/// The runs that the words refer to, in order and without duplicates. A word is a run directory, the name of one in `runs_dir`, a
/// folder of runs such as a sweep's, a pattern with `*`, `?` or `[..]`, or `latest:NAME`.
pub(crate) fn find(words: &[String], runs_dir: &Path, admit: Admit) -> Result<Found> {
    let mut found = Found::default();
    for word in words {
        let Found { runs, left_out, .. } = find_one(word, runs_dir, admit)?;
        found.runs.extend(runs);
        found.left_out.extend(left_out);
    }
    let mut seen = HashSet::new();
    found.runs.retain(|run: &RunDir| {
        seen.insert(fs::canonicalize(run.path()).unwrap_or_else(|_| run.path().to_owned()))
    });
    Ok(found)
}

/// The only run that a word refers to.
pub(crate) fn find_single(word: &str, runs_dir: &Path, admit: Admit) -> Result<RunDir> {
    let mut runs = find(&[word.to_owned()], runs_dir, admit)?.runs;
    match (runs.pop(), runs.is_empty()) {
        (Some(run), true) => Ok(run),
        (Some(_) | None, _) => Err(Error::usage(format!("`{word}` is more than one run")).help(
            format!("run `runner list` to see them, or `runner compare {word}` to compare them"),
        )),
    }
}

/// The remains of a killed start that a word refers to, if any.
pub(crate) fn find_start(word: &str, runs_dir: &Path) -> Option<KilledStart> {
    let places = [PathBuf::from(word), runs_dir.join(word)];
    places
        .iter()
        .find_map(|path| KilledStart::at(&path.components().collect::<PathBuf>()))
}

/// The folder of runs that a word refers to, and its runs; `None` if it refers to a run or to nothing.
pub(crate) fn find_folder(word: &str, runs_dir: &Path) -> Option<(PathBuf, Vec<RunDir>)> {
    match place(word, runs_dir)? {
        RunTarget::Folder(path, found) => Some((path, found.runs)),
        RunTarget::Run(_) => None,
    }
}

fn place(word: &str, runs_dir: &Path) -> Option<RunTarget> {
    // Going through `components` removes a trailing slash, as shells add it: with one, a link would be followed.
    let places = [PathBuf::from(word), runs_dir.join(word)];
    places.iter().find_map(|path| {
        let path: PathBuf = path.components().collect();
        if is_run(&path) {
            return Some(RunTarget::Run(path));
        }
        let found = listing(&path);
        (!found.is_empty()).then_some(RunTarget::Folder(path, found))
    })
}

fn find_one(word: &str, runs_dir: &Path, admit: Admit) -> Result<Found> {
    if word.is_empty() {
        // The typical cause is an unset variable in a script; joined to `runs_dir` it would mean all runs.
        return Err(Error::usage("the name of a run is empty")
            .help("use a run directory, a pattern, or `latest:NAME`"));
    }
    let one = |run: RunDir| Found {
        runs: vec![run],
        ..Found::default()
    };
    if let Some(name) = word.strip_prefix("latest:") {
        return Ok(one(RunDir::latest(runs_dir, name)?));
    }
    match place(word, runs_dir) {
        Some(RunTarget::Run(path)) => return Ok(one(RunDir::open(&path)?)),
        Some(RunTarget::Folder(_, found)) => return found.some(),
        None => {}
    }
    let mut places = [PathBuf::from(word), runs_dir.join(word)].into_iter();
    if let Some(path) = places.find(|path| admit == Admit::Bare && is_bare(path)) {
        return Ok(one(RunDir::bare(&path)));
    }
    if word.contains(['*', '?', '[']) {
        let found = [PathBuf::from(word), runs_dir.join(word)]
            .iter()
            .map(|pattern| matching(pattern, admit))
            .find(|found| !found.is_empty())
            .unwrap_or_default();
        if found.is_empty() {
            return Err(Error::usage(format!("no run directory matches `{word}`")));
        }
        return found.some();
    }
    Err(unknown(word, runs_dir))
}

fn unknown(word: &str, runs_dir: &Path) -> Error {
    let place = Path::new(word);
    if place.is_dir() {
        return Error::run(
            place,
            "the folder is not a run directory: it has no manifest.toml",
        );
    }
    if place.exists() {
        return Error::run(place, "expected a run directory, found a file");
    }
    let names: Vec<String> = all(runs_dir)
        .iter()
        .filter_map(|run| Some(run.path().file_name()?.to_str()?.to_owned()))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let help = match nearest(word, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "run `runner list` to see the runs; `latest:NAME` is the newest run of a name"
            .to_owned(),
    };
    Error::usage(format!("unknown run `{word}`")).help(help)
}

/// The run directories in a folder and in its folders, the oldest first.
pub(crate) fn all(folder: &Path) -> Vec<RunDir> {
    listing(folder).runs
}

/// Like `all`, with the errors of runs that cannot be read.
pub(crate) fn listing(folder: &Path) -> Found {
    let mut found = Found::default();
    collect(folder, MAX_DEPTH, &mut found);
    found.runs = by_time(found.runs);
    found
}

/// Sorts by the start in the manifest: the time in the name has only seconds, and several runs may start in one.
fn by_time(runs: Vec<RunDir>) -> Vec<RunDir> {
    let started = |run: &RunDir| moment::parse(&recipe::manifest(run).ok()?.started);
    let runs = runs.into_par_iter().map(|run| (started(&run), run));
    let mut runs: Vec<(Option<DateTime<Utc>>, RunDir)> = runs.collect();
    runs.sort_by_key(|(started, _)| *started);
    runs.into_iter().map(|(_, run)| run).collect()
}

/// What a folder inside a folder of runs is.
enum FolderKind {
    Run(Result<RunDir>),
    Start(KilledStart),
    Other,
}

impl FolderKind {
    fn of(path: &Path) -> Self {
        if is_run(path) {
            Self::Run(RunDir::open(path))
        } else {
            KilledStart::at(path).map_or(Self::Other, Self::Start)
        }
    }
}

fn collect(folder: &Path, depth: usize, found: &mut Found) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && !is_hidden(path))
        .collect();
    folders.sort();
    let kinds: Vec<FolderKind> = folders
        .par_iter()
        .map(|path| FolderKind::of(path))
        .collect();
    for (path, kind) in folders.iter().zip(kinds) {
        match kind {
            FolderKind::Run(run) => found.add(run),
            FolderKind::Start(start) => found.starts.push(start),
            FolderKind::Other if depth > 1 => collect(path, depth - 1, found),
            FolderKind::Other => {}
        }
    }
}

fn matching(pattern: &Path, admit: Admit) -> Found {
    let mut found = Found::default();
    let paths = pattern
        .to_str()
        .and_then(|pattern| glob::glob(pattern).ok());
    for path in paths
        .into_iter()
        .flatten()
        .filter_map(std::result::Result::ok)
        // As in a shell, hidden entries must be asked for. The library's own option for that panics on non-ASCII names.
        .filter(|path| !is_hidden(path) || is_hidden(pattern))
    {
        if is_run(&path) {
            found.add(RunDir::open(&path));
        } else if admit == Admit::Bare && is_bare(&path) {
            found.runs.push(RunDir::bare(&path));
        }
    }
    found.runs = by_time(found.runs);
    found
}

fn is_run(path: &Path) -> bool {
    recipe::is_run(path)
}

fn is_bare(path: &Path) -> bool {
    let run = RunDir::bare(path);
    !is_run(path) && (run.metrics_csv().is_file() || run.predictions_csv().is_file())
}

//! From the words of a command line to run directories.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    config::problem::nearest,
    error::{Error, Result},
    records::{self, Manifest},
    rundir::RunDir,
};

/// Folders between a runs folder and a run: a sweep's trials lie one below.
const MAX_DEPTH: usize = 2;

/// The runs that the words name, in their order, each once. A word is a run directory, its name in `runs_dir`, a folder
/// of runs such as a sweep's, a pattern with `*`, `?` or `[..]`, or `latest:NAME`.
pub(crate) fn find(words: &[String], runs_dir: &Path) -> Result<Vec<RunDir>> {
    let mut found = Vec::new();
    for word in words {
        found.extend(find_one(word, runs_dir)?);
    }
    let mut seen = HashSet::new();
    found.retain(|run: &RunDir| {
        seen.insert(fs::canonicalize(run.path()).unwrap_or_else(|_| run.path().to_owned()))
    });
    Ok(found)
}

/// The one run that a word names.
pub(crate) fn find_single(word: &str, runs_dir: &Path) -> Result<RunDir> {
    let mut found = find(&[word.to_owned()], runs_dir)?;
    match (found.pop(), found.is_empty()) {
        (Some(run), true) => Ok(run),
        (Some(_) | None, _) => Err(Error::Usage(format!(
            "{word}: is more than one run\nhelp: `runner list` shows them, `runner compare {word}` compares them"
        ))),
    }
}

fn find_one(word: &str, runs_dir: &Path) -> Result<Vec<RunDir>> {
    if let Some(name) = word.strip_prefix("latest:") {
        return Ok(vec![RunDir::latest(runs_dir, name)?]);
    }
    for place in [PathBuf::from(word), runs_dir.join(word)] {
        if is_run(&place) {
            return Ok(vec![RunDir::open(&place)?]);
        }
        let runs = all(&place);
        if place.is_dir() && !runs.is_empty() {
            return Ok(runs);
        }
    }
    if word.contains(['*', '?', '[']) {
        let runs: Vec<RunDir> = [PathBuf::from(word), runs_dir.join(word)]
            .iter()
            .map(|pattern| matching(pattern))
            .find(|runs| !runs.is_empty())
            .unwrap_or_default();
        if runs.is_empty() {
            return Err(Error::Usage(format!("`{word}`: no run directory matches")));
        }
        return Ok(runs);
    }
    Err(unknown(word, runs_dir))
}

fn unknown(word: &str, runs_dir: &Path) -> Error {
    let place = Path::new(word);
    if place.is_dir() {
        return Error::Run {
            path: place.to_owned(),
            fact: "is no run directory: it has no manifest.toml".to_owned(),
        };
    }
    let names: Vec<String> = all(runs_dir)
        .iter()
        .filter_map(|run| Some(run.path().file_name()?.to_str()?.to_owned()))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let help = match nearest(word, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`runner list` shows the runs; `latest:NAME` is the newest of a name".to_owned(),
    };
    Error::Usage(format!("{word}: there is no such run\nhelp: {help}"))
}

/// The run directories in a folder and in its folders, the oldest first.
pub(crate) fn all(folder: &Path) -> Vec<RunDir> {
    let mut runs = Vec::new();
    collect(folder, MAX_DEPTH, &mut runs);
    by_time(runs)
}

/// Names tell the second, in which several may start.
fn by_time(mut runs: Vec<RunDir>) -> Vec<RunDir> {
    runs.sort_by_cached_key(|run| {
        let manifest: Result<Manifest> = records::read_toml(&run.manifest_toml());
        manifest.map_or_else(|_| String::new(), |manifest| manifest.started)
    });
    runs
}

fn collect(folder: &Path, depth: usize, runs: &mut Vec<RunDir>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && !is_hidden(path))
        .collect();
    folders.sort();
    for path in folders {
        if is_run(&path) {
            // One of another version is no reason to hide the rest.
            runs.extend(RunDir::open(&path));
        } else if depth > 1 {
            collect(&path, depth - 1, runs);
        }
    }
}

fn matching(pattern: &Path) -> Vec<RunDir> {
    let Some(paths) = pattern
        .to_str()
        .and_then(|pattern| glob::glob(pattern).ok())
    else {
        return Vec::new();
    };
    let runs = paths
        .filter_map(std::result::Result::ok)
        .filter(|path| is_run(path))
        .filter_map(|path| RunDir::open(&path).ok());
    by_time(runs.collect())
}

/// As what is left of a run that was being removed.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with('.')
}

fn is_run(path: &Path) -> bool {
    path.join("manifest.toml").is_file()
}

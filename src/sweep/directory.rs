//! The directory of a sweep: its name, the names of its files, and how the runs in it are matched to trials.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rayon::prelude::*;
use toml::{Table, Value};

use super::trial_dir::TrialDir;
use crate::{
    claim::ClaimPaths,
    config::{
        DEFAULTS,
        schema::{self, Effect},
    },
    disk::{files, hash},
    error::{Error, Result},
    rundir::{RunDir, is_hidden},
};

/// The directory of a sweep, which contains the runs of its trials. The name depends on the sweep alone, so that running the sweep
/// again resumes it.
#[derive(Clone, Debug)]
pub(crate) struct SweepDir {
    path: PathBuf,
}

impl SweepDir {
    pub(crate) fn new(runs_dir: &Path, name: &str) -> Self {
        Self {
            path: runs_dir.join(format!("sweep-{name}")),
        }
    }

    /// The sweep with this directory; `None` if it is not the directory of a sweep.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let dir = Self {
            path: path.to_owned(),
        };
        dir.sweep_toml().is_file().then_some(dir)
    }

    pub(crate) fn create(&self) -> Result<()> {
        for folder in [self.logs(), self.trials()] {
            fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            files::clear_litter(&folder, files::STALE);
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The copy of the user's sweep file as of the last start, with secrets in URLs masked.
    pub(crate) fn sweep_toml(&self) -> PathBuf {
        self.path.join("sweep.toml")
    }
    pub(crate) fn leaderboard_csv(&self) -> PathBuf {
        self.path.join("leaderboard.csv")
    }
    pub(crate) fn leaderboard_png(&self) -> PathBuf {
        self.path.join("leaderboard.png")
    }
    /// The trials, for the processes that run them.
    pub(crate) fn trials_csv(&self) -> PathBuf {
        self.path.join("trials.csv")
    }
    /// How the sweep searches, for the processes that run its trials.
    pub(crate) fn search_toml(&self) -> PathBuf {
        self.path.join("search.toml")
    }
    /// While this file exists, no trial starts.
    pub(crate) fn cancelled(&self) -> PathBuf {
        self.path.join("CANCEL")
    }
    pub(crate) fn trial(&self, name: &str) -> TrialDir {
        TrialDir::at(&self.trials().join(name))
    }
    /// The folder of what trials have after this many epochs.
    pub(crate) fn rung(&self, epochs: usize) -> PathBuf {
        self.rungs().join(epochs.to_string())
    }
    /// The stderr of a trial's process.
    pub(crate) fn log_of(&self, trial: &str) -> PathBuf {
        self.logs().join(format!("{trial}.log"))
    }
    /// The files of the claim that the process running the sweep holds.
    pub(crate) fn place(&self) -> ClaimPaths {
        ClaimPaths {
            dir: self.path.clone(),
            lock: self.path.join("sweep.lock"),
            owner: self.path.join("claim.toml"),
        }
    }

    /// The files in the directory besides the runs. `sweep.toml` is last, because without it this is no longer a sweep's directory,
    /// and an interrupted removal could not be repeated.
    pub(crate) fn files(&self) -> [PathBuf; 8] {
        let place = self.place();
        [
            self.leaderboard_csv(),
            self.leaderboard_png(),
            self.trials_csv(),
            self.search_toml(),
            self.cancelled(),
            place.owner,
            place.lock,
            self.sweep_toml(),
        ]
    }
    /// The folders in the directory besides the runs, each with the endings of its files and after the folders in it.
    pub(crate) fn folders(&self) -> Vec<(PathBuf, &'static [&'static str])> {
        let inside = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten();
        let paths = |folder| inside(folder).filter_map(|entry| Some(entry.ok()?.path()));
        let mut folders: Vec<(PathBuf, &'static [&'static str])> = Vec::new();
        folders.extend(paths(self.trials()).map(|path| (path, &["toml", "lock"][..])));
        folders
            .extend(paths(self.rungs()).map(|path| (path, &["toml", "promoted", "demoted"][..])));
        // Earlier versions kept the files of trials without folders.
        folders.extend([
            (self.trials(), &["toml"][..]),
            (self.rungs(), &[]),
            (self.logs(), &["log"]),
        ]);
        folders
    }

    fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }
    fn trials(&self) -> PathBuf {
        self.path.join("trials")
    }
    fn rungs(&self) -> PathBuf {
        self.path.join("rungs")
    }

    /// The runs in the directory except the known ones, which are not opened.
    pub(crate) fn runs_but(&self, known: &HashSet<&Path>) -> Vec<RunDir> {
        let entries = fs::read_dir(&self.path).into_iter().flatten();
        let paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| !known.contains(path.as_path()) && !is_hidden(path))
            .collect();
        let runs = paths.par_iter().map(|path| RunDir::open(path).ok());
        runs.collect::<Vec<_>>().into_iter().flatten().collect()
    }
}

/// The settings by which a run is recognised as a trial: those that results depend on, and the axes.
pub(crate) fn identity(whole: &Table, axes: &[String]) -> Table {
    static ALL_DEFAULTS: LazyLock<Table> = LazyLock::new(|| DEFAULTS.parse().unwrap_or_default());
    let mut experiment = whole.clone();
    // Runs of earlier builds lack keys that have been added since; they did what the defaults say.
    add_missing(&mut experiment, &ALL_DEFAULTS, "transforms");
    schema::retain(&mut experiment, &|key| {
        key.is_none_or(|key| key.effect == Effect::Results)
    });
    for axis in axes {
        if let Some(value) = look_up(whole, axis) {
            // Keys of the table have no dots, so this cannot replace one of them.
            experiment.insert(axis.clone(), value.clone());
        }
    }
    experiment
}

/// What a run is recognised by as a trial: 16 hexadecimal digits of the hash of its identity and its images. The same on every
/// machine and in every version, as long as the identity is.
pub(crate) fn key(identity: &Table, data_sha256: &str) -> String {
    let mut text = String::new();
    write_canonical(identity, &mut text);
    text.push_str(data_sha256);
    hash::sha256_of_bytes(text.as_bytes())[..16].to_owned()
}

/// Writes a table with sorted keys, so that equal tables have the same text. Tables sort their keys by themselves, unless a feature
/// of the TOML library is on that any dependency could turn on.
fn write_canonical(table: &Table, text: &mut String) {
    let mut entries: Vec<(&String, &Value)> = table.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    text.push('{');
    for (key, value) in entries {
        let _ = write!(text, "{key:?}=");
        write_value(value, text);
        text.push(',');
    }
    text.push('}');
}

fn write_value(value: &Value, text: &mut String) {
    let _ = match value {
        Value::String(string) => write!(text, "{string:?}"),
        Value::Integer(number) => write!(text, "{number}"),
        // Adding 0 makes -0.0, which equals 0.0, have the same text.
        Value::Float(number) => write!(text, "{:?}", number + 0.0),
        Value::Boolean(flag) => write!(text, "{flag}"),
        Value::Datetime(date) => write!(text, "{date}"),
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write_value(value, text);
                text.push(',');
            }
            text.push(']');
            Ok(())
        }
        Value::Table(table) => {
            write_canonical(table, text);
            Ok(())
        }
    };
}

/// Adds the keys of a section of `defaults` that `experiment` lacks.
fn add_missing(experiment: &mut Table, defaults: &Table, section: &str) {
    let found = experiment.get_mut(section).and_then(Value::as_table_mut);
    let default = defaults.get(section).and_then(Value::as_table);
    if let (Some(found), Some(default)) = (found, default) {
        for (key, value) in default {
            found.entry(key).or_insert_with(|| value.clone());
        }
    }
}

/// The value of a key like `data.workers`. Not for keys of phases, which are in a list and always part of the identity.
fn look_up<'a>(experiment: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => experiment.get(key),
        Some((table, rest)) => look_up(experiment.get(table)?.as_table()?, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(text: &str) -> String {
        key(&text.parse().unwrap(), "1f")
    }

    #[test]
    fn a_key_depends_on_values_and_not_on_their_order_or_spelling() {
        let text = "b = 1\na = [0.0, \"x\", true]\n[t]\nlr = 0.00001";
        assert_eq!(key_of(text), "fc02888fecc5e5ae");
        let same = "t.lr = 1e-5\na = [-0.0, 'x', true,]\nb = 1";
        assert_eq!(key_of(same), key_of(text));
        for other in [
            "b = 1.0\na = [0.0, \"x\", true]\nt.lr = 1e-5",
            "b = 1\na = [0.0, \"x, true\"]\nt.lr = 1e-5",
            "b = 1\na = [0.0, \"x\", true]\n\"t.lr\" = 1e-5",
        ] {
            assert_ne!(key_of(other), key_of(text), "{other}");
        }
        assert_ne!(key(&text.parse().unwrap(), "2f"), key_of(text));
    }
}

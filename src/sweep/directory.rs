//! The directory of a sweep: its name, the name of every file in it, and which of the runs below belongs to which trial.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use crate::{
    claim::ClaimPaths,
    disk::files,
    error::{Error, Result},
    rundir::{RunDir, is_hidden},
};

/// A sweep's own directory, which its trials' runs lie in. The same sweep has the same one each time, so that it can be
/// gone on with.
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

    /// The sweep whose directory this is.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let dir = Self {
            path: path.to_owned(),
        };
        dir.sweep_toml().is_file().then_some(dir)
    }

    pub(crate) fn create(&self) -> Result<()> {
        for folder in self.folders() {
            fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            files::clear_litter(&folder, files::STALE);
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The user's file as of the last start, with the secrets masked that addresses in it hold.
    pub(crate) fn sweep_toml(&self) -> PathBuf {
        self.path.join("sweep.toml")
    }
    pub(crate) fn leaderboard_csv(&self) -> PathBuf {
        self.path.join("leaderboard.csv")
    }
    pub(crate) fn leaderboard_png(&self) -> PathBuf {
        self.path.join("leaderboard.png")
    }
    /// A trial as it was checked, whole and with nothing to look up elsewhere.
    pub(crate) fn recipe_of(&self, trial: &str) -> PathBuf {
        self.recipes().join(format!("{trial}.toml"))
    }
    /// What trials said that did not get as far as a run directory.
    pub(crate) fn log_of(&self, trial: &str) -> PathBuf {
        self.logs().join(format!("{trial}.log"))
    }
    /// Held by the process that runs the sweep.
    pub(crate) fn place(&self) -> ClaimPaths {
        ClaimPaths {
            dir: self.path.clone(),
            lock: self.path.join("sweep.lock"),
            owner: self.path.join("claim.toml"),
        }
    }

    /// What it holds beside its runs. The file that makes it a sweep's directory is the last.
    pub(crate) fn files(&self) -> [PathBuf; 5] {
        let place = self.place();
        [
            self.leaderboard_csv(),
            self.leaderboard_png(),
            place.owner,
            place.lock,
            self.sweep_toml(),
        ]
    }
    pub(crate) fn folders(&self) -> [PathBuf; 2] {
        [self.logs(), self.recipes()]
    }

    fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }
    fn recipes(&self) -> PathBuf {
        self.path.join("trials")
    }

    /// The runs in it but for those that are known, which are not even opened.
    pub(crate) fn runs_but(&self, known: &HashSet<&Path>) -> Vec<RunDir> {
        let entries = fs::read_dir(&self.path).into_iter().flatten();
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| !known.contains(path.as_path()) && !is_hidden(path))
            .filter_map(|path| RunDir::open(&path).ok())
            .collect()
    }
}

/// What makes two experiments the same: all but where and by how many hands they are done, unless that is what varies.
pub(crate) fn identity(whole: &Table, axes: &[String]) -> Table {
    let mut experiment = whole.clone();
    for key in ["name", "runs_dir", "threads", "memory", "fetch"] {
        experiment.remove(key);
    }
    if let Some(data) = experiment
        .get_mut("data")
        .and_then(toml::Value::as_table_mut)
    {
        data.remove("workers");
    }
    if let Some(training) = experiment
        .get_mut("training")
        .and_then(toml::Value::as_table_mut)
    {
        training.remove("checkpoint_every");
    }
    if let Some(cache) = experiment
        .get_mut("cache")
        .and_then(toml::Value::as_table_mut)
    {
        cache.retain(|key, _| key == "precision");
    }
    for axis in axes {
        if let Some(value) = look_up(whole, axis) {
            // No key has a dot in it.
            experiment.insert(axis.clone(), value.clone());
        }
    }
    experiment
}

/// The value of `data.workers`; the phases, which stand in a list, are never left out.
fn look_up<'a>(experiment: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => experiment.get(key),
        Some((table, rest)) => look_up(experiment.get(table)?.as_table()?, rest),
    }
}

//! The folder of a trial in the directory of its sweep: the experiment, and who works on it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::directory::SweepDir;
use crate::{
    claim::ClaimPaths,
    error::{Error, Result},
    rundir::records::{read_toml, write_toml},
    text::moment,
};

/// A folder `trials/NAME`.
#[derive(Clone, Debug)]
pub(crate) struct TrialDir {
    path: PathBuf,
}

/// `failure.toml`: how a trial failed by itself, as opposed to being stopped or killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// How often it was started since a sweep last retried it.
    pub(crate) attempts: usize,
    at: String,
}

/// `warned.toml`
#[derive(Serialize, Deserialize)]
struct Warned {
    step: usize,
    n_starts: usize,
}

/// `run.toml`: the run that continues a trial although it has another name, or is in another folder.
#[derive(Serialize, Deserialize)]
struct OtherRun {
    run: String,
}

impl TrialDir {
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The folder of a trial as a user names it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let dir = Self::at(path);
        if dir.experiment_toml().is_file() {
            return Ok(dir);
        }
        let text = "the folder is not that of a trial: it has no `experiment.toml`";
        Err(Error::usage(text).at(path).help(
            "`runner sweep` writes one for each trial, `trials/NAME` in the sweep's directory",
        ))
    }

    pub(crate) fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.path).map_err(Error::io("create", &self.path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn name(&self) -> String {
        // The path may be `.`.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The sweep that the trial belongs to; `None` for a folder that was copied elsewhere.
    pub(crate) fn sweep(&self) -> Option<SweepDir> {
        let trials = match self.path.parent() {
            Some(parent) if parent.file_name().is_some() => parent.to_owned(),
            _ => fs::canonicalize(&self.path).ok()?.parent()?.to_owned(),
        };
        let sweep = SweepDir::at(trials.parent()?)?;
        sweep.search_toml().is_file().then_some(sweep)
    }

    /// The whole experiment as it was validated, which extends no other file.
    pub(crate) fn experiment_toml(&self) -> PathBuf {
        self.path.join("experiment.toml")
    }

    /// The files of the claim that a process which works on the trial holds.
    pub(crate) fn place(&self) -> ClaimPaths {
        ClaimPaths {
            dir: self.path.clone(),
            lock: self.path.join("trial.lock"),
            owner: self.path.join("claim.toml"),
        }
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        read_toml(&self.failure_toml()).ok()
    }

    pub(crate) fn note_failure(&self, reason: String) -> Result<usize> {
        let attempts = self.failure().map_or(0, |failure| failure.attempts) + 1;
        let failure = Failure {
            reason,
            attempts,
            at: moment::now(),
        };
        write_toml(&self.failure_toml(), &failure)?;
        Ok(attempts)
    }

    pub(crate) fn forget_failure(&self) {
        // A file that stays only says why an earlier attempt failed.
        let _ = fs::remove_file(self.failure_toml());
    }

    /// Counts the starts in a row that ended at a time limit with the run at this step, the current one included.
    pub(crate) fn note_warning(&self, step: usize) -> Result<usize> {
        let path = self.path.join("warned.toml");
        let before: Option<Warned> = read_toml(&path).ok();
        let n_before = before
            .filter(|it| it.step == step)
            .map_or(0, |it| it.n_starts);
        let n_starts = n_before + 1;
        write_toml(&path, &Warned { step, n_starts })?;
        Ok(n_starts)
    }

    /// The name of the run that continues the trial, if it is not named like it; its path, if it is elsewhere.
    pub(crate) fn other_run(&self) -> Option<String> {
        let other: OtherRun = read_toml(&self.path.join("run.toml")).ok()?;
        Some(other.run)
    }

    pub(crate) fn forget_run(&self) -> Result<()> {
        let path = self.path.join("run.toml");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn note_run(&self, run: String) -> Result<()> {
        write_toml(&self.path.join("run.toml"), &OtherRun { run })
    }

    fn failure_toml(&self) -> PathBuf {
        self.path.join("failure.toml")
    }
}

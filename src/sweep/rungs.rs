//! The rungs of a sweep on the disk: one file for each trial that has reached a rung, and one for each promotion. Any process that
//! runs a trial writes them, on any machine that shares the file system. A promotion is decided by who creates its file.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    asha::{Ladder, Promotion, Rung, Standing},
    directory::SweepDir,
    record::{SweepRecord, TrialRecord},
};
use crate::{
    claim::{self, Owner},
    error::{Error, Result},
    rundir::records::{read_toml, write_toml},
    runs::{RunState, RunView},
    scores::ranking::{self, Candidate},
    system::scheduler,
};

/// What a trial has at a rung, `NAME.toml`.
#[derive(Debug, Serialize, Deserialize)]
struct Arrival {
    /// The trial's own key: another experiment with the same name has other results.
    key: String,
    /// Why it did not arrive; empty if it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    failed: String,
    best: Option<Candidate>,
}

/// What `NAME.promoted` says.
#[derive(Serialize, Deserialize)]
struct Promoted {
    key: String,
    /// The process that promoted the trial, and then goes on to run it.
    by: Owner,
}

/// The rungs of a sweep with the trials that they are for.
pub(crate) struct Rungs<'a> {
    dir: &'a SweepDir,
    record: &'a SweepRecord,
    pub(crate) ladder: Ladder,
}

impl<'a> Rungs<'a> {
    /// The rungs; `None` if every trial of the sweep is trained to its end.
    pub(crate) fn of(dir: &'a SweepDir, record: &'a SweepRecord) -> Option<Self> {
        let ladder = record.search.ladder()?;
        Some(Self {
            dir,
            record,
            ladder,
        })
    }

    pub(crate) fn create(&self) -> Result<()> {
        for epochs in &self.ladder.rungs {
            let folder = self.dir.rung(*epochs);
            fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        }
        Ok(())
    }

    /// The number of epochs after which a trial pauses, unless it is promoted again; `None` for the end of its run.
    pub(crate) fn target(&self, trial: &TrialRecord) -> (usize, Option<usize>) {
        let top = self.ladder.rungs.len() - 1;
        let promoted = (0..top).rev().find(|at| self.is_promoted(*at, trial));
        let at = promoted.map_or(0, |at| at + 1);
        (at, (at < top).then(|| self.ladder.rungs[at]))
    }

    /// Writes down that a trial has reached every rung that its run has the epochs for; a finished run has reached all of them.
    /// Returns whether any was missing.
    pub(crate) fn arrive(&self, trial: &TrialRecord, run: &RunView) -> Result<bool> {
        let metric = self.record.search.metric();
        let is_finished = run.state == RunState::Finished;
        let mut is_news = false;
        for (at, epochs) in self.ladder.rungs.iter().enumerate() {
            let is_there = run.rows.len() >= *epochs || is_finished;
            if !is_there || self.arrival(at, trial).is_some_and(|it| it.best.is_some()) {
                continue;
            }
            let rows = run.rows.iter().take(*epochs);
            let candidates = rows.map(|row| Candidate::of_row(metric, row));
            let best = candidates.min_by(|a, b| ranking::rank(metric, a, b));
            self.write(at, trial, best, String::new())?;
            is_news = true;
        }
        Ok(is_news)
    }

    /// Writes down that a trial failed before it reached its rung.
    pub(crate) fn fail(&self, trial: &TrialRecord, reason: String) -> Result<()> {
        let (at, _) = self.target(trial);
        self.write(at, trial, None, reason)
    }

    /// Promotes the trial whose turn it is, and returns it. No other process promotes the same one.
    pub(crate) fn promote(&self) -> Result<Option<usize>> {
        loop {
            let Some(Promotion { trial, from }) = self.standing(&self.read()).due() else {
                return Ok(None);
            };
            let record = &self.record.trials[trial];
            let path = self.path(from, record, "promoted");
            let promoted = Promoted {
                key: record.key.clone(),
                by: Owner::new(),
            };
            let text = toml::to_string(&promoted).unwrap_or_default();
            // Creating it decides: of several processes, on several hosts, one succeeds.
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    // The content matters only if the trial is later replaced by another one.
                    let _ = file
                        .write_all(text.as_bytes())
                        .and_then(|()| file.sync_all());
                    // More trials than before may have made it one of the best.
                    let _ = fs::remove_file(self.path(0, record, "demoted"));
                    return Ok(Some(trial));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", path)(error)),
            }
        }
    }

    /// Whether the process that promoted a trial last is at work on this machine, and not this one: it runs the trial itself.
    pub(crate) fn is_promoter_alive(&self, trial: &TrialRecord) -> bool {
        let (at, _) = self.target(trial);
        let promoted = at.checked_sub(1).map(|at| self.path(at, trial, "promoted"));
        let promoted = promoted.and_then(|path| read_toml::<Promoted>(&path).ok());
        let by = promoted.and_then(|promoted| promoted.by.worker());
        by.is_some_and(|by| by.process != std::process::id())
    }

    /// The rung that each trial is to reach, by its index, and whether it will go no further. Only looks at the names of files.
    pub(crate) fn targets(&self) -> Vec<(usize, bool)> {
        let by_name = self.record.by_name();
        let mut targets = vec![(0, false); self.record.trials.len()];
        for (at, epochs) in self.ladder.rungs.iter().enumerate() {
            let entries = fs::read_dir(self.dir.rung(*epochs)).into_iter().flatten();
            for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
                let trial = |ending| by_name.get(name.strip_suffix(ending)?);
                // What an earlier sweep with more rungs left leads nowhere.
                let has_next = at + 1 < self.ladder.rungs.len();
                if let Some(trial) = trial(".promoted").filter(|_| has_next) {
                    targets[*trial].0 = at + 1;
                } else if let Some(trial) = trial(".demoted") {
                    targets[*trial].1 = true;
                }
            }
        }
        targets
    }

    /// A trial that was promoted, has not reached its rung, and that no process works on: the one that did was stopped or killed.
    pub(crate) fn orphan(&self) -> Option<usize> {
        let targets = self.targets().into_iter().zip(&self.record.trials);
        let mut promoted = targets.enumerate().filter(|(_, ((rung, _), _))| *rung > 0);
        let orphan = promoted.find(|(_, ((rung, _), trial))| {
            let is_there = self.arrival(*rung, trial).is_some();
            !is_there && self.is_promoted(rung - 1, trial) && !self.is_at_work(trial)
        });
        orphan.map(|(at, _)| at)
    }

    /// A trial that no process has begun. A promotion that is decided with more trials known is a better one, so that new trials come
    /// first; all of them will be trained to the first rung anyway.
    pub(crate) fn fresh(&self) -> Option<usize> {
        let mut trials = self.record.trials.iter();
        trials.position(|trial| {
            let dir = self.dir.trial(&trial.name);
            let is_begun = dir.place().lock.exists() || self.arrival(0, trial).is_some();
            !is_begun && dir.experiment_toml().exists()
        })
    }

    /// Whether a process works on a trial or is about to; not if it is an earlier start of this process's own job.
    fn is_at_work(&self, trial: &TrialRecord) -> bool {
        let place = self.dir.trial(&trial.name).place();
        let own_job = scheduler::job();
        let is_own = own_job.is_some() && claim::job_in(&place.owner) == own_job;
        (claim::is_taken(&place) && !is_own) || self.is_promoter_alive(trial)
    }

    /// What is known of every rung now.
    pub(crate) fn read(&self) -> Vec<Rung> {
        let by_name = self.record.by_name();
        let rungs = self.ladder.rungs.iter();
        rungs
            .map(|epochs| {
                let mut rung = Rung::default();
                let entries = fs::read_dir(self.dir.rung(*epochs)).into_iter().flatten();
                for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                    let name = path.file_stem().unwrap_or_default().to_string_lossy();
                    let Some(&trial) = by_name.get(name.as_ref()) else {
                        continue;
                    };
                    let key = &self.record.trials[trial].key;
                    match path.extension().and_then(|it| it.to_str()) {
                        Some("promoted") if is_promotion_of(&path, key) => {
                            rung.promoted.insert(trial);
                        }
                        Some("toml") => {
                            let arrival: Option<Arrival> = read_toml(&path).ok();
                            if let Some(arrival) = arrival.filter(|it| it.key == *key) {
                                rung.settled.insert(trial, arrival.best);
                            }
                        }
                        _ => {}
                    }
                }
                rung
            })
            .collect()
    }

    /// The trials that will not be promoted any more, except those that a process has already taken care of. They are this process's
    /// from now on.
    pub(crate) fn demote(&self) -> Result<Vec<usize>> {
        let mut ours = Vec::new();
        for trial in self.standing(&self.read()).demoted() {
            // Its place in the first rung stands for all of them.
            let path = self.path(0, &self.record.trials[trial], "demoted");
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => ours.push(trial),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", path)(error)),
            }
        }
        Ok(ours)
    }

    pub(crate) fn standing<'r>(&'r self, rungs: &'r [Rung]) -> Standing<'r> {
        Standing {
            ladder: &self.ladder,
            metric: self.record.search.metric(),
            n_trials: self.record.trials.len(),
            rungs,
        }
    }

    /// Removes the promotions of trials with the same names but other experiments. Only for the process that runs the sweep.
    pub(crate) fn remove_stale(&self) -> Result<()> {
        let by_name = self.record.by_name();
        for epochs in &self.ladder.rungs {
            let folder = self.dir.rung(*epochs);
            let entries = fs::read_dir(&folder).map_err(Error::io("read", &folder))?;
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                let trial = by_name
                    .get(name.as_ref())
                    .map(|at| &self.record.trials[*at]);
                let is_promotion = path.extension().is_some_and(|it| it == "promoted");
                if let Some(trial) = trial.filter(|_| is_promotion)
                    && !is_promotion_of(&path, &trial.key)
                {
                    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    /// Forgets that trials failed, because they are about to be tried again.
    pub(crate) fn forgive(&self, trial: &TrialRecord) -> Result<()> {
        for at in 0..self.ladder.rungs.len() {
            if self.arrival(at, trial).is_some_and(|it| it.best.is_none()) {
                let path = self.path(at, trial, "toml");
                fs::remove_file(&path).map_err(Error::io("remove", path))?;
            }
        }
        Ok(())
    }

    fn is_promoted(&self, at: usize, trial: &TrialRecord) -> bool {
        let path = self.path(at, trial, "promoted");
        path.exists() && is_promotion_of(&path, &trial.key)
    }

    fn arrival(&self, at: usize, trial: &TrialRecord) -> Option<Arrival> {
        let arrival: Arrival = read_toml(&self.path(at, trial, "toml")).ok()?;
        (arrival.key == trial.key).then_some(arrival)
    }

    fn write(
        &self,
        at: usize,
        trial: &TrialRecord,
        best: Option<Candidate>,
        failed: String,
    ) -> Result<()> {
        let arrival = Arrival {
            key: trial.key.clone(),
            failed,
            best,
        };
        write_toml(&self.path(at, trial, "toml"), &arrival)
    }

    fn path(&self, at: usize, trial: &TrialRecord, ending: &str) -> PathBuf {
        let folder = self.dir.rung(self.ladder.rungs[at]);
        folder.join(format!("{}.{ending}", trial.name))
    }
}

/// Whether a promotion is that of the experiment with this key. A file that was created and never written counts.
fn is_promotion_of(path: &Path, key: &str) -> bool {
    read_toml::<Promoted>(path).map_or(true, |promoted| promoted.key == key)
}

//! The record of a sweep's submissions in its directory: `submissions.jsonl`, a line before and after each `sbatch`, and
//! `submissions/K.txt`, the trials of array `K`.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::queue::TaskId;
use crate::{
    disk::files::{append, write_atomic},
    error::{Error, Result},
    text::moment,
};

/// One line of `submissions.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Entry {
    /// Before `sbatch` is called.
    Submitting {
        submission: usize,
        job_name: String,
        n_tasks: usize,
        time: String,
    },
    /// Slurm gave the array this id.
    Submitted {
        submission: usize,
        job: u64,
        time: String,
    },
    /// Slurm has no such array.
    Refused { submission: usize, time: String },
}

/// An array of trials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submission {
    /// From 1, in the order of submission.
    pub(crate) number: usize,
    /// The name of the array, which no other has.
    pub(crate) job_name: String,
    pub(crate) n_tasks: usize,
    pub(crate) outcome: Recorded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    Job(u64),
    Refused,
    /// The process ended, or `sbatch` failed, before Slurm's answer was known.
    Unclear,
}

/// The files of the record.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    dir: PathBuf,
}

impl Ledger {
    /// The record of the sweep with this directory.
    pub(crate) fn of(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(crate) fn jsonl(&self) -> PathBuf {
        self.dir.join("submissions.jsonl")
    }
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.join("submissions")
    }
    /// While this file exists, no trial of the sweep starts or requeues itself.
    pub(crate) fn cancel_file(&self) -> PathBuf {
        self.dir.join("CANCEL")
    }
    /// The names of an array's trials, one per line.
    pub(crate) fn list_of(&self, submission: usize) -> PathBuf {
        self.folder().join(format!("{submission}.txt"))
    }
    /// The log of a task. Its starts write one after another.
    pub(crate) fn log_of(&self, task: TaskId) -> PathBuf {
        self.dir.join("logs").join(format!("{task}.log"))
    }

    /// Reads all submissions in order. What a killed process left half written is ignored: its submission is unclear.
    pub(crate) fn read(&self) -> Result<Vec<Submission>> {
        let text = text_of(&self.jsonl())?;
        let mut found: BTreeMap<usize, Submission> = BTreeMap::new();
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Entry::Submitting {
                    submission,
                    job_name,
                    n_tasks,
                    ..
                }) => {
                    let new = Submission {
                        number: submission,
                        job_name,
                        n_tasks,
                        outcome: Recorded::Unclear,
                    };
                    found.insert(submission, new);
                }
                Ok(Entry::Submitted {
                    submission, job, ..
                }) => {
                    if let Some(known) = found.get_mut(&submission) {
                        known.outcome = Recorded::Job(job);
                    }
                }
                Ok(Entry::Refused { submission, .. }) => {
                    if let Some(known) = found.get_mut(&submission) {
                        known.outcome = Recorded::Refused;
                    }
                }
                Err(_) => {}
            }
        }
        Ok(found.into_values().collect())
    }

    /// The tasks of each trial in all submissions with a job id, the newest first.
    pub(crate) fn tasks(&self) -> Result<HashMap<String, Vec<TaskId>>> {
        let mut tasks: HashMap<String, Vec<TaskId>> = HashMap::new();
        for submission in self.read()?.iter().rev() {
            let Recorded::Job(job) = submission.outcome else {
                continue;
            };
            let list = text_of(&self.list_of(submission.number))?;
            for (at, trial) in list.lines().enumerate() {
                let index = at + 1;
                tasks
                    .entry(trial.to_owned())
                    .or_default()
                    .push(TaskId { job, index });
            }
        }
        Ok(tasks)
    }

    /// Writes the list of an array's trials and the line before `sbatch` is called. Both are on the disk when it returns.
    pub(super) fn begin(&self, number: usize, job_name: &str, trials: &[String]) -> Result<()> {
        fs::create_dir_all(self.folder()).map_err(Error::io("create", self.folder()))?;
        let lines: String = trials.iter().map(|trial| format!("{trial}\n")).collect();
        write_atomic(&self.list_of(number), lines.as_bytes())?;
        self.add(&Entry::Submitting {
            submission: number,
            job_name: job_name.to_owned(),
            n_tasks: trials.len(),
            time: moment::now_in_seconds(),
        })
    }

    pub(super) fn taken(&self, submission: usize, job: u64) -> Result<()> {
        let time = moment::now_in_seconds();
        self.add(&Entry::Submitted {
            submission,
            job,
            time,
        })
    }

    pub(super) fn refused(&self, submission: usize) -> Result<()> {
        let time = moment::now_in_seconds();
        self.add(&Entry::Refused { submission, time })
    }

    fn add(&self, entry: &Entry) -> Result<()> {
        let path = self.jsonl();
        let mut line = serde_json::to_string(entry)
            .map_err(io::Error::from)
            .map_err(Error::io("write", &path))?;
        line.push('\n');
        let before = text_of(&path)?;
        if !before.is_empty() && !before.ends_with('\n') {
            // Half a line of a process that was killed must not take this one with it.
            line.insert(0, '\n');
        }
        append(&path, line.as_bytes())
    }
}

/// The text of a file; empty if there is none.
fn text_of(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

//! The states of trials that other processes run, on this machine or in a cluster: what the run directories say, and what Slurm's
//! queue adds. Slurm decides nothing that a run directory tells.

use std::{collections::HashMap, fs};

use super::{
    record::TrialRecord,
    slurm::{
        commands::Slurm,
        ledger::Ledger,
        queue::{self, Queue, TaskId, TaskState},
        submissions,
    },
    standing::{TrialStanding, TrialState},
    view::SweepView,
};
use crate::{
    claim,
    error::Result,
    runs::{RunState, RunView},
};

/// Slurm's word for a task that ended with an error.
const FAILED: &str = "FAILED";

/// The tasks of a sweep's trials, and what the queue says about them.
#[derive(Default)]
pub(crate) struct Tasks {
    /// The newest first.
    of_trials: HashMap<String, Vec<TaskId>>,
    /// `None` if Slurm does not answer.
    queue: Option<Queue>,
    ledger: Option<Ledger>,
}

impl Tasks {
    /// Reads the submissions of the sweep, and asks Slurm about those that may be alive. Without any, Slurm is not asked. Also returns
    /// why Slurm does not answer, if it does not.
    ///
    /// # Errors
    /// If the record of submissions cannot be read.
    pub(crate) fn read(view: &SweepView) -> Result<(Self, Option<crate::error::Error>)> {
        let ledger = Ledger::of(view.dir.path());
        if ledger.read()?.is_empty() {
            return Ok((Self::default(), None));
        }
        let slurm = Slurm::new();
        let answer = submissions::settle(&slurm, &ledger)
            .and_then(|known| slurm.queue(&submissions::jobs_of(&known)));
        let (queue, silence) = match answer {
            Ok(queue) => (Some(queue), None),
            Err(error) => (None, Some(error)),
        };
        let tasks = Self {
            of_trials: ledger.tasks()?,
            queue,
            ledger: Some(ledger),
        };
        Ok((tasks, silence))
    }

    /// The newest task of a trial with its state; the state is `None` if the queue does not know the task any more, or does not answer.
    fn newest(&self, trial: &str) -> Option<(TaskId, Option<&TaskState>)> {
        let task = *self.of_trials.get(trial)?.first()?;
        let queue = self.queue.as_ref();
        Some((task, queue.and_then(|queue| queue.state(task))))
    }

    /// The state of a task of the trial that runs or waits to.
    fn alive(&self, trial: &str) -> Option<&TaskState> {
        let queue = self.queue.as_ref()?;
        let tasks = self.of_trials.get(trial)?;
        let mut states = tasks.iter().filter_map(|task| queue.state(*task));
        states.find(|state| state.is_alive())
    }

    /// The tasks of a trial that wait for a start.
    pub(crate) fn pending(&self, trial: &str) -> Vec<TaskId> {
        let tasks = self.of_trials.get(trial).into_iter().flatten().copied();
        let is_pending = |task: &TaskId| {
            let queue = self.queue.as_ref();
            let state = queue.and_then(|queue| queue.state(*task));
            matches!(state, Some(TaskState::Pending { .. }))
        };
        tasks.filter(is_pending).collect()
    }

    /// Whether a job is known to have ended, or to wait for its next start, although files may look as if it were at work.
    fn is_off(&self, job: &str) -> bool {
        let task = job.split_once('_').and_then(|(job, index)| {
            let (job, index) = (job.parse().ok()?, index.parse().ok()?);
            Some(TaskId { job, index })
        });
        let queue = self.queue.as_ref();
        queue.zip(task).is_some_and(|(queue, task)| {
            let state = queue.state(task);
            !matches!(state, Some(TaskState::Running { .. } | TaskState::Other(_)))
        })
    }

    /// What the log of a task says at the end of its last start, if that is an error.
    fn error_in_log(&self, task: TaskId) -> Option<String> {
        let log = self.ledger.as_ref()?.log_of(task);
        let text = fs::read_to_string(log).ok()?;
        let started = text.rfind(&format!("task {task}, start ")).unwrap_or(0);
        let last = started + text[started..].rfind("error: ")?;
        let words = crate::error::without_heading(text[last..].trim()).to_owned();
        Some(words).filter(|words| !words.is_empty())
    }

    /// How a task ended, in Slurm's word.
    fn ending(&self, task: TaskId, name: &str) -> String {
        let log = self.ledger.as_ref().map(|ledger| ledger.log_of(task));
        match log.filter(|log| name == FAILED && !log.exists()) {
            // The script begins with a line in the log.
            Some(log) => format!(
                "Slurm: {name}; the task could not write `{}` on its node",
                log.display()
            ),
            None => format!("Slurm: {name}"),
        }
    }
}

impl SweepView {
    /// Derives the states of all trials.
    pub(crate) fn judge_from_outside(&mut self, tasks: &Tasks) {
        let mut judged = Vec::new();
        for (at, (trial, standing)) in self.record.trials.iter().zip(&self.standings).enumerate() {
            let is_promoted = self.is_climbing(at) && self.is_promoter_alive(at);
            judged.push(self.state_of(trial, standing, tasks, is_promoted));
        }
        for (standing, (state, reason)) in self.standings.iter_mut().zip(judged) {
            (standing.state, standing.reason) = (state, reason);
        }
    }

    fn state_of(
        &self,
        trial: &TrialRecord,
        standing: &TrialStanding,
        tasks: &Tasks,
        is_promoted: bool,
    ) -> (TrialState, String) {
        let state = |state| (state, String::new());
        let run = standing.run.as_ref();
        if run.is_some_and(|run| run.state == RunState::Finished) {
            return state(TrialState::Finished);
        }
        let is_at_work = run.is_some_and(|run| is_at_work(run, tasks));
        if is_at_work {
            return state(TrialState::Running);
        }
        if standing.is_at_rung() {
            let is_out = standing.climb.is_some_and(|climb| climb.is_out);
            return state(if is_out {
                TrialState::Stopped
            } else {
                TrialState::Paused
            });
        }
        match tasks.alive(&trial.name) {
            Some(TaskState::Running { node }) => {
                return (TrialState::Running, format!("starting on {node}"));
            }
            // Slurm has not looked at the task yet.
            Some(TaskState::Pending { reason }) if reason == "None" => {
                return state(TrialState::Queued);
            }
            Some(TaskState::Pending { reason }) => {
                let help = queue::help_with(reason).map(|help| format!("; {help}"));
                let reason = format!("Slurm: {reason}{}", help.unwrap_or_default());
                return (TrialState::Queued, reason);
            }
            Some(TaskState::Other(name) | TaskState::Ended(name)) => {
                return (TrialState::Queued, format!("Slurm: {name}"));
            }
            None if is_promoted => return state(TrialState::Running),
            None => {}
        }
        if let Some(failure) = self.dir.trial(&trial.name).failure() {
            return (TrialState::Failed, failure.reason);
        }
        let of_run = match run.map(|run| run.state) {
            Some(RunState::Failed) => TrialState::Failed,
            Some(_) => TrialState::Interrupted,
            None => TrialState::Waiting,
        };
        let reason = run.map(|run| run.reason.clone()).unwrap_or_default();
        match tasks.newest(&trial.name) {
            Some((task, ended)) if run.is_none() => match (tasks.error_in_log(task), ended) {
                (Some(error), _) => (TrialState::Failed, error),
                (None, Some(TaskState::Ended(name))) => {
                    (TrialState::Interrupted, tasks.ending(task, name))
                }
                // It may wait, run or have ended.
                (None, None) if tasks.queue.is_none() => {
                    (TrialState::Queued, "Slurm does not answer".to_owned())
                }
                _ => (
                    TrialState::Interrupted,
                    format!("Slurm no longer knows task {task}"),
                ),
            },
            // On a full disk, the log may be all that a failed trial could write to.
            Some((task, Some(TaskState::Ended(name)))) if reason.is_empty() => {
                match tasks.error_in_log(task).filter(|_| name == FAILED) {
                    Some(error) => (TrialState::Failed, error),
                    None => (of_run, tasks.ending(task, name)),
                }
            }
            _ => (of_run, reason),
        }
    }
}

/// Whether a process works on the run. A claim of a node that died stays behind, and only Slurm knows what became of its job.
fn is_at_work(run: &RunView, tasks: &Tasks) -> bool {
    let job = claim::job_in(&run.dir.claim_toml());
    run.state == RunState::Running && !job.is_some_and(|job| tasks.is_off(&job))
}

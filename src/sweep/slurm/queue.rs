//! What Slurm's queue says about tasks.

use std::{collections::HashMap, fmt};

use super::commands::{JOBS_PER_CALL, Slurm};
use crate::error::Result;

/// A task of a job array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId {
    pub(crate) job: u64,
    /// From 1.
    pub(crate) index: usize,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.job, self.index)
    }
}

/// The state of a task that Slurm remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// It waits for its first or next start.
    Pending {
        reason: String,
    },
    Running {
        node: String,
    },
    /// It ended for good; the name is Slurm's, such as `TIMEOUT`.
    Ended(String),
    /// A state between these, such as `COMPLETING`, or one of a newer Slurm. The task counts as alive.
    Other(String),
}

impl TaskState {
    /// Whether the task runs, or will without a new submission.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self, Self::Ended(_))
    }
}

/// What to do about a task that waits for this reason and does not start by itself; `None` for other reasons.
pub(crate) fn help_with(reason: &str) -> Option<&'static str> {
    // Slurm adds details after a comma.
    match reason.split(',').next().unwrap_or_default() {
        "PartitionTimeLimit" => Some("cancel it, and lower `time` or use another partition"),
        "PartitionConfig" | "PartitionNodeLimit" | "BadConstraints" => {
            Some("cancel it, and change the request in [launcher.slurm]")
        }
        "DependencyNeverSatisfied" => Some("cancel it, and change its dependency in `extra`"),
        "JobHeldUser" | "launch failed requeued held" | "JobHoldMaxRequeue" => {
            Some("release it with `scontrol release`")
        }
        "JobHeldAdmin" => Some("ask the administrators of the cluster to release it"),
        _ => None,
    }
}

/// The tasks of some jobs. A task that is missing ended some minutes ago, or was lost with its controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    tasks: HashMap<TaskId, TaskState>,
}

impl Queue {
    pub(crate) fn state(&self, task: TaskId) -> Option<&TaskState> {
        self.tasks.get(&task)
    }

    /// The tasks that are alive.
    pub(crate) fn alive(&self) -> impl Iterator<Item = TaskId> {
        let alive = self.tasks.iter().filter(|(_, state)| state.is_alive());
        alive.map(|(task, _)| *task)
    }

    /// Parses lines of the form `TASK|STATE|REASON|NODE|NAME`. Jobs without tasks are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let tasks = text.lines().filter_map(|line| {
            let mut fields = line.splitn(4, '|');
            let (task, state, reason) = (fields.next()?, fields.next()?, fields.next()?);
            let node = fields.next()?.split('|').next()?;
            let (job, index) = task.trim().split_once('_')?;
            let task = TaskId {
                job: job.parse().ok()?,
                index: index.parse().ok()?,
            };
            Some((task, task_state(state, reason, node)))
        });
        Self {
            tasks: tasks.collect(),
        }
    }
}

impl Slurm {
    /// Asks for the tasks of these jobs.
    ///
    /// # Errors
    /// If Slurm does not answer; then nothing is known about the tasks.
    pub(crate) fn queue(&self, jobs: &[u64]) -> Result<Queue> {
        let mut queue = Queue::default();
        for jobs in jobs.chunks(JOBS_PER_CALL) {
            let ids: Vec<String> = jobs.iter().map(u64::to_string).collect();
            let text = self.squeue(&["-j".to_owned(), ids.join(",")])?;
            queue.tasks.extend(Queue::parse(&text).tasks);
        }
        Ok(queue)
    }

    /// The id of the user's array with this name, if Slurm remembers one.
    pub(crate) fn job_named(&self, name: &str) -> Result<Option<u64>> {
        let text = self.squeue(&["--me".to_owned(), "-n".to_owned(), name.to_owned()])?;
        let is_its = |line: &&str| line.rsplit('|').next() == Some(name);
        Ok(text.lines().filter(is_its).find_map(|line| {
            let id = line.split(['|', '_']).next()?;
            id.trim().parse().ok()
        }))
    }
}

fn task_state(name: &str, reason: &str, node: &str) -> TaskState {
    match name.trim() {
        "PENDING" => TaskState::Pending {
            reason: reason.trim().to_owned(),
        },
        "RUNNING" => TaskState::Running {
            node: node.trim().to_owned(),
        },
        name @ ("BOOT_FAIL" | "CANCELLED" | "COMPLETED" | "DEADLINE" | "FAILED" | "NODE_FAIL"
        | "OUT_OF_MEMORY" | "PREEMPTED" | "TIMEOUT") => TaskState::Ended(name.to_owned()),
        name => TaskState::Other(name.to_owned()),
    }
}

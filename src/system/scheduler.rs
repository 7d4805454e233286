//! What the scheduler of a cluster tells a process about its job, in environment variables.

use std::env;

/// The id of the job, `14_3` for a task of an array; `None` outside of Slurm.
pub(crate) fn job() -> Option<String> {
    let job = env::var("SLURM_JOB_ID").ok()?;
    let array = env::var("SLURM_ARRAY_JOB_ID");
    let task = env::var("SLURM_ARRAY_TASK_ID");
    Some(match (array, task) {
        (Ok(array), Ok(task)) => format!("{array}_{task}"),
        _ => job,
    })
}

/// How often the job has been started before.
pub(crate) fn restarts() -> u32 {
    let restarts = env::var("SLURM_RESTART_COUNT").ok();
    restarts.and_then(|it| it.parse().ok()).unwrap_or(0)
}

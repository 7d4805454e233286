//! Submits the trials of a sweep as job arrays, and cancels them.

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher as _, RandomState},
    io::ErrorKind,
    process, thread,
    time::Duration,
};

use super::{
    commands::{Outcome, Slurm},
    ledger::{Ledger, Recorded, Submission},
    script::{Array, Batch},
};
use crate::{
    disk::files::{flush_folder, write_atomic},
    error::{Error, Result},
    text::table::counted,
};

/// How often, and with which pauses, a job is looked for in the queue after Slurm did not say whether it took it.
const N_LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// How the tasks of new submissions share the sweep's limit with those of earlier ones.
#[derive(Debug, PartialEq, Eq)]
struct Throttle {
    at_once: Option<usize>,
    after: BTreeSet<u64>,
}

/// Submits these trials, in arrays as large as Slurm takes, and returns the arrays. The caller makes sure that none of the trials
/// is at work or in the queue, and that nobody else submits trials of this sweep.
///
/// # Errors
/// If Slurm refuses the first array, nothing was submitted. After another error, earlier arrays are in the queue, and the ledger
/// has them; a submission whose outcome is unclear is looked for in the queue by the next call.
pub(crate) fn submit(slurm: &Slurm, batch: &Batch, trials: &[String]) -> Result<Vec<Submission>> {
    if trials.is_empty() {
        return Ok(Vec::new());
    }
    let ledger = Ledger::of(&batch.dir);
    settle(slurm, &ledger)?;
    let per_array = slurm.max_array_size()? - 1;
    let throttle = throttle(slurm, &ledger, batch)?;
    forget_cancel(&ledger)?;
    fs::create_dir_all(batch.dir.join("logs"))
        .map_err(Error::io("create", batch.dir.join("logs")))?;
    let mut number = ledger.read()?.last().map_or(0, |last| last.number);
    let mut submitted: Vec<Submission> = Vec::new();
    let mut after = throttle.after;
    for chunk in trials.chunks(per_array) {
        number += 1;
        let job_name = job_name(&batch.name, number);
        let list = ledger.list_of(number);
        let jobs: Vec<u64> = after.iter().copied().collect();
        let array = Array {
            job_name: &job_name,
            list: &list,
            n_tasks: chunk.len(),
            at_once: throttle.at_once,
            after: &jobs,
        };
        let script = batch.script(&array)?;
        ledger.begin(number, &job_name, chunk)?;
        let job = match slurm.submit(&script) {
            Outcome::Taken(job) => job,
            Outcome::Refused(error) => {
                ledger.refused(number)?;
                return Err(after_others(error, &submitted));
            }
            Outcome::Unclear(error) => match look_for(slurm, &job_name) {
                Ok(Some(job)) => job,
                Ok(None) | Err(_) => {
                    let error = error.help(
                        "run the same command again: it looks for the jobs in the queue before it submits any",
                    );
                    return Err(after_others(error, &submitted));
                }
            },
        };
        ledger.taken(number, job)?;
        if batch.max_parallel.is_some() {
            // The limit of an array is its own, so that two of them at once would be twice as many.
            after = BTreeSet::from([job]);
        }
        submitted.push(Submission {
            number,
            job_name,
            n_tasks: chunk.len(),
            outcome: Recorded::Job(job),
        });
    }
    Ok(submitted)
}

/// Finds out what became of submissions whose outcome is unclear, and returns all with a job id.
///
/// # Errors
/// If Slurm does not answer; they stay unclear.
pub(crate) fn settle(slurm: &Slurm, ledger: &Ledger) -> Result<Vec<Submission>> {
    let mut submissions = ledger.read()?;
    for submission in &mut submissions {
        if submission.outcome == Recorded::Unclear {
            submission.outcome = if let Some(job) = slurm.job_named(&submission.job_name)? {
                ledger.taken(submission.number, job)?;
                Recorded::Job(job)
            } else {
                // If it did run and is forgotten already, its trials' runs say so.
                ledger.refused(submission.number)?;
                Recorded::Refused
            };
        }
    }
    submissions.retain(|it| matches!(it.outcome, Recorded::Job(_)));
    Ok(submissions)
}

/// Ends all trials of the sweep that are in the queue, at a point where they can be resumed, and keeps them from starting again.
pub(crate) fn cancel(slurm: &Slurm, ledger: &Ledger) -> Result<Vec<u64>> {
    // Before the signals are sent, so that no trial that they reach can requeue itself.
    write_atomic(&ledger.cancel_file(), b"")?;
    let jobs = jobs_of(&settle(slurm, ledger)?);
    slurm.cancel(&jobs)?;
    Ok(jobs)
}

/// Puts the task that this process is back into the queue, so that it starts again and continues its trial. Slurm then ends this
/// process with SIGTERM. Returns `false` if the sweep is cancelled, or if this process is no task of it.
///
/// Only for the warning before the time limit: a task that requeues itself when it is cancelled would come back.
pub(crate) fn requeue_this(slurm: &Slurm, ledger: &Ledger) -> Result<bool> {
    let Some(job) = this_job(ledger, |name| std::env::var(name).ok())? else {
        return Ok(false);
    };
    if ledger.cancel_file().exists() {
        return Ok(false);
    }
    slurm.requeue(&job).map(|()| true)
}

/// The value of `SLURM_JOB_ID`, if this process is a task of the sweep. In other jobs, such as an interactive one in which the user
/// has started a sweep, it names a job that must not be requeued.
pub(super) fn this_job(
    ledger: &Ledger,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>> {
    let (Some(job), Some(name)) = (variable("SLURM_JOB_ID"), variable("SLURM_JOB_NAME")) else {
        return Ok(None);
    };
    let submissions = ledger.read()?;
    let is_task = submissions.iter().any(|it| it.job_name == name);
    Ok(is_task.then_some(job))
}

/// The job ids among submissions.
pub(crate) fn jobs_of(submissions: &[Submission]) -> Vec<u64> {
    let jobs = submissions.iter().filter_map(|it| match it.outcome {
        Recorded::Job(job) => Some(job),
        Recorded::Refused | Recorded::Unclear => None,
    });
    jobs.collect()
}

/// Allows trials to start after a cancellation.
fn forget_cancel(ledger: &Ledger) -> Result<()> {
    let path = ledger.cancel_file();
    match fs::remove_file(&path) {
        Ok(()) => flush_folder(path.parent().unwrap_or(&path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("remove", path)(error)),
    }
}

/// Divides the sweep's limit: new tasks take what those in the queue leave, or wait for them if that is nothing.
fn throttle(slurm: &Slurm, ledger: &Ledger, batch: &Batch) -> Result<Throttle> {
    let Some(most) = batch.max_parallel else {
        return Ok(Throttle {
            at_once: None,
            after: BTreeSet::new(),
        });
    };
    let queue = slurm.queue(&jobs_of(&ledger.read()?))?;
    let alive: BTreeSet<_> = queue.alive().collect();
    Ok(match most.saturating_sub(alive.len()) {
        0 => Throttle {
            at_once: Some(most),
            after: alive.iter().map(|task| task.job).collect(),
        },
        left => Throttle {
            at_once: Some(left),
            after: BTreeSet::new(),
        },
    })
}

/// Looks for an array that Slurm may have taken, more than once because a busy controller enters it late.
fn look_for(slurm: &Slurm, job_name: &str) -> Result<Option<u64>> {
    for look in 1..=N_LOOKS {
        let found = slurm.job_named(job_name)?;
        if found.is_some() || look == N_LOOKS {
            return Ok(found);
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    Ok(None)
}

/// A name for an array that no other has: that of the sweep, the number of the submission, and eight random digits.
fn job_name(sweep: &str, number: usize) -> String {
    // `RandomState` is seeded by the system.
    let random = RandomState::new().hash_one(process::id());
    format!("{sweep}-{number}-{:08x}", random >> 32)
}

fn after_others(error: Error, submitted: &[Submission]) -> Error {
    if submitted.is_empty() {
        return error;
    }
    let n_tasks = submitted.iter().map(|it| it.n_tasks).sum();
    error.fact(format!(
        "{} were submitted before; running the sweep again submits the rest",
        counted(n_tasks, "trial")
    ))
}

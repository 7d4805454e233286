//! Runs the trials of a sweep in a cluster: submits what is missing, and leaves. Nothing of this program stays behind on this machine.

use std::{num::NonZeroUsize, path::PathBuf};

use serde_json::json;

use super::SweepRequest;
use crate::{
    config,
    console::Console,
    error::{Error, Result},
    sweep::{
        campaign::Campaign,
        definition::Definition,
        outside::Tasks,
        slurm::{
            commands::Slurm,
            ledger::{Recorded, Submission},
            request,
            script::{Array, Batch},
            submissions,
        },
        standing::TrialState,
    },
    text::table::counted,
};

/// What all submissions of the sweep have in common.
pub(super) fn batch(
    campaign: &Campaign,
    definition: &Definition,
    request: &SweepRequest,
) -> Result<Batch> {
    let cwd = std::env::current_dir().map_err(Error::io("find", "the working directory"))?;
    let program = std::env::current_exe().map_err(Error::io("find", "this program"))?;
    let of_file = definition.launcher.max_parallel;
    Ok(Batch {
        name: definition.name.clone(),
        program,
        cwd,
        dir: PathBuf::from(config::path_text(campaign.view.dir.path())?),
        settings: definition.launcher.slurm.clone(),
        max_parallel: request.parallel.or(of_file).map(NonZeroUsize::get),
    })
}

/// The batch script as it would be submitted for all trials.
pub(super) fn script(batch: &Batch, n_trials: usize) -> Result<String> {
    let list = batch.dir.join("submissions").join("1.txt");
    batch.script(&Array {
        job_name: &batch.name,
        list: &list,
        n_tasks: n_trials,
        at_once: batch.max_parallel,
        after: &[],
    })
}

/// Submits the trials that are neither done nor at work nor in the queue.
pub(super) fn submit(campaign: &mut Campaign, batch: &Batch, console: &Console) -> Result<()> {
    let slurm = Slurm::new();
    if let Some(doubt) = request::check(&slurm, batch)? {
        console.note(&doubt);
    }
    let (tasks, silence) = Tasks::read(&campaign.view)?;
    if let Some(error) = silence {
        return Err(error.fact("nothing was submitted"));
    }
    // Those that a process could not promote because it was killed.
    while campaign.view.promote()?.is_some() {}
    campaign.view.look_at_rungs();
    campaign.view.judge_from_outside(&tasks);
    let (mut wanted, mut left_over) = (Vec::new(), Vec::new());
    for at in campaign.turns.iter().copied() {
        let standing = &campaign.view.standings[at];
        match standing.state {
            TrialState::Waiting | TrialState::Interrupted | TrialState::Failed => {
                campaign.view.forgive(at)?;
                campaign.orders[at].write(standing.run.as_ref())?;
                wanted.push(campaign.view.record.trials[at].name.clone());
            }
            TrialState::Finished | TrialState::Stopped => {
                left_over.extend(tasks.pending(&campaign.view.record.trials[at].name));
            }
            TrialState::Running | TrialState::Paused | TrialState::Queued => {}
        }
    }
    // A controller that was killed may hold the task of a trial that has finished without it, and new tasks would wait for it to
    // end if the sweep limits how many run at once.
    slurm.cancel(&left_over)?;
    let submitted = submissions::submit(&slurm, batch, &wanted)?;
    say(campaign, &submitted, console);
    Ok(())
}

fn say(campaign: &Campaign, submitted: &[Submission], console: &Console) {
    let jobs: Vec<u64> = submitted
        .iter()
        .filter_map(|it| match it.outcome {
            Recorded::Job(job) => Some(job),
            Recorded::Refused | Recorded::Unclear => None,
        })
        .collect();
    let n_trials: usize = submitted.iter().map(|it| it.n_tasks).sum();
    let place = campaign.view.dir.path();
    let text = if submitted.is_empty() {
        format!(
            "nothing to submit: all trials are done, running or in the queue\n{}",
            place.display()
        )
    } else {
        let names: Vec<String> = jobs.iter().map(u64::to_string).collect();
        format!(
            "submitted {} as job {}\n{}",
            counted(n_trials, "trial"),
            names.join(", "),
            place.display()
        )
    };
    let fields = json!({ "sweep": place.to_string_lossy(), "submitted": n_trials, "jobs": jobs });
    console.answer("submitted", fields, &text);
}

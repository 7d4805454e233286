//! Steps whose loss or gradients are infinite or NaN: depending on `training.on_nan` they end the run or are skipped. Either
//! way the images of the step are named.

use super::{Setup, gradients, learner::Learner, optimizer::StepGradients, progress};
use crate::{
    config::experiment::OnNan,
    error::{Error, Result},
    plan::PlannedPhase,
};

/// After so many skipped steps in a row the images cannot be the cause, so the run ends.
const MAX_SKIPPED_IN_A_ROW: usize = 20;
/// How many images of a step are named.
const MAX_NAMED: usize = 64;

/// The position of a step in the run.
pub(super) struct StepPosition<'a> {
    phase: &'a str,
    /// The epoch over all phases, from 1.
    epoch: usize,
    step: usize,
    /// The step within the phase, from 0.
    pub(super) step_in_phase: usize,
    pub(super) lr: f64,
    /// Whether a step of this epoch has changed the parameters.
    has_updated: bool,
}

impl<'a> StepPosition<'a> {
    /// The position of the next step.
    pub(super) fn new(
        planned: &'a PlannedPhase,
        progress: &progress::Progress,
        partial: &progress::Partial,
    ) -> Self {
        let step_in_phase = progress.epoch_in_phase * planned.steps_per_epoch + partial.steps;
        Self {
            phase: &planned.phase.name,
            epoch: progress.epoch + 1,
            step: progress.step + 1,
            step_in_phase,
            lr: planned.base_lr(step_in_phase),
            has_updated: partial.steps > progress.skipped.in_a_row,
        }
    }
}

/// What is not finite as a clause; `None` if everything is.
pub(super) fn fact(loss: f64, learner: &Learner, gradients: &StepGradients) -> Option<String> {
    if !loss.is_finite() {
        return Some(format!("the loss is {loss}"));
    }
    (!gradients::are_finite(learner.model(), gradients))
        .then(|| format!("the gradients are not finite (the loss is {loss})"))
}

/// Skips the step if the experiment allows it. Fails if it does not, or if too many steps in a row were skipped already.
/// `images` are the images of the step and their losses.
pub(super) fn skip(
    setup: &Setup,
    position: &StepPosition,
    fact: &str,
    images: &[(usize, f32)],
    progress: &mut progress::Progress,
) -> Result<()> {
    let StepPosition {
        phase,
        epoch,
        step,
        lr,
        has_updated,
        ..
    } = position;
    let help = if *has_updated {
        lower_lr(phase, *lr)
    } else {
        other_run(epoch - 1)
    };
    let message = format!("{fact} at step {step} (epoch {epoch}, phase `{phase}`, lr {lr:e})");
    let files = named(setup, images);
    let skipped = &mut progress.skipped;
    match setup.experiment.training.on_nan {
        OnNan::Skip if skipped.in_a_row < MAX_SKIPPED_IN_A_ROW => {
            skipped.steps += 1;
            skipped.in_a_row += 1;
            setup
                .console
                .note(&format!("{message}; skipping this step; {files}"));
            Ok(())
        }
        OnNan::Skip => Err(Error::training(message)
            .fact(format!(
                "the {MAX_SKIPPED_IN_A_ROW} steps before were skipped for the same reason"
            ))
            .fact(files)
            .help(help)),
        OnNan::Stop => Err(Error::training(message)
            .fact(files)
            .help(help)
            .help(format!(
                "run `runner resume {} --set training.on_nan=skip` to skip such steps",
                setup.run_dir.path().display()
            ))),
    }
}

/// The help for a first step of an epoch. Resuming starts from the checkpoint at the end of the epoch before, so a lower
/// learning rate for later steps cannot repair its parameters.
fn other_run(n_epochs: usize) -> String {
    if n_epochs == 0 {
        return "check `model.weights` and these images: no step has changed the parameters yet"
            .to_owned();
    }
    format!(
        "start a new run with a lower learning rate: resuming would use the parameters after epoch {n_epochs} again"
    )
}

fn lower_lr(phase: &str, lr: f64) -> String {
    // Four digits, because a tenth of 3e-4 is 2.9999999999999997e-5.
    let lower: f64 = format!("{:.3e}", lr / 10.0).parse().unwrap_or(lr);
    format!(
        "lower the learning rate, for example with `--set phase.{phase}.lr={lower:e}`, or set `training.clip_grad_norm = 1.0`"
    )
}

/// The files of a step, first those whose own loss is not finite.
fn named(setup: &Setup, images: &[(usize, f32)]) -> String {
    let (broken, others): (Vec<_>, Vec<_>) = images.iter().partition(|(_, loss)| !loss.is_finite());
    let name = |(image, loss): &(usize, f32)| {
        let file = &setup.index.images[*image].file;
        if loss.is_finite() {
            file.clone()
        } else {
            format!("{file} ({loss})")
        }
    };
    let files: Vec<String> = broken.iter().chain(&others).map(name).collect();
    let shown = files[..files.len().min(MAX_NAMED)].join(", ");
    match files.len().saturating_sub(MAX_NAMED) {
        0 => format!("images of this step: {shown}"),
        n_more => format!("images of this step: {shown} and {n_more} more"),
    }
}

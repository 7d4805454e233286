//! Steps whose loss or gradients are infinite or not a number: they end the run or are left out, and say which images they
//! saw.

use super::{Setup, gradients, learner::Learner, optimizer::StepGradients, progress};
use crate::{
    config::experiment::OnNan,
    error::{Error, Result},
    plan::PlannedPhase,
};

/// After so many steps without an update it is not the images.
const MAX_SKIPPED_IN_A_ROW: usize = 20;
/// Images that are named.
const MAX_NAMED: usize = 64;

/// Where a step stands.
pub(super) struct Place<'a> {
    phase: &'a str,
    /// Over all phases, from 1.
    epoch: usize,
    step: usize,
    /// From 0.
    pub(super) step_in_phase: usize,
    pub(super) lr: f64,
    /// Whether a step of this epoch has changed the parameters.
    has_updated: bool,
}

impl<'a> Place<'a> {
    /// Of the step that comes next.
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

/// What is not finite; `None` if all is well.
pub(super) fn fact(loss: f64, learner: &Learner, gradients: &StepGradients) -> Option<String> {
    if !loss.is_finite() {
        return Some(format!("the loss is {loss}"));
    }
    (!gradients::are_finite(learner.model(), gradients))
        .then(|| format!("the gradients are not finite (the loss is {loss})"))
}

/// Leaves the step out where the experiment says so; an error where it does not, or where nothing else has happened for long.
/// `images` are those of the step with their losses.
pub(super) fn skip(
    setup: &Setup,
    place: &Place,
    fact: &str,
    images: &[(usize, f32)],
    progress: &mut progress::Progress,
) -> Result<()> {
    let Place {
        phase,
        epoch,
        step,
        lr,
        has_updated,
        ..
    } = place;
    let help = if *has_updated {
        lower_lr(phase, *lr)
    } else {
        other_run(epoch - 1)
    };
    let where_ = format!("at step {step} (epoch {epoch}, phase `{phase}`, lr {lr:e})");
    let files = named(setup, images);
    let skipped = &mut progress.skipped;
    match setup.experiment.training.on_nan {
        OnNan::Skip if skipped.in_a_row < MAX_SKIPPED_IN_A_ROW => {
            skipped.steps += 1;
            skipped.in_a_row += 1;
            setup
                .console
                .note(&format!("{fact} {where_}; the step is left out; {files}"));
            Ok(())
        }
        OnNan::Skip => Err(Error::training(format!(
            "{fact} {where_}, as in the {MAX_SKIPPED_IN_A_ROW} steps before, which were left out; {files}\n{help}"
        ))),
        OnNan::Stop => Err(Error::training(format!(
            "{fact} {where_}; {files}\n{help}, or skip such steps: `runner resume {} --set training.on_nan=skip`",
            setup.run_dir.path().display()
        ))),
    }
}

/// The parameters of an epoch's end are kept by its checkpoint, and changing later steps does not change them.
fn other_run(n_epochs: usize) -> String {
    if n_epochs == 0 {
        return "help: no step has changed the parameters yet, so check `model.weights` and these images".to_owned();
    }
    format!(
        "help: the parameters are those after epoch {n_epochs}, which a lower learning rate on resume does not change; \
         start a new run with a lower one"
    )
}

fn lower_lr(phase: &str, lr: f64) -> String {
    // Four digits, because a tenth of 3e-4 is 2.9999999999999997e-5.
    let lower: f64 = format!("{:.3e}", lr / 10.0).parse().unwrap_or(lr);
    format!(
        "help: lower the learning rate, e.g. `--set phase.{phase}.lr={lower:e}`, or set `training.clip_grad_norm = 1.0`"
    )
}

/// The files of a step, those with a loss that is not finite first.
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
        0 => format!("its images: {shown}"),
        n_more => format!("its images: {shown} and {n_more} more"),
    }
}

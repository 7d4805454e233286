//! One epoch of training, or the rest of one: its steps, and the batches of a step.

use std::{sync::atomic::Ordering, time::Instant};

use super::{
    Setup,
    evaluate::{self, Scores},
    inputs::{Batches, Inputs},
    learner::Learner,
    not_finite::{self, StepPosition},
    objective::Batch,
    progress::{Partial, Progress},
    save::Saver,
};
use crate::{
    data::{source::Item, split::Part},
    error::{Error, Result},
    plan::PlannedPhase,
    random,
    rundir::records::StepRow,
};

/// Trains to the end of the current epoch. Returns no scores if the run was stopped before; then, as after an error,
/// `progress.partial` says how far the epoch came.
pub(super) fn train(
    setup: &Setup,
    planned: &PlannedPhase,
    inputs: &Inputs,
    mut learner: Learner,
    progress: &mut Progress,
    saver: &mut Saver,
) -> (Learner, Result<Option<Scores>>) {
    let (n_images, mut batches) = remaining_batches(setup, inputs, progress);
    let mut partial = progress.partial.take().unwrap_or_default();
    let seconds_before = partial.seconds;
    let mut started = Instant::now();
    let mut rows = Vec::new();
    let mut outcome = Ok(());
    setup
        .console
        .epoch_starts(progress.epoch + 1, setup.plan.n_epochs(), n_images);
    while outcome.is_ok() && partial.images < n_images && !setup.stop.load(Ordering::Relaxed) {
        let position = StepPosition::new(planned, progress, &partial);
        let step = match accumulate(
            setup,
            inputs,
            &mut learner,
            &mut batches,
            n_images,
            progress,
            &partial,
        ) {
            Ok(step) => step,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        let loss = step.loss_sum / step.images.len() as f64;
        let gradients = learner.take_gradients();
        if let Some(fact) = not_finite::fact(loss, &learner, &gradients) {
            outcome = not_finite::skip(setup, &position, &fact, &step.images, progress);
            if outcome.is_err() {
                break;
            }
            partial.skipped_images += step.images.len();
        } else {
            let first_weight = learner.first_weight(&gradients, inputs.n_done);
            let next = first_weight.and_then(|weight| Some((weight, batches.peek()?)));
            learner = learner.step(gradients, planned, position.step_in_phase, next);
            progress.skipped.in_a_row = 0;
            partial.loss_sum += step.loss_sum;
            partial.n_correct += step.n_correct;
        }
        partial.steps += 1;
        partial.images += step.images.len();
        partial.seconds = seconds_before + started.elapsed().as_secs_f64();
        progress.step += 1;
        rows.push(StepRow {
            step: progress.step,
            epoch: progress.epoch + 1,
            phase: &planned.phase.name,
            loss,
            lr: position.lr,
        });
        super::talk::step(setup.console, partial.images, partial.scores());
        if saver.is_due(progress) && partial.images < n_images {
            let saving = Instant::now();
            progress.partial = Some(partial.clone());
            // The rows first: a checkpoint records the length and hash of `steps.csv`, so the rows must be in it by then.
            outcome = saver.add_steps(&rows).and_then(|()| {
                rows.clear();
                saver.save_last(&learner, planned, progress, None)
            });
            // Saving is not part of the training time.
            started += saving.elapsed();
        }
    }
    let written = saver.add_steps(&rows);
    partial.waiting_seconds += batches.waiting_seconds;
    partial.frozen_seconds += batches.frozen_seconds;
    let scores = (partial.images == n_images).then(|| partial.scores());
    progress.partial = Some(partial);
    if let Err(error) = written {
        return (learner, outcome.and(Err(error)));
    }
    let outcome = outcome.map_err(|error| saver.rescue(&learner, planned, progress, error));
    (learner, outcome.map(|()| scores))
}

/// The number of training images, and the remaining batches of this epoch in its own order.
fn remaining_batches<'a>(
    setup: &Setup,
    inputs: &'a Inputs<'a>,
    progress: &Progress,
) -> (usize, Batches<'a>) {
    let train = setup.split.images(Part::Train);
    let (phase, epoch) = (progress.phase, progress.epoch_in_phase);
    // The order depends on seed, phase and epoch alone, so an epoch that is resumed in the middle continues the same order.
    let order = random::epoch_order(setup.experiment.seed, phase, epoch, train.len());
    let n_done = progress
        .partial
        .as_ref()
        .map_or(0, |partial| partial.images);
    let left = order[n_done..]
        .iter()
        .map(|position| Item::in_epoch(setup.experiment, phase, epoch, train[*position]))
        .collect();
    (train.len(), inputs.batches(left))
}

/// The sums over the batches of one step.
#[derive(Default)]
struct StepResult {
    /// For each image its position in the index and its loss.
    images: Vec<(usize, f32)>,
    loss_sum: f64,
    n_correct: usize,
}

/// Runs the forward and backward passes of all batches of the next step.
fn accumulate(
    setup: &Setup,
    inputs: &Inputs,
    learner: &mut Learner,
    batches: &mut Batches,
    n_images: usize,
    progress: &Progress,
    partial: &Partial,
) -> Result<StepResult> {
    let experiment = setup.experiment;
    let training = &experiment.training;
    let batch_size = experiment.data.batch_size.get();
    let device = setup.device.clone().autodiff();
    let left = n_images - partial.images;
    let n_in_step = left.min(batch_size * training.accumulate.get());
    let mut step = StepResult::default();
    for batch_in_step in 0..n_in_step.div_ceil(batch_size) {
        let host = batches
            .next()
            .transpose()?
            .ok_or_else(|| short_epoch(setup))?;
        let (targets, items) = (host.targets.clone(), host.items.clone());
        let entry = (inputs.n_done, inputs.shape.as_slice());
        let batch = Batch::new(host, entry, training.label_smoothing, n_in_step, &device);
        let position = [
            progress.phase,
            progress.epoch_in_phase,
            partial.steps,
            batch_in_step,
        ];
        let seed = random::derive_seed(
            experiment.seed,
            "dropout",
            &position.map(|number| number as u64),
        );
        let result = learner.accumulate(batch, seed, &device);
        step.loss_sum += result.losses.iter().copied().map(f64::from).sum::<f64>();
        let images = items.iter().map(|item| item.image);
        step.images.extend(images.zip(result.losses));
        let answers = result.logits.iter().map(|row| evaluate::argmax(row));
        step.n_correct += answers
            .zip(&targets)
            .filter(|(answer, target)| answer == *target)
            .count();
    }
    Ok(step)
}

fn short_epoch(setup: &Setup) -> Error {
    Error::data("the data loader ended before the epoch was complete").at(&setup.index.root)
}

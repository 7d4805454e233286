//! The training loop: phases, epochs, steps. What happens after an epoch is written after the epoch.

pub(crate) mod activations;
pub(crate) mod answers;
pub(crate) mod checkpoint;
mod epoch;
pub(crate) mod evaluate;
pub(crate) mod fill;
mod gradients;
pub(crate) mod inputs;
pub(crate) mod learner;
mod not_finite;
pub(crate) mod objective;
pub(crate) mod optimizer;
pub(crate) mod progress;
mod save;
mod tables;

#[cfg(test)]
mod optimizer_tests;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use burn::{module::Module as _, tensor::Device};

use self::{
    answers::Answers,
    checkpoint::{Base, Checkpoint},
    evaluate::{Prediction, Scores},
    inputs::Inputs,
    learner::Learner,
    optimizer::States,
    progress::Progress,
    save::Saver,
};
use crate::{
    claim::Claim,
    config::experiment::Experiment,
    console::Console,
    data::{
        index::DatasetIndex,
        source::Item,
        split::{Part, SplitTable},
    },
    error::{Error, Result},
    model::{layout::TensorSpec, state::StateDict, vgg::Vgg},
    plan::{Plan, PlannedPhase},
    rundir::{RunDir, records::EpochRow},
    scores::ranking::{self, Candidate},
};

/// All that a run is made of, decided before its first step.
pub(crate) struct Setup<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) plan: &'a Plan,
    pub(crate) index: Arc<DatasetIndex>,
    pub(crate) split: &'a SplitTable,
    pub(crate) run_dir: &'a RunDir,
    /// Without gradients.
    pub(crate) device: Device,
    pub(crate) console: &'a Console,
    /// Set by Ctrl-C, and when the run is lost to another process.
    pub(crate) stop: &'a AtomicBool,
    /// `None` for work that leaves the run directory as it is.
    pub(crate) claim: Option<&'a Claim>,
}

impl Setup<'_> {
    /// All tensors of the model in order.
    pub(crate) fn specs(&self) -> Vec<TensorSpec> {
        let arch = self.experiment.model.arch;
        arch.tensors(self.index.classes.len())
    }

    /// Fails where another process has the run by now, which must not be written to.
    pub(crate) fn ensure_ours(&self) -> Result<()> {
        self.claim.map_or(Ok(()), Claim::ensure_ours)
    }
}

/// How training ended.
pub(crate) enum Outcome {
    Finished(Box<Progress>),
    /// Stopped on request; the checkpoint is written.
    Interrupted,
}

/// Where a run begins: at its start, or at a checkpoint of its own.
pub(crate) enum Start {
    Fresh(StateDict),
    Resumed(Box<Checkpoint>),
}

/// Trains all phases that are left, writing metrics and checkpoints as it goes.
pub(crate) fn run(setup: &Setup, start: Start) -> Result<Outcome> {
    let specs = setup.specs();
    let (base, best, state, mut states, mut progress) = match start {
        Start::Fresh(state) => {
            let base = Base::write(setup.run_dir, setup.plan, &state)?;
            (base, None, state, States::new(), Progress::default())
        }
        Start::Resumed(checkpoint) => {
            let base = Base::of_run(setup.run_dir)?;
            let progress = checkpoint.progress.clone();
            let states = match setup.plan.phases.get(progress.phase) {
                Some(planned) => {
                    checkpoint.optimizer_states(planned.phase.optimizer.kind, &specs)?
                }
                None => States::new(),
            };
            let best = checkpoint.best_files();
            (base, best, checkpoint.state, states, progress)
        }
    };
    let mut model = build_model(setup, state);
    let mut saver = Saver::new(setup, specs, base, best, &progress)?;
    while let Some(planned) = setup.plan.phases.get(progress.phase) {
        let mut inputs = None;
        let n_classes = setup.index.classes.len();
        let mut learner = Learner::new(
            setup.experiment,
            planned,
            model,
            n_classes,
            std::mem::take(&mut states),
        );
        setup.console.phase(planned);
        while !is_over(setup, planned, &progress) {
            let inputs = if let Some(inputs) = &inputs {
                inputs
            } else {
                let started = Instant::now();
                let filled = Inputs::of_phase(setup, planned, progress.phase, learner.model())?;
                progress.times.filling += started.elapsed().as_secs_f64();
                let Some(filled) = filled else {
                    return Ok(Outcome::Interrupted);
                };
                &*inputs.insert(filled)
            };
            let scores;
            (learner, scores) =
                epoch::train(setup, planned, inputs, learner, &mut progress, &mut saver);
            let validated = match scores? {
                Some(scores) => validate(setup, inputs, &learner, scores),
                None => Ok(None),
            };
            let validated = match validated {
                Ok(Some(validated)) => validated,
                Ok(None) => {
                    saver.save_last(&learner, planned, &mut progress, None)?;
                    return Ok(Outcome::Interrupted);
                }
                Err(error) => return Err(saver.rescue(&learner, planned, &mut progress, error)),
            };
            let is_best = finish_epoch(setup, planned, &mut progress, &validated, &mut saver)?;
            let answers = is_best.then(|| Answers {
                predictions: &validated.predictions,
                part: Part::Valid,
                index: &setup.index,
            });
            if is_over(setup, planned, &progress) || saver.is_due(&progress) {
                saver.save_last(&learner, planned, &mut progress, answers.as_ref())?;
            } else if let Some(answers) = &answers {
                saver.save_best(&learner, planned, &mut progress, answers)?;
            }
        }
        if progress.epoch_in_phase < planned.phase.epochs.get() {
            progress.stopped_early.push(planned.phase.name.clone());
            setup.console.note(&format!(
                "phase `{}` stops early after epoch {}",
                planned.phase.name, progress.epoch
            ));
        }
        let next = setup.plan.phases.get(progress.phase + 1);
        let kept;
        (model, kept) = learner.into_parts();
        if next.is_some_and(|next| next.phase.keep_optimizer) {
            states = kept;
        }
        progress.phase += 1;
        progress.epoch_in_phase = 0;
        progress.epochs_without_improvement = 0;
        progress.best_of_phase = None;
    }
    Ok(Outcome::Finished(Box::new(progress)))
}

/// The model on the training side of the device.
fn build_model(setup: &Setup, state: StateDict) -> Vgg {
    let model = &setup.experiment.model;
    let n_classes = setup.index.classes.len();
    Vgg::from_state(
        model.arch,
        n_classes,
        model.dropout,
        state,
        &setup.device.clone().autodiff(),
    )
}

/// The model without gradients and with dropout off.
pub(crate) fn build_evaluation_model(setup: &Setup, state: StateDict) -> Vgg {
    build_model(setup, state).valid()
}

fn is_over(setup: &Setup, planned: &PlannedPhase, progress: &Progress) -> bool {
    let is_out_of_patience =
        setup
            .experiment
            .early_stopping
            .as_ref()
            .is_some_and(|early_stopping| {
                progress.epochs_without_improvement >= early_stopping.patience.get()
            });
    progress.epoch_in_phase >= planned.phase.epochs.get() || is_out_of_patience
}

/// A whole epoch's scores.
struct Validated {
    train: Scores,
    valid: Scores,
    predictions: Vec<Prediction>,
    seconds: f64,
}

/// The model on the validation images; `None` if stopped in the middle.
fn validate(
    setup: &Setup,
    inputs: &Inputs,
    learner: &Learner,
    train: Scores,
) -> Result<Option<Validated>> {
    let started = Instant::now();
    let predictions = predict(setup, inputs, &learner.evaluation_model(), Part::Valid)?;
    let Some(predictions) = predictions else {
        return Ok(None);
    };
    let valid = evaluate::scores(&predictions);
    if !valid.loss.is_finite() {
        return Err(Error::training(format!(
            "the validation loss is {}; the checkpoint before is kept\nhelp: lower the learning rate",
            valid.loss
        )));
    }
    Ok(Some(Validated {
        train,
        valid,
        predictions,
        seconds: started.elapsed().as_secs_f64(),
    }))
}

/// The answers of a model that is not trained on a part of the split, in the order of the index.
pub(crate) fn predict_part(
    setup: &Setup,
    model: &Vgg,
    part: Part,
) -> Result<Option<Vec<Prediction>>> {
    predict(setup, &Inputs::of_evaluation(setup, model), model, part)
}

fn predict(
    setup: &Setup,
    inputs: &Inputs,
    model: &Vgg,
    part: Part,
) -> Result<Option<Vec<Prediction>>> {
    let images = setup.split.images(part);
    setup.console.evaluation_starts(part.name(), images.len());
    let batches = inputs.batches(images.into_iter().map(Item::whole).collect());
    let entry = (inputs.n_done, inputs.shape.as_slice());
    evaluate::predict(model, batches, entry, &setup.device, |n_done| {
        setup.console.evaluated(n_done);
        !setup.stop.load(Ordering::Relaxed)
    })
}

/// Writes the epoch's row and decides what it means for `best` and for early stopping. Returns whether it is the best.
fn finish_epoch(
    setup: &Setup,
    planned: &PlannedPhase,
    progress: &mut Progress,
    validated: &Validated,
    saver: &mut Saver,
) -> Result<bool> {
    let (train, valid) = (validated.train, validated.valid);
    let partial = progress.partial.take().unwrap_or_default();
    progress.epoch += 1;
    progress.epoch_in_phase += 1;
    let row = EpochRow {
        epoch: progress.epoch,
        phase: planned.phase.name.clone(),
        train_loss: train.loss,
        train_accuracy: train.accuracy,
        valid_loss: valid.loss,
        valid_accuracy: valid.accuracy,
        lr: planned.base_lr((progress.epoch_in_phase * planned.steps_per_epoch).saturating_sub(1)),
        trainable_params: planned.n_trainable_params,
        images: partial.images,
        seconds: partial.seconds + validated.seconds,
        images_per_second: partial.images as f64 / partial.seconds.max(f64::EPSILON),
        waiting_seconds: partial.waiting_seconds,
        frozen_seconds: partial.frozen_seconds,
        valid_seconds: validated.seconds,
    };
    let times = &mut progress.times;
    times.waiting += row.waiting_seconds;
    times.frozen += row.frozen_seconds;
    times.training += partial.seconds - row.waiting_seconds - row.frozen_seconds;
    times.validating += row.valid_seconds;
    saver.add_epoch(&row)?;
    setup.console.epoch_ends(&row);

    let metric = setup.experiment.training.metric;
    let candidate = Candidate::of_row(metric, &row);
    let value = candidate.value;
    let min_delta = setup
        .experiment
        .early_stopping
        .as_ref()
        .map_or(0.0, |early_stopping| early_stopping.min_delta);
    if progress
        .best_of_phase
        .is_none_or(|best| metric.improves(value, best, min_delta))
    {
        progress.best_of_phase = Some(value);
        progress.epochs_without_improvement = 0;
    } else {
        progress.epochs_without_improvement += 1;
    }
    let is_best = progress
        .best
        .as_ref()
        .is_none_or(|best| ranking::rank(metric, &candidate, best).is_lt());
    if is_best {
        progress.best = Some(candidate);
    }
    Ok(is_best)
}

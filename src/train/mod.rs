//! The training loop over phases and epochs. What happens after an epoch is written after the epoch; there are no hooks.

pub(crate) mod activations;
pub(crate) mod answers;
pub(crate) mod checkpoint;
mod epoch;
pub(crate) mod evaluate;
mod events;
pub(crate) mod fill;
mod gradients;
pub(crate) mod inputs;
pub(crate) mod learner;
mod not_finite;
pub(crate) mod objective;
pub(crate) mod optimizer;
pub(crate) mod predictor;
pub(crate) mod progress;
mod save;
mod tables;
mod talk;

#[cfg(test)]
mod backbone_tests;
#[cfg(test)]
mod tests;

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use burn::{module::Module as _, tensor::Device};

use self::{
    checkpoint::{Base, BestFiles, Checkpoint, PendingBase},
    evaluate::{Prediction, Scores},
    inputs::Inputs,
    learner::Learner,
    optimizer::States,
    progress::Progress,
    save::Saver,
};
use crate::{
    claim::Claim,
    config::experiment::{Experiment, Metric},
    console::Console,
    data::{
        index::DatasetIndex,
        source::Item,
        split::{Part, SplitTable},
    },
    error::{Error, Result},
    model::{network::Network, paper::TensorSpec, start::StartState},
    plan::{Plan, PlannedPhase},
    rundir::{RunDir, records::EpochRow},
    scores::ranking::Candidate,
};

/// A run and what it is made of: enough to evaluate a checkpoint of it.
pub(crate) struct Session<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) index: Arc<DatasetIndex>,
    pub(crate) split: &'a SplitTable,
    pub(crate) run_dir: &'a RunDir,
    /// The device without autodiff; training asks for `device.autodiff()`.
    pub(crate) device: Device,
    pub(crate) console: &'a Console,
    /// Set by Ctrl-C, and when the run is lost to another process.
    pub(crate) stop: &'a AtomicBool,
}

/// Everything that training needs, decided before its first step.
pub(crate) struct Setup<'a> {
    pub(crate) session: Session<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) claim: &'a Claim,
    /// Training pauses after this many epochs of the run, unless it ends there.
    pub(crate) pause_after: Option<usize>,
}

/// Training does everything that evaluation does, and asks for the same things by the same names.
impl<'a> Deref for Setup<'a> {
    type Target = Session<'a>;

    fn deref(&self) -> &Self::Target {
        &self.session
    }
}

impl Session<'_> {
    /// The tensors of the model, in the order of its state dict.
    pub(crate) fn specs(&self) -> Vec<TensorSpec> {
        let arch = self.experiment.model.arch;
        arch.tensors(self.index.classes.len())
    }
}

impl Setup<'_> {
    /// Fails if another process has taken over the run: two writers would mix their files.
    pub(crate) fn ensure_ours(&self) -> Result<()> {
        self.claim.ensure_ours()
    }

    fn pauses_after(&self, epoch: usize) -> bool {
        self.pause_after.is_some_and(|last| epoch >= last)
    }
}

/// How training ended.
pub(crate) enum Outcome {
    Finished(Box<Progress>),
    /// The run was stopped on request, and its checkpoint is written.
    Interrupted,
    /// The run has trained as many epochs as it was to, and its checkpoint is written.
    Paused {
        epoch: usize,
    },
}

/// Where training begins: with initial parameters, or at a checkpoint of the same run.
pub(crate) enum TrainingStart {
    Fresh(StartState),
    Resumed(Box<Checkpoint>),
}

/// Trains the remaining phases, and writes metrics and checkpoints on the way.
pub(crate) fn run(setup: &Setup, start: TrainingStart) -> Result<Outcome> {
    let specs = setup.specs();
    let StartingPoint {
        base,
        best,
        state,
        mut progress,
        checkpoint,
    } = starting_point(setup, start)?;
    let mut model = build_model(setup, state);
    let base = match base {
        Some(base) => PendingBase::from(base),
        None => PendingBase::write(setup.run_dir, setup.plan, &model)?,
    };
    // Read last, because building the model takes the memory of its largest matrix twice.
    let mut states = optimizer_states(setup, checkpoint.as_deref(), &specs)?;
    let mut saver = Saver::new(setup, specs, base, best, &progress)?;
    for planned in setup.plan.phases.iter().skip(progress.phase) {
        let n_classes = setup.index.classes.len();
        let states_of_phase = std::mem::take(&mut states);
        let mut learner =
            Learner::new(setup.experiment, planned, model, n_classes, states_of_phase);
        let mut inputs = None;
        talk::phase(setup.console, planned);
        while !progress.ends_phase(setup.experiment, planned) {
            let Some(inputs) = filled(&mut inputs, setup, planned, &learner, &mut progress)? else {
                return Ok(Outcome::Interrupted);
            };
            let validated;
            (learner, validated) =
                train_and_validate(setup, planned, inputs, learner, &mut progress, &mut saver);
            let Some(validated) = validated? else {
                saver.save_last(&learner, planned, &mut progress)?;
                return Ok(Outcome::Interrupted);
            };
            let is_best = finish_epoch(setup, planned, &mut progress, &validated, &mut saver)?;
            let predictions = is_best.then_some(validated.predictions);
            let is_over = progress.ends_phase(setup.experiment, planned);
            saver.save_epoch(&learner, planned, &mut progress, predictions, is_over)?;
            let is_end = is_over && progress.phase + 1 == setup.plan.phases.len();
            if setup.pauses_after(progress.epoch) && !is_end {
                return Ok(Outcome::Paused {
                    epoch: progress.epoch,
                });
            }
        }
        if progress.epoch_in_phase < planned.phase.epochs.get() {
            let (name, epoch) = (&planned.phase.name, progress.epoch);
            progress.stopped_early.push(name.clone());
            let note = format!("phase `{name}` stopped early after epoch {epoch}");
            setup.console.note(&note);
        }
        progress.start_next_phase();
        let kept;
        (model, kept) = learner.into_parts();
        let next = setup.plan.phases.get(progress.phase);
        if next.is_some_and(|next| next.phase.keep_optimizer) {
            states = kept;
        }
    }
    Ok(Outcome::Finished(Box::new(progress)))
}

/// Everything that training continues from.
struct StartingPoint {
    /// `None` if the run has none yet.
    base: Option<Base>,
    best: Option<BestFiles>,
    state: StartState,
    progress: Progress,
    /// The checkpoint of a resumed run, without its parameters.
    checkpoint: Option<Box<Checkpoint>>,
}

fn starting_point(setup: &Setup, start: TrainingStart) -> Result<StartingPoint> {
    let mut checkpoint = match start {
        TrainingStart::Fresh(state) => {
            return Ok(StartingPoint {
                base: None,
                best: None,
                state,
                progress: Progress::default(),
                checkpoint: None,
            });
        }
        TrainingStart::Resumed(checkpoint) => checkpoint,
    };
    Ok(StartingPoint {
        base: Some(Base::of_run(setup.run_dir)?),
        best: checkpoint.best_files(),
        state: std::mem::take(&mut checkpoint.state).into(),
        progress: checkpoint.progress.clone(),
        checkpoint: Some(checkpoint),
    })
}

/// The optimizer's state of a resumed run.
fn optimizer_states(
    setup: &Setup,
    checkpoint: Option<&Checkpoint>,
    specs: &[TensorSpec],
) -> Result<States> {
    // Without a phase left there is no optimizer kind to read the state as, and nothing to use it for.
    let planned = checkpoint.and_then(|it| setup.plan.phases.get(it.progress.phase));
    match checkpoint.zip(planned) {
        Some((it, planned)) => it.optimizer_states(planned.phase.optimizer.kind, specs),
        None => Ok(States::new()),
    }
}

/// The inputs of a phase; `None` if the run was stopped while the cache was being filled. They are made when the phase's
/// first epoch begins, because a resumed run may have no epoch of the phase left.
fn filled<'a, 's>(
    inputs: &'a mut Option<Inputs<'s>>,
    setup: &'s Setup<'s>,
    planned: &PlannedPhase,
    learner: &Learner,
    progress: &mut Progress,
) -> Result<Option<&'a Inputs<'s>>> {
    if inputs.is_none() {
        let started = Instant::now();
        *inputs = Inputs::of_phase(setup, planned, progress.phase, learner.model())?;
        progress.times.filling += started.elapsed().as_secs_f64();
    }
    Ok(inputs.as_ref())
}

/// Trains to the end of the epoch and validates; `None` if the run was stopped meanwhile. Saves what is worth saving before
/// it returns an error.
fn train_and_validate(
    setup: &Setup,
    planned: &PlannedPhase,
    inputs: &Inputs,
    learner: Learner,
    progress: &mut Progress,
    saver: &mut Saver,
) -> (Learner, Result<Option<Validated>>) {
    let (learner, scores) = epoch::train(setup, planned, inputs, learner, progress, saver);
    let validated = match scores {
        Ok(Some(scores)) => validate(setup, inputs, &learner, scores)
            .map_err(|error| saver.rescue(&learner, planned, progress, error)),
        Ok(None) => Ok(None),
        // `epoch::train` has rescued the run already.
        Err(error) => Err(error),
    };
    (learner, validated)
}

/// The model on the device with autodiff.
fn build_model(setup: &Session, state: impl Into<StartState>) -> Network {
    let experiment = setup.experiment;
    let paper = Arc::new(experiment.paper(setup.index.classes.len()));
    let device = setup.device.clone().autodiff();
    Network::from_state(paper, experiment.model.dropout, state, &device)
}

/// The model without gradients and with dropout off.
pub(crate) fn build_evaluation_model(setup: &Session, state: impl Into<StartState>) -> Network {
    build_model(setup, state).valid()
}

/// The scores of a whole epoch.
struct Validated {
    train: Scores,
    valid: Scores,
    predictions: Vec<Prediction>,
    seconds: f64,
}

/// Evaluates the model on the validation images; `None` if the run was stopped meanwhile.
fn validate(
    setup: &Session,
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
        let error = Error::training(format!("the validation loss is {}", valid.loss));
        return Err(error
            .fact("the previous checkpoint is kept")
            .help("lower the learning rate"));
    }
    Ok(Some(Validated {
        train,
        valid,
        predictions,
        seconds: started.elapsed().as_secs_f64(),
    }))
}

/// Predictions of a model outside training on one part of the split, in the order of the index.
pub(crate) fn predict_part(
    setup: &Session,
    model: &Network,
    part: Part,
) -> Result<Option<Vec<Prediction>>> {
    predict(setup, &Inputs::of_evaluation(setup, model), model, part)
}

fn predict(
    setup: &Session,
    inputs: &Inputs,
    model: &Network,
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

/// Writes the epoch's row, and updates early stopping and the best epoch. Returns whether this epoch is the best so far.
fn finish_epoch(
    setup: &Setup,
    planned: &PlannedPhase,
    progress: &mut Progress,
    validated: &Validated,
    saver: &mut Saver,
) -> Result<bool> {
    let (train, valid) = (validated.train, validated.valid);
    let metric = setup.experiment.training.metric;
    let further = evaluate::further_metric(metric, &validated.predictions, &setup.index.classes);
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
        valid_macro_f1: further.filter(|_| metric == Metric::ValidMacroF1),
        valid_auc: further.filter(|_| metric == Metric::ValidAuc),
    };
    let times = &mut progress.times;
    times.waiting += row.waiting_seconds;
    times.frozen += row.frozen_seconds;
    times.training += partial.seconds - row.waiting_seconds - row.frozen_seconds;
    times.validating += row.valid_seconds;
    saver.add_epoch(&row)?;
    talk::epoch_ends(setup.console, &row);

    let candidate = Candidate::of_row(metric, &row);
    let early_stopping = setup.experiment.early_stopping.as_ref();
    let min_delta = early_stopping.map_or(0.0, |it| it.min_delta);
    progress.update_patience(metric, candidate.value, min_delta);
    Ok(progress.update_best(metric, candidate))
}

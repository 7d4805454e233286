//! What a run in progress writes to disk: rows at once, checkpoints when `checkpoint_every` asks for them. Until then, the best
//! model is held in memory: a run that is killed finds it again when it repeats the epochs since its last checkpoint.

use std::time::Instant;

use super::{
    Setup,
    answers::Answers,
    checkpoint::{self, Best, BestFiles, PendingBase, Snapshot},
    evaluate::Prediction,
    gradients::all_finite,
    learner::Learner,
    optimizer::{Moment, States},
    progress::Progress,
    tables::Tables,
};
use crate::{
    config::experiment::{CheckpointEvery, Keep},
    data::split::Part,
    error::{Error, Kind, Result},
    memory,
    model::{
        paper::TensorSpec,
        parameters::{Parameter, ParameterCopy},
        tensor_file::TensorValues as _,
    },
    plan::PlannedPhase,
    rundir::records::{EpochRow, StepRow},
    scores::ranking::Candidate,
};

/// The best model is held only if this many times its size are available, since other processes may need memory, too.
const ROOM_FOR_COPIES: u64 = 2;

pub(super) struct Saver<'a> {
    setup: &'a Setup<'a>,
    specs: Vec<TensorSpec>,
    base: PendingBase,
    /// The files of the checkpoint `best`; `None` before it is first written.
    best: Option<BestFiles>,
    /// A model that is better than the one in `best`.
    held: Option<HeldBest>,
    tables: Tables,
    /// When the last checkpoint was written or training began; the next two fields say how far the run was by then.
    saved: Instant,
    saved_step: usize,
    saved_epoch: usize,
}

/// The best model so far, copied while training continues.
struct HeldBest {
    parameters: Vec<ParameterCopy>,
    epoch: Option<Candidate>,
    /// Its predictions for the validation images.
    predictions: Vec<Prediction>,
}

impl<'a> Saver<'a> {
    /// `specs` are the tensors of the model, in the order of its state dict.
    pub(super) fn new(
        setup: &'a Setup<'a>,
        specs: Vec<TensorSpec>,
        base: PendingBase,
        best: Option<BestFiles>,
        progress: &Progress,
    ) -> Result<Self> {
        Ok(Self {
            setup,
            specs,
            base,
            best,
            held: None,
            tables: Tables::open(setup.run_dir, setup.experiment.log)?,
            saved: Instant::now(),
            saved_step: progress.step,
            saved_epoch: progress.epoch,
        })
    }

    pub(super) fn add_epoch(&mut self, row: &EpochRow) -> Result<()> {
        self.setup.ensure_ours()?;
        self.tables.add_epoch(row)
    }

    pub(super) fn add_steps(&mut self, rows: &[StepRow]) -> Result<()> {
        self.setup.ensure_ours()?;
        self.tables.add_steps(rows)
    }

    /// Whether a run that is killed now would have to repeat more than `checkpoint_every` allows.
    pub(super) fn is_due(&self, progress: &Progress) -> bool {
        match self.setup.experiment.training.checkpoint_every {
            CheckpointEvery::Time(span) => self.saved.elapsed() >= span,
            CheckpointEvery::Steps(number) => progress.step - self.saved_step >= number.get(),
            CheckpointEvery::Epochs(number) => progress.epoch - self.saved_epoch >= number.get(),
        }
    }

    /// Writes the checkpoints that are due at the end of an epoch. `predictions` are given if it is the best one so far.
    pub(super) fn save_epoch(
        &mut self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
        predictions: Option<Vec<Prediction>>,
        is_phase_over: bool,
    ) -> Result<()> {
        // `last` at the end of a phase is what the next phase, or the end of the run, starts from.
        if is_phase_over || self.setup.pauses_after(progress.epoch) || self.is_due(progress) {
            let is_end = is_phase_over && progress.phase + 1 == self.setup.plan.phases.len();
            let is_slim = is_end && self.setup.experiment.checkpoints.keep == Keep::Best;
            let best = predictions.as_deref();
            return self.write_last(learner, planned, progress, best, is_slim);
        }
        match predictions {
            Some(predictions) => self.keep_best(learner, progress, predictions),
            None => Ok(()),
        }
    }

    /// Replaces the last checkpoint inside an epoch, and the best one if a better model is held.
    pub(super) fn save_last(
        &mut self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
    ) -> Result<()> {
        self.write_last(learner, planned, progress, None, false)
    }

    /// Replaces the last checkpoint, and also the best one if this model is the best, with `predictions`, or a better one is held.
    fn write_last(
        &mut self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
        predictions: Option<&[Prediction]>,
        is_slim: bool,
    ) -> Result<()> {
        let started = Instant::now();
        self.setup.ensure_ours()?;
        let run_dir = self.setup.run_dir;
        let parameters = self.parameters(learner, progress);
        let optimizer = (!is_slim).then(|| learner.optimizer_states());
        self.check_finite(&parameters, optimizer, progress)?;
        let snapshot = Snapshot {
            base: self.base.written()?,
            parameters: &parameters,
            optimizer,
            kind: planned.phase.optimizer.kind,
            specs: &self.specs,
            progress,
            metrics: self.tables.metrics(),
            steps: self.tables.steps(),
        };
        let best = match (predictions, &self.held, &self.best) {
            (Some(predictions), _, _) => Some(Best::New(self.answers(predictions))),
            (None, Some(held), _) => Some(Best::Held {
                parameters: &held.parameters,
                epoch: held.epoch.as_ref(),
                answers: self.answers(&held.predictions),
            }),
            (None, None, Some(files)) => Some(Best::Stored(files.clone())),
            (None, None, None) => None,
        };
        self.best = checkpoint::save_last(run_dir, &snapshot, best)?;
        let held = self.held.take();
        if let Some(predictions) = predictions.or(held.as_ref().map(|held| &*held.predictions)) {
            self.answers(predictions).save(&run_dir.predictions_csv())?;
        }
        self.saved = Instant::now();
        (self.saved_step, self.saved_epoch) = (progress.step, progress.epoch);
        progress.times.saving += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Saves the work done before `error`. After an error of training the parameters themselves are bad, so the checkpoints that
    /// hold them are removed instead, and resuming starts from earlier ones.
    pub(super) fn rescue(
        &mut self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
        error: Error,
    ) -> Error {
        // If this fails too, the previous checkpoint is still there, and the first error is the one to report.
        if error.kind() != Kind::Training {
            let _ = self.save_last(learner, planned, progress);
        } else if self.setup.ensure_ours().is_ok() {
            if let Ok(Some(step)) = checkpoint::drop_diverged(self.setup.run_dir, progress) {
                self.setup.console.note(&format!(
                    "removed the checkpoint of step {} because its parameters led to this loss; resuming will start from step {step}",
                    progress.last_update()
                ));
            }
            // The best model is from before, and usable without resuming.
            let _ = self.write_held();
        }
        error
    }

    /// Keeps this model as the best one: in memory, or in the checkpoint `best` if there is too little memory for a copy.
    fn keep_best(
        &mut self,
        learner: &Learner,
        progress: &mut Progress,
        predictions: Vec<Prediction>,
    ) -> Result<()> {
        let started = Instant::now();
        let parameters = self.parameters(learner, progress);
        self.check_finite(&parameters, None, progress)?;
        // Dropped first, so that there are never two copies.
        self.held = None;
        let epoch = progress.best.clone();
        if has_room(&parameters) {
            self.held = Some(HeldBest {
                parameters: parameters.iter().map(Parameter::copied).collect(),
                epoch,
                predictions,
            });
        } else {
            self.setup.ensure_ours()?;
            let named = parameters.iter();
            let named = named.map(|parameter| (parameter.path().to_owned(), parameter));
            let answers = self.answers(&predictions);
            let run_dir = self.setup.run_dir;
            let base = self.base.written()?;
            let best = checkpoint::save_best(run_dir, base, epoch.as_ref(), named, &answers)?;
            answers.save(&run_dir.predictions_csv())?;
            self.best = Some(best);
        }
        progress.times.saving += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Writes the model that is held, if any, to the checkpoint `best`.
    fn write_held(&mut self) -> Result<()> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        let run_dir = self.setup.run_dir;
        let copies = held.parameters.iter();
        let copies = copies.map(|copy| (copy.path().to_owned(), copy));
        let answers = self.answers(&held.predictions);
        let epoch = held.epoch.as_ref();
        let base = self.base.written()?;
        let best = checkpoint::save_best(run_dir, base, epoch, copies, &answers)?;
        answers.save(&run_dir.predictions_csv())?;
        self.best = Some(best);
        Ok(())
    }

    /// The parameters of the model that the checkpoints of this phase contain.
    fn parameters<'l>(&self, learner: &'l Learner, progress: &Progress) -> Vec<Parameter<'l>> {
        let parameters = learner.model().parameters();
        let (plan, phase) = (self.setup.plan, progress.phase);
        parameters
            .filter(|it| checkpoint::holds(plan, phase, it.path()))
            .collect()
    }

    fn answers<'p>(&'p self, predictions: &'p [Prediction]) -> Answers<'p> {
        Answers {
            predictions,
            part: Part::Valid,
            index: &self.setup.index,
        }
    }

    /// A diverged model must not replace a sound checkpoint.
    fn check_finite(
        &self,
        parameters: &[Parameter],
        optimizer: Option<&States>,
        progress: &Progress,
    ) -> Result<()> {
        let mut parameters = parameters.iter();
        let broken = parameters.find(|parameter| !parameter.with_values(all_finite));
        let broken = broken
            .map(|parameter| format!("`{}`", parameter.path()))
            .or_else(|| {
                let is_broken = |moment: &Moment| !all_finite(&moment.values());
                let mut states = optimizer?.iter();
                let (index, _) = states.find(|(_, state)| state.moments.iter().any(is_broken))?;
                Some(format!(
                    "the optimizer state of `{}`",
                    self.specs[*index].path
                ))
            });
        match broken {
            None => Ok(()),
            Some(name) => Err(Error::training(format!(
                "{name} is no longer finite after step {}",
                progress.step
            ))
            .fact("the previous checkpoint is kept")
            .help("lower the learning rate, or set `training.clip_grad_norm = 1.0`")),
        }
    }
}

/// Whether a copy of the parameters fits into memory beside everything else.
fn has_room(parameters: &[Parameter]) -> bool {
    let n_values = |parameter: &Parameter| parameter.shape().iter().product::<usize>();
    let n_bytes = parameters.iter().map(n_values).sum::<usize>() * size_of::<f32>();
    let available = memory::available();
    available.is_none_or(|available| available.n_bytes >= ROOM_FOR_COPIES * n_bytes as u64)
}

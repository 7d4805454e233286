//! What a run in progress writes to disk: rows and the best checkpoint at once, the last checkpoint when `checkpoint_every`
//! asks for it.

use std::time::Instant;

use super::{
    Setup,
    answers::Answers,
    checkpoint::{self, BestFiles, PendingBase, Snapshot},
    gradients::all_finite,
    learner::Learner,
    progress::Progress,
    tables::Tables,
};
use crate::{
    config::experiment::CheckpointEvery,
    error::{Error, Kind, Result},
    model::{paper::TensorSpec, tensor_file::TensorValues as _},
    plan::PlannedPhase,
    rundir::records::{EpochRow, StepRow},
};

pub(super) struct Saver<'a> {
    setup: &'a Setup<'a>,
    specs: Vec<TensorSpec>,
    base: PendingBase,
    /// The files of the best checkpoint; `None` before the end of the first epoch.
    best: Option<BestFiles>,
    tables: Tables,
    /// When the last checkpoint was written or training began; the next two fields say how far the run was by then.
    saved: Instant,
    saved_step: usize,
    saved_epoch: usize,
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

    /// Writes the checkpoints that are due at the end of an epoch. `answers` are given if it is the best one so far.
    pub(super) fn save_epoch(
        &mut self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
        answers: Option<&Answers>,
        is_phase_over: bool,
    ) -> Result<()> {
        // `last` at the end of a phase is what the next phase, or the end of the run, starts from.
        if is_phase_over || self.is_due(progress) {
            return self.save_last(learner, planned, progress, answers);
        }
        match answers {
            Some(answers) => self.save_best(learner, planned, progress, answers),
            None => Ok(()),
        }
    }

    /// Replaces the last checkpoint, and also the best one if there are `new_answers` of this model.
    pub(super) fn save_last(
        &mut self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
        new_answers: Option<&Answers>,
    ) -> Result<()> {
        let started = Instant::now();
        let run_dir = self.setup.run_dir;
        let best = self.best.clone();
        self.best = self.with_snapshot(learner, planned, progress, |snapshot| {
            checkpoint::save_last(run_dir, snapshot, best, new_answers)
        })?;
        if let Some(answers) = new_answers {
            answers.save(&run_dir.predictions_csv())?;
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
            let _ = self.save_last(learner, planned, progress, None);
        } else if self.setup.ensure_ours().is_ok()
            && let Ok(Some(step)) = checkpoint::drop_diverged(self.setup.run_dir, progress)
        {
            self.setup.console.note(&format!(
                "removed the checkpoint of step {} because its parameters led to this loss; resuming will start from step {step}",
                progress.last_update()
            ));
        }
        error
    }

    /// Replaces the best checkpoint with this model, which `answers` are from.
    pub(super) fn save_best(
        &mut self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
        answers: &Answers,
    ) -> Result<()> {
        let started = Instant::now();
        let run_dir = self.setup.run_dir;
        let best = self.with_snapshot(learner, planned, progress, |snapshot| {
            checkpoint::save_best(run_dir, snapshot, answers)
        })?;
        self.best = Some(best);
        answers.save(&run_dir.predictions_csv())?;
        progress.times.saving += started.elapsed().as_secs_f64();
        Ok(())
    }

    fn with_snapshot<T>(
        &self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &Progress,
        write: impl FnOnce(&Snapshot) -> Result<T>,
    ) -> Result<T> {
        self.setup.ensure_ours()?;
        let plan = self.setup.plan;
        let parameters = learner.model().parameters();
        let held = parameters.filter(|it| checkpoint::holds(plan, progress.phase, it.path()));
        let snapshot = Snapshot {
            base: self.base.written()?,
            parameters: &held.collect::<Vec<_>>(),
            optimizer: learner.optimizer_states(),
            kind: planned.phase.optimizer.kind,
            specs: &self.specs,
            progress,
            metrics: self.tables.metrics(),
            steps: self.tables.steps(),
        };
        self.check_finite(&snapshot)?;
        write(&snapshot)
    }

    /// A diverged model must not replace a sound checkpoint.
    fn check_finite(&self, snapshot: &Snapshot) -> Result<()> {
        let mut parameters = snapshot.parameters.iter();
        let broken = parameters.find(|parameter| {
            let mut is_broken = false;
            parameter.visit(&mut |values| is_broken |= !all_finite(values));
            is_broken
        });
        let mut states = snapshot.optimizer.iter();
        let broken = broken
            .map(|parameter| format!("`{}`", parameter.path()))
            .or_else(|| {
                let is_broken = |moment: &super::optimizer::Moment| !all_finite(&moment.values());
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
                snapshot.progress.step
            ))
            .fact("the previous checkpoint is kept")
            .help("lower the learning rate, or set `training.clip_grad_norm = 1.0`")),
        }
    }
}

//! When checkpoints are written: the best at once, the last when it is old enough to be worth the time.

use std::time::Instant;

use super::{
    Setup,
    checkpoint::{self, Base, Snapshot},
    gradients::all_finite,
    learner::Learner,
    progress::Progress,
};
use crate::{
    config::experiment::CheckpointEvery,
    error::{Error, Result},
    model::layout::TensorSpec,
    plan::PlannedPhase,
};

pub(super) struct Saver<'a> {
    setup: &'a Setup<'a>,
    specs: Vec<TensorSpec>,
    base: Base,
    /// When the last checkpoint was written, or training began, and where it stood.
    saved: Instant,
    saved_step: usize,
    saved_epoch: usize,
}

impl<'a> Saver<'a> {
    /// `specs` are all tensors of the model in order.
    pub(super) fn new(
        setup: &'a Setup<'a>,
        specs: Vec<TensorSpec>,
        base: Base,
        progress: &Progress,
    ) -> Self {
        Self {
            setup,
            specs,
            base,
            saved: Instant::now(),
            saved_step: progress.step,
            saved_epoch: progress.epoch,
        }
    }

    /// Whether a run that is killed now would repeat more than the experiment allows.
    pub(super) fn is_due(&self, progress: &Progress) -> bool {
        match self.setup.experiment.training.checkpoint_every {
            CheckpointEvery::Time(span) => self.saved.elapsed() >= span,
            CheckpointEvery::Steps(number) => progress.step - self.saved_step >= number.get(),
            CheckpointEvery::Epochs(number) => progress.epoch - self.saved_epoch >= number.get(),
        }
    }

    pub(super) fn save_last(
        &mut self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
        is_best: bool,
    ) -> Result<()> {
        let started = Instant::now();
        let run_dir = self.setup.run_dir;
        self.with_snapshot(learner, planned, progress, |snapshot| {
            checkpoint::save_last(run_dir, snapshot, is_best)
        })?;
        self.saved = Instant::now();
        (self.saved_step, self.saved_epoch) = (progress.step, progress.epoch);
        progress.times.saving += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Keeps what was done before `error`, unless it is the parameters that went wrong: then the checkpoint before is the good
    /// one.
    pub(super) fn rescue(
        &mut self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
        error: Error,
    ) -> Error {
        if !matches!(error, Error::Training(_)) {
            // Where this fails too, the checkpoint before is still there, and the first error is the one to report.
            let _ = self.save_last(learner, planned, progress, false);
        }
        error
    }

    pub(super) fn save_best(
        &self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &mut Progress,
    ) -> Result<()> {
        let started = Instant::now();
        let run_dir = self.setup.run_dir;
        self.with_snapshot(learner, planned, progress, |snapshot| {
            checkpoint::save_best(run_dir, snapshot)
        })?;
        progress.times.saving += started.elapsed().as_secs_f64();
        Ok(())
    }

    fn with_snapshot(
        &self,
        learner: &Learner,
        planned: &PlannedPhase,
        progress: &Progress,
        write: impl FnOnce(&Snapshot) -> Result<()>,
    ) -> Result<()> {
        self.setup.ensure_ours()?;
        let plan = self.setup.plan;
        let held = |path: &str| checkpoint::holds(plan, progress.phase, path);
        let snapshot = Snapshot {
            base: &self.base,
            state: &learner.model().state_of(held),
            optimizer: learner.optimizer_states(),
            kind: planned.phase.optimizer.kind,
            specs: &self.specs,
            progress,
        };
        self.check_finite(&snapshot)?;
        write(&snapshot)
    }

    /// A model that has gone wrong must not take the place of one that has not.
    fn check_finite(&self, snapshot: &Snapshot) -> Result<()> {
        let mut parameters = snapshot.state.iter();
        let broken = parameters.find(|(_, tensor)| !all_finite(&tensor.values));
        let mut states = snapshot.optimizer.iter();
        let broken = broken.map(|(path, _)| path.clone()).or_else(|| {
            let is_broken = |moment: &super::optimizer::Moment| !all_finite(&moment.values());
            let (index, _) = states.find(|(_, state)| state.moments.iter().any(is_broken))?;
            Some(format!(
                "the optimizer's state of {}",
                self.specs[*index].path
            ))
        });
        match broken {
            None => Ok(()),
            Some(name) => Err(Error::Training(format!(
                "{name} is no longer finite after step {}; the checkpoint before is kept\n\
                 help: lower the learning rate, or set `training.clip_grad_norm = 1.0`",
                snapshot.progress.step
            ))),
        }
    }
}

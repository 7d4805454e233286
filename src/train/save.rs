//! When checkpoints are written: the best at once, the last when it is old enough to be worth the time.

use std::time::Instant;

use super::{
    Setup,
    checkpoint::{self, Progress, Snapshot},
    learner::Learner,
};
use crate::{error::Result, model::layout::TensorSpec, plan::PlannedPhase};

pub(super) struct Saver<'a> {
    setup: &'a Setup<'a>,
    specs: Vec<TensorSpec>,
    /// When the last checkpoint was written, or training began.
    saved: Instant,
}

impl<'a> Saver<'a> {
    /// `specs` are all tensors of the model in order.
    pub(super) fn new(setup: &'a Setup<'a>, specs: Vec<TensorSpec>) -> Self {
        Self {
            setup,
            specs,
            saved: Instant::now(),
        }
    }

    /// Whether a run that is killed now would repeat more than the experiment allows.
    pub(super) fn is_due(&self) -> bool {
        self.saved.elapsed() >= self.setup.experiment.training.checkpoint_every
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
        progress.times.saving += started.elapsed().as_secs_f64();
        Ok(())
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
        write(&Snapshot {
            state: &learner.model().state(),
            optimizer: learner.optimizer_states(),
            kind: planned.phase.optimizer.kind,
            specs: &self.specs,
            progress,
        })
    }
}

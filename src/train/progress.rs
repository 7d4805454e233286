//! How far a run has come: its position, and everything that earlier epochs decide about later ones.

use serde::{Deserialize, Serialize};

use super::evaluate::Scores;
use crate::{
    config::experiment::{Experiment, Metric},
    plan::{Plan, PlannedPhase},
    rundir::times::Times,
    scores::ranking::{self, Candidate},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The index of the current phase.
    pub(crate) phase: usize,
    /// Completed epochs of the current phase.
    pub(crate) epoch_in_phase: usize,
    /// Completed epochs of all phases.
    pub(crate) epoch: usize,
    /// Optimizer steps of all phases, including skipped ones.
    pub(crate) step: usize,
    /// Steps without an update because the loss or a gradient was not finite.
    #[serde(default)]
    pub(crate) skipped: Skipped,
    /// Where the time of the completed epochs went.
    #[serde(default)]
    pub(crate) times: Times,
    pub(crate) stopped_early: Vec<String>,
    /// Epochs of the current phase since the metric last improved.
    pub(crate) epochs_without_improvement: usize,
    pub(crate) best_of_phase: Option<f64>,
    /// The best epoch so far.
    pub(crate) best: Option<Candidate>,
    /// The unfinished epoch, if the run was stopped inside one.
    pub(crate) partial: Option<Partial>,
}

impl Progress {
    /// The last step that changed the parameters.
    pub(crate) fn last_update(&self) -> usize {
        self.step.saturating_sub(self.skipped.in_a_row)
    }

    /// Whether the current phase has no further epoch.
    pub(crate) fn ends_phase(&self, experiment: &Experiment, planned: &PlannedPhase) -> bool {
        let early_stopping = experiment.early_stopping.as_ref();
        let is_out_of_patience =
            early_stopping.is_some_and(|it| self.epochs_without_improvement >= it.patience.get());
        self.epoch_in_phase >= planned.phase.epochs.get() || is_out_of_patience
    }

    /// Whether what is left to train depends on the optimizer's state, which phases begin without unless they keep it.
    pub(crate) fn needs_optimizer(&self, experiment: &Experiment, plan: &Plan) -> bool {
        let mut phases = plan.phases.iter().skip(self.phase);
        let Some(planned) = phases.next() else {
            return false;
        };
        let next_keeps_it = phases.next().is_some_and(|it| it.phase.keep_optimizer);
        next_keeps_it || !self.ends_phase(experiment, planned)
    }

    /// Moves on to the first epoch of the next phase, whose early stopping begins anew.
    pub(crate) fn start_next_phase(&mut self) {
        self.phase += 1;
        self.epoch_in_phase = 0;
        self.epochs_without_improvement = 0;
        self.best_of_phase = None;
    }

    /// Counts an epoch with this value of the metric for early stopping.
    pub(crate) fn update_patience(&mut self, metric: Metric, value: f64, min_delta: f64) {
        if self
            .best_of_phase
            .is_none_or(|best| metric.improves(value, best, min_delta))
        {
            self.best_of_phase = Some(value);
            self.epochs_without_improvement = 0;
        } else {
            self.epochs_without_improvement += 1;
        }
    }

    /// Keeps the epoch if it is the best so far, and returns whether it is.
    pub(crate) fn update_best(&mut self, metric: Metric, candidate: Candidate) -> bool {
        let is_best = self
            .best
            .as_ref()
            .is_none_or(|best| ranking::rank(metric, &candidate, best).is_lt());
        if is_best {
            self.best = Some(candidate);
        }
        is_best
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) steps: usize,
    /// How many of the most recent steps were skipped one after another.
    pub(crate) in_a_row: usize,
}

/// The steps of an unfinished epoch, and the sums that its row will be computed from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Partial {
    pub(crate) steps: usize,
    pub(crate) images: usize,
    /// How many of `images` belong to skipped steps, which no sum includes.
    #[serde(default)]
    pub(crate) skipped_images: usize,
    pub(crate) loss_sum: f64,
    pub(crate) n_correct: usize,
    /// The whole time, including the next two.
    pub(crate) seconds: f64,
    #[serde(default)]
    pub(crate) waiting_seconds: f64,
    #[serde(default)]
    pub(crate) frozen_seconds: f64,
}

impl Partial {
    /// The mean scores so far; NaN if every step was skipped.
    pub(crate) fn scores(&self) -> Scores {
        let n = (self.images - self.skipped_images) as f64;
        Scores {
            loss: self.loss_sum / n,
            accuracy: self.n_correct as f64 / n,
        }
    }
}

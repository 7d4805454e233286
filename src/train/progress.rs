//! Where a run stands: the position and everything that earlier epochs decide about later ones.

use serde::{Deserialize, Serialize};

use super::evaluate::Scores;
use crate::{rundir::times::Times, scores::ranking::Candidate};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Index of the phase to go on with.
    pub(crate) phase: usize,
    /// Whole epochs done in that phase.
    pub(crate) epoch_in_phase: usize,
    /// Whole epochs done in all phases.
    pub(crate) epoch: usize,
    /// Optimizer steps done in all phases, those that were left out included.
    pub(crate) step: usize,
    /// Steps without an update, because a loss or a gradient was not finite.
    #[serde(default)]
    pub(crate) skipped: Skipped,
    /// Of the epochs that are done.
    #[serde(default)]
    pub(crate) times: Times,
    pub(crate) stopped_early: Vec<String>,
    /// Epochs of this phase since the metric last improved.
    pub(crate) epochs_without_improvement: usize,
    pub(crate) best_of_phase: Option<f64>,
    /// The best epoch so far.
    pub(crate) best: Option<Candidate>,
    /// The epoch under way, where the run was stopped inside one.
    pub(crate) partial: Option<Partial>,
}

impl Progress {
    /// The last step that changed the parameters.
    pub(crate) fn last_update(&self) -> usize {
        self.step.saturating_sub(self.skipped.in_a_row)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) steps: usize,
    /// How many of them were the last ones.
    pub(crate) in_a_row: usize,
}

/// Steps of an unfinished epoch, and the sums that its row will be made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Partial {
    pub(crate) steps: usize,
    pub(crate) images: usize,
    /// Of `images`, those of skipped steps: no sum has them.
    #[serde(default)]
    pub(crate) skipped_images: usize,
    pub(crate) loss_sum: f64,
    pub(crate) n_correct: usize,
    /// All of it, the next two included.
    pub(crate) seconds: f64,
    #[serde(default)]
    pub(crate) waiting_seconds: f64,
    #[serde(default)]
    pub(crate) frozen_seconds: f64,
}

impl Partial {
    /// Not a number where every step was skipped.
    pub(crate) fn scores(&self) -> Scores {
        let n = (self.images - self.skipped_images) as f64;
        Scores {
            loss: self.loss_sum / n,
            accuracy: self.n_correct as f64 / n,
        }
    }
}

//! Decides which of two epochs is better, by the same rule for the best checkpoint, tables and leaderboards. Pure.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::{config::experiment::Metric, rundir::records::EpochRow};

/// An epoch with the values that decide whether it is the best one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) epoch: usize,
    /// The value of the metric.
    pub(crate) value: f64,
    /// The validation loss. Checkpoints of earlier versions lack it; then any later epoch with the same value is better.
    #[serde(default = "unknown_loss")]
    pub(crate) loss: f64,
}

fn unknown_loss() -> f64 {
    f64::INFINITY
}

impl Candidate {
    pub(crate) fn new(metric: Metric, epoch: usize, loss: f64, accuracy: f64) -> Self {
        Self {
            epoch,
            value: metric.of(loss, accuracy),
            loss,
        }
    }

    pub(crate) fn of_row(metric: Metric, row: &EpochRow) -> Self {
        Self::new(metric, row.epoch, row.valid_loss, row.valid_accuracy)
    }
}

/// Orders epochs from better to worse: by the metric, then by lower validation loss, then by earlier epoch.
pub(crate) fn rank(metric: Metric, a: &Candidate, b: &Candidate) -> Ordering {
    let by_value = match metric {
        Metric::ValidLoss => ascending(a.value, b.value),
        Metric::ValidAccuracy => ascending(-a.value, -b.value),
    };
    by_value
        .then_with(|| ascending(a.loss, b.loss))
        .then_with(|| a.epoch.cmp(&b.epoch))
}

/// Like [`rank`], for candidates that may be absent; absent ones come last.
pub(crate) fn rank_some(metric: Metric, a: Option<&Candidate>, b: Option<&Candidate>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => rank(metric, a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Orders numbers, with NaN last. Unlike in `total_cmp`, zeros are equal whatever their sign.
fn ascending(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(metric: Metric, epochs: &[(f64, f64)]) -> usize {
        let candidates = epochs
            .iter()
            .enumerate()
            .map(|(at, (loss, accuracy))| Candidate::new(metric, at + 1, *loss, *accuracy));
        candidates.min_by(|a, b| rank(metric, a, b)).unwrap().epoch
    }

    #[test]
    fn of_equal_epochs_the_lower_loss_wins_and_then_the_earlier() {
        let accuracy = Metric::ValidAccuracy;
        assert_eq!(best(accuracy, &[(0.5, 0.8), (0.1, 0.7)]), 1);
        assert_eq!(best(accuracy, &[(0.5, 0.8), (0.4, 0.8), (0.4, 0.8)]), 2);
        assert_eq!(best(accuracy, &[(0.5, 0.0), (0.4, -0.0)]), 2);
        assert_eq!(best(Metric::ValidLoss, &[(0.5, 0.8), (0.5, 0.9)]), 1);
    }

    #[test]
    fn what_is_no_number_or_has_no_epoch_comes_last() {
        let nan = f64::NAN;
        assert_eq!(best(Metric::ValidLoss, &[(nan, 0.9), (0.5, 0.1)]), 2);
        assert_eq!(
            best(Metric::ValidAccuracy, &[(0.1, nan), (nan, 0.1), (0.5, 0.1)]),
            3
        );
        let metric = Metric::ValidLoss;
        let one = Candidate::new(metric, 1, nan, nan);
        assert_eq!(rank_some(metric, Some(&one), None), Ordering::Less);
        assert_eq!(rank_some(metric, None, Some(&one)), Ordering::Greater);
        assert_eq!(rank_some(metric, None, None), Ordering::Equal);
    }
}

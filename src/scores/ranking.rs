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
    pub(crate) fn of_row(metric: Metric, row: &EpochRow) -> Self {
        Self {
            epoch: row.epoch,
            value: value(metric, row),
            loss: row.valid_loss,
        }
    }
}

/// The value of a metric in an epoch; NaN if it was not recorded.
pub(crate) fn value(metric: Metric, row: &EpochRow) -> f64 {
    match metric {
        Metric::ValidLoss => row.valid_loss,
        Metric::ValidAccuracy => row.valid_accuracy,
        Metric::ValidMacroF1 => row.valid_macro_f1.unwrap_or(f64::NAN),
        Metric::ValidAuc => row.valid_auc.unwrap_or(f64::NAN),
    }
}

/// The metric that a run records beside loss and accuracy, with its name for people; `None` for most runs.
pub(crate) fn recorded_metric(row: &EpochRow) -> Option<(&'static str, f64)> {
    named_metric(row.valid_macro_f1, row.valid_auc)
}

/// Like [`recorded_metric`], as a cell of a table: `macro F1 0.9312`.
pub(crate) fn shown_metric(macro_f1: Option<f64>, auc: Option<f64>) -> Option<String> {
    named_metric(macro_f1, auc).map(|(name, value)| format!("{name} {value:.4}"))
}

fn named_metric(macro_f1: Option<f64>, auc: Option<f64>) -> Option<(&'static str, f64)> {
    let macro_f1 = macro_f1.map(|value| ("macro F1", value));
    macro_f1.or_else(|| auc.map(|value| ("AUC", value)))
}

/// Orders epochs from better to worse: by the metric, then by lower validation loss, then by earlier epoch.
pub(crate) fn rank(metric: Metric, a: &Candidate, b: &Candidate) -> Ordering {
    let by_value = if metric.falls() {
        ascending(a.value, b.value)
    } else {
        ascending(-a.value, -b.value)
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

    fn candidate(metric: Metric, epoch: usize, loss: f64, accuracy: f64) -> Candidate {
        let value = if metric.falls() { loss } else { accuracy };
        Candidate { epoch, value, loss }
    }

    fn best(metric: Metric, epochs: &[(f64, f64)]) -> usize {
        let candidates = epochs
            .iter()
            .enumerate()
            .map(|(at, (loss, accuracy))| candidate(metric, at + 1, *loss, *accuracy));
        candidates.min_by(|a, b| rank(metric, a, b)).unwrap().epoch
    }

    #[test]
    fn of_equal_epochs_the_lower_loss_wins_and_then_the_earlier() {
        let accuracy = Metric::ValidAccuracy;
        assert_eq!(best(accuracy, &[(0.5, 0.8), (0.1, 0.7)]), 1);
        assert_eq!(best(accuracy, &[(0.5, 0.8), (0.4, 0.8), (0.4, 0.8)]), 2);
        assert_eq!(best(accuracy, &[(0.5, 0.0), (0.4, -0.0)]), 2);
        assert_eq!(best(Metric::ValidLoss, &[(0.5, 0.8), (0.5, 0.9)]), 1);
        for metric in [Metric::ValidMacroF1, Metric::ValidAuc] {
            assert_eq!(best(metric, &[(0.1, 0.7), (0.5, 0.8), (0.4, 0.8)]), 3);
        }
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
        let one = candidate(metric, 1, nan, nan);
        assert_eq!(rank_some(metric, Some(&one), None), Ordering::Less);
        assert_eq!(rank_some(metric, None, Some(&one)), Ordering::Greater);
        assert_eq!(rank_some(metric, None, None), Ordering::Equal);
    }
}

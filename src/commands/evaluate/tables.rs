//! The scores as tables: one row per score, per class, per bin and per threshold. Pure.

use serde::Serialize;

use super::Outcome;
use crate::scores::{
    curves::CurveStep,
    evaluation::{Averages, ClassEvaluation, Estimate},
};

/// A row of `scores.csv` and `--csv`. Cells that do not apply are empty.
#[derive(Debug, Serialize)]
pub(super) struct ScoreRow {
    score: &'static str,
    /// `macro` or `weighted`, for the average over classes.
    average: &'static str,
    /// For the score of one class.
    class: String,
    /// For a score at a threshold of the probability of `class`.
    threshold: Option<f64>,
    /// As text: counts have no decimals.
    value: Option<String>,
    low: Option<f64>,
    high: Option<f64>,
    /// `wilson` or `bootstrap`.
    interval: &'static str,
}

const WILSON: &str = "wilson";
const BOOTSTRAP: &str = "bootstrap";

impl ScoreRow {
    fn new(score: &'static str, estimate: Option<Estimate>, interval: &'static str) -> Self {
        let low = estimate.and_then(|it| it.low);
        Self {
            score,
            average: "",
            class: String::new(),
            threshold: None,
            value: estimate.map(|it| it.value.to_string()),
            low,
            high: estimate.and_then(|it| it.high),
            interval: if low.is_some() { interval } else { "" },
        }
    }

    fn plain(score: &'static str, value: Option<f64>) -> Self {
        let estimate = value.map(|value| Estimate {
            value,
            low: None,
            high: None,
        });
        Self::new(score, estimate, "")
    }
}

/// All scores, one per row. `loss` is that of training; `log_loss` is the same from probabilities in 64 bits.
pub(super) fn scores(outcome: &Outcome) -> Vec<ScoreRow> {
    let it = outcome.evaluation;
    let mut rows = vec![
        ScoreRow::plain("images", Some(it.images as f64)),
        ScoreRow::new("accuracy", it.accuracy, WILSON),
        ScoreRow::plain("baseline_accuracy", it.baseline_accuracy),
        ScoreRow::plain("loss", Some(outcome.scores.loss)),
        ScoreRow::new("log_loss", it.log_loss, BOOTSTRAP),
        ScoreRow::new("brier_score", it.brier_score, BOOTSTRAP),
        ScoreRow::plain("calibration_error", it.calibration_error),
        ScoreRow::new("cohen_kappa", it.cohen_kappa, BOOTSTRAP),
        ScoreRow::new("matthews", it.matthews, BOOTSTRAP),
    ];
    for (average, scores) in [
        ("macro", it.macro_average),
        ("weighted", it.weighted_average),
    ] {
        // The recalls weighted by the images of each class are the accuracy.
        let recall = if average == "macro" {
            BOOTSTRAP
        } else {
            WILSON
        };
        let of_average = class_rows(&scores, [BOOTSTRAP, recall]);
        rows.extend(of_average.map(|row| ScoreRow { average, ..row }));
    }
    for class in &it.class {
        let images = ScoreRow::plain("images", Some(class.images as f64));
        let scores = class_rows(&averages(class), [WILSON, WILSON]);
        let of_class = std::iter::once(images).chain(scores);
        rows.extend(of_class.map(|row| ScoreRow {
            class: class.name.clone(),
            ..row
        }));
    }
    if let Some(point) = &outcome.point {
        let scores = [
            ("sensitivity", point.sensitivity),
            ("specificity", point.specificity),
            ("positive_predictive_value", point.positive_predictive_value),
            ("negative_predictive_value", point.negative_predictive_value),
        ];
        rows.extend(scores.map(|(name, score)| ScoreRow {
            class: point.positive.clone(),
            threshold: Some(point.threshold),
            ..ScoreRow::new(name, score, WILSON)
        }));
    }
    rows
}

fn averages(class: &ClassEvaluation) -> Averages {
    Averages {
        precision: class.precision,
        recall: class.recall,
        f1: class.f1,
        roc_auc: class.roc_auc,
        average_precision: class.average_precision,
    }
}

fn class_rows(scores: &Averages, [precision, recall]: [&'static str; 2]) -> [ScoreRow; 5] {
    [
        ScoreRow::new("precision", scores.precision, precision),
        ScoreRow::new("recall", scores.recall, recall),
        ScoreRow::new("f1", scores.f1, BOOTSTRAP),
        ScoreRow::new("roc_auc", scores.roc_auc, BOOTSTRAP),
        ScoreRow::new("average_precision", scores.average_precision, BOOTSTRAP),
    ]
}

/// A row of `classes.csv`.
#[derive(Debug, Serialize)]
pub(super) struct ClassRow<'a> {
    class: &'a str,
    images: usize,
    predicted: usize,
    precision: Option<f64>,
    precision_low: Option<f64>,
    precision_high: Option<f64>,
    recall: Option<f64>,
    recall_low: Option<f64>,
    recall_high: Option<f64>,
    f1: Option<f64>,
    f1_low: Option<f64>,
    f1_high: Option<f64>,
    roc_auc: Option<f64>,
    roc_auc_low: Option<f64>,
    roc_auc_high: Option<f64>,
    average_precision: Option<f64>,
    average_precision_low: Option<f64>,
    average_precision_high: Option<f64>,
}

pub(super) fn classes<'a>(outcome: &Outcome<'a>) -> Vec<ClassRow<'a>> {
    let parts = |estimate: Option<Estimate>| {
        let low = estimate.and_then(|it| it.low);
        (
            estimate.map(|it| it.value),
            low,
            estimate.and_then(|it| it.high),
        )
    };
    let classes = outcome.evaluation.class.iter();
    let rows = classes.map(|class| {
        let (precision, precision_low, precision_high) = parts(class.precision);
        let (recall, recall_low, recall_high) = parts(class.recall);
        let (f1, f1_low, f1_high) = parts(class.f1);
        let (roc_auc, roc_auc_low, roc_auc_high) = parts(class.roc_auc);
        let (average_precision, average_precision_low, average_precision_high) =
            parts(class.average_precision);
        ClassRow {
            class: &class.name,
            images: class.images,
            predicted: class.predicted,
            precision,
            precision_low,
            precision_high,
            recall,
            recall_low,
            recall_high,
            f1,
            f1_low,
            f1_high,
            roc_auc,
            roc_auc_low,
            roc_auc_high,
            average_precision,
            average_precision_low,
            average_precision_high,
        }
    });
    rows.collect()
}

/// The rows of `confused.csv`, with a header even if nothing is confused.
pub(super) fn confused(outcome: &Outcome) -> Vec<Vec<String>> {
    let header = ["class", "predicted", "images", "share"].map(str::to_owned);
    let pairs = outcome.evaluation.most_confused.iter();
    let rows = pairs.map(|pair| {
        let (images, share) = (pair.images.to_string(), pair.share.to_string());
        vec![pair.class.clone(), pair.predicted.clone(), images, share]
    });
    std::iter::once(header.to_vec()).chain(rows).collect()
}

/// A row of `thresholds.csv`.
#[derive(Debug, Serialize)]
pub(super) struct ThresholdRow {
    threshold: f64,
    true_positives: usize,
    false_positives: usize,
    false_negatives: usize,
    true_negatives: usize,
    sensitivity: Option<f64>,
    specificity: Option<f64>,
    precision: Option<f64>,
}

/// Every threshold at which the predictions of the positive class change, from high to low.
pub(super) fn thresholds(steps: &[CurveStep]) -> Vec<ThresholdRow> {
    let rows = steps
        .iter()
        .map(|CurveStep { threshold, outcome }| ThresholdRow {
            threshold: *threshold,
            true_positives: outcome.true_positives,
            false_positives: outcome.false_positives,
            false_negatives: outcome.false_negatives,
            true_negatives: outcome.true_negatives,
            sensitivity: outcome.sensitivity(),
            specificity: outcome.specificity(),
            precision: outcome.precision(),
        });
    rows.collect()
}

//! The scores as a person reads them first: a headline, the scores of each class, further scores, and what is confused.

use super::Outcome;
use crate::{
    commands::wrapped,
    scores::{
        calibration::N_BINS,
        evaluation::{Averages, Estimate, Evaluation},
        operating_point::OperatingPoint,
    },
    text::table::{Align, Table, percent, shown},
};

/// The confusion matrix of more classes is wider than a terminal, so it is not printed.
const MOST_CLASSES_IN_MATRIX: usize = 12;
/// The most pairs of confused classes that are printed.
const MOST_PAIRS: usize = 5;

pub(super) fn page(outcome: &Outcome, columns: Option<usize>) -> String {
    let evaluation = outcome.evaluation;
    let parts = [
        headline(outcome, columns),
        class_table(evaluation, columns),
        further_scores(outcome, columns),
        outcome
            .point
            .as_ref()
            .map_or_else(String::new, |point| point_table(point, columns)),
        confusion(outcome),
        confused(evaluation, columns),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    parts.join("\n")
}

fn headline(outcome: &Outcome, columns: Option<usize>) -> String {
    let evaluation = outcome.evaluation;
    let interval = evaluation.accuracy.and_then(percent_interval);
    let interval = interval.map_or_else(String::new, |text| format!(" (95 % CI {text})"));
    let text = format!(
        "{} (epoch {}) on {}: accuracy {}{interval}, loss {:.4}",
        outcome.which.name(),
        outcome.epoch,
        outcome.images(),
        percent(outcome.scores.accuracy),
        outcome.scores.loss,
    );
    let mut text = wrapped(&text, columns, 2);
    let majority = evaluation.majority_class.as_ref();
    if let Some((class, share)) = majority.zip(evaluation.baseline_accuracy) {
        let line = format!(
            "baseline: always predicting `{class}` has accuracy {}",
            percent(share)
        );
        text.push_str(&wrapped(&line, columns, 2));
    }
    text
}

/// `96.5 to 99.9`, in percent.
fn percent_interval(estimate: Estimate) -> Option<String> {
    let (low, high) = estimate.low.zip(estimate.high)?;
    Some(format!("{:.1} to {:.1}", low * 100.0, high * 100.0))
}

/// `0.965 to 0.999`
fn interval(estimate: Estimate) -> Option<String> {
    let (low, high) = estimate.low.zip(estimate.high)?;
    Some(format!("{low:.3} to {high:.3}"))
}

fn class_table(evaluation: &Evaluation, columns: Option<usize>) -> String {
    let right = Align::Right;
    // With two classes the ROC-AUC of both is the same, and is among the further scores.
    let has_areas = evaluation.class.len() > 2;
    let mut headers = vec![
        ("class", Align::Left),
        ("images", right),
        ("precision", right),
        ("recall", right),
        ("recall 95 % CI", right),
        ("F1", right),
        ("F1 95 % CI", right),
    ];
    if has_areas {
        headers.push(("ROC-AUC", right));
    }
    let mut table = Table::new(&headers);
    let mut row = |name: &str, n_images: usize, scores: Averages| {
        let share = |score: Option<Estimate>| shown(score.map(|it| percent(it.value)));
        let number = |score: Option<Estimate>| shown(score.map(|it| format!("{:.4}", it.value)));
        let mut cells = vec![
            name.to_owned(),
            n_images.to_string(),
            share(scores.precision),
            share(scores.recall),
            shown(scores.recall.and_then(percent_interval)),
            number(scores.f1),
            shown(scores.f1.and_then(interval)),
        ];
        if has_areas {
            cells.push(number(scores.roc_auc));
        }
        table.row(cells);
    };
    for class in &evaluation.class {
        let scores = Averages {
            precision: class.precision,
            recall: class.recall,
            f1: class.f1,
            roc_auc: class.roc_auc,
            average_precision: class.average_precision,
        };
        row(&class.name, class.images, scores);
    }
    row("macro average", evaluation.images, evaluation.macro_average);
    row(
        "weighted average",
        evaluation.images,
        evaluation.weighted_average,
    );
    // The last one is dropped first.
    let dispensable = ["recall 95 % CI", "ROC-AUC", "F1 95 % CI"];
    table.fit(columns, &dispensable, "class");
    table.text()
}

fn further_scores(outcome: &Outcome, columns: Option<usize>) -> String {
    let evaluation = outcome.evaluation;
    let mut table = Table::new(&[
        ("score", Align::Left),
        ("value", Align::Right),
        ("95 % CI", Align::Right),
        ("", Align::Left),
    ]);
    let mut row = |name: &str, score: Option<Estimate>, remark: &str| {
        table.row(vec![
            name.to_owned(),
            shown(score.map(|it| format!("{:.4}", it.value))),
            shown(score.and_then(interval)),
            remark.to_owned(),
        ]);
    };
    let of_class = outcome.positive.map(|it| &evaluation.class[it.class]);
    let (area, precision, remark) = of_class.map_or_else(
        || {
            let average = evaluation.macro_average;
            let remark = "macro average, each class against the others".to_owned();
            (average.roc_auc, average.average_precision, remark)
        },
        |class| {
            let remark = format!("`{}` against the rest", class.name);
            (class.roc_auc, class.average_precision, remark)
        },
    );
    row("ROC-AUC", area, &remark);
    row("average precision", precision, &remark);
    row("Cohen's kappa", evaluation.cohen_kappa, "");
    row("Matthews' coefficient", evaluation.matthews, "");
    row("log loss", evaluation.log_loss, "lower is better");
    row("Brier score", evaluation.brier_score, "lower is better");
    let error = evaluation.calibration_error.map(|value| Estimate {
        value,
        low: None,
        high: None,
    });
    let remark = format!("lower is better; {N_BINS} bins of equal width");
    row("calibration error", error, &remark);
    table.fit(columns, &[""], "score");
    table.text()
}

fn point_table(point: &OperatingPoint, columns: Option<usize>) -> String {
    let title = format!(
        "`{}` from probability {} on",
        point.positive, point.threshold
    );
    let mut table = Table::new(&[
        (title.as_str(), Align::Left),
        ("value", Align::Right),
        ("95 % CI", Align::Right),
        ("", Align::Left),
    ]);
    let positives = point.true_positives + point.false_negatives;
    let negatives = point.true_negatives + point.false_positives;
    let rows = [
        (
            "sensitivity",
            point.sensitivity,
            format!("{} of {positives} positive images", point.true_positives),
        ),
        (
            "specificity",
            point.specificity,
            format!("{} of {negatives} negative images", point.true_negatives),
        ),
    ];
    for (name, score, remark) in rows {
        table.row(vec![
            name.to_owned(),
            shown(score.map(|it| percent(it.value))),
            shown(score.and_then(percent_interval)),
            remark,
        ]);
    }
    table.fit(columns, &[""], &title);
    table.text()
}

/// The confusion matrix with one row per true class; empty if there are too many classes.
fn confusion(outcome: &Outcome) -> String {
    let classes = outcome.classes();
    if classes.len() > MOST_CLASSES_IN_MATRIX {
        return String::new();
    }
    let mut table = Table::new(&[("true \\ predicted", Align::Left)]);
    for class in classes {
        table.column(class, Align::Right);
    }
    for (class, row) in classes.iter().zip(&outcome.evaluation.confusion) {
        let counts = row.iter().map(ToString::to_string);
        table.row(std::iter::once(class.clone()).chain(counts).collect());
    }
    table.text()
}

/// The most confused pairs; of two classes, the confusion matrix says the same.
fn confused(evaluation: &Evaluation, columns: Option<usize>) -> String {
    if evaluation.most_confused.is_empty() || evaluation.class.len() <= 2 {
        return String::new();
    }
    let mut table = Table::new(&[
        ("most confused", Align::Left),
        ("predicted", Align::Left),
        ("images", Align::Right),
        ("of the class", Align::Right),
    ]);
    for pair in evaluation.most_confused.iter().take(MOST_PAIRS) {
        table.row(vec![
            pair.class.clone(),
            pair.predicted.clone(),
            pair.images.to_string(),
            percent(pair.share),
        ]);
    }
    table.fit(columns, &[], "most confused");
    table.text()
}

//! Whether the probabilities can be trusted, and what a threshold on them would do.

use maud::{Markup, html};
use serde_json::json;

use crate::{
    page::{
        frame::{self, Section, name},
        model::{Answer, RunReport},
        svg::{reliability::reliability, trade::Trade},
    },
    scores::{
        calibration,
        thresholds::{self, Decisions, Kept},
    },
    text::table::percent,
};

/// The thresholds of the table that is there without the script.
const SHOWN: [f64; 9] = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999];

pub(crate) fn section(report: &RunReport) -> Option<Section> {
    let answers = report.answers.iter().filter(|answer| !answer.is_test);
    let answers: Vec<&Answer> = answers.collect();
    if answers.is_empty() {
        return None;
    }
    let certain = answers.iter().map(|it| (it.probability, it.is_correct()));
    let certain: Vec<(f64, bool)> = certain.collect();
    let once = certain
        .iter()
        .map(|(probability, is_correct)| (*probability, *is_correct, 1));
    let bins = calibration::bins(once);
    let error = calibration::expected_error(&bins).unwrap_or_default();
    let n = certain.len().max(1) as f64;
    let mean = certain
        .iter()
        .map(|(probability, _)| probability)
        .sum::<f64>()
        / n;
    let accuracy = certain.iter().filter(|(_, is_correct)| *is_correct).count() as f64 / n;
    let word = if (mean - accuracy).abs() < 0.02 {
        "about as sure as it is right"
    } else if mean > accuracy {
        "surer than it is right"
    } else {
        "less sure than it is right"
    };
    let body = html! {
        p {
            "On the validation images the model is " b { (word) } ": a mean probability of " (percent(mean)) " at an accuracy of " (percent(accuracy))
            ". The expected calibration error is " b { (percent(error)) } " (" (calibration::N_BINS) " bins)."
        }
        div.charts.small {
            div {
                (reliability(&bins))
                details {
                    summary { "Values of the bins" }
                    div.scroll { table {
                        thead { tr { th scope="col" { "probability" } th.n scope="col" { "images" } th.n scope="col" { "mean" } th.n scope="col" { "correct" } } }
                        tbody {
                            @for (bin, confidence, accuracy) in bins.iter().filter_map(|bin| Some((bin, bin.confidence?, bin.accuracy?))) {
                                tr {
                                    td { (format!("{:.2} to {:.2}", bin.low, bin.high)) }
                                    td.n { (bin.images) } td.n { (percent(confidence)) } td.n { (percent(accuracy)) }
                                }
                            }
                        }
                    } }
                }
            }
            (threshold(report, &answers, &certain))
        }
    };
    Some(Section::new(
        "calibration",
        "Calibration",
        "Calibration and threshold",
        body,
    ))
}

fn threshold(report: &RunReport, answers: &[&Answer], certain: &[(f64, bool)]) -> Markup {
    let is_binary =
        report.classes.len() == 2 && answers.iter().all(|it| it.probabilities.len() == 2);
    if is_binary {
        two_classes(report, answers)
    } else {
        many_classes(certain)
    }
}

fn slider(thresholds: &[f64], start: f64) -> Markup {
    let at = thresholds.iter().position(|it| *it >= start).unwrap_or(0);
    html! {
        p { label for="threshold-slider" { "Threshold: " } output id="threshold-value" for="threshold-slider" { (thresholds[at]) } }
        input id="threshold-slider" type="range" min="0" max=(thresholds.len() - 1) value=(at) step="1";
    }
}

fn outputs(rows: &[(&str, &str)]) -> Markup {
    html! {
        dl.facts {
            @for (label, id) in rows { dt { (label) } dd { output id=(id) {} } }
        }
    }
}

/// Both classes can be the positive one, because only the user knows which mistake costs more.
fn two_classes(report: &RunReport, answers: &[&Answer]) -> Markup {
    let thresholds = thresholds::thresholds();
    // The second class first: scikit-learn and others take it as the positive one.
    let of_class = |class: usize| {
        let images = answers
            .iter()
            .map(|it| (it.probabilities[class], it.truth == class));
        thresholds::decisions(&images.collect::<Vec<_>>(), &thresholds)
    };
    let tables = [of_class(1), of_class(0)];
    let points: Vec<(f64, f64)> = tables[0].iter().map(place).collect();
    let marked = thresholds.iter().position(|it| *it >= 0.5).unwrap_or(0);
    let trade = Trade {
        title: "Sensitivity and false alarms",
        across: "false alarms (1 - specificity)",
        up: "sensitivity",
        points: &points,
        marked,
        low: 0.0,
    };
    let rows = |table: &Vec<Decisions>| -> Vec<[usize; 4]> {
        let row = |it: &Decisions| {
            [
                it.true_positives,
                it.false_positives,
                it.true_negatives,
                it.false_negatives,
            ]
        };
        table.iter().map(row).collect()
    };
    let values = json!({ "thresholds": thresholds, "tables": [rows(&tables[0]), rows(&tables[1])], "frame": trade.frame() });
    html! {
        (trade.draw())
        div {
            div.slider.needs-script {
                p { label for="positive" { "Positive class: " }
                    select id="positive" { option value="0" { (name(&report.classes[1])) } option value="1" { (name(&report.classes[0])) } }
                }
                (slider(&thresholds, 0.5))
                (outputs(&[("sensitivity", "o-sensitivity"), ("specificity", "o-specificity"), ("precision", "o-precision"), ("accuracy", "o-accuracy"), ("counts", "o-counts")]))
            }
            p.note { "An image counts as positive from this probability on. Sensitivity is the share of positives that are found, specificity the share of negatives that are left alone." }
            details {
                summary { "Values for " (name(&report.classes[1])) }
                (binary_table(&thresholds, &tables[0]))
            }
        }
        (frame::data("thresholds", &values))
    }
}

fn place(it: &Decisions) -> (f64, f64) {
    let share = |part: usize, rest: usize| part as f64 / (part + rest).max(1) as f64;
    (
        share(it.false_positives, it.true_negatives),
        share(it.true_positives, it.false_negatives),
    )
}

fn binary_table(thresholds: &[f64], table: &[Decisions]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th.n scope="col" { "threshold" } th.n scope="col" { "sensitivity" } th.n scope="col" { "specificity" } th.n scope="col" { "precision" } } }
            tbody {
                @for (threshold, it) in thresholds.iter().zip(table).filter(|(it, _)| is_shown(**it)) {
                    tr {
                        td.n { (threshold) }
                        td.n { (ratio(it.true_positives, it.true_positives + it.false_negatives)) }
                        td.n { (ratio(it.true_negatives, it.true_negatives + it.false_positives)) }
                        td.n { (ratio(it.true_positives, it.true_positives + it.false_positives)) }
                    }
                }
            }
        } }
    }
}

fn many_classes(certain: &[(f64, bool)]) -> Markup {
    let thresholds = thresholds::thresholds();
    let kept = thresholds::kept(certain, &thresholds);
    let n_all = certain.len().max(1) as f64;
    let accuracy = |it: &Kept| {
        if it.n == 0 {
            1.0
        } else {
            it.n_correct as f64 / it.n as f64
        }
    };
    let points: Vec<(f64, f64)> = kept
        .iter()
        .map(|it| (it.n as f64 / n_all, accuracy(it)))
        .collect();
    let lowest = points.iter().map(|it| it.1).fold(1.0, f64::min);
    let trade = Trade {
        title: "Accuracy and coverage",
        across: "coverage (images decided)",
        up: "accuracy",
        points: &points,
        marked: 0,
        // A tenth below the lowest point, and some height even if all are correct.
        low: ((lowest - 0.05) * 10.0).floor().clamp(0.0, 9.0) / 10.0,
    };
    let rows: Vec<[usize; 2]> = kept.iter().map(|it| [it.n, it.n_correct]).collect();
    let values = json!({ "thresholds": thresholds, "tables": [rows], "frame": trade.frame() });
    html! {
        (trade.draw())
        div {
            div.slider.needs-script {
                (slider(&thresholds, 0.0))
                (outputs(&[("coverage", "o-coverage"), ("accuracy", "o-accuracy"), ("counts", "o-counts")]))
            }
            p.note { "Below the threshold, an image is left to a person. Coverage is the share of images that the model decides, accuracy the share of these that is correct." }
            details {
                summary { "Values" }
                div.scroll { table {
                    thead { tr { th.n scope="col" { "threshold" } th.n scope="col" { "coverage" } th.n scope="col" { "accuracy" } } }
                    tbody {
                        @for (threshold, it) in thresholds.iter().zip(&kept).filter(|(it, _)| is_shown(**it)) {
                            tr { td.n { (threshold) } td.n { (ratio(it.n, certain.len())) } td.n { (ratio(it.n_correct, it.n)) } }
                        }
                    }
                } }
            }
        }
        (frame::data("thresholds", &values))
    }
}

fn is_shown(threshold: f64) -> bool {
    SHOWN.iter().any(|it| (it - threshold).abs() < 1e-9)
}

fn ratio(part: usize, whole: usize) -> String {
    if whole == 0 {
        "-".to_owned()
    } else {
        percent(part as f64 / whole as f64)
    }
}

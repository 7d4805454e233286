//! The scores of each class, as a table that can be sorted.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::{
    page::{
        frame::{Section, filter, name},
        model::RunReport,
        svg::bar,
    },
    rundir::records::ClassScores,
    scores::statistics::wilson,
    text::table::percent,
};

pub(crate) fn section(report: &RunReport) -> Option<Section> {
    let parts = [(false, &report.valid_classes), (true, &report.test_classes)];
    if parts.iter().all(|(_, classes)| classes.is_empty()) {
        return None;
    }
    let has_test = !report.test_classes.is_empty();
    let body = html! {
        @for (is_test, classes) in parts {
            @if !classes.is_empty() {
                @if has_test { h3 { (if is_test { "Test images" } else { "Validation images" }) } }
                (part(report, classes, is_test))
            }
        }
        p.note { "Precision is the share of correct predictions among those of the class, recall the share of its images that were found, F1 their harmonic mean. A dash means that a score is undefined. Intervals are 95 % (Wilson)." }
    };
    Some(Section::new("classes", "Classes", "Scores by class", body))
}

fn part(report: &RunReport, classes: &[ClassScores], is_test: bool) -> Markup {
    let confused = most_confused(report, is_test);
    html! {
        div.scroll {
            table.sortable {
                thead { tr {
                    th scope="col" aria-sort="none" { "class" }
                    @for column in ["images", "recall", "95 % interval", "precision", "F1"] {
                        th.n scope="col" aria-sort="none" { (column) }
                    }
                    th scope="col" aria-sort="none" { "most often mistaken for" }
                } }
                tbody {
                    @for (at, class) in classes.iter().enumerate() {
                        @let interval = class.recall.map(|recall| wilson((recall * class.images as f64).round() as usize, class.images));
                        tr {
                            th scope="row" { (name(&class.name)) }
                            td.n data-v=(class.images) { (class.images) }
                            (score(class.recall, true))
                            td.n data-v=[interval.map(|it| it.0.to_string())] { (interval.map_or_else(|| "-".to_owned(), |(low, high)| format!("{:.1} to {:.1}", low * 100.0, high * 100.0))) }
                            (score(class.precision, true))
                            (score(class.f1, false))
                            td {
                                @if let Some((other, count)) = confused.get(&at) {
                                    a href=(filter(&class.name, &report.classes[*other], is_test)) data-n=(count) { (name(&report.classes[*other])) }
                                    " (" (count) ")"
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn score(value: Option<f64>, is_percent: bool) -> Markup {
    match value {
        None => html! { td.n data-v="" { "-" } },
        Some(value) => html! {
            td.n data-v=(value) {
                (if is_percent { percent(value) } else { format!("{value:.4}") })
                (bar(value))
            }
        },
    }
}

/// For each class, the class that most of its mistakes were predicted as, and their number.
fn most_confused(report: &RunReport, is_test: bool) -> BTreeMap<usize, (usize, usize)> {
    let mut counts: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let answers = report.answers.iter();
    for answer in answers.filter(|it| it.is_test == is_test && !it.is_correct()) {
        *counts.entry((answer.truth, answer.predicted)).or_insert(0) += 1;
    }
    let mut most: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for ((truth, predicted), count) in counts {
        let best = most.entry(truth).or_insert((predicted, 0));
        if count > best.1 {
            *best = (predicted, count);
        }
    }
    most
}

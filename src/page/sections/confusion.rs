//! The confusion matrix as a table whose cells filter the gallery; with many classes, the most confused pairs instead.

use maud::{Markup, html};

use crate::page::{
    frame::{Section, filter, name},
    model::{Answer, RunReport},
};

/// With more classes, a matrix is too large to read.
pub(crate) const MOST_CLASSES: usize = 30;
/// With more classes, the names of columns are upright.
const WIDE_CLASSES: usize = 8;
/// The number of confused pairs that are listed.
const MOST_PAIRS: usize = 30;

pub(crate) fn section(report: &RunReport) -> Option<Section> {
    let has = |is_test: bool| {
        report
            .answers
            .iter()
            .any(|answer| answer.is_test == is_test)
    };
    if !has(false) && !has(true) {
        return None;
    }
    let body = html! {
        @for is_test in [false, true] {
            @if has(is_test) {
                @if has(true) { h3 { (if is_test { "Test images" } else { "Validation images" }) } }
                (part(report, is_test))
            }
        }
        p.note {
            @if report.classes.len() <= MOST_CLASSES { "Rows are true classes, columns are predictions. The stronger the color of a cell, the larger its share of the row. " }
            span.needs-script { "A number leads to its images in the gallery; arrow keys move between cells." }
        }
    };
    Some(Section::new(
        "confusion",
        "Confusion",
        "Confusion matrix",
        body,
    ))
}

fn part(report: &RunReport, is_test: bool) -> Markup {
    let n = report.classes.len();
    let answers = report.answers.iter();
    let answers: Vec<&Answer> = answers.filter(|answer| answer.is_test == is_test).collect();
    if n <= MOST_CLASSES {
        let mut counts = vec![vec![0_usize; n]; n];
        for answer in answers {
            counts[answer.truth][answer.predicted] += 1;
        }
        matrix(&report.classes, &counts, is_test)
    } else {
        pairs(&report.classes, &answers, is_test)
    }
}

fn matrix(classes: &[String], counts: &[Vec<usize>], is_test: bool) -> Markup {
    html! {
        div.scroll {
            table.matrix .many[classes.len() > WIDE_CLASSES] {
                thead {
                    tr {
                        th { "true \\ predicted" }
                        @for class in classes { th scope="col" title=(name(class)) { (short(class)) } }
                    }
                }
                tbody {
                    @for (truth, row) in counts.iter().enumerate() {
                        tr {
                            th scope="row" title=(name(&classes[truth])) { (short(&classes[truth])) }
                            @for (predicted, count) in row.iter().enumerate() {
                                (cell(classes, (truth, predicted), *count, row.iter().sum(), is_test))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(
    classes: &[String],
    (truth, predicted): (usize, usize),
    count: usize,
    n_row: usize,
    is_test: bool,
) -> Markup {
    if count == 0 {
        return html! { td.none { span { "0" } } };
    }
    let share = count as f64 / n_row.max(1) as f64;
    // Steps rather than any share, because the page allows no style beside its own.
    let step = ["s1", "s2", "s3", "s4", "s5"][((share * 5.0).ceil() as usize).clamp(1, 5) - 1];
    let kind = if truth == predicted { "right" } else { "miss" };
    let said = format!(
        "{count} images of {} predicted as {}, {:.0} % of the class",
        name(&classes[truth]),
        name(&classes[predicted]),
        share * 100.0
    );
    html! {
        td class={ (kind) " " (step) } {
            a href=(filter(&classes[truth], &classes[predicted], is_test)) data-n=(count) title=(said) aria-label=(said) { (count) }
        }
    }
}

fn short(class: &str) -> String {
    crate::text::table::shortened(&name(class), 18)
}

fn pairs(classes: &[String], answers: &[&Answer], is_test: bool) -> Markup {
    let mut counts = std::collections::BTreeMap::new();
    let mut n_images = vec![0_usize; classes.len()];
    for answer in answers {
        n_images[answer.truth] += 1;
        if !answer.is_correct() {
            *counts
                .entry((answer.truth, answer.predicted))
                .or_insert(0_usize) += 1;
        }
    }
    let mut pairs: Vec<((usize, usize), usize)> = counts.into_iter().collect();
    // Equal counts stay in the order of classes.
    pairs.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let n_pairs = pairs.len();
    html! {
        @if pairs.is_empty() {
            p { "No image was predicted as another class." }
        } @else {
            p.note { "The " (pairs.len().min(MOST_PAIRS)) " most confused of " (n_pairs) " pairs; `confusion.csv` in the run directory has the whole matrix of " (classes.len()) " classes." }
            div.scroll {
                table.sortable {
                    thead { tr {
                        th scope="col" aria-sort="none" { "true class" }
                        th scope="col" aria-sort="none" { "predicted as" }
                        th.n scope="col" aria-sort="none" data-first="descending" { "images" }
                        th.n scope="col" aria-sort="none" data-first="descending" { "share of the class" }
                    } }
                    tbody {
                        @for ((truth, predicted), count) in pairs.into_iter().take(MOST_PAIRS) {
                            @let share = count as f64 / n_images[truth].max(1) as f64;
                            tr {
                                td { (name(&classes[truth])) }
                                td { (name(&classes[predicted])) }
                                td.n data-v=(count) { a href=(filter(&classes[truth], &classes[predicted], is_test)) data-n=(count) { (count) } }
                                td.n data-v=(share) { (format!("{:.0} %", share * 100.0)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

//! The gallery: which predictions it shows, and how. Images whose label is perhaps wrong come first, then the highest losses.

use std::collections::HashMap;

use maud::{Markup, html};
use serde_json::json;

use super::{
    frame::{self, Section, name},
    model::{Answer, GalleryItem, RunReport},
};
use crate::text::table::{counted, percent};

/// The most images on a page.
const MOST_ITEMS: usize = 240;
/// The images with the highest losses that are always there.
const N_WORST: usize = 120;
/// The images of each cell of the confusion matrix that are there, whatever their loss: a cell leads to its images.
const N_OF_CELL: usize = 4;

/// The positions of the answers that the gallery shows, in the order of the page.
pub(crate) fn chosen(answers: &[Answer]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..answers.len()).collect();
    // A loss that is no number is the worst of all.
    let loss = |at: usize| {
        let loss = answers[at].loss;
        if loss.is_nan() { f64::INFINITY } else { loss }
    };
    order.sort_by(|a, b| loss(*b).total_cmp(&loss(*a)));
    let mut is_chosen = vec![false; answers.len()];
    let mut n_chosen = 0;
    let mut of_cell: HashMap<(bool, usize, usize), usize> = HashMap::new();
    let mut choose = |at: usize, most: usize| {
        if !is_chosen[at] && n_chosen < most {
            is_chosen[at] = true;
            n_chosen += 1;
        }
    };
    let suspects = order.iter().filter(|at| answers[**at].suspected.is_some());
    suspects
        .take(N_WORST / 2)
        .for_each(|at| choose(*at, MOST_ITEMS));
    let wrong = order.iter().filter(|at| !answers[**at].is_correct());
    wrong.take(N_WORST).for_each(|at| choose(*at, MOST_ITEMS));
    for at in &order {
        let answer = &answers[*at];
        let cell = (answer.is_test, answer.truth, answer.predicted);
        let n = of_cell.entry(cell).or_insert(0);
        if *n < N_OF_CELL {
            *n += 1;
            choose(*at, MOST_ITEMS);
        }
    }
    for at in &order {
        choose(*at, N_WORST);
    }
    order.retain(|at| is_chosen[*at]);
    // Stable, so both parts stay in the order of losses.
    order.sort_by_key(|at| answers[*at].suspected.is_none());
    order
}

pub(super) fn section(report: &RunReport) -> Option<Section> {
    let (gallery, answers) = (&report.gallery, &report.answers);
    if gallery.items.is_empty() {
        return None;
    }
    let n_suspects = answers
        .iter()
        .filter(|answer| answer.suspected.is_some())
        .count();
    let n_wrong = answers.iter().filter(|answer| !answer.is_correct()).count();
    let has_overlays = gallery.items.iter().any(|item| item.overlay.is_some());
    let body = html! {
        p {
            (counted(n_wrong, "mistake")) " among " (counted(answers.len(), "image")) ". "
            @if n_suspects > 0 {
                b { (counted(n_suspects, "label")) (if n_suspects == 1 { " is" } else { " are" }) " perhaps wrong" } ": look at these first."
            }
        }
        @if !gallery.note.is_empty() { p.note { (name(&gallery.note)) } }
        div.tools.needs-script {
            a.pill href="#show=all" { "All" }
            a.pill href="#show=wrong" { "Mistakes" }
            @if n_suspects > 0 { a.pill href="#show=suspect" { "Perhaps mislabeled" } }
            span.count aria-live="polite" {}
        }
        div.gallery {
            @for item in &gallery.items { (figure(report, item)) }
        }
        div.tools.needs-script { button.more type="button" { "Show more" } }
        p.note {
            "Sorted by loss, labels that are perhaps wrong first. "
            @if n_suspects > 0 {
                "A label counts as perhaps wrong by the rule of confident learning (Northcutt et al. 2021): the model, which was not trained on these images, is at least as sure of another class as it is of that class on average. The weaker the model, the more of these are its own mistakes. "
            }
            @if has_overlays { "A heat map marks the areas that spoke for the predicted class (Grad-CAM)." }
        }
        (frame::data("class-names", &json!(report.classes.iter().map(|class| name(class)).collect::<Vec<_>>())))
    };
    Some(Section::new(
        "gallery",
        "Images",
        "Mistakes and highest losses",
        body,
    ))
}

fn figure(report: &RunReport, item: &GalleryItem) -> Markup {
    let Some(answer) = report.answers.get(item.answer) else {
        return html! {};
    };
    let class = |at: usize| {
        report
            .classes
            .get(at)
            .map_or_else(String::new, |class| name(class))
    };
    let (truth, predicted) = (class(answer.truth), class(answer.predicted));
    let described = format!("{}: {truth}, predicted as {predicted}", name(&answer.file));
    html! {
        figure .suspect[answer.suspected.is_some()] data-t=(answer.truth) data-p=(answer.predicted) data-part=(answer.part()) {
            div.photo {
                @match &item.thumbnail {
                    Some(photo) => img src=(frame::jpeg(photo)) alt=(described);,
                    None => span.absent { "no photo" },
                }
                @if let Some(overlay) = &item.overlay {
                    img.overlay src=(frame::jpeg(overlay)) alt={ "where the network looked in " (name(&answer.file)) };
                }
            }
            figcaption {
                @if answer.suspected.is_some() { span.badge { "perhaps mislabeled" } br; }
                span.said .ok[answer.is_correct()] { (predicted) } " " (percent(answer.probability))
                br; "label: " (truth)
                @if let Some(likely) = answer.suspected.filter(|it| *it != answer.predicted) { br; "perhaps: " (class(likely)) }
                br; "loss " (format!("{:.3}", answer.loss)) @if answer.is_test { " · test" }
                div.file { (name(&answer.file)) }
                @if item.overlay.is_some() {
                    label { input.look type="checkbox"; " heat map" }
                }
            }
        }
    }
}

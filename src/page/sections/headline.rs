//! What one looks at first: the accuracy with its interval, against the majority baseline, and the state of the run.

use maud::{Markup, html};

use crate::{
    page::{
        frame::{self, Section, name},
        model::{Headline, PartScore, RunReport, RunState},
        svg::interval::interval,
    },
    text::table::{counted, percent},
};

/// What a reader must know before any number: the run is not finished, or its files are damaged.
pub(crate) fn banner(state: &RunState) -> Markup {
    let is_whole = state.name == "finished" || state.name.is_empty();
    if is_whole && !state.is_slim && state.damages.is_empty() {
        return html! {};
    }
    html! {
        div.banner role="status" {
            @if !is_whole {
                p { b { "This run is not finished. " } "State: " (state.name) ", " (state.epochs) " epochs." }
                @for line in state.reason.lines().filter(|line| !line.trim().is_empty()) {
                    p { (name(line)) }
                }
            }
            @if state.is_slim {
                p { "This run is slim: its optimizer state was deleted, so it cannot be resumed." }
            }
            @for damage in &state.damages {
                p { b { "Damage: " } (name(damage)) }
            }
            @if !state.help.is_empty() {
                p { (name(&state.help)) }
            }
        }
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the functions of all sections have one type"
)]
pub(crate) fn section(report: &RunReport) -> Option<Section> {
    let headline = &report.headline;
    let body = html! {
        @match &headline.valid {
            Some(score) => (accuracy(score, headline)),
            None => p { "No epoch is complete yet, so there are no scores." },
        }
        @if let Some(score) = &headline.test {
            h3 { "Test images" }
            p {
                b { (percent(score.accuracy)) }
                @if let Some(range) = range(score) { " (95 % interval " (range) ")" }
                " on " (counted(score.n_images, "test image")) ", loss " (format!("{:.4}", score.loss)) "."
            }
        }
        @if !headline.tiles.is_empty() {
            div.tiles {
                @for (label, value) in &headline.tiles {
                    div.tile { b { (name(value)) } span { (name(label)) } }
                }
            }
        }
        h3 { "This run" }
        (frame::facts(&headline.facts, true))
    };
    Some(Section::new("overview", "Overview", "Overview", body))
}

fn accuracy(score: &PartScore, headline: &Headline) -> Markup {
    let baseline = headline.baseline.as_ref().map(|(accuracy, _)| *accuracy);
    html! {
        div.hero {
            div {
                div.big { (percent(score.accuracy)) }
                div.what {
                    "accuracy on " (counted(score.n_images, "validation image"))
                    @if let Some(range) = range(score) { ", 95 % interval " (range) }
                }
                @if let Some((accuracy, class)) = &headline.baseline {
                    p { (verdict(score, *accuracy, class)) }
                }
            }
            div { (interval(score.accuracy, score.interval, baseline)) }
        }
    }
}

/// `96.5 to 99.9 %`
fn range(score: &PartScore) -> Option<String> {
    let (low, high) = score.interval?;
    Some(format!("{:.1} to {:.1} %", low * 100.0, high * 100.0))
}

fn verdict(score: &PartScore, baseline: f64, class: &str) -> String {
    let always = format!(
        "Always predicting “{}”, the most frequent class of these images, would be correct for {}.",
        name(class),
        percent(baseline)
    );
    let low = score.interval.map_or(score.accuracy, |(low, _)| low);
    let verdict = if low > baseline {
        "The model is better than that."
    } else if score.accuracy > baseline {
        "The interval includes that, so the model is not shown to be better."
    } else {
        "The model is not better than that."
    };
    format!("{always} {verdict}")
}

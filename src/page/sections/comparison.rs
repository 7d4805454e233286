//! Several runs next to each other, as `runner compare` has them.

use maud::{Markup, html};

use crate::page::{
    frame::{self, Section, name},
    model::{ComparisonReport, RunCurve},
    svg::curves::{Chart, Series, chart},
};

/// With more runs, their curves cannot be told from each other.
pub(crate) const MOST_CURVES: usize = 16;

pub(crate) fn banner(report: &ComparisonReport) -> Markup {
    if report.cautions.is_empty() && report.reasons.is_empty() {
        return html! {};
    }
    html! {
        div.banner role="note" {
            p { b { "Caveats" } }
            @for text in report.cautions.iter().map(String::as_str).chain(report.reasons.lines()) { p { (name(text)) } }
        }
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the functions of all sections have one type"
)]
pub(crate) fn runs(report: &ComparisonReport) -> Option<Section> {
    let body = html! {
        (frame::table(&report.runs, true))
        p.note { "Accuracy and loss are on the validation images, at the best epoch and at the last epoch." }
    };
    Some(Section::new("runs", "Runs", "Runs", body))
}

pub(crate) fn curves(report: &ComparisonReport) -> Option<Section> {
    let body = overlay(&report.curves)?;
    Some(Section::new("curves", "Curves", "Learning curves", body))
}

/// The validation curves of runs above each other; `None` if no run has an epoch.
pub(crate) fn overlay(curves: &[RunCurve]) -> Option<Markup> {
    let shown = curves.iter().filter(|curve| !curve.epochs.is_empty());
    let shown: Vec<&RunCurve> = shown.take(MOST_CURVES).collect();
    if shown.is_empty() {
        return None;
    }
    let panel = |id: &str, title: &str, is_accuracy: bool| {
        let series = shown.iter().enumerate().map(|(at, curve)| Series {
            name: curve.label.clone(),
            color: at,
            is_dashed: at >= crate::page::svg::N_COLORS,
            points: curve
                .epochs
                .iter()
                .map(|row| {
                    let value = if is_accuracy {
                        row.valid_accuracy
                    } else {
                        row.valid_loss
                    };
                    (row.epoch + curve.offset, value)
                })
                .collect(),
            best: curve
                .epochs
                .iter()
                .position(|row| Some(row.epoch) == curve.best_epoch),
        });
        chart(&Chart {
            id: id.to_owned(),
            title: title.to_owned(),
            is_percent: is_accuracy,
            series: series.collect(),
            bands: Vec::new(),
        })
    };
    Some(html! {
        div.charts {
            (panel("chart-accuracy", "Validation accuracy", true))
            (panel("chart-loss", "Validation loss", false))
        }
        @if shown.len() < curves.len() { p.note { "Curves of " (shown.len()) " of " (curves.len()) " runs." } }
    })
}

pub(crate) fn tests(report: &ComparisonReport) -> Option<Section> {
    let (title, table) = report.pairs.as_ref()?;
    let body = html! {
        p { (title) "." }
        (frame::table(table, false))
    };
    Some(Section::new("tests", "Tests", "Significance", body))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the functions of all sections have one type"
)]
pub(crate) fn differences(report: &ComparisonReport) -> Option<Section> {
    let body = if report.differences.rows().is_empty() {
        html! { p { "The experiments have the same settings." } }
    } else {
        frame::table(&report.differences, false)
    };
    Some(Section::new(
        "settings",
        "Settings",
        "Settings that differ",
        body,
    ))
}

//! The trials of a sweep: the leaderboard, and the score against the settings.

use maud::{Markup, html};

use super::{comparison::overlay, settings::lines};
use crate::{
    page::{
        frame::{Section, name},
        model::{SweepReport, TrialRow},
        svg::{
            coordinates::{self, TrialLine, Upright},
            interval::interval,
            scale::{self, Scale},
            scatter::{self, Dot},
        },
    },
    text::table::{counted, duration, percent},
};

pub(crate) fn title(report: &SweepReport) -> (String, String) {
    let n_finished = report
        .trials
        .iter()
        .filter(|it| it.state == "finished")
        .count();
    let axes = report.axes.join(", ");
    let trials = counted(report.trials.len(), "trial");
    (
        format!("Sweep {}", report.name),
        format!("{trials}, {n_finished} finished; varied: {axes}"),
    )
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the functions of all sections have one type"
)]
pub(crate) fn leaderboard(report: &SweepReport) -> Option<Section> {
    let body = html! {
        @if let Some(best) = best(report) { (hero(report, best)) }
        (table(report))
        @for trial in report.trials.iter().filter(|it| !it.reason.is_empty()) {
            p.note { "Trial " (trial.number) " " (name(&trial.state)) ": " (name(&trial.reason)) }
        }
    };
    Some(Section::new("overview", "Leaderboard", "Leaderboard", body))
}

fn best(report: &SweepReport) -> Option<&TrialRow> {
    report
        .trials
        .first()
        .filter(|it| it.score(report.is_accuracy).is_some())
}

fn hero(report: &SweepReport, best: &TrialRow) -> Markup {
    let accuracy = best.accuracy.unwrap_or_default();
    html! {
        div.hero {
            div {
                div.big { @if report.is_accuracy { (percent(accuracy)) } @else { (format!("{:.4}", best.loss.unwrap_or_default())) } }
                div.what {
                    "best validation " (if report.is_accuracy { "accuracy" } else { "loss" }) ", trial " (best.number)
                    @if let Some((low, high)) = best.interval { ", 95 % interval of its accuracy " (format!("{:.1} to {:.1} %", low * 100.0, high * 100.0)) }
                }
                p { (label(report, best)) }
                @if report.trials.len() > 1 {
                    p.note { "The best of " (report.trials.len()) " trials was chosen by the same images that measure it, so its score is somewhat too high. Trials whose intervals overlap may well be equally good." }
                }
            }
            div { (interval(accuracy, best.interval, None)) }
        }
    }
}

/// `optimizer.lr = 0.001, model.dropout = 0.5`
fn label(report: &SweepReport, trial: &TrialRow) -> String {
    let pairs = report.axes.iter().zip(&trial.values);
    let pairs: Vec<String> = pairs
        .map(|(axis, value)| format!("{axis} = {}", shown(value)))
        .collect();
    name(&pairs.join(", "))
}

fn shown(value: &str) -> String {
    value
        .parse::<f64>()
        .ok()
        .filter(|it| it.is_finite())
        .map_or_else(|| value.to_owned(), scale::label)
}

fn table(report: &SweepReport) -> Markup {
    html! {
        div.scroll {
            table.sortable {
                thead { tr {
                    th.n scope="col" aria-sort="none" { "trial" }
                    @for axis in &report.axes { th scope="col" aria-sort="none" title=(name(axis)) { (name(axis.rsplit('.').next().unwrap_or(axis))) } }
                    th.n scope="col" aria-sort="none" data-first="descending" { "valid accuracy" }
                    th.n scope="col" aria-sort="none" { "95 % interval" }
                    th.n scope="col" aria-sort="none" { "valid loss" }
                    th.n scope="col" aria-sort="none" { "best epoch" }
                    th.n scope="col" aria-sort="none" { "epochs" }
                    th.n scope="col" aria-sort="none" { "time" }
                    th scope="col" aria-sort="none" { "state" }
                    th scope="col" aria-sort="none" { "run" }
                } }
                tbody {
                    @for trial in &report.trials {
                        tr data-trial=(trial.number) {
                            td.n { a href={ "#trial=" (name(&trial.number)) } { (name(&trial.number)) } }
                            @for value in &trial.values { td.v data-v=(name(value)) { (name(&shown(value))) } }
                            td.n data-v=(number(trial.accuracy)) { (trial.accuracy.map_or_else(dash, percent)) }
                            td.n data-v=(number(trial.interval.map(|it| it.0))) { (trial.interval.map_or_else(dash, |(low, high)| format!("{:.1} to {:.1}", low * 100.0, high * 100.0))) }
                            td.n data-v=(number(trial.loss)) { (trial.loss.map_or_else(dash, |loss| format!("{loss:.4}"))) }
                            td.n { (trial.best_epoch.map_or_else(dash, |epoch| epoch.to_string())) }
                            td.n { (trial.epochs) }
                            td.n data-v=(number(trial.seconds)) { (trial.seconds.map_or_else(dash, duration)) }
                            td.v { (name(&trial.state)) }
                            td.v { (name(&trial.run)) }
                        }
                    }
                }
            }
        }
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// The trials with a score, which charts show.
fn scored(report: &SweepReport) -> Vec<(&TrialRow, f64)> {
    let trials = report.trials.iter();
    trials
        .filter_map(|trial| Some((trial, trial.score(report.is_accuracy)?)))
        .collect()
}

fn scale_of(trials: &[(&TrialRow, f64)], axis: usize) -> Scale {
    let values = trials
        .iter()
        .map(|(trial, _)| trial.values.get(axis).map_or("", String::as_str));
    scale::scale(&values.collect::<Vec<_>>())
}

pub(crate) fn coordinates(report: &SweepReport) -> Option<Section> {
    let trials = scored(report);
    if trials.len() < 2 || report.axes.is_empty() {
        return None;
    }
    let mut axes: Vec<Upright> = report
        .axes
        .iter()
        .enumerate()
        .map(|(at, axis)| Upright {
            name: axis.clone(),
            scale: scale_of(&trials, at),
        })
        .collect();
    let (low, high) = trials
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| {
            (low.min(it.1), high.max(it.1))
        });
    let span = (high - low).max(f64::EPSILON);
    axes.push(Upright {
        name: if report.is_accuracy {
            "valid accuracy"
        } else {
            "valid loss"
        }
        .to_owned(),
        scale: Scale {
            places: trials.iter().map(|it| Some((it.1 - low) / span)).collect(),
            ticks: crate::page::svg::ticks(low, high, 5)
                .into_iter()
                .map(|value| {
                    (
                        (value - low) / span,
                        scatter::value_label(value, report.is_accuracy),
                    )
                })
                .collect(),
            is_log: false,
        },
    });
    let n_good = trials.len().div_ceil(2);
    let lines: Vec<TrialLine> = trials
        .iter()
        .enumerate()
        .map(|(rank, (trial, score))| TrialLine {
            number: name(&trial.number),
            title: format!(
                "trial {}: {} ({})",
                trial.number,
                label(report, trial),
                scatter::value_label(*score, report.is_accuracy)
            ),
            is_best: rank == 0,
            is_good: rank < n_good,
        })
        .collect();
    let body = html! {
        (coordinates::coordinates(&axes, &lines))
        p.note { "One line for each trial: the best one is thick, the better half is colored. " span.needs-script { "A row of the leaderboard lights up its line." } }
    };
    Some(Section::new(
        "coordinates",
        "Coordinates",
        "Parallel coordinates",
        body,
    ))
}

pub(crate) fn axes(report: &SweepReport) -> Option<Section> {
    let trials = scored(report);
    if trials.is_empty() || report.axes.is_empty() {
        return None;
    }
    let chart = |at: usize, axis: &str| {
        let scale = scale_of(&trials, at);
        let places = scale::spread(&scale.places);
        let ranked = trials.iter().enumerate().zip(&places);
        let mut dots: Vec<Dot> = ranked
            .filter_map(|((rank, (trial, score)), place)| {
                Some(Dot {
                    place: (*place)?,
                    score: *score,
                    interval: trial.interval.filter(|_| report.is_accuracy),
                    is_best: rank == 0,
                    title: format!(
                        "trial {}: {} ({})",
                        trial.number,
                        label(report, trial),
                        scatter::value_label(*score, report.is_accuracy)
                    ),
                })
            })
            .collect();
        // The best one last, so that it lies above the others.
        dots.reverse();
        scatter::scatter(axis, &dots, &scale, report.is_accuracy)
    };
    let body = html! {
        div.charts.small {
            @for (at, axis) in report.axes.iter().enumerate() { (chart(at, axis)) }
        }
        p.note { "The best epoch of each trial" @if report.is_accuracy { ", with its 95 % interval" } ". Where several settings vary, a column mixes the values of the others." }
    };
    Some(Section::new("axes", "Settings", "Score by setting", body))
}

pub(crate) fn curves(report: &SweepReport) -> Option<Section> {
    let body = overlay(&report.curves)?;
    Some(Section::new(
        "curves",
        "Curves",
        "Learning curves of the best trials",
        body,
    ))
}

pub(crate) fn source(report: &SweepReport) -> Option<Section> {
    if report.source.trim().is_empty() {
        return None;
    }
    let body = html! { pre.scroll.mono { (lines(&report.source)) } };
    Some(Section::new("source", "Sweep file", "Sweep file", body))
}

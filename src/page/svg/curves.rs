//! Line charts by epoch. The script draws them anew with zoom and values under the pointer; without it they are still.

use std::fmt::Write as _;

use maud::{Markup, html};
use serde_json::json;

use super::{px, ticks};
use crate::page::frame::{data, name};

/// Values beyond this make no axis.
const LARGEST: f64 = 1e100;

pub(crate) struct Chart {
    /// The name of its data in the page.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) is_percent: bool,
    pub(crate) series: Vec<Series>,
    pub(crate) bands: Vec<Band>,
}

pub(crate) struct Series {
    pub(crate) name: String,
    /// A colour of the style sheet.
    pub(crate) color: usize,
    pub(crate) is_dashed: bool,
    pub(crate) points: Vec<(usize, f64)>,
    /// The position of the best point.
    pub(crate) best: Option<usize>,
}

/// A phase.
pub(crate) struct Band {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) name: String,
}

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = WIDTH - 10.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = HEIGHT - 30.0;

pub(crate) fn chart(chart: &Chart) -> Markup {
    html! {
        figure.chart data-chart=(chart.id) {
            figcaption { (name(&chart.title)) }
            ul.legend {
                @for line in &chart.series {
                    li {
                        svg viewBox="0 0 26 10" aria-hidden="true" {
                            path class=(line_class(line)) d="M1 5L25 5" {}
                        }
                        (name(&line.name))
                    }
                }
            }
            (still(chart))
            div.tools.needs-script {
                button type="button" data-zoom="in" { "Zoom in" }
                button type="button" data-zoom="out" { "Zoom out" }
                button type="button" data-zoom="all" { "All epochs" }
            }
            div.readout.needs-script aria-live="polite" {}
            (data(&chart.id, &values(chart)))
        }
    }
}

fn line_class(line: &Series) -> String {
    let dash = if line.is_dashed { " dash" } else { "" };
    format!("line k{}{dash}", line.color % super::N_COLORS)
}

fn values(chart: &Chart) -> serde_json::Value {
    let series = chart.series.iter().map(|line| {
        // JSON has no NaN, and the script takes null for a gap.
        let points = line.points.iter();
        let points: Vec<_> = points.map(|(x, y)| (x, drawable(*y))).collect();
        json!({ "name": name(&line.name), "color": line.color % super::N_COLORS, "dashed": line.is_dashed, "points": points, "best": line.best })
    });
    let bands = chart.bands.iter();
    let bands = bands.map(|it| json!({ "from": it.from, "to": it.to, "name": name(&it.name) }));
    json!({ "x": "epoch", "percent": chart.is_percent, "series": series.collect::<Vec<_>>(), "bands": bands.collect::<Vec<_>>() })
}

fn drawable(value: f64) -> Option<f64> {
    (value.abs() < LARGEST).then_some(value)
}

/// The chart without the script: all epochs.
fn still(chart: &Chart) -> Markup {
    let points = || chart.series.iter().flat_map(|line| &line.points);
    let xs = points().map(|(x, _)| *x as f64);
    let (first, last) = (
        xs.clone().fold(f64::INFINITY, f64::min),
        xs.fold(0.0, f64::max),
    );
    let pad = ((last - first) * 0.02).max(if last > first { 0.0 } else { 0.5 });
    let (x0, x1) = (first - pad, last + pad);
    let (low, high) = range(points().filter_map(|(_, y)| drawable(*y)), chart.is_percent);
    let x = |value: f64| LEFT + (value - x0) / (x1 - x0) * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP);
    let described = format!(
        "{} by epoch: {}",
        chart.title,
        chart
            .series
            .iter()
            .map(summary)
            .collect::<Vec<_>>()
            .join("; ")
    );
    html! {
        svg.plot viewBox={ "0 0 " (px(WIDTH)) " " (px(HEIGHT)) } role="img" aria-label=(name(&described)) {
            @for (at, band) in chart.bands.iter().enumerate() {
                @if at % 2 == 1 {
                    @let start = x(band.from).max(LEFT);
                    rect.zone x=(px(start)) y=(px(TOP)) width=(px((x(band.to).min(RIGHT) - start).max(0.0))) height=(px(BOTTOM - TOP)) {}
                }
                text x=(px(x(f64::midpoint(band.from, band.to)))) y="13" text-anchor="middle" { (name(&band.name)) }
            }
            @for value in ticks(low, high, 6) {
                @if !chart.is_percent || (-1e-9..=1.0 + 1e-9).contains(&value) {
                    line.grid x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(y(value))) y2=(px(y(value))) {}
                    text x=(px(LEFT - 7.0)) y=(px(y(value) + 4.0)) text-anchor="end" { (label(value, chart.is_percent)) }
                }
            }
            @for value in ticks(first, last, 8) {
                @if value.fract().abs() < 1e-9 {
                    text x=(px(x(value))) y=(px(BOTTOM + 17.0)) text-anchor="middle" { (format!("{value:.0}")) }
                }
            }
            text x=(px(RIGHT)) y=(px(BOTTOM + 28.0)) text-anchor="end" { "epoch" }
            line.axis x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(BOTTOM)) y2=(px(BOTTOM)) {}
            @for line in &chart.series {
                path class=(line_class(line)) d=(path(line, &x, &y)) {}
                @if let Some((epoch, value)) = line.best.and_then(|at| line.points.get(at)) {
                    @if drawable(*value).is_some() {
                        circle.ring cx=(px(x(*epoch as f64))) cy=(px(y(*value))) r="6.5" {
                            title { "best epoch " (epoch) ": " (label(*value, chart.is_percent)) }
                        }
                    }
                }
            }
        }
    }
}

/// A path with a gap where a value is not finite.
fn path(line: &Series, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let (mut path, mut pen) = (String::new(), 'M');
    for (epoch, value) in &line.points {
        match drawable(*value) {
            Some(value) => {
                let _ = write!(path, "{pen}{} {}", px(x(*epoch as f64)), px(y(value)));
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    path
}

/// `validation 0.9812 in epoch 3`
fn summary(line: &Series) -> String {
    let (at, word) = match line.best {
        Some(best) => (Some(best), "best "),
        None => (line.points.len().checked_sub(1), "last "),
    };
    match at.and_then(|at| line.points.get(at)) {
        Some((epoch, value)) => format!("{}, {word}{value:.4} in epoch {epoch}", line.name),
        None => line.name.clone(),
    }
}

fn range(values: impl Iterator<Item = f64>, is_percent: bool) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return (0.0, 1.0);
    }
    let room = ((high - low) * 0.08).max(high.abs() * 0.01).max(1e-6);
    if is_percent {
        ((low - room).max(-0.005), (high + room).min(1.008))
    } else if low >= 0.0 && low < high / 2.0 {
        (0.0, high + room)
    } else {
        (low - room, high + room)
    }
}

fn label(value: f64, is_percent: bool) -> String {
    if is_percent {
        format!("{} %", super::scale::label(value * 100.0))
    } else {
        super::scale::label(value)
    }
}

//! The score of each trial against one setting.

use maud::{Markup, html};

use super::{px, scale, ticks};
use crate::page::frame::name;

/// A trial on the chart.
pub(crate) struct Dot {
    /// The position of its value, from 0 to 1.
    pub(crate) place: f64,
    pub(crate) score: f64,
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) is_best: bool,
    pub(crate) title: String,
}

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 46.0;
/// The share of the width that is left free at both sides.
const ROOM: f64 = 0.11;

pub(crate) fn scatter(axis: &str, dots: &[Dot], scale: &scale::Scale, is_percent: bool) -> Markup {
    let ends = dots
        .iter()
        .map(|dot| dot.interval.unwrap_or((dot.score, dot.score)));
    let (mut low, mut high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| {
        (low.min(it.0), high.max(it.1))
    });
    if low > high {
        (low, high) = (0.0, 1.0);
    }
    let pad = ((high - low) * 0.06).max(1e-3);
    (low, high) = (low - pad, high + pad);
    let x = |place: f64| LEFT + (ROOM + place * (1.0 - 2.0 * ROOM)) * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP);
    let what = if is_percent { "accuracy" } else { "loss" };
    let described = format!("validation {what} against {axis}; the leaderboard has the values");
    html! {
        figure.chart {
            figcaption { code { (name(axis)) } }
            svg viewBox={ "0 0 " (px(WIDTH)) " " (px(HEIGHT)) } role="img" aria-label=(name(&described)) {
                @for value in ticks(low, high, 5) {
                    line.grid x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(y(value))) y2=(px(y(value))) {}
                    text x=(px(LEFT - 6.0)) y=(px(y(value) + 4.0)) text-anchor="end" { (value_label(value, is_percent)) }
                }
                line.axis x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(BOTTOM)) y2=(px(BOTTOM)) {}
                @for (place, label) in &scale.ticks {
                    line.axis x1=(px(x(*place))) x2=(px(x(*place))) y1=(px(BOTTOM)) y2=(px(BOTTOM + 4.0)) {}
                    text x=(px(x(*place))) y=(px(BOTTOM + 18.0)) text-anchor=(anchor(*place)) { (short(label)) }
                }
                text x=(px(f64::midpoint(LEFT, RIGHT))) y=(px(BOTTOM + 38.0)) text-anchor="middle" { (short_axis(axis)) @if scale.is_log { " (log scale)" } }
                @for dot in dots.iter().filter(|dot| dot.interval.is_some()) {
                    @let (from, to) = dot.interval.unwrap_or_default();
                    line.span x1=(px(x(dot.place))) x2=(px(x(dot.place))) y1=(px(y(from))) y2=(px(y(to))) opacity="0.45" {}
                }
                @for dot in dots {
                    circle.dot .f1[dot.is_best] .f0[!dot.is_best] cx=(px(x(dot.place))) cy=(px(y(dot.score))) r=(if dot.is_best { "6.5" } else { "5" }) {
                        title { (name(&dot.title)) }
                    }
                }
            }
        }
    }
}

fn anchor(place: f64) -> &'static str {
    if place > 0.93 {
        "end"
    } else if place < 0.07 {
        "start"
    } else {
        "middle"
    }
}

pub(crate) fn value_label(value: f64, is_percent: bool) -> String {
    if is_percent {
        format!("{} %", scale::label(value * 100.0))
    } else {
        scale::label(value)
    }
}

/// A label that leaves its neighbours room.
pub(crate) fn short(label: &str) -> String {
    crate::text::table::shortened(&name(label), 14)
}

fn short_axis(axis: &str) -> String {
    crate::text::table::shortened(&name(axis), 40)
}

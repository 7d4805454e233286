//! Parallel coordinates: each trial as a line through its settings to its score.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{
    px,
    scale::{self, Scale},
    scatter,
};
use crate::page::frame::name;

/// An upright axis with the position of each trial.
pub(crate) struct Upright {
    pub(crate) name: String,
    pub(crate) scale: Scale,
}

/// A trial as a line.
pub(crate) struct TrialLine {
    pub(crate) number: String,
    pub(crate) title: String,
    pub(crate) is_best: bool,
    /// Whether it is among the better half.
    pub(crate) is_good: bool,
}

const COLUMN: f64 = 215.0;
const SIDE: f64 = 78.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 310.0;

pub(crate) fn coordinates(axes: &[Upright], trials: &[TrialLine]) -> Markup {
    let width = 2.0 * SIDE + COLUMN * (axes.len().max(2) - 1) as f64;
    let x = |at: usize| SIDE + COLUMN * at as f64;
    let y = |place: f64| BOTTOM - place * (BOTTOM - TOP);
    // The places of settings are spread, those of the score, on the last axis, are not.
    let places = axes.iter().enumerate().map(|(at, axis)| {
        if at + 1 == axes.len() {
            axis.scale.places.clone()
        } else {
            scale::spread(&axis.scale.places)
        }
    });
    let places: Vec<Vec<Option<f64>>> = places.collect();
    let path = |trial: usize| {
        let (mut path, mut pen) = (String::new(), 'M');
        for (at, places) in places.iter().enumerate() {
            if let Some(place) = places.get(trial).copied().flatten() {
                let _ = write!(path, "{pen}{} {}", px(x(at)), px(y(place)));
                pen = 'L';
            }
        }
        path
    };
    // The best one last, so that it lies above the others.
    let mut order: Vec<usize> = (0..trials.len()).collect();
    order.sort_by_key(|at| (trials[*at].is_best, trials[*at].is_good));
    html! {
        div.scroll {
            svg width=(px(width)) height="340" viewBox={ "0 0 " (px(width)) " 340" } role="img" aria-label="Parallel coordinates of the trials; the leaderboard has the values" {
                @for (at, axis) in axes.iter().enumerate() {
                    line.axis x1=(px(x(at))) x2=(px(x(at))) y1=(px(TOP)) y2=(px(BOTTOM)) {}
                    text.strong x=(px(x(at))) y="16" text-anchor="middle" { (crate::text::table::shortened(&name(&axis.name), 23)) }
                    @if axis.scale.is_log {
                        text x=(px(x(at))) y="31" text-anchor="middle" { "log scale" }
                    }
                }
                g {
                    @for at in order {
                        @let trial = &trials[at];
                        path.trial .good[trial.is_good] .best[trial.is_best] data-trial=(trial.number) d=(path(at)) {
                            title { (name(&trial.title)) }
                        }
                    }
                }
                @for (at, axis) in axes.iter().enumerate() {
                    @for (place, label) in &axis.scale.ticks {
                        @let is_last = at + 1 == axes.len();
                        text.halo x=(px(if is_last { x(at) + 8.0 } else { x(at) - 8.0 })) y=(px(y(*place) + 4.0)) text-anchor=(if is_last { "start" } else { "end" }) { (scatter::short(label)) }
                    }
                }
            }
        }
    }
}

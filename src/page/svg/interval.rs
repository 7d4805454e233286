//! An accuracy on a line from 0 to 100 %, with its confidence interval and the majority baseline.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::px;
use crate::text::table::percent;

const WIDTH: f64 = 360.0;
const SIDE: f64 = 16.0;

pub(crate) fn interval(
    accuracy: f64,
    interval: Option<(f64, f64)>,
    baseline: Option<f64>,
) -> Markup {
    let x = |fraction: f64| SIDE + fraction.clamp(0.0, 1.0) * (WIDTH - 2.0 * SIDE);
    let described = description(accuracy, interval, baseline);
    // A label at an edge would be cut off in the middle.
    let anchor = |fraction: f64| match fraction {
        it if it < 0.12 => "start",
        it if it > 0.88 => "end",
        _ => "middle",
    };
    html! {
        svg viewBox={ "0 0 " (px(WIDTH)) " 74" } role="img" aria-label=(described) {
            line.grid x1=(px(x(0.0))) x2=(px(x(1.0))) y1="34" y2="34" stroke-width="8" stroke-linecap="round" {}
            @if let Some((low, high)) = interval {
                line.k0 x1=(px(x(low))) x2=(px(x(high))) y1="34" y2="34" stroke-width="8" stroke-linecap="round" opacity="0.4" {}
            }
            @if let Some(baseline) = baseline {
                line.axis x1=(px(x(baseline))) x2=(px(x(baseline))) y1="24" y2="44" stroke-width="2" {}
                text x=(px(x(baseline))) y="15" text-anchor=(anchor(baseline)) { "majority " (percent(baseline)) }
            }
            circle.f0.dot cx=(px(x(accuracy))) cy="34" r="7" {}
            @for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
                text x=(px(x(tick))) y="64" text-anchor=(anchor(tick)) { (format!("{:.0} %", tick * 100.0)) }
            }
        }
    }
}

fn description(accuracy: f64, interval: Option<(f64, f64)>, baseline: Option<f64>) -> String {
    let mut text = format!("accuracy {}", percent(accuracy));
    if let Some((low, high)) = interval {
        let _ = write!(
            text,
            ", 95 % interval {} to {}",
            percent(low),
            percent(high)
        );
    }
    if let Some(baseline) = baseline {
        let _ = write!(text, ", majority baseline {}", percent(baseline));
    }
    text
}

//! Drawings as SVG inside the page, with text that can be selected and read aloud. Colours are those of the style sheet.

pub(super) mod coordinates;
pub(super) mod curves;
pub(super) mod interval;
pub(super) mod reliability;
pub(super) mod scale;
pub(super) mod scatter;
pub(super) mod trade;

use maud::{Markup, html};

/// The number of line colours in the style sheet.
pub(super) const N_COLORS: usize = 8;

/// A bar for a fraction of 1.
pub(super) fn bar(fraction: f64) -> Markup {
    let width = format!("{:.1}", fraction.clamp(0.0, 1.0) * 100.0);
    html! {
        svg.bar viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="100" height="10" rx="3" {}
            rect.fill width=(width) height="10" rx="3" {}
        }
    }
}

/// A coordinate with one decimal: more would only make the page larger.
pub(super) fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// Round numbers within a range: multiples of 1, 2 or 5 times a power of ten.
pub(super) fn ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return vec![low];
    }
    let decade = 10_f64.powf((span / most as f64).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
    let fits = |step: &&f64| span / **step <= most as f64;
    let step = steps.iter().find(fits).unwrap_or(&steps[3]);
    let slack = span * 1e-9;
    let (first, last) = (
        ((low - slack) / step).ceil(),
        ((high + slack) / step).floor(),
    );
    let n = (last - first + 1.0).clamp(0.0, 50.0) as usize;
    (0..n).map(|at| (first + at as f64) * step).collect()
}

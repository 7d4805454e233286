//! The reliability diagram: for each range of probabilities, how many predictions were correct.

use maud::{Markup, html};

use super::px;
use crate::{scores::calibration::CalibrationBin, text::table::percent};

const SIDE: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = SIDE - 20.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 250.0;

pub(crate) fn reliability(bins: &[CalibrationBin]) -> Markup {
    let x = |value: f64| LEFT + value * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - value * (BOTTOM - TOP);
    html! {
        figure.chart {
            figcaption { "Reliability" }
            svg viewBox="0 0 300 290" role="img" aria-label="Reliability diagram: accuracy against the predicted probability; the table below has the values" {
                @for at in [0.0, 0.25, 0.5, 0.75, 1.0] {
                    line.grid x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(y(at))) y2=(px(y(at))) {}
                    text x=(px(LEFT - 6.0)) y=(px(y(at) + 4.0)) text-anchor="end" { (format!("{:.0} %", at * 100.0)) }
                    text x=(px(x(at))) y=(px(BOTTOM + 17.0)) text-anchor="middle" { (format!("{:.0} %", at * 100.0)) }
                }
                line.diagonal x1=(px(x(0.0))) y1=(px(y(0.0))) x2=(px(x(1.0))) y2=(px(y(1.0))) {}
                @for bin in bins {
                    @if let (Some(confidence), Some(accuracy)) = (bin.confidence, bin.accuracy) {
                        rect.f0 opacity="0.35" x=(px(x(bin.low) + 1.0)) width=(px((bin.high - bin.low) * (RIGHT - LEFT) - 2.0)) y=(px(y(accuracy))) height=(px(BOTTOM - y(accuracy))) {
                            title { (said(bin.images, confidence, accuracy)) }
                        }
                        circle.f0.dot cx=(px(x(confidence))) cy=(px(y(accuracy))) r=(px(radius(bin.images, bins))) {
                            title { (said(bin.images, confidence, accuracy)) }
                        }
                    }
                }
                line.axis x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(BOTTOM)) y2=(px(BOTTOM)) {}
                text x=(px(f64::midpoint(LEFT, RIGHT))) y=(px(BOTTOM + 36.0)) text-anchor="middle" { "predicted probability" }
                text x="10" y=(px(f64::midpoint(TOP, BOTTOM))) text-anchor="middle" transform={ "rotate(-90 10 " (px(f64::midpoint(TOP, BOTTOM))) ")" } { "accuracy" }
            }
        }
    }
}

/// The area of a dot stands for its number of images.
fn radius(n: usize, bins: &[CalibrationBin]) -> f64 {
    let most = bins.iter().map(|bin| bin.images).max().unwrap_or(1).max(1);
    3.0 + 5.0 * (n as f64 / most as f64).sqrt()
}

fn said(n_images: usize, confidence: f64, accuracy: f64) -> String {
    format!(
        "{n_images} images with a mean probability of {}: {} correct",
        percent(confidence),
        percent(accuracy)
    )
}

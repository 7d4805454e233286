//! What a threshold trades: sensitivity against false alarms, or accuracy against coverage, with a mark that the script moves.

use maud::{Markup, html};

use super::px;

/// A curve of points with both coordinates from 0 to 1.
pub(crate) struct Trade<'a> {
    pub(crate) title: &'a str,
    pub(crate) across: &'a str,
    pub(crate) up: &'a str,
    pub(crate) points: &'a [(f64, f64)],
    /// The position of the mark among the points.
    pub(crate) marked: usize,
    /// The value at the lower edge.
    pub(crate) low: f64,
}

const LEFT: f64 = 58.0;
const RIGHT: f64 = 280.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 250.0;

impl Trade<'_> {
    /// Left, upper, right and lower edge, and the value at the last: what the script needs to move the mark.
    pub(crate) fn frame(&self) -> [f64; 5] {
        [LEFT, TOP, RIGHT, BOTTOM, self.low]
    }

    pub(crate) fn draw(&self) -> Markup {
        let x = |value: f64| LEFT + value * (RIGHT - LEFT);
        let y = |value: f64| BOTTOM - (value - self.low) / (1.0 - self.low) * (BOTTOM - TOP);
        let points = self.points.iter();
        let points: Vec<String> = points
            .map(|it| format!("{},{}", px(x(it.0)), px(y(it.1))))
            .collect();
        let mark = self.points.get(self.marked).copied().unwrap_or((0.0, 1.0));
        html! {
            figure.chart {
                figcaption { (self.title) }
                svg viewBox="0 0 300 290" role="img" aria-label={ (self.title) "; the table below has the values" } {
                    @for at in [0.0, 0.25, 0.5, 0.75, 1.0] {
                        @let value = self.low + at * (1.0 - self.low);
                        line.grid x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(y(value))) y2=(px(y(value))) {}
                        text x=(px(LEFT - 6.0)) y=(px(y(value) + 4.0)) text-anchor="end" { (label(value)) }
                        text x=(px(x(at))) y=(px(BOTTOM + 17.0)) text-anchor="middle" { (label(at)) }
                    }
                    polyline.line.k0 id="trade-path" points=(points.join(" ")) {}
                    circle.f1.dot id="trade-mark" cx=(px(x(mark.0))) cy=(px(y(mark.1))) r="6.5" {}
                    line.axis x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(BOTTOM)) y2=(px(BOTTOM)) {}
                    text x=(px(f64::midpoint(LEFT, RIGHT))) y=(px(BOTTOM + 36.0)) text-anchor="middle" { (self.across) }
                    text x="10" y="130" text-anchor="middle" transform="rotate(-90 10 130)" { (self.up) }
                }
            }
        }
    }
}

fn label(fraction: f64) -> String {
    let percent = (fraction * 1000.0).round() / 10.0;
    format!("{percent} %")
}

//! What plots by epoch have in common: the two metrics, their ranges and labels, and lines with gaps. Knows no runs or legends.

use super::{axes::Axes, curves::CurvePoint, text};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    Loss,
    Accuracy,
}

pub(super) const WIDTH: u32 = 1280;
pub(super) const PANEL_WIDTH: f64 = WIDTH as f64 / 2.0;
/// The room below the plot for the epochs, in pixels.
pub(super) const FOOT: f64 = 58.0;
/// The room to the left of the plot for the values, in pixels.
pub(super) const VALUES: f64 = 72.0;
pub(super) const SIDE: f64 = 18.0;
/// The most epochs that all get a mark; with more, marks would overlap.
pub(super) const MARKED_EPOCHS: usize = 60;

impl Panel {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Loss => "Loss",
            Self::Accuracy => "Accuracy",
        }
    }

    pub(super) fn train(self, row: &CurvePoint) -> f64 {
        match self {
            Self::Loss => row.train_loss,
            Self::Accuracy => row.train_accuracy,
        }
    }

    pub(super) fn valid(self, row: &CurvePoint) -> f64 {
        match self {
            Self::Loss => row.valid_loss,
            Self::Accuracy => row.valid_accuracy,
        }
    }

    /// All values that a plot of these rows shows.
    pub(super) fn values(self, rows: &[CurvePoint]) -> impl Iterator<Item = f64> {
        rows.iter()
            .flat_map(move |row| [self.train(row), self.valid(row)])
    }

    /// The range of the vertical axis, with room for the marks at both ends.
    pub(super) fn range(self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let (low, high) = values
            .filter(|value| is_drawable(*value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            return (0.0, 1.0);
        }
        let pad = ((high - low) * 0.08).max(high.abs() * 0.01).max(1e-3);
        match self {
            Self::Loss if low >= 0.0 && low < high * 0.5 => (0.0, high + pad),
            Self::Loss => (low - pad, high + pad),
            Self::Accuracy => {
                let pad = pad.max(0.01);
                // Above 100 % only half a mark needs room.
                (
                    (low - pad).max(-0.01),
                    (high + pad).min(1.0 + (1.0 - low).max(0.05) * 0.03),
                )
            }
        }
    }

    pub(super) fn label(self, value: f64, (low, high): (f64, f64)) -> String {
        let span = high - low;
        match self {
            Self::Accuracy if !(0.0..=1.000_001).contains(&value) => String::new(),
            Self::Accuracy => text::percent(value, usize::from(span < 0.05)),
            Self::Loss if high.abs() >= 1e5 || span < 1e-3 => format!("{value:.1e}"),
            Self::Loss => {
                let decimals = if span < 0.02 {
                    4
                } else if span < 0.2 {
                    3
                } else if span < 5.0 {
                    2
                } else {
                    0
                };
                format!("{value:.decimals$}")
            }
        }
    }
}

/// Whether an axis can hold it: the difference of two numbers near the largest one is infinite, and has no ticks.
pub(super) fn is_drawable(value: f64) -> bool {
    value.abs() <= 1e100
}

/// The points that get a mark: all of them, or in a long run only some, at different epochs for each run.
pub(super) fn marked(stretches: &[Vec<(f64, f64)>], run: usize) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = stretches.iter().flatten().copied().collect();
    let step = if points.len() <= MARKED_EPOCHS {
        1
    } else {
        points.len().div_ceil(MARKED_EPOCHS / 4)
    };
    points
        .into_iter()
        .skip(run * 3 % step)
        .step_by(step)
        .collect()
}

/// The points on the sheet, one list for each stretch of finite values: a value that is not finite interrupts the line.
pub(super) fn unbroken(
    axes: &Axes,
    values: impl Iterator<Item = (usize, f64)>,
) -> Vec<Vec<(f64, f64)>> {
    let values: Vec<(usize, f64)> = values.collect();
    values
        .split(|(_, value)| !is_drawable(*value))
        .filter(|stretch| !stretch.is_empty())
        .map(|stretch| {
            stretch
                .iter()
                .map(|&(epoch, value)| axes.pixel(epoch as f64, value))
                .collect()
        })
        .collect()
}

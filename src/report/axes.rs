//! The frame of a plot: the grid, the ticks with their labels, and the name of the horizontal axis.

use super::{
    ink::{FAINT_INK, HAIR, stroke},
    sheet::{Align, Sheet},
};
use crate::error::Result;

/// The position of a plot on its sheet, in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// A frame with the values at its edges.
pub(super) struct Axes {
    pub(super) frame: Frame,
    /// What the left and the right edge stand for.
    across: (f64, f64),
    /// What the lower and the upper edge stand for.
    up: (f64, f64),
}

pub(super) const LABEL_SIZE: f64 = 14.0;
/// The distance between the lines of a tick's label.
pub(super) const LINE_HEIGHT: f64 = 17.0;
/// The distance from the frame to the name of the axis, under labels of one line.
pub(super) const NAME_BELOW: f64 = 38.0;
const TICK: f64 = 5.0;
const MAX_X_TICKS: usize = 10;
const MAX_Y_TICKS: usize = 8;

/// The position of a tick, and the lines of its label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) lines: Vec<String>,
}

/// The horizontal axis: its ends, its ticks and its name.
#[derive(Clone, Debug)]
pub(super) struct Across {
    pub(super) range: (f64, f64),
    pub(super) ticks: Vec<Tick>,
    /// The font size of the labels at the ticks.
    pub(super) label_size: f64,
    /// Whether the labels are rotated to read upwards because there is little room.
    pub(super) is_upright: bool,
    pub(super) name: String,
    /// The pixels from the frame down to the middle of the name.
    pub(super) name_below: f64,
}

impl Axes {
    /// Epochs to the right, whole numbers only; values up, as `label` writes them.
    pub(super) fn draw(
        sheet: &Sheet,
        frame: Frame,
        epochs: (usize, usize),
        values: (f64, f64),
        label: impl Fn(f64) -> String,
    ) -> Result<Self> {
        let (first, last) = (epochs.0 as f64, epochs.1 as f64);
        // At least half an epoch, so that a single epoch is in the middle.
        let side_room = ((last - first) * 0.02).max(0.5);
        let ticks = whole_ticks(epochs).into_iter().map(|epoch| Tick {
            at: epoch as f64,
            lines: vec![epoch.to_string()],
        });
        let across = Across {
            range: (first - side_room, last + side_room),
            ticks: ticks.collect(),
            label_size: LABEL_SIZE,
            is_upright: false,
            name: "epoch".into(),
            name_below: NAME_BELOW,
        };
        Self::draw_across(sheet, frame, &across, values, label)
    }

    /// Like `draw`, with any horizontal axis.
    pub(super) fn draw_across(
        sheet: &Sheet,
        frame: Frame,
        across: &Across,
        (low, high): (f64, f64),
        label: impl Fn(f64) -> String,
    ) -> Result<Self> {
        let axes = Self {
            frame,
            across: across.range,
            up: (low, high),
        };
        let (grid_style, axis_style) = (stroke(HAIR, 1.0), stroke(FAINT_INK, 1.0));
        for value in ticks((low, high), MAX_Y_TICKS) {
            let (text, (_, y)) = (label(value), axes.pixel(across.range.0, value));
            if !text.is_empty() {
                sheet.line(&[(frame.left, y), (frame.right, y)], grid_style);
                let at = (frame.left - 8.0, y);
                sheet.text(&text, at, LABEL_SIZE, Align::Right, FAINT_INK)?;
            }
        }
        for tick in &across.ticks {
            let (x, _) = axes.pixel(tick.at, low);
            sheet.line(&[(x, frame.bottom), (x, frame.bottom + TICK)], axis_style);
            for (row, line) in tick.lines.iter().enumerate() {
                let size = across.label_size;
                if across.is_upright {
                    let at = (x, frame.bottom + 9.0);
                    sheet.upright(line, at, size, Align::Right, FAINT_INK)?;
                } else {
                    let at = (x, frame.bottom + 16.0 + row as f64 * LINE_HEIGHT);
                    sheet.text(line, at, size, Align::Middle, FAINT_INK)?;
                }
            }
        }
        let middle = f64::midpoint(frame.left, frame.right);
        let at = (middle, frame.bottom + across.name_below);
        sheet.text(&across.name, at, LABEL_SIZE, Align::Middle, FAINT_INK)?;
        sheet.line(
            &[
                (frame.left, frame.top),
                (frame.left, frame.bottom),
                (frame.right, frame.bottom),
            ],
            axis_style,
        );
        Ok(axes)
    }

    /// The position of an epoch and a value on the sheet.
    pub(super) fn pixel(&self, epoch: f64, value: f64) -> (f64, f64) {
        let along = |value: f64, (low, high): (f64, f64), from: f64, to: f64| {
            from + (value - low) / (high - low) * (to - from)
        };
        let frame = self.frame;
        (
            along(epoch, self.across, frame.left, frame.right),
            along(value, self.up, frame.bottom, frame.top),
        )
    }
}

/// At most `most` round numbers within the range: multiples of 1, 2 or 5 times a power of ten.
pub(super) fn ticks((low, high): (f64, f64), most: usize) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return Vec::new();
    }
    let decade = 10_f64.powf((span / most as f64).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|factor| factor * decade);
    // A tick at an edge must not fall out by rounding.
    let slack = span * 1e-9;
    let ends = |step: f64| {
        (
            ((low - slack) / step).ceil(),
            ((high + slack) / step).floor(),
        )
    };
    let fits = |step: &&f64| {
        let (first, last) = ends(**step);
        last - first < most as f64
    };
    let Some(step) = steps.iter().find(fits) else {
        return Vec::new();
    };
    let (first, last) = ends(*step);
    let n_ticks = (last - first + 1.0).max(0.0) as usize;
    (0..n_ticks).map(|at| (first + at as f64) * step).collect()
}

fn whole_ticks((first, last): (usize, usize)) -> Vec<usize> {
    if first == last {
        return vec![first];
    }
    let mut ticks: Vec<usize> = ticks((first as f64, last as f64), MAX_X_TICKS)
        .into_iter()
        // Below one epoch there is nothing.
        .filter(|tick| (tick - tick.round()).abs() < 1e-6)
        .map(|tick| tick.round() as usize)
        .collect();
    ticks.dedup();
    ticks
}

//! The calibration plot: how often predictions are correct, by the probability that the model gives them.

use super::{
    axes::{Frame, LABEL_SIZE},
    ink::{BLUE, FAINT_INK, HAIR, INK, stroke},
    panel::{FOOT, SIDE, VALUES},
    score_curves::{dashed, heading, share_axes},
    sheet::{self, Align, Sheet},
    strokes,
};
use crate::error::Result;

/// The images whose confidence lies between `low` and `high`, at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReliabilityBin {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) images: usize,
    /// The mean probability of the predicted class.
    pub(crate) confidence: f64,
    pub(crate) accuracy: f64,
    /// The 95 % confidence interval of the accuracy.
    pub(crate) interval: (f64, f64),
}

const WIDTH: f64 = 720.0;
const HEAD: f64 = 66.0;
const UP_NAME: f64 = 22.0;
const PLOT_HEIGHT: f64 = 460.0;
/// The height of the bars of image counts, which have their own baseline above the plot.
const COUNTS: f64 = 84.0;
const GAP: f64 = 18.0;
const LEGEND: f64 = 40.0;
const COUNT_SIZE: f64 = 12.0;

/// Draws the bins; `fact` says how large the calibration error is, `images` what images these are.
pub(crate) fn reliability(bins: &[ReliabilityBin], fact: &str, images: &str) -> Result<Vec<u8>> {
    let top = HEAD + COUNTS + GAP;
    let height = top + PLOT_HEIGHT + FOOT + LEGEND;
    let picture = sheet::painted(WIDTH as u32, height as u32, |sheet| {
        heading(sheet, "Calibration", images, WIDTH)?;
        let at = (SIDE + 4.0, 50.0);
        sheet.text(fact, at, LABEL_SIZE, Align::Left, FAINT_INK)?;
        let frame = Frame {
            left: UP_NAME + VALUES,
            top,
            right: WIDTH - SIDE,
            bottom: top + PLOT_HEIGHT,
        };
        // The larger of two probabilities is never below a half.
        let lowest = bins.iter().map(|bin| bin.low).fold(1.0, f64::min);
        let from = if lowest >= 7.0 / 15.0 - 1e-9 {
            0.45
        } else {
            0.0
        };
        let axes = share_axes(
            sheet,
            frame,
            (from, 1.0),
            "confidence (probability of the predicted class)",
            "accuracy",
        )?;
        for bin in bins {
            let (left, right) = (bin.low.max(from), bin.high);
            let (x, y) = axes.pixel(left, bin.accuracy);
            let (far, bottom) = axes.pixel(right, 0.0);
            let area = strokes::pale(BLUE, 0.22).filled();
            sheet.rectangle((x + 1.0, y), (far - 1.0, bottom), area);
        }
        dashed(
            sheet,
            [axes.pixel(from, from), axes.pixel(1.0, 1.0)],
            FAINT_INK,
        );
        for bin in bins {
            let (low, high) = bin.interval;
            let ends = [low, high].map(|value| axes.pixel(bin.confidence, value));
            sheet.line(&ends, stroke(BLUE, 2.0));
            for (x, y) in ends {
                sheet.line(&[(x - 5.0, y), (x + 5.0, y)], stroke(BLUE, 2.0));
            }
            let at = axes.pixel(bin.confidence, bin.accuracy);
            strokes::plain(BLUE).mark(sheet, at, 5.0);
        }
        counts(sheet, bins, |value| axes.pixel(value.max(from), 0.0).0)?;
        legend(sheet, height - LEGEND)
    })?;
    sheet::png(&picture)
}

/// The images of each bin, as bars with their numbers above the plot.
fn counts(sheet: &Sheet, bins: &[ReliabilityBin], across: impl Fn(f64) -> f64) -> Result<()> {
    let bottom = HEAD + COUNTS;
    let most = bins.iter().map(|bin| bin.images).max().unwrap_or(1).max(1);
    for bin in bins {
        let (left, right) = (across(bin.low), across(bin.high));
        let height = bin.images as f64 / most as f64 * (COUNTS - 20.0);
        // Few images among many still leave a trace.
        let top = bottom - height.max(1.0);
        sheet.rectangle(
            (left + 1.0, top),
            (right - 1.0, bottom),
            strokes::pale(FAINT_INK, 0.5).filled(),
        );
        let at = (f64::midpoint(left, right), top - 9.0);
        let number = bin.images.to_string();
        sheet.text(&number, at, COUNT_SIZE, Align::Middle, FAINT_INK)?;
    }
    let left = UP_NAME + VALUES;
    sheet.line(&[(left, bottom), (WIDTH - SIDE, bottom)], stroke(HAIR, 1.0));
    let at = (UP_NAME + 8.0, bottom - COUNTS / 2.0 + 8.0);
    sheet.upright("images", at, LABEL_SIZE, Align::Middle, FAINT_INK)
}

fn legend(sheet: &Sheet, top: f64) -> Result<()> {
    let y = top + 14.0;
    let left = UP_NAME + VALUES;
    sheet.line(
        &[(left + 8.0, y - 12.0), (left + 8.0, y + 12.0)],
        stroke(BLUE, 2.0),
    );
    for end in [y - 12.0, y + 12.0] {
        let cap = [(left + 3.0, end), (left + 13.0, end)];
        sheet.line(&cap, stroke(BLUE, 2.0));
    }
    strokes::plain(BLUE).mark(sheet, (left + 8.0, y), 5.0);
    let label = "accuracy of the bin with 95 % interval";
    sheet.text(label, (left + 24.0, y), LABEL_SIZE, Align::Left, INK)?;
    let left = left + 330.0;
    dashed(sheet, [(left, y), (left + 34.0, y)], FAINT_INK);
    let label = "perfectly calibrated";
    sheet.text(label, (left + 42.0, y), LABEL_SIZE, Align::Left, INK)
}

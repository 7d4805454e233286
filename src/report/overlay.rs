//! The curves of several runs in one picture: loss and accuracy by epoch, one look for each run. Knows nothing of run directories.

use plotters::style::RGBColor;

use super::{
    axes::{Axes, Frame},
    curves::CurvePoint,
    legend::{self, Legend, RING_RADIUS},
    panel::{self, FOOT, MARKED_EPOCHS, PANEL_WIDTH, Panel, SIDE, VALUES, WIDTH, stroke},
    sheet::{self, Align, FAINT_INK, INK, Sheet},
    strokes::{self, COLOURS, Look},
    text,
};
use crate::error::Result;

#[derive(Clone, Debug)]
pub(crate) struct RunCurve {
    pub(crate) label: String,
    pub(crate) rows: Vec<CurvePoint>,
    pub(crate) best_epoch: Option<usize>,
}

/// Pixels for the titles, above the legend.
const TITLES: f64 = 48.0;
const UNDER_LEGEND: f64 = 14.0;
const PLOT_HEIGHT: f64 = 350.0;
/// What a training line keeps of its colour.
const PALE: f64 = 0.45;

pub(crate) fn overlay(curves: &[RunCurve]) -> Result<Vec<u8>> {
    let labels = curves.iter().enumerate().map(|(at, curve)| {
        let label = if curve.rows.is_empty() {
            format!("{} (no epochs yet)", curve.label)
        } else {
            curve.label.clone()
        };
        (strokes::look(at), label)
    });
    let legend = legend::legend(labels.collect(), None, f64::from(WIDTH))?;
    let top = TITLES + legend.height() + UNDER_LEGEND;
    let height = (top + PLOT_HEIGHT + FOOT).round() as u32;
    let picture = sheet::painted(WIDTH, height, |sheet| draw(sheet, curves, &legend, top))?;
    sheet::png(&picture)
}

fn draw(sheet: &Sheet, curves: &[RunCurve], legend: &Legend, top: f64) -> Result<()> {
    key(sheet)?;
    legend.draw(sheet, TITLES)?;
    for (at, panel) in [Panel::Loss, Panel::Accuracy].into_iter().enumerate() {
        let left = at as f64 * PANEL_WIDTH;
        let title_at = (left + SIDE + 4.0, 26.0);
        sheet.text(panel.title(), title_at, 22.0, Align::Left, INK)?;
        let frame = Frame {
            left: left + VALUES,
            top,
            right: left + PANEL_WIDTH - SIDE,
            bottom: top + PLOT_HEIGHT,
        };
        draw_panel(sheet, panel, frame, curves)?;
    }
    Ok(())
}

/// What the kinds of line mean, in grey, because the colours tell the runs apart.
fn key(sheet: &Sheet) -> Result<()> {
    const Y: f64 = 27.0;
    let mut right = f64::from(WIDTH) - SIDE;
    for (label, sample) in [
        ("best epoch", 18.0),
        ("training", 28.0),
        ("validation", 28.0),
    ] {
        sheet.text(label, (right, Y), legend::SIZE, Align::Right, INK)?;
        right -= text::width(label, legend::SIZE)? + 8.0;
        let line = [(right - sample, Y), (right, Y)];
        let middle = (right - sample / 2.0, Y);
        match label {
            "validation" => {
                sheet.line(&line, stroke(FAINT_INK, 2.0))?;
                sheet.diamond(middle, 5.0, FAINT_INK)?;
            }
            "training" => sheet.line(&line, stroke(thin_colour(FAINT_INK), 1.0))?,
            _ => sheet.dot(middle, RING_RADIUS - 1.0, stroke(INK, 1.5))?,
        }
        right -= sample + 18.0;
    }
    Ok(())
}

fn thin_colour(colour: RGBColor) -> RGBColor {
    strokes::pale(colour, PALE)
}

fn draw_panel(sheet: &Sheet, panel: Panel, frame: Frame, curves: &[RunCurve]) -> Result<()> {
    let values = curves.iter().flat_map(|curve| panel.values(&curve.rows));
    let range = panel.range(values);
    let epochs = curves.iter().flat_map(|curve| &curve.rows);
    let epochs = epochs.map(|row| row.epoch);
    let first_and_last = (epochs.clone().min().unwrap_or(1), epochs.max().unwrap_or(1));
    let axes = Axes::draw(sheet, frame, first_and_last, range, |value| {
        panel.label(value, range)
    })?;
    // The first of the list is drawn last, above the others.
    let looks = || curves.iter().enumerate().rev();
    for (at, curve) in looks() {
        let look = strokes::look(at);
        let values = curve.rows.iter().map(|row| (row.epoch, panel.train(row)));
        for points in panel::unbroken(&axes, values) {
            let style = stroke(thin_colour(look.colour), 1.0);
            sheet.line(&points, style)?;
            // A single epoch makes no line.
            if let [only] = points[..] {
                sheet.dot(only, 1.5, thin_colour(look.colour).into())?;
            }
        }
    }
    for (at, curve) in looks() {
        validation(sheet, &axes, panel, curve, strokes::look(at), at)?;
    }
    // Rings of many runs would hide what they are around.
    let (radius, width) = if curves.len() > COLOURS.len() {
        (RING_RADIUS - 1.0, 1.0)
    } else {
        (RING_RADIUS, 1.5)
    };
    for (at, curve) in looks() {
        let mut latest_first = curve.rows.iter().rev();
        let best = latest_first.find(|row| Some(row.epoch) == curve.best_epoch);
        if let Some(row) = best.filter(|row| panel::is_drawable(panel.valid(row))) {
            let look = strokes::look(at);
            let point = axes.pixel(row.epoch as f64, panel.valid(row));
            look.mark(sheet, point, 4.0)?;
            sheet.dot(point, radius, stroke(INK, width))?;
        }
    }
    Ok(())
}

fn validation(
    sheet: &Sheet,
    axes: &Axes,
    panel: Panel,
    curve: &RunCurve,
    look: Look,
    at: usize,
) -> Result<()> {
    let values = curve.rows.iter().map(|row| (row.epoch, panel.valid(row)));
    let stretches = panel::unbroken(axes, values);
    // The jags of a long run would run into one another.
    let is_long = curve.rows.len() > MARKED_EPOCHS;
    let width = if is_long { 1.5 } else { 2.0 };
    for points in &stretches {
        look.line(sheet, points, width)?;
    }
    // The lower ones are larger, so that runs with equal values are all seen.
    let radius = 4.0 + 1.6 * at.min(3) as f64;
    for point in panel::marked(&stretches, at) {
        look.mark(sheet, point, radius)?;
    }
    Ok(())
}

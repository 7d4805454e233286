//! The curves of several runs in one picture: loss and accuracy by epoch, one look for each run. Knows no run
//! directories.

use super::{
    axes::{Axes, Frame},
    curves::CurvePoint,
    ink::{Color, FAINT_INK, INK, stroke},
    legend::{self, RING_RADIUS},
    panel::{self, FOOT, MARKED_EPOCHS, PANEL_WIDTH, Panel, SIDE, VALUES, WIDTH},
    sheet::{self, Align, Sheet},
    strokes::{self, COLOURS, Look},
    sweep::OTHERS,
    text,
};
use crate::error::Result;

#[derive(Clone, Debug)]
pub(crate) struct RunCurve {
    pub(crate) label: String,
    pub(crate) rows: Vec<CurvePoint>,
    pub(crate) best_epoch: Option<usize>,
    /// The index of the run that this one started from, and the epoch of that run.
    pub(crate) goes_on_from: Option<(usize, usize)>,
}

/// The room above the plots for the titles, in pixels.
const TITLES: f64 = 48.0;
const UNDER_LEGEND: f64 = 14.0;
const PLOT_HEIGHT: f64 = 350.0;
/// The share of its colour that a training line keeps.
const PALE: f64 = 0.45;
/// With more runs than this, the eye cannot follow any; then only the best have colours, and the others are grey.
const MAX_LOOKS: usize = 12;

pub(crate) fn overlay(curves: &[RunCurve]) -> Result<Vec<u8>> {
    let looks = looks(curves);
    let mut labels: Vec<(Look, String)> = Vec::new();
    for (curve, look) in curves.iter().zip(&looks) {
        let note = if curve.rows.is_empty() {
            " (no epochs yet)"
        } else {
            ""
        };
        labels.extend(look.map(|look| (look, format!("{}{note}", curve.label))));
    }
    let n_others = curves.len() - labels.len();
    if n_others > 0 {
        labels.push((strokes::plain(OTHERS), format!("{n_others} others")));
    }
    let legend = legend::legend(labels, None, f64::from(WIDTH))?;
    // Below the plots it clearly belongs to both; above them it would seem to belong to one.
    let legend_top = TITLES + PLOT_HEIGHT + FOOT;
    let height = (legend_top + legend.height() + UNDER_LEGEND).round() as u32;
    let picture = sheet::painted(WIDTH, height, |sheet| {
        draw(sheet, curves, &looks)?;
        legend.draw(sheet, legend_top)
    })?;
    sheet::png(&picture)
}

/// One look for each run; with many runs, only for the best ones.
fn looks(curves: &[RunCurve]) -> Vec<Option<Look>> {
    let at = 0..curves.len();
    if curves.len() <= MAX_LOOKS {
        return at.map(|at| Some(strokes::look(at))).collect();
    }
    let score = |at: &usize| {
        let best = curves[*at].rows.iter();
        let best = best.filter(|row| Some(row.epoch) == curves[*at].best_epoch);
        best.map(|row| row.valid_accuracy)
            .fold(f64::NEG_INFINITY, f64::max)
    };
    let mut ranked: Vec<usize> = at.collect();
    ranked.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let mut best: Vec<usize> = ranked.into_iter().take(COLOURS.len()).collect();
    best.sort_unstable();
    (0..curves.len())
        .map(|at| best.iter().position(|found| *found == at))
        .map(|rank| rank.map(strokes::look))
        .collect()
}

fn draw(sheet: &Sheet, curves: &[RunCurve], looks: &[Option<Look>]) -> Result<()> {
    key(sheet)?;
    for (at, panel) in [Panel::Loss, Panel::Accuracy].into_iter().enumerate() {
        let left = at as f64 * PANEL_WIDTH;
        let title_at = (left + SIDE + 4.0, 26.0);
        sheet.text(panel.title(), title_at, 22.0, Align::Left, INK)?;
        let frame = Frame {
            left: left + VALUES,
            top: TITLES,
            right: left + PANEL_WIDTH - SIDE,
            bottom: TITLES + PLOT_HEIGHT,
        };
        draw_panel(sheet, panel, frame, curves, looks)?;
    }
    Ok(())
}

/// Draws the key to the kinds of lines, in grey, because colours distinguish the runs.
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
                sheet.line(&line, stroke(FAINT_INK, 2.0));
                sheet.diamond(middle, 5.0, FAINT_INK);
            }
            "training" => sheet.line(&line, stroke(thin_colour(FAINT_INK), 1.0)),
            _ => sheet.dot(middle, RING_RADIUS - 1.0, stroke(INK, 1.5)),
        }
        right -= sample + 18.0;
    }
    Ok(())
}

fn thin_colour(colour: Color) -> Color {
    strokes::pale(colour, PALE)
}

fn draw_panel(
    sheet: &Sheet,
    panel: Panel,
    frame: Frame,
    curves: &[RunCurve],
    looks: &[Option<Look>],
) -> Result<()> {
    let values = curves.iter().flat_map(|curve| panel.values(&curve.rows));
    let range = panel.range(values);
    let epochs = curves.iter().flat_map(|curve| &curve.rows);
    let epochs = epochs.map(|row| row.epoch);
    let first_and_last = (epochs.clone().min().unwrap_or(1), epochs.max().unwrap_or(1));
    let axes = Axes::draw(sheet, frame, first_and_last, range, |value| {
        panel.label(value, range)
    })?;
    for (curve, _) in curves.iter().zip(looks).filter(|(_, look)| look.is_none()) {
        let values = curve.rows.iter().map(|row| (row.epoch, panel.valid(row)));
        for points in panel::unbroken(&axes, values) {
            sheet.line(&points, stroke(OTHERS, 1.0));
        }
    }
    // The first run is drawn last, above the others.
    let looked = || {
        let both = curves.iter().zip(looks).rev();
        both.filter_map(|(curve, look)| Some((curve, (*look)?)))
    };
    for (curve, look) in looked() {
        let values = curve.rows.iter().map(|row| (row.epoch, panel.train(row)));
        for points in panel::unbroken(&axes, values) {
            let style = stroke(thin_colour(look.colour), 1.0);
            sheet.line(&points, style);
            // A single epoch makes no line.
            if let [only] = points[..] {
                sheet.dot(only, 4.0, thin_colour(look.colour).filled());
            }
        }
        if let Some(points) = way_from_parent(&axes, panel, curve, curves) {
            sheet.line(&points, stroke(thin_colour(look.colour), 2.0));
        }
    }
    let n_looked = looked().count();
    for (at, (curve, look)) in looked().enumerate() {
        validation(sheet, &axes, panel, curve, look, n_looked - 1 - at);
    }
    // With many runs, large rings would hide other marks.
    let (radius, width) = if n_looked > COLOURS.len() {
        (RING_RADIUS - 1.0, 1.0)
    } else {
        (RING_RADIUS, 1.5)
    };
    for (curve, look) in looked() {
        let mut latest_first = curve.rows.iter().rev();
        let best = latest_first.find(|row| Some(row.epoch) == curve.best_epoch);
        if let Some(row) = best.filter(|row| panel::is_drawable(panel.valid(row))) {
            let point = axes.pixel(row.epoch as f64, panel.valid(row));
            look.mark(sheet, point, 4.0);
            sheet.dot(point, radius, stroke(INK, width));
        }
    }
    Ok(())
}

/// The line from the epoch that a run started from to its own first epoch.
fn way_from_parent(
    axes: &Axes,
    panel: Panel,
    curve: &RunCurve,
    curves: &[RunCurve],
) -> Option<[(f64, f64); 2]> {
    let (parent, epoch) = curve.goes_on_from?;
    let from = curves.get(parent)?.rows.iter();
    let from = from.rev().find(|row| row.epoch == epoch)?;
    let ends = [from, curve.rows.first()?];
    let is_drawable = ends.iter().all(|row| panel::is_drawable(panel.valid(row)));
    is_drawable.then(|| ends.map(|row| axes.pixel(row.epoch as f64, panel.valid(row))))
}

fn validation(sheet: &Sheet, axes: &Axes, panel: Panel, curve: &RunCurve, look: Look, at: usize) {
    let values = curve.rows.iter().map(|row| (row.epoch, panel.valid(row)));
    let stretches = panel::unbroken(axes, values);
    // In a long run the zigzags of a thick line would merge.
    let is_long = curve.rows.len() > MARKED_EPOCHS;
    let width = if is_long { 1.5 } else { 2.0 };
    for points in &stretches {
        look.line(sheet, points, width);
    }
    // Marks further down are larger, so that runs with equal values are all visible; the sparse marks of long runs do not meet.
    let growth = if is_long { 0.0 } else { 1.2 };
    let radius = 4.0 + growth * at.min(3) as f64;
    for point in panel::marked(&stretches, at) {
        look.mark(sheet, point, radius);
    }
}

//! The curves of a run: loss and accuracy by epoch, for training and validation, with the phases and the best epoch.

use super::{
    axes::{Axes, Frame},
    ink::{BLUE, Color, FAINT_INK, HAIR, INK, VERMILION, stroke},
    panel::{self, FOOT, MARKED_EPOCHS, PANEL_WIDTH, Panel, SIDE, VALUES, WIDTH},
    sheet::{self, Align, Sheet},
    strokes, text,
};
use crate::error::Result;

#[derive(Clone, Debug)]
pub(crate) struct CurvePoint {
    pub(crate) epoch: usize,
    pub(crate) phase: String,
    pub(crate) train_loss: f64,
    pub(crate) train_accuracy: f64,
    pub(crate) valid_loss: f64,
    pub(crate) valid_accuracy: f64,
    /// The name and the value of the run's metric, if it is neither loss nor accuracy: a share of 1 on the validation images.
    pub(crate) metric: Option<(&'static str, f64)>,
    pub(crate) lr: f64,
}

/// Consecutive rows of one phase, from epoch `from` to epoch `to` inclusive.
struct Stretch<'a> {
    phase: &'a str,
    from: f64,
    to: f64,
    lr: String,
}

const HEIGHT: u32 = 500;
/// The room above the plot for title, legend and phase names, in pixels.
const HEAD: f64 = 96.0;

pub(crate) fn curves(rows: &[CurvePoint], best_epoch: Option<usize>) -> Result<Vec<u8>> {
    let stretches = stretches(rows);
    let best = rows.iter().find(|row| Some(row.epoch) == best_epoch);
    let picture = sheet::painted(WIDTH, HEIGHT, |sheet| {
        for (at, panel) in [Panel::Loss, Panel::Accuracy].into_iter().enumerate() {
            draw_panel(
                sheet,
                panel,
                at as f64 * PANEL_WIDTH,
                rows,
                &stretches,
                best,
            )?;
        }
        Ok(())
    })?;
    sheet::png(&picture)
}

fn stretches(rows: &[CurvePoint]) -> Vec<Stretch<'_>> {
    rows.chunk_by(|before, after| before.phase == after.phase)
        .map(|chunk| {
            let (first, last) = (&chunk[0], &chunk[chunk.len() - 1]);
            let lr = if first.lr.to_bits() == last.lr.to_bits() {
                format!("lr {:e}", first.lr)
            } else {
                format!("lr {:.1e} → {:.1e}", first.lr, last.lr)
            };
            Stretch {
                phase: &first.phase,
                from: first.epoch as f64,
                to: last.epoch as f64,
                lr,
            }
        })
        .collect()
}

fn draw_panel(
    sheet: &Sheet,
    panel: Panel,
    left: f64,
    rows: &[CurvePoint],
    stretches: &[Stretch],
    best: Option<&CurvePoint>,
) -> Result<()> {
    sheet.text(
        panel.title(),
        (left + SIDE + 4.0, 26.0),
        22.0,
        Align::Left,
        INK,
    )?;
    let metric = metric_name(panel, rows);
    legend(sheet, panel, left + PANEL_WIDTH - SIDE, metric, best)?;
    let epochs = match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => (first.epoch, last.epoch),
        (None, _) | (_, None) => (1, 1),
    };
    let of_metric = rows.iter().filter(|_| metric.is_some()).map(metric_value);
    let range = panel.range(panel.values(rows).chain(of_metric));
    let frame = Frame {
        left: left + VALUES,
        top: HEAD,
        right: left + PANEL_WIDTH - SIDE,
        bottom: f64::from(HEIGHT) - FOOT,
    };
    let axes = Axes::draw(sheet, frame, epochs, range, |value| {
        panel.label(value, range)
    })?;
    phases(sheet, &axes, stretches)?;
    // Diamonds first: they are larger and would hide the circles where the two meet.
    series(sheet, &axes, rows, VERMILION, |row| panel.valid(row));
    series(sheet, &axes, rows, BLUE, |row| panel.train(row));
    let mut of_best = best.map(|row| (row.epoch, panel.valid(row)));
    if metric.is_some() {
        let values = rows.iter().map(|row| (row.epoch, metric_value(row)));
        let stretches = panel::unbroken(&axes, values);
        for points in &stretches {
            strokes::look(METRIC_LOOK).line(sheet, points, 2.0);
        }
        for point in panel::marked(&stretches, 0) {
            strokes::look(METRIC_LOOK).mark(sheet, point, 3.6);
        }
        of_best = best.map(|row| (row.epoch, metric_value(row)));
    }
    if let Some((epoch, value)) = of_best.filter(|(_, value)| panel::is_drawable(*value)) {
        sheet.dot(axes.pixel(epoch as f64, value), 8.0, stroke(INK, 2.0));
    }
    Ok(())
}

/// Green triangles, unlike the two other lines.
const METRIC_LOOK: usize = 2;

/// The name of the metric that has its own line in this panel.
fn metric_name(panel: Panel, rows: &[CurvePoint]) -> Option<&'static str> {
    let name = rows.iter().find_map(|row| row.metric).map(|(name, _)| name);
    name.filter(|_| panel == Panel::Accuracy)
}

fn metric_value(row: &CurvePoint) -> f64 {
    row.metric.map_or(f64::NAN, |(_, value)| value)
}

/// Draws the legend in one row above the plot, so that it never covers the curves.
fn legend(
    sheet: &Sheet,
    panel: Panel,
    right: f64,
    metric: Option<&str>,
    best: Option<&CurvePoint>,
) -> Result<()> {
    const SIZE: f64 = 14.0;
    const Y: f64 = 27.0;
    let mut right = right;
    if let Some(best) = best {
        let value = panel.valid(best);
        let shown = match panel {
            Panel::Loss if value.is_finite() => format!("{value:.4}"),
            Panel::Loss => "?".into(),
            Panel::Accuracy => text::percent(value, 1),
        };
        let label = match metric {
            // There is no room for more.
            Some(_) => format!("best: {:.4}", metric_value(best)),
            None => format!("best: epoch {}, {shown}", best.epoch),
        };
        sheet.text(&label, (right, Y), SIZE, Align::Right, INK)?;
        right -= text::width(&label, SIZE)? + 14.0;
        sheet.dot((right, Y), 6.5, stroke(INK, 2.0));
        right -= 26.0;
    }
    if let Some(name) = metric {
        sheet.text(name, (right, Y), SIZE, Align::Right, INK)?;
        right -= text::width(name, SIZE)? + 8.0;
        let look = strokes::look(METRIC_LOOK);
        look.line(sheet, &[(right - 26.0, Y), (right, Y)], 2.0);
        look.mark(sheet, (right - 13.0, Y), 3.6);
        right -= 42.0;
    }
    for (label, colour, is_train) in [("validation", VERMILION, false), ("training", BLUE, true)] {
        sheet.text(label, (right, Y), SIZE, Align::Right, INK)?;
        right -= text::width(label, SIZE)? + 8.0;
        sheet.line(&[(right - 26.0, Y), (right, Y)], stroke(colour, 2.0));
        mark(sheet, (right - 13.0, Y), colour, is_train);
        right -= 42.0;
    }
    Ok(())
}

/// Draws a circle for training or a diamond for validation, so that the two differ without colour too.
fn mark(sheet: &Sheet, at: (f64, f64), colour: Color, is_train: bool) {
    if is_train {
        sheet.dot(at, 3.6, colour.filled());
    } else {
        sheet.diamond(at, 5.0, colour);
    }
}

fn series(
    sheet: &Sheet,
    axes: &Axes,
    rows: &[CurvePoint],
    colour: Color,
    value: impl Fn(&CurvePoint) -> f64,
) {
    let values = rows.iter().map(|row| (row.epoch, value(row)));
    for points in panel::unbroken(axes, values) {
        sheet.line(&points, stroke(colour, 2.0));
        if rows.len() <= MARKED_EPOCHS || points.len() == 1 {
            for &point in &points {
                mark(sheet, point, colour, colour == BLUE);
            }
        }
    }
}

/// Draws a line at the beginning of each phase, and its name and learning rate above the plot.
fn phases(sheet: &Sheet, axes: &Axes, stretches: &[Stretch]) -> Result<()> {
    const SIZE: f64 = 14.0;
    const DASH: f64 = 5.0;
    let frame = axes.frame;
    for (at, stretch) in stretches.iter().enumerate() {
        let left = if at == 0 {
            frame.left
        } else {
            axes.pixel(stretch.from - 0.5, 0.0).0
        };
        let is_last = at + 1 == stretches.len();
        let right = if is_last {
            frame.right
        } else {
            axes.pixel(stretch.to + 0.5, 0.0).0
        };
        if at > 0 {
            sheet.line(&[(left, HEAD - 40.0), (left, HEAD)], stroke(HAIR, 1.0));
            let mut y = frame.top;
            while y < frame.bottom {
                sheet.line(
                    &[(left, y), (left, (y + DASH).min(frame.bottom))],
                    stroke(FAINT_INK, 1.0),
                );
                y += 2.0 * DASH;
            }
        }
        let (middle, room) = (f64::midpoint(left, right), right - left - 10.0);
        let phase = text::shortened(stretch.phase, SIZE, room)?;
        sheet.text(&phase, (middle, HEAD - 32.0), SIZE, Align::Middle, INK)?;
        // A shortened learning rate would be a wrong one, so it is left out if there is no room.
        if text::width(&stretch.lr, SIZE - 2.0)? <= room {
            sheet.text(
                &stretch.lr,
                (middle, HEAD - 14.0),
                SIZE - 2.0,
                Align::Middle,
                FAINT_INK,
            )?;
        }
    }
    Ok(())
}

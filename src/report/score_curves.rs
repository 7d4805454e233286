//! ROC and precision-recall curves: one for the positive class, or one for each class against the others.

use super::{
    axes::{Across, Axes, Frame, LABEL_SIZE, NAME_BELOW, Tick, ticks},
    ink::{BLUE, Color, FAINT_INK, INK, stroke},
    legend::{self, Legend, RING_RADIUS},
    panel::{FOOT, SIDE, VALUES},
    sheet::{self, Align, Sheet},
    strokes::{self, COLOURS, Look},
    sweep::OTHERS,
    text,
};
use crate::error::Result;

/// The curve of one class.
#[derive(Clone, Debug)]
pub(crate) struct ScoreCurve {
    pub(crate) label: String,
    /// The area under it or the average precision; with many curves, those with the lowest scores are in colour.
    pub(crate) score: f64,
    /// From the highest threshold to the lowest, as shares of 1: false and true positive rate, or recall and precision.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A point to mark, and what to write beside it.
#[derive(Clone, Debug)]
pub(crate) struct MarkedPoint {
    pub(crate) at: (f64, f64),
    pub(crate) label: String,
}

/// What differs between the two kinds of curves.
struct Kind {
    title: &'static str,
    across: &'static str,
    up: &'static str,
    /// The line of a classifier that knows nothing.
    no_skill: Option<[(f64, f64); 2]>,
    /// Whether values hold up to the next point, rather than changing evenly.
    has_steps: bool,
}

const WIDTH: f64 = 720.0;
const HEAD: f64 = 66.0;
/// The room for the name of the vertical axis, in pixels.
const UP_NAME: f64 = 22.0;
const PLOT: f64 = WIDTH - UP_NAME - VALUES - SIDE;
const UNDER_LEGEND: f64 = 14.0;
/// The room beyond 0 and 1, so that curves along the edges are seen.
const PAD: f64 = 0.015;
/// The number of marks that tell a curve from others.
const MARKS: usize = 4;
/// The color of curves beyond those with marks, which would cover them.
const BACKGROUND: Color = Color(205, 214, 224);
const DASH: [f64; 2] = [6.0, 5.0];

/// Draws false against true positive rates; `images` says of what images.
pub(crate) fn roc(
    curves: &[ScoreCurve],
    point: Option<&MarkedPoint>,
    images: &str,
) -> Result<Vec<u8>> {
    let kind = Kind {
        title: "ROC curve",
        across: "false positive rate",
        up: "true positive rate",
        no_skill: Some([(0.0, 0.0), (1.0, 1.0)]),
        has_steps: false,
    };
    draw(&kind, curves, point, images)
}

/// Draws recall against precision. `share` is the share of the positive class in the images, the precision of a guess, if there is
/// only one curve.
pub(crate) fn precision_recall(
    curves: &[ScoreCurve],
    share: Option<f64>,
    point: Option<&MarkedPoint>,
    images: &str,
) -> Result<Vec<u8>> {
    let kind = Kind {
        title: "Precision-recall curve",
        across: "recall",
        up: "precision",
        no_skill: share.map(|share| [(0.0, share), (1.0, share)]),
        has_steps: true,
    };
    draw(&kind, curves, point, images)
}

fn draw(
    kind: &Kind,
    curves: &[ScoreCurve],
    point: Option<&MarkedPoint>,
    images: &str,
) -> Result<Vec<u8>> {
    let looks = looks(curves);
    let legend = labels(curves, &looks)?;
    let legend_top = HEAD + PLOT + FOOT;
    let height = (legend_top + legend.height() + UNDER_LEGEND).round() as u32;
    let picture = sheet::painted(WIDTH as u32, height, |sheet| {
        let title = if curves.len() > 1 {
            format!("{}s", kind.title)
        } else {
            kind.title.to_owned()
        };
        heading(sheet, &title, images, WIDTH)?;
        let frame = Frame {
            left: UP_NAME + VALUES,
            top: HEAD,
            right: WIDTH - SIDE,
            bottom: HEAD + PLOT,
        };
        let axes = share_axes(sheet, frame, (0.0, 1.0), kind.across, kind.up)?;
        if let Some(ends) = kind.no_skill {
            no_skill(sheet, &axes, ends)?;
        }
        lines(sheet, &axes, curves, &looks, kind.has_steps);
        if let Some(point) = point {
            mark(sheet, &axes, point)?;
        }
        legend.draw(sheet, legend_top)
    })?;
    sheet::png(&picture)
}

/// The title, and to its right what the picture shows, shortened to the room there is.
pub(super) fn heading(sheet: &Sheet, title: &str, images: &str, width: f64) -> Result<()> {
    let left = SIDE + 4.0;
    sheet.text(title, (left, 26.0), 22.0, Align::Left, INK)?;
    let room = width - 2.0 * SIDE - 30.0 - text::width(title, 22.0)?;
    let images = text::elided(images, LABEL_SIZE, room)?;
    let at = (width - SIDE, 27.0);
    sheet.text(&images, at, LABEL_SIZE, Align::Right, FAINT_INK)
}

/// Axes for shares of 1 in both directions, with a name each.
pub(super) fn share_axes(
    sheet: &Sheet,
    frame: Frame,
    (from, to): (f64, f64),
    across: &str,
    up: &str,
) -> Result<Axes> {
    let ticks = ticks((from, to), 10).into_iter().map(|at| Tick {
        at,
        lines: vec![format!("{at:.1}")],
    });
    let pad = PAD * (to - from);
    let across = Across {
        range: (from - pad, to + pad),
        ticks: ticks.collect(),
        label_size: LABEL_SIZE,
        is_upright: false,
        name: across.to_owned(),
        name_below: NAME_BELOW,
    };
    let middle = f64::midpoint(frame.top, frame.bottom);
    let at = (frame.left - VALUES + 8.0, middle);
    sheet.upright(up, at, LABEL_SIZE, Align::Middle, FAINT_INK)?;
    Axes::draw_across(sheet, frame, &across, (-PAD, 1.0 + PAD), |value| {
        if (-1e-9..=1.0 + 1e-9).contains(&value) {
            format!("{:.1}", value.abs())
        } else {
            String::new()
        }
    })
}

/// One look for each curve; with many, only for those with the lowest scores.
fn looks(curves: &[ScoreCurve]) -> Vec<Option<Look>> {
    if curves.len() == 1 {
        return vec![Some(strokes::plain(BLUE))];
    }
    let mut order: Vec<usize> = (0..curves.len()).collect();
    order.sort_by(|a, b| curves[*a].score.total_cmp(&curves[*b].score));
    order.truncate(COLOURS.len());
    // In the order of the classes, like the legend.
    order.sort_unstable();
    (0..curves.len())
        .map(|at| order.iter().position(|chosen| *chosen == at))
        .map(|rank| rank.map(strokes::look))
        .collect()
}

fn labels(curves: &[ScoreCurve], looks: &[Option<Look>]) -> Result<Legend> {
    let pairs = curves.iter().zip(looks);
    let mut labels: Vec<(Look, String)> = pairs
        .filter_map(|(curve, look)| Some(((*look)?, curve.label.clone())))
        .collect();
    let n_others = curves.len() - labels.len();
    if n_others > 0 {
        let label = format!("{n_others} classes with higher scores");
        labels.push((strokes::plain(OTHERS), label));
    }
    legend::legend(labels, None, WIDTH)
}

fn no_skill(sheet: &Sheet, axes: &Axes, ends: [(f64, f64); 2]) -> Result<()> {
    let ends = ends.map(|(x, y)| axes.pixel(x, y));
    dashed(sheet, ends, FAINT_INK);
    let (x, y) = (
        ends[0].0 * 0.3 + ends[1].0 * 0.7,
        ends[0].1 * 0.3 + ends[1].1 * 0.7,
    );
    let is_level = (ends[0].1 - ends[1].1).abs() < 1.0;
    // Beside a rising line, and below a level one unless that lies at the bottom.
    let at = match (is_level, y > axes.frame.bottom - 24.0) {
        (false, _) => (x + 14.0, y + 10.0),
        (true, false) => (x, y + 13.0),
        (true, true) => (x, y - 12.0),
    };
    sheet.text("no skill", at, LABEL_SIZE, Align::Left, FAINT_INK)
}

/// A straight dashed line.
pub(super) fn dashed(sheet: &Sheet, [from, to]: [(f64, f64); 2], colour: Color) {
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let at = |done: f64| {
        let share = (done / length).min(1.0);
        (
            from.0 + (to.0 - from.0) * share,
            from.1 + (to.1 - from.1) * share,
        )
    };
    let mut done = 0.0;
    while done < length {
        sheet.line(&[at(done), at(done + DASH[0])], stroke(colour, 1.0));
        done += DASH[0] + DASH[1];
    }
}

fn lines(
    sheet: &Sheet,
    axes: &Axes,
    curves: &[ScoreCurve],
    looks: &[Option<Look>],
    has_steps: bool,
) {
    let drawn: Vec<Vec<(f64, f64)>> = curves
        .iter()
        .map(|curve| pixels(axes, &curve.points, has_steps))
        .collect();
    for (points, _) in drawn.iter().zip(looks).filter(|(_, look)| look.is_none()) {
        sheet.line(points, stroke(BACKGROUND, 1.0));
    }
    let looked = || {
        let both = drawn.iter().zip(looks);
        both.filter_map(|(points, look)| Some((points, (*look)?)))
    };
    for (points, look) in looked() {
        look.line(sheet, points, 2.0);
    }
    let n = looked().count();
    if n > 1 {
        for (at, (points, look)) in looked().enumerate() {
            for point in along(points, at as f64 / n as f64) {
                look.mark(sheet, point, 4.0);
            }
        }
    }
}

fn pixels(axes: &Axes, points: &[(f64, f64)], has_steps: bool) -> Vec<(f64, f64)> {
    let mut line = Vec::new();
    let mut reached = 0.0;
    for &(x, y) in points {
        if has_steps {
            line.push(axes.pixel(reached, y));
            reached = x;
        }
        line.push(axes.pixel(x, y));
    }
    line
}

/// Points at even distances along a line; `offset`, a share of the distance, keeps the marks of equal lines apart.
fn along(line: &[(f64, f64)], offset: f64) -> Vec<(f64, f64)> {
    let lengths = line
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1));
    let total: f64 = lengths.clone().sum();
    let step = total / MARKS as f64;
    let mut next = step * offset.mul_add(0.9, 0.05);
    let (mut done, mut marks) = (0.0, Vec::new());
    for (pair, length) in line.windows(2).zip(lengths) {
        while next <= done + length && length > 0.0 {
            let share = (next - done) / length;
            let [from, to] = [pair[0], pair[1]];
            marks.push((
                from.0 + (to.0 - from.0) * share,
                from.1 + (to.1 - from.1) * share,
            ));
            next += step;
        }
        done += length;
    }
    marks
}

fn mark(sheet: &Sheet, axes: &Axes, point: &MarkedPoint) -> Result<()> {
    let (x, y) = axes.pixel(point.at.0, point.at.1);
    sheet.dot((x, y), 3.5, INK.filled());
    sheet.dot((x, y), RING_RADIUS, stroke(INK, 1.5));
    let frame = axes.frame;
    // Towards the middle of the plot, where there is room.
    let is_right = x > f64::midpoint(frame.left, frame.right);
    let (shift, align) = if is_right {
        (-16.0, Align::Right)
    } else {
        (16.0, Align::Left)
    };
    let is_low = y > f64::midpoint(frame.top, frame.bottom);
    let below = if is_low { -18.0 } else { 18.0 };
    sheet.text(&point.label, (x + shift, y + below), LABEL_SIZE, align, INK)
}

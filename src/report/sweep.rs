//! The picture of a sweep: the metric of each trial by epoch, and its best value against each setting. Knows nothing about how
//! trials run.

use super::{
    axes::{Axes, Frame},
    ink::{Color, FAINT_INK, HAIR, INK, VERMILION, stroke},
    legend::{self, Legend, RING_RADIUS},
    panel::{self, FOOT, SIDE, VALUES},
    score::Score,
    setting::{self, AxisValue, SettingAxis},
    sheet::{self, Align, Sheet},
    strokes::{self, COLOURS, Look},
    text,
};
use crate::error::Result;

#[derive(Clone, Debug)]
pub(crate) struct TrialPoint {
    pub(crate) label: String,
    /// One value for each axis.
    pub(crate) values: Vec<AxisValue>,
    /// The best value of the metric; `None` if the trial has none.
    pub(crate) score: Option<f64>,
    /// Whether this is the best trial. Of trials with the same score only one is.
    pub(crate) is_best: bool,
    /// The 95 % confidence interval.
    pub(crate) interval: Option<(f64, f64)>,
    /// The metric by epoch.
    pub(crate) curve: Vec<(usize, f64)>,
}

/// A number of epochs after which trials were compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RungMark {
    pub(crate) epochs: usize,
    pub(crate) n_trials: usize,
}

/// A trial that has a score.
struct ScoredTrial<'a> {
    trial: &'a TrialPoint,
    score: f64,
    look: Look,
    is_best: bool,
}

/// The positions and sizes of all parts of the sheet.
struct SweepLayout {
    width: f64,
    height: f64,
    /// The upper edge of the first row of plots.
    top: f64,
    n_columns: usize,
    plot_height: f64,
    row_height: f64,
    n_rows: usize,
}

const MAX_AXES: usize = 6;
const MAX_COLUMNS: usize = 3;
const TITLE: f64 = 52.0;
/// The room between the legend and the plots for the titles of the panels.
const PANEL_TITLE: f64 = 46.0;
const CURVES_WIDTH: f64 = 560.0;
const SETTING_WIDTH: f64 = 360.0;
const MARGIN_BELOW: f64 = 20.0;
/// The colour of trials that are not the best, if there are too many for a colour each.
pub(super) const OTHERS: Color = Color(164, 180, 198);

pub(crate) fn sweep(
    title: &str,
    axes: &[String],
    trials: &[TrialPoint],
    rungs: &[RungMark],
    score: Score,
) -> Result<Vec<u8>> {
    let scored = scored(trials, score);
    let axes = &axes[..axes.len().min(MAX_AXES)];
    let mut settings = Vec::new();
    for (at, name) in axes.iter().enumerate() {
        let values: Vec<Option<&AxisValue>> = scored
            .iter()
            .map(|scored| scored.trial.values.get(at))
            .collect();
        settings.push(setting::setting(
            name,
            &values,
            SETTING_WIDTH - VALUES - SIDE,
        )?);
    }
    let width = CURVES_WIDTH + n_columns(axes.len()) as f64 * SETTING_WIDTH;
    let legend = labels(&scored, score, width)?;
    let layout = layout(&settings, legend.height());
    let count = match (scored.len(), trials.len()) {
        (1, 1) => "1 trial".to_owned(),
        (some, all) if some < all => format!("{some} of {all} trials have a score"),
        (_, all) => format!("{all} trials"),
    };
    let (width, height) = (layout.width as u32, layout.height as u32);
    let picture = sheet::painted(width, height, |sheet| {
        let right = layout.width - SIDE;
        sheet.text(&count, (right, 27.0), legend::SIZE, Align::Right, FAINT_INK)?;
        let room = right - SIDE - 30.0 - text::width(&count, legend::SIZE)?;
        let title = text::shortened(title, 22.0, room)?;
        sheet.text(&title, (SIDE + 4.0, 26.0), 22.0, Align::Left, INK)?;
        legend.draw(sheet, TITLE)?;
        by_epoch(sheet, &layout, &scored, rungs, score)?;
        let range = score.panel().range(scored.iter().flat_map(|scored| {
            let (low, high) = scored
                .trial
                .interval
                .unwrap_or((scored.score, scored.score));
            [scored.score, low, high]
        }));
        for (at, setting) in settings.iter().enumerate() {
            let frame = layout.frame(at);
            by_setting(sheet, frame, setting, &scored, score, range)?;
        }
        Ok(())
    })?;
    sheet::png(&picture)
}

fn scored(trials: &[TrialPoint], score: Score) -> Vec<ScoredTrial<'_>> {
    let with_score: Vec<(&TrialPoint, f64)> = trials
        .iter()
        .filter_map(|trial| Some((trial, trial.score.filter(|it| panel::is_drawable(*it))?)))
        .collect();
    let named = with_score.iter().position(|(trial, _)| trial.is_best);
    let best = named.or_else(|| score.best(with_score.iter().map(|(_, value)| *value)));
    let has_own_looks = with_score.len() <= COLOURS.len();
    let looked = with_score.into_iter().enumerate();
    looked
        .map(|(at, (trial, value))| {
            let is_best = best == Some(at);
            ScoredTrial {
                trial,
                score: value,
                look: if has_own_looks {
                    strokes::look(at)
                } else {
                    strokes::plain(if is_best { VERMILION } else { OTHERS })
                },
                is_best,
            }
        })
        .collect()
}

/// The legend: all trials if each has its own look, otherwise the best and the rest.
fn labels(scored: &[ScoredTrial], score: Score, width: f64) -> Result<Legend> {
    let label = |scored: &ScoredTrial| {
        let name = &scored.trial.label;
        if scored.is_best {
            format!("best, {}: {name}", score.write(scored.score))
        } else {
            name.clone()
        }
    };
    let best = scored.iter().position(|scored| scored.is_best);
    if scored.len() <= COLOURS.len() {
        let labels = scored.iter().map(|scored| (scored.look, label(scored)));
        return legend::legend(labels.collect(), best, width);
    }
    let best = scored.iter().filter(|scored| scored.is_best);
    let mut labels: Vec<(Look, String)> = best.map(|scored| (scored.look, label(scored))).collect();
    labels.push((strokes::plain(OTHERS), "other trials".into()));
    legend::legend(labels, Some(0), width)
}

fn n_columns(n_axes: usize) -> usize {
    // Four plots look better as two and two than as three and one.
    if n_axes == 4 {
        2
    } else {
        n_axes.min(MAX_COLUMNS)
    }
}

fn layout(settings: &[SettingAxis], legend_height: f64) -> SweepLayout {
    let n_columns = n_columns(settings.len());
    let n_rows = settings.len().div_ceil(n_columns.max(1)).max(1);
    let plot_height = if n_rows == 1 { 340.0 } else { 250.0 };
    let names = settings.iter().map(|setting| setting.across.name_below);
    let foot = names.fold(FOOT - MARGIN_BELOW, f64::max) + MARGIN_BELOW;
    let top = TITLE + legend_height + PANEL_TITLE;
    let row_height = plot_height + foot + PANEL_TITLE;
    SweepLayout {
        width: CURVES_WIDTH + n_columns as f64 * SETTING_WIDTH,
        height: (top + n_rows as f64 * row_height - PANEL_TITLE).round(),
        top,
        n_columns,
        plot_height,
        row_height,
        n_rows,
    }
}

impl SweepLayout {
    /// The frame of setting number `at`, to the right of the curves.
    fn frame(&self, at: usize) -> Frame {
        let (row, column) = (at / self.n_columns, at % self.n_columns);
        let left = CURVES_WIDTH + column as f64 * SETTING_WIDTH;
        let top = self.top + row as f64 * self.row_height;
        Frame {
            left: left + VALUES,
            top,
            right: left + SETTING_WIDTH - SIDE,
            bottom: top + self.plot_height,
        }
    }

    /// The frame of the curves, which is as high as all rows of settings together.
    fn curves_frame(&self) -> Frame {
        Frame {
            left: VALUES,
            top: self.top,
            right: CURVES_WIDTH - SIDE,
            bottom: self.top + (self.n_rows - 1) as f64 * self.row_height + self.plot_height,
        }
    }
}

fn panel_title(sheet: &Sheet, frame: Frame, title: &str) -> Result<()> {
    let at = (frame.left, frame.top - 20.0);
    sheet.text(title, at, 16.0, Align::Left, INK)
}

/// The trials with the best one last, so that it is drawn above the others.
fn best_last<'a, 'b>(
    scored: &'a [ScoredTrial<'b>],
) -> impl Iterator<Item = (usize, &'a ScoredTrial<'b>)> {
    let others = scored.iter().enumerate().filter(|(_, it)| !it.is_best);
    let best = scored.iter().enumerate().filter(|(_, it)| it.is_best);
    others.chain(best)
}

fn by_epoch(
    sheet: &Sheet,
    layout: &SweepLayout,
    scored: &[ScoredTrial],
    rungs: &[RungMark],
    score: Score,
) -> Result<()> {
    let frame = layout.curves_frame();
    let panel = score.panel();
    let tail = if rungs.is_empty() {
        ""
    } else {
        ", and trials at each rung"
    };
    panel_title(sheet, frame, &format!("{} by epoch{tail}", score.title()))?;
    let points = || scored.iter().flat_map(|scored| &scored.trial.curve);
    let epochs = points().map(|(epoch, _)| *epoch);
    let first_and_last = (epochs.clone().min().unwrap_or(1), epochs.max().unwrap_or(1));
    let range = panel.range(points().map(|(_, value)| *value));
    let axes = Axes::draw(sheet, frame, first_and_last, range, |value| {
        panel.label(value, range)
    })?;
    if scored.is_empty() {
        let middle = (
            f64::midpoint(frame.left, frame.right),
            f64::midpoint(frame.top, frame.bottom),
        );
        let words = "no trial has a score";
        sheet.text(words, middle, 16.0, Align::Middle, FAINT_INK)?;
    }
    for rung in rungs.iter().filter(|rung| rung.epochs <= first_and_last.1) {
        let (x, _) = axes.pixel(rung.epochs as f64, range.0);
        sheet.line(&[(x, frame.top), (x, frame.bottom)], stroke(HAIR, 1.5));
        let above = (x, frame.top - 6.0);
        sheet.text(
            &rung.n_trials.to_string(),
            above,
            12.0,
            Align::Middle,
            FAINT_INK,
        )?;
    }
    for (at, scored) in best_last(scored) {
        let curve = &scored.trial.curve;
        let width = if scored.is_best { 2.5 } else { 1.5 };
        let stretches = panel::unbroken(&axes, curve.iter().copied());
        for points in &stretches {
            scored.look.line(sheet, points, width);
        }
        let radius = if scored.is_best { 4.0 } else { 3.2 };
        for point in panel::marked(&stretches, at) {
            scored.look.mark(sheet, point, radius);
        }
        let best = score.best(curve.iter().map(|(_, value)| *value));
        if let Some(at) = best.filter(|_| scored.is_best) {
            let (epoch, value) = curve[at];
            let at = axes.pixel(epoch as f64, value);
            scored.look.mark(sheet, at, radius);
            sheet.dot(at, RING_RADIUS, stroke(INK, 1.5));
        }
    }
    Ok(())
}

fn by_setting(
    sheet: &Sheet,
    frame: Frame,
    setting: &SettingAxis,
    scored: &[ScoredTrial],
    score: Score,
    range: (f64, f64),
) -> Result<()> {
    const CAP: f64 = 3.0;
    let has_intervals = scored.iter().any(|scored| scored.trial.interval.is_some());
    let tail = if has_intervals { ", 95 % interval" } else { "" };
    panel_title(sheet, frame, &format!("{}{tail}", score.best_name()))?;
    let panel = score.panel();
    let axes = Axes::draw_across(sheet, frame, &setting.across, range, |value| {
        panel.label(value, range)
    })?;
    let shifts = setting::shifts(&setting.places, |place| axes.pixel(place, range.0).0);
    let on_sheet = |at: usize, place: f64, value: f64| {
        let (x, y) = axes.pixel(place, value);
        (x + shifts[at], y)
    };
    let placed: Vec<(usize, f64, &ScoredTrial)> = best_last(scored)
        .filter_map(|(at, scored)| Some((at, setting.places[at]?, scored)))
        .collect();
    // All intervals first, so that none covers a mark.
    for &(at, place, scored) in &placed {
        let ends = scored.trial.interval;
        if let Some((low, high)) = ends.filter(|(low, high)| low.is_finite() && high.is_finite()) {
            let (low, high) = (on_sheet(at, place, low), on_sheet(at, place, high));
            let style = stroke(scored.look.colour, 1.5);
            sheet.line(&[low, high], style);
            for (x, y) in [low, high] {
                sheet.line(&[(x - CAP, y), (x + CAP, y)], style);
            }
        }
    }
    for &(at, place, scored) in &placed {
        let middle = on_sheet(at, place, scored.score);
        scored.look.mark(sheet, middle, 4.5);
        if scored.is_best {
            sheet.dot(middle, RING_RADIUS, stroke(INK, 1.5));
        }
    }
    Ok(())
}

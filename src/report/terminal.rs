//! A plot of letters and box-drawing characters for a terminal. Knows no colours, no terminal and no runs.

use std::collections::BTreeMap;

use super::text;
use crate::text::table::letter_width;

/// The cells of the plot, row by row.
struct TextCanvas {
    cells: Vec<Vec<Cell>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Empty,
    Way,
    Point(char),
    /// More than one series has a point here.
    Shared,
}

/// The values at the edges of the plot.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    first: usize,
    last: usize,
    low: f64,
    high: f64,
    /// The distance between two labelled values.
    step: f64,
}

/// The lines besides the plot: the title, the axis and the epochs.
const LINES_AROUND: usize = 3;
const MIN_ROWS: usize = 2;
const MIN_COLUMNS: usize = 4;
const EPOCH: &str = "epoch";

/// Draws a plot of at most `width` columns and about `height` lines, including title and axes. No line ends in a space, and there
/// is no final line break.
pub(crate) fn terminal_plot(
    title: &str,
    series: &[(char, Vec<(usize, f64)>)],
    width: usize,
    height: usize,
    as_percent: bool,
) -> String {
    let title = cut(title, width);
    let n_rows = height.saturating_sub(LINES_AROUND).max(MIN_ROWS);
    let Some(bounds) = bounds(series, n_rows, as_percent) else {
        return format!("{title}\n{}", cut("(no values yet)", width));
    };
    let n_rows = even_rows(bounds, n_rows);
    let labels = value_labels(bounds, n_rows, as_percent);
    let widest = labels.values().map(|label| label.chars().count()).max();
    let mut margin = widest.unwrap_or(0).max(EPOCH.len()) + 1;
    // On a narrow terminal the labels are dropped first: the curve matters more than its values.
    if margin + 1 + MIN_COLUMNS > width {
        margin = 0;
    }
    let n_columns = width.saturating_sub(margin + 1).max(1);
    let canvas = painted(series, bounds, n_columns, n_rows);

    let mut lines = vec![title];
    for (row, cells) in canvas.cells.iter().enumerate() {
        let label = labels.get(&row).filter(|_| margin > 0);
        let (label, edge) = label.map_or(("", '│'), |label| (label.as_str(), '┤'));
        let letters: String = cells.iter().map(|cell| letter(*cell)).collect();
        let space = margin.saturating_sub(1);
        let gap = if margin > 0 { " " } else { "" };
        lines.push(format!("{label:>space$}{gap}{edge}{letters}"));
    }
    let (marks, epochs) = epoch_labels(bounds, n_columns);
    let edge: String = marks
        .iter()
        .map(|is_marked| if *is_marked { '┬' } else { '─' })
        .collect();
    lines.push(format!("{:margin$}└{edge}", ""));
    let name = if margin > 0 { EPOCH } else { "" };
    lines.push(format!("{name:margin$} {epochs}"));
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    // Only a width of a few columns can be too narrow for the frame itself; then lines are cut.
    let lines: Vec<String> = lines.iter().map(|line| cut(line, width)).collect();
    lines.join("\n")
}

fn letter(cell: Cell) -> char {
    match cell {
        Cell::Empty => ' ',
        Cell::Way => '·',
        Cell::Point(letter) => letter,
        Cell::Shared => '*',
    }
}

/// The beginning of the text that fits into `width` columns.
fn cut(text: &str, width: usize) -> String {
    let mut used = 0;
    let letters = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    let fitting = letters.take_while(|letter| {
        used += letter_width(*letter);
        used <= width
    });
    fitting.collect::<String>().trim_end().to_owned()
}

/// The bounds of all values; `None` if none of them is finite.
fn bounds(series: &[(char, Vec<(usize, f64)>)], n_rows: usize, as_percent: bool) -> Option<Bounds> {
    let points = series.iter().flat_map(|(_, points)| points);
    let epochs = points.clone().map(|(epoch, _)| *epoch);
    let (first, last) = (epochs.clone().min()?, epochs.max()?);
    let values = points.map(|(_, value)| *value);
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        return None;
    }
    let magnitude = low.abs().max(high.abs());
    let least_span = if as_percent { 0.01 } else { magnitude * 1e-3 };
    let (mut from, mut to) = (low, high);
    if to / 2.0 - from / 2.0 <= least_span / 2.0 {
        // A constant line runs through the middle.
        let around = if least_span > 0.0 { least_span } else { 1.0 };
        (from, to) = (low - around, high + around);
    }
    // Halved, so that the difference of two huge values does not overflow.
    let span = (to / 2.0 - from / 2.0) * 2.0;
    let step = round_step(span / (n_rows as f64 / 3.0).max(1.0));
    let largest = f64::MAX;
    from = ((from / step).floor() * step).clamp(-largest, largest);
    to = ((to / step).ceil() * step).clamp(-largest, largest);
    if as_percent && low >= 0.0 && high <= 1.0 {
        (from, to) = (from.max(0.0), to.min(1.0));
    }
    Some(Bounds {
        first,
        last,
        low: from,
        high: to,
        step,
    })
}

/// The smallest of .., 1, 2, 5, 10, 20, 50, .. that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(
        least
            .clamp(f64::MIN_POSITIVE, f64::MAX / 100.0)
            .log10()
            .floor(),
    );
    let factors = [1.0, 2.0, 5.0, 10.0].into_iter();
    let fitting = factors.map(|factor| factor * power);
    // The tolerance keeps a rounding error from turning 0.1 into 0.2.
    fitting
        .into_iter()
        .find(|step| *step >= least * 0.999_999)
        .unwrap_or(power * 10.0)
}

fn row_of(value: f64, bounds: Bounds, n_rows: usize) -> usize {
    // Halved, so that the difference of two huge values does not overflow.
    let share = (bounds.high / 2.0 - value / 2.0) / (bounds.high / 2.0 - bounds.low / 2.0);
    (share.clamp(0.0, 1.0) * (n_rows - 1) as f64).round() as usize
}

fn column_of(epoch: usize, bounds: Bounds, n_columns: usize) -> usize {
    let span = bounds.last - bounds.first;
    if span == 0 {
        return (n_columns - 1) / 2;
    }
    let share = (epoch - bounds.first) as f64 / span as f64;
    (share * (n_columns - 1) as f64).round() as usize
}

fn n_steps(bounds: Bounds) -> usize {
    // Halved, so that the difference of two huge values does not overflow.
    ((bounds.high / 2.0 - bounds.low / 2.0) / bounds.step * 2.0).round() as usize
}

/// The largest number of rows with the same distance between all labelled values.
fn even_rows(bounds: Bounds, n_rows: usize) -> usize {
    let n_steps = n_steps(bounds).max(1);
    let rows_of_a_step = (n_rows - 1) / n_steps;
    if rows_of_a_step == 0 {
        n_rows
    } else {
        rows_of_a_step * n_steps + 1
    }
}

/// The labels by row. Of two labels for one row the larger value wins.
fn value_labels(bounds: Bounds, n_rows: usize, as_percent: bool) -> BTreeMap<usize, String> {
    let scale = if as_percent { 100.0 } else { 1.0 };
    let decimals = (-(bounds.step * scale).log10().floor()).clamp(0.0, 9.0) as usize;
    let largest = bounds.high.abs().max(bounds.low.abs());
    let is_odd = !as_percent && (largest >= 1e6 || bounds.step < 1e-5);
    let digits = (largest / bounds.step).log10().floor().clamp(0.0, 9.0) as usize;
    let first_step = (bounds.low / bounds.step).round();
    let mut labels = BTreeMap::new();
    for at in 0..=n_steps(bounds) {
        // Adding zero turns -0.0 into 0.0, which would be shown as `-0`.
        let value = (first_step + at as f64) * bounds.step + 0.0;
        let label = if as_percent {
            text::percent(value, decimals)
        } else if is_odd {
            format!("{value:.digits$e}")
        } else {
            format!("{value:.decimals$}")
        };
        labels.insert(row_of(value, bounds, n_rows), label);
    }
    labels
}

fn painted(
    series: &[(char, Vec<(usize, f64)>)],
    bounds: Bounds,
    n_columns: usize,
    n_rows: usize,
) -> TextCanvas {
    let mut canvas = TextCanvas {
        cells: vec![vec![Cell::Empty; n_columns]; n_rows],
    };
    let binned: Vec<_> = series
        .iter()
        .map(|(letter, points)| (*letter, binned(points, bounds, n_columns)))
        .collect();
    // All connecting dots first, so that none covers a point.
    for (_, columns) in &binned {
        for (before, after) in columns.iter().zip(columns.iter().skip(1)) {
            if let ((from, Some(start)), (to, Some(end))) = (before, after) {
                let start = (*from, row_of(*start, bounds, n_rows));
                let end = (*to, row_of(*end, bounds, n_rows));
                way(&mut canvas, start, end);
            }
        }
    }
    for (letter, columns) in &binned {
        for (column, value) in columns {
            let Some(value) = value else { continue };
            let cell = &mut canvas.cells[row_of(*value, bounds, n_rows)][*column];
            *cell = match *cell {
                Cell::Empty | Cell::Way => Cell::Point(*letter),
                Cell::Point(_) | Cell::Shared => Cell::Shared,
            };
        }
    }
    canvas
}

/// The mean of the finite values in each column; `None` for a column with epochs but no such value, which interrupts the line.
fn binned(
    points: &[(usize, f64)],
    bounds: Bounds,
    n_columns: usize,
) -> BTreeMap<usize, Option<f64>> {
    let mut columns: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for &(epoch, value) in points {
        let column = columns.entry(column_of(epoch, bounds, n_columns));
        let numbers = column.or_default();
        if value.is_finite() {
            numbers.push(value);
        }
    }
    let mean = |numbers: Vec<f64>| {
        let count = numbers.len() as f64;
        let sum: f64 = numbers.iter().map(|number| number / count).sum();
        (!numbers.is_empty()).then_some(sum)
    };
    columns
        .into_iter()
        .map(|(column, numbers)| (column, mean(numbers)))
        .collect()
}

/// Draws dots strictly between two points; a steep line has one in each row.
fn way(canvas: &mut TextCanvas, (from, start): (usize, usize), (to, end): (usize, usize)) {
    let n_steps = from.abs_diff(to).max(start.abs_diff(end));
    let between = |a: usize, b: usize, share: f64| {
        (a as f64 + (b as f64 - a as f64) * share).round() as usize
    };
    for step in 1..n_steps {
        let share = step as f64 / n_steps as f64;
        canvas.cells[between(start, end, share)][between(from, to, share)] = Cell::Way;
    }
}

/// The columns of the axis that are marked, and the line of epochs below it.
fn epoch_labels(bounds: Bounds, n_columns: usize) -> (Vec<bool>, String) {
    let mut marks = vec![false; n_columns];
    let mut letters = vec![' '; n_columns];
    let widest = bounds.last.to_string().len();
    let most = (n_columns / (widest + 3)).max(1);
    let step = round_step(((bounds.last - bounds.first) as f64 / most as f64).max(1.0)) as usize;
    let inner = (bounds.first.div_ceil(step)..=bounds.last / step).map(|at| at * step);
    // The ends come first, so that inner labels cannot take their place.
    let ends = [bounds.first, bounds.last];
    for epoch in ends.into_iter().chain(inner) {
        let column = column_of(epoch, bounds, n_columns);
        let label = epoch.to_string();
        let last_start = n_columns.saturating_sub(label.len());
        let start = column.saturating_sub((label.len() - 1) / 2).min(last_start);
        let end = start + label.len();
        let around = start.saturating_sub(2)..(end + 2).min(n_columns);
        if end <= n_columns && letters[around].iter().all(|letter| *letter == ' ') {
            marks[column] = true;
            for (place, digit) in letters[start..end].iter_mut().zip(label.chars()) {
                *place = digit;
            }
        }
    }
    (marks, letters.into_iter().collect())
}

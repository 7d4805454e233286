//! The horizontal axis for one setting of a sweep, with numbers or words: the position of each value, and the ticks. Draws
//! nothing.

use super::{
    axes::{self, Across, LABEL_SIZE, LINE_HEIGHT, NAME_BELOW, Tick},
    panel::SIDE,
    text,
};
use crate::error::Result;

/// The value of one setting in a trial.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AxisValue {
    Number(f64),
    Word(String),
}

/// An axis, and the position of each trial on it.
pub(super) struct SettingAxis {
    pub(super) across: Across,
    /// The position of each trial; `None` for a trial without a value.
    pub(super) places: Vec<Option<f64>>,
}

/// With more values than this, ticks are at round numbers instead of at the values.
const MAX_VALUE_TICKS: usize = 8;
/// A number with more letters than this was drawn rather than chosen, so it gets no tick of its own.
const MAX_EXACT_LETTERS: usize = 5;
/// Positive values whose ratio is larger than this may get a logarithmic axis.
const LOG_SPAN: f64 = 8.0;
/// The font size for many words next to each other.
const SMALL_LABEL_SIZE: f64 = 12.0;
/// The fewest pixels in which a word is legible.
const MIN_SLOT: f64 = 44.0;
/// The room for a label that reads upwards, in pixels.
const UPRIGHT_ROOM: f64 = 120.0;
const MAX_LINES: usize = 3;

/// The axis for these values, in a plot of `width` pixels.
pub(super) fn setting(
    name: &str,
    values: &[Option<&AxisValue>],
    width: f64,
) -> Result<SettingAxis> {
    let numbers: Option<Vec<Option<f64>>> = values
        .iter()
        .map(|value| match value {
            None => Some(None),
            Some(AxisValue::Number(number)) => Some(Some(*number).filter(|it| it.is_finite())),
            Some(AxisValue::Word(_)) => None,
        })
        .collect();
    let mut setting = match numbers {
        Some(numbers) => of_numbers(&numbers, width)?,
        None => of_words(values, width)?,
    };
    setting.across.name = text::shortened(name, LABEL_SIZE, width)?;
    Ok(setting)
}

fn of_numbers(numbers: &[Option<f64>], width: f64) -> Result<SettingAxis> {
    let mut values: Vec<f64> = numbers.iter().flatten().copied().collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let (low, high) = match (values.first(), values.last()) {
        (Some(low), Some(high)) => (*low, *high),
        (None, _) | (_, None) => (0.0, 1.0),
    };
    let is_log = low > 0.0 && high / low > LOG_SPAN && is_even_by_ratio(&values);
    let place = |value: f64| if is_log { value.log10() } else { value };
    let (from, to) = (place(low), place(high));
    // Trials with the same value are drawn next to each other, which needs room at the ends too.
    let pad_share = if values.len() <= MAX_VALUE_TICKS {
        0.14
    } else {
        0.07
    };
    let pad = if to > from {
        (to - from) * pad_share
    } else if from.abs() > 0.0 {
        from.abs() * 0.5
    } else {
        0.5
    };
    let range = (from - pad, to + pad);
    let exact = (values.len() <= MAX_VALUE_TICKS)
        .then(|| exact_labels(&values))
        .flatten();
    let labelled: Vec<(f64, String)> = if let Some(labels) = exact {
        values.iter().copied().zip(labels).collect()
    } else {
        let values = if is_log {
            log_ticks(range)
        } else {
            linear_ticks(range)
        };
        let labels = short_labels(&values);
        values.into_iter().zip(labels).collect()
    };
    let pixel = |value: f64| (place(value) - range.0) / (range.1 - range.0) * width;
    let mut ticks = Vec::new();
    let mut free_from = f64::NEG_INFINITY;
    for (value, label) in labelled {
        let half = text::width(&label, LABEL_SIZE)? / 2.0;
        // A label that would touch its neighbour or leave the sheet is left out, but its tick is drawn.
        let has_room = pixel(value) - half >= free_from && pixel(value) + half <= width + SIDE;
        if has_room {
            free_from = pixel(value) + half + 6.0;
        }
        ticks.push(Tick {
            at: place(value),
            lines: if has_room { vec![label] } else { Vec::new() },
        });
    }
    Ok(SettingAxis {
        across: across(range, ticks, LABEL_SIZE),
        places: numbers.iter().map(|number| number.map(place)).collect(),
    })
}

/// Whether increasing positive values are spread at least as evenly on a logarithmic axis. Uniform draws are not.
fn is_even_by_ratio(values: &[f64]) -> bool {
    let widest = |place: fn(f64) -> f64| {
        let gaps = values
            .windows(2)
            .map(|pair| place(pair[1]) - place(pair[0]));
        let all = place(values[values.len() - 1]) - place(values[0]);
        gaps.fold(0.0, f64::max) / all
    };
    widest(f64::log10) <= widest(|value| value)
}

fn across(range: (f64, f64), ticks: Vec<Tick>, label_size: f64) -> Across {
    let n_lines = ticks.iter().map(|tick| tick.lines.len()).max();
    let more_lines = n_lines.unwrap_or(1).saturating_sub(1);
    Across {
        range,
        ticks,
        label_size,
        is_upright: false,
        name: String::new(),
        name_below: NAME_BELOW + more_lines as f64 * LINE_HEIGHT,
    }
}

/// Exact labels for all values; `None` if one of them is too long.
fn exact_labels(values: &[f64]) -> Option<Vec<String>> {
    let labels = short_labels(values);
    let is_exact = labels.iter().zip(values).all(|(label, value)| {
        label.len() <= MAX_EXACT_LETTERS
            && label
                .parse::<f64>()
                .is_ok_and(|read| read.total_cmp(value).is_eq())
    });
    is_exact.then_some(labels)
}

/// Labels that are either all plain or all like `1e-4`, whichever takes fewer letters.
pub(super) fn short_labels(values: &[f64]) -> Vec<String> {
    // Six digits, to drop rounding errors like the one of 0.1 + 0.2.
    let rounded = values
        .iter()
        .map(|value| format!("{value:.5e}").parse().unwrap_or(*value) + 0.0);
    let plain: Vec<String> = rounded
        .clone()
        .map(|value: f64| value.to_string())
        .collect();
    let scientific: Vec<String> = rounded.map(|value| format!("{value:e}")).collect();
    let letters = |labels: &[String]| labels.iter().map(String::len).sum::<usize>();
    if letters(&scientific) < letters(&plain) {
        scientific
    } else {
        plain
    }
}

fn linear_ticks(range: (f64, f64)) -> Vec<f64> {
    axes::ticks(range, 6)
}

/// Powers of ten, on a short axis also their double and fivefold. The range is given in exponents.
fn log_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let decades = high - low;
    let factors: &[u32] = if decades < 2.5 { &[1, 2, 5] } else { &[1] };
    let step = (decades / 6.0).ceil().max(1.0) as usize;
    (low.floor() as i32..=high.ceil() as i32)
        .step_by(step)
        // Parsed from text, because a computed power may be rounded differently.
        .flat_map(|power| {
            let tick = move |factor: &u32| format!("{factor}e{power}").parse::<f64>().ok();
            factors.iter().filter_map(tick)
        })
        .filter(|value| (low..=high).contains(&value.log10()))
        .collect()
}

fn of_words(values: &[Option<&AxisValue>], width: f64) -> Result<SettingAxis> {
    let mut words: Vec<String> = Vec::new();
    let mut places = Vec::new();
    for value in values {
        let word = match value {
            None => {
                places.push(None);
                continue;
            }
            Some(AxisValue::Word(word)) => word.clone(),
            Some(AxisValue::Number(number)) => short_labels(&[*number]).concat(),
        };
        let known = words.iter().position(|other| *other == word);
        let place = known.unwrap_or_else(|| {
            words.push(word);
            words.len() - 1
        });
        places.push(Some(place as f64));
    }
    let range = (-0.5, words.len().max(1) as f64 - 0.5);
    let slot = width / words.len().max(1) as f64;
    let across = if slot < MIN_SLOT {
        upright(&words, range, slot)?
    } else {
        let size = if words.len() < 3 {
            LABEL_SIZE
        } else {
            SMALL_LABEL_SIZE
        };
        let mut ticks = Vec::new();
        for (at, word) in words.iter().enumerate() {
            ticks.push(Tick {
                at: at as f64,
                lines: wrapped(word, size, slot - 6.0)?,
            });
        }
        across(range, ticks, size)
    };
    Ok(SettingAxis { across, places })
}

/// An axis with labels that read upwards; if even these would touch, only some of them are shown.
fn upright(words: &[String], range: (f64, f64), slot: f64) -> Result<Across> {
    let every = (LINE_HEIGHT / slot).ceil().max(1.0) as usize;
    let mut longest: f64 = 0.0;
    let mut ticks = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let mut lines = Vec::new();
        if at % every == 0 {
            let label = text::shortened(word, SMALL_LABEL_SIZE, UPRIGHT_ROOM)?;
            longest = longest.max(text::width(&label, SMALL_LABEL_SIZE)?);
            lines.push(label);
        }
        let at = at as f64;
        ticks.push(Tick { at, lines });
    }
    Ok(Across {
        is_upright: true,
        name_below: longest + 26.0,
        ..across(range, ticks, SMALL_LABEL_SIZE)
    })
}

/// Wraps a word after spaces, commas and the like; the last line is cut with an ellipsis.
fn wrapped(word: &str, size: f64, room: f64) -> Result<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for piece in word.split_inclusive([' ', ',', '_', '/']) {
        let longer = lines.last().map(|line| format!("{line}{piece}"));
        match longer {
            Some(longer)
                if lines.len() == MAX_LINES || text::width(longer.trim_end(), size)? <= room =>
            {
                lines.pop();
                lines.push(longer);
            }
            Some(_) | None => lines.push(piece.to_owned()),
        }
    }
    lines
        .iter()
        .map(|line| text::shortened(line.trim(), size, room))
        .collect()
}

/// The pixels by which each trial is shifted, so that trials with the same value are next to each other.
pub(super) fn shifts(places: &[Option<f64>], pixel: impl Fn(f64) -> f64) -> Vec<f64> {
    const WIDEST: f64 = 11.0;
    let pixels: Vec<Option<f64>> = places.iter().map(|it| it.map(&pixel)).collect();
    let mut columns: Vec<f64> = pixels.iter().flatten().copied().collect();
    columns.sort_by(f64::total_cmp);
    columns.dedup();
    let gaps = columns.windows(2).map(|pair| pair[1] - pair[0]);
    let room = gaps.fold(100.0, f64::min) * 0.7;
    let is_same = |a: Option<f64>, b: Option<f64>| matches!((a, b), (Some(a), Some(b)) if a.total_cmp(&b).is_eq());
    let count = |of: Option<f64>, among: &[Option<f64>]| {
        among.iter().filter(|other| is_same(of, **other)).count()
    };
    pixels
        .iter()
        .enumerate()
        .map(|(at, own)| {
            let n_same = count(*own, &pixels).max(1) as f64;
            let rank = count(*own, &pixels[..at]) as f64;
            (rank - (n_same - 1.0) / 2.0) * (room / n_same).min(WIDEST)
        })
        .collect()
}

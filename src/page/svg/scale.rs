//! The scale of one setting of a sweep: positions from 0 to 1 for numbers, on a logarithmic axis where their ratios are large, and
//! for words.

use crate::text::table::short_number;

/// Positive values whose ratio is larger than this get a logarithmic axis.
const LOG_RATIO: f64 = 8.0;
/// With more values than this, only some get a label.
const MOST_LABELS: usize = 7;

pub(crate) struct Scale {
    /// The position of each trial; `None` without a value.
    pub(crate) places: Vec<Option<f64>>,
    /// Positions with their labels.
    pub(crate) ticks: Vec<(f64, String)>,
    pub(crate) is_log: bool,
}

/// The scale for values as a leaderboard has them; empty ones are absent.
pub(crate) fn scale(values: &[&str]) -> Scale {
    let numbers: Option<Vec<Option<f64>>> = values
        .iter()
        .map(|value| match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Some(Some(number)),
            _ if value.is_empty() => Some(None),
            _ => None,
        })
        .collect();
    match numbers {
        Some(numbers) if numbers.iter().any(Option::is_some) => of_numbers(&numbers),
        _ => of_words(values),
    }
}

fn of_numbers(numbers: &[Option<f64>]) -> Scale {
    let mut distinct: Vec<f64> = numbers.iter().flatten().copied().collect();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    let (low, high) = (distinct[0], distinct[distinct.len() - 1]);
    let is_log = low > 0.0 && high / low > LOG_RATIO;
    let along = |value: f64| {
        if distinct.len() == 1 {
            0.5
        } else if is_log {
            (value / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        }
    };
    let labelled: Vec<f64> = if distinct.len() <= MOST_LABELS {
        distinct.clone()
    } else if is_log {
        let (first, last) = (low.log10().ceil() as i32, high.log10().floor() as i32);
        let decades: Vec<f64> = (first..=last).map(|at| 10_f64.powi(at)).collect();
        if decades.len() < 2 {
            vec![low, (low * high).sqrt(), high]
        } else {
            decades
        }
    } else {
        super::ticks(low, high, MOST_LABELS - 1)
    };
    Scale {
        places: numbers.iter().map(|it| it.map(along)).collect(),
        ticks: labelled.iter().map(|it| (along(*it), label(*it))).collect(),
        is_log,
    }
}

fn of_words(values: &[&str]) -> Scale {
    let mut words: Vec<&str> = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        if !words.contains(value) {
            words.push(value);
        }
    }
    let along = |at: usize| match words.len() {
        1 => 0.5,
        n => at as f64 / (n - 1) as f64,
    };
    let place = |value: &&str| words.iter().position(|word| word == value).map(along);
    Scale {
        places: values.iter().map(place).collect(),
        ticks: words
            .iter()
            .enumerate()
            .map(|(at, word)| (along(at), (*word).to_owned()))
            .collect(),
        is_log: false,
    }
}

/// The places, with equal ones next to each other, so that no trial hides another. They leave 0 to 1 by at most a tenth.
pub(crate) fn spread(places: &[Option<f64>]) -> Vec<Option<f64>> {
    const WIDEST: f64 = 0.035;
    const ROOM: f64 = 0.2;
    let is_same =
        |a: &Option<f64>, b: &Option<f64>| a.zip(*b).is_some_and(|(a, b)| (a - b).abs() < 1e-9);
    let count = |of: &Option<f64>, among: &[Option<f64>]| {
        among.iter().filter(|other| is_same(of, other)).count()
    };
    let spread = |(at, place): (usize, &Option<f64>)| {
        let n_same = count(place, places).max(1) as f64;
        let rank = count(place, &places[..at]) as f64;
        let shift = (rank - (n_same - 1.0) / 2.0) * (ROOM / n_same).min(WIDEST);
        place.map(|place| place + shift)
    };
    places.iter().enumerate().map(spread).collect()
}

/// A number with at most three digits that count, because drawn values have sixteen.
pub(crate) fn label(value: f64) -> String {
    if value.abs() < f64::MIN_POSITIVE {
        return "0".to_owned();
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    let rounded = match digits {
        0..=15 => format!("{value:.*}", digits as usize)
            .parse()
            .unwrap_or(value),
        _ => format!("{value:.2e}").parse().unwrap_or(value),
    };
    short_number(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_large_ratios_get_a_logarithmic_axis() {
        let scale = scale(&["0.001", "0.01", "", "0.1"]);
        assert!(scale.is_log);
        let places: Vec<Option<i32>> = scale
            .places
            .iter()
            .map(|it| it.map(|it| (it * 100.0).round() as i32))
            .collect();
        assert_eq!(places, [Some(0), Some(50), None, Some(100)]);
        assert_eq!(scale.ticks[0].1, "1e-3");
    }

    #[test]
    fn words_and_single_values_have_their_places() {
        let words = scale(&["adam", "sgd", "adam"]);
        assert_eq!(words.places, [Some(0.0), Some(1.0), Some(0.0)]);
        assert_eq!(scale(&["3", "3"]).places, [Some(0.5), Some(0.5)]);
        assert_eq!(scale(&["", ""]).places, [None, None]);
    }

    #[test]
    fn labels_have_three_digits_that_count() {
        assert_eq!(label(0.000_312_345), "3.12e-4");
        assert_eq!(label(0.5), "0.5");
        assert_eq!(label(1_234_567.0), "1.23e6");
        assert_eq!(label(0.0), "0");
    }
}

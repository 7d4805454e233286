//! Runs held against each other, photo by photo: on which both are right, on which only one, and whether chance would do
//! as much. Pure.

use std::collections::HashMap;

use serde::Serialize;

pub(crate) use super::differences::{Difference, cautions, differences};
use crate::{
    records::PredictionRow,
    statistics::{holm, mcnemar, wilson},
};

/// More runs than this are compared with the best one alone: all pairs would be a page of numbers.
const MAX_RUNS_IN_PAIRS: usize = 4;

/// Two runs on the photos that both validated.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Pair {
    /// Positions among the compared runs.
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) both_right: usize,
    pub(crate) only_a: usize,
    pub(crate) only_b: usize,
    pub(crate) both_wrong: usize,
    /// Of McNemar's exact test, two-sided.
    pub(crate) p: f64,
    /// The same by Holm's step-down, for as many pairs as there are.
    pub(crate) p_holm: f64,
}

impl Pair {
    pub(crate) fn n_images(&self) -> usize {
        self.both_right + self.only_a + self.only_b + self.both_wrong
    }
}

/// Right answers among validated photos, with Wilson's 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Share {
    pub(crate) n_right: usize,
    pub(crate) n_images: usize,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

pub(crate) fn share(rows: &[PredictionRow]) -> Option<Share> {
    let n_right = rows.iter().filter(|row| is_right(row)).count();
    let (low, high) = wilson(n_right, rows.len());
    (!rows.is_empty()).then_some(Share {
        n_right,
        n_images: rows.len(),
        low,
        high,
    })
}

/// All pairs of few runs, or each of many with the run at `best`. Pairs without a common photo are left out.
pub(crate) fn pairs(predictions: &[Vec<PredictionRow>], best: Option<usize>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for a in 0..predictions.len() {
        for b in a + 1..predictions.len() {
            let is_wanted = predictions.len() <= MAX_RUNS_IN_PAIRS
                || best.is_none_or(|best| best == a || best == b);
            if is_wanted {
                pairs.extend(pair(a, b, &predictions[a], &predictions[b]));
            }
        }
    }
    let p_values: Vec<f64> = pairs.iter().map(|pair| pair.p).collect();
    for (pair, p_holm) in pairs.iter_mut().zip(holm(&p_values)) {
        pair.p_holm = p_holm;
    }
    pairs
}

fn pair(a: usize, b: usize, of_a: &[PredictionRow], of_b: &[PredictionRow]) -> Option<Pair> {
    let known: HashMap<(&str, &str), bool> = of_a
        .iter()
        .map(|row| ((row.file.as_str(), row.class.as_str()), is_right(row)))
        .collect();
    // By whether A is right, then whether B is.
    let mut counts = [[0_usize; 2]; 2];
    for row in of_b {
        if let Some(a_is_right) = known.get(&(row.file.as_str(), row.class.as_str())) {
            counts[usize::from(*a_is_right)][usize::from(is_right(row))] += 1;
        }
    }
    let [[both_wrong, only_b], [only_a, both_right]] = counts;
    let p = mcnemar(only_a, only_b);
    let pair = Pair {
        a,
        b,
        both_right,
        only_a,
        only_b,
        both_wrong,
        p,
        p_holm: p,
    };
    (pair.n_images() > 0).then_some(pair)
}

fn is_right(row: &PredictionRow) -> bool {
    row.predicted == row.class
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(answers: &[(&str, &str)]) -> Vec<PredictionRow> {
        let row = |(file, predicted): &(&str, &str)| PredictionRow {
            file: (*file).to_owned(),
            class: "cat".to_owned(),
            predicted: (*predicted).to_owned(),
            probability: 0.9,
            loss: 0.1,
            split: "valid".to_owned(),
        };
        answers.iter().map(row).collect()
    }

    #[test]
    fn photos_are_paired_by_name_and_others_left_out() {
        let a = rows(&[
            ("1", "cat"),
            ("2", "cat"),
            ("3", "dog"),
            ("4", "dog"),
            ("5", "cat"),
        ]);
        let b = rows(&[
            ("6", "cat"),
            ("4", "cat"),
            ("3", "dog"),
            ("2", "dog"),
            ("1", "cat"),
        ]);
        let pairs = pairs(&[a, b], None);
        let found = &pairs[0];
        assert_eq!(
            (
                found.both_right,
                found.only_a,
                found.only_b,
                found.both_wrong
            ),
            (1, 1, 1, 1)
        );
        assert!((found.p - 1.0).abs() < 1e-12);
    }

    #[test]
    fn many_runs_are_held_against_the_best_alone() {
        let runs: Vec<_> = (0..6).map(|_| rows(&[("1", "cat")])).collect();
        assert_eq!(pairs(&runs, Some(2)).len(), 5);
        assert_eq!(pairs(&runs[..4], Some(2)).len(), 6);
        assert!(pairs(&[rows(&[("1", "cat")]), rows(&[("2", "cat")])], None).is_empty());
    }
}

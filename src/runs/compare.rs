//! Compares runs image by image: on which images both are right, on which only one is, and whether the difference is significant.
//! Pure.

use std::collections::HashMap;

use serde::Serialize;

pub(crate) use super::{
    cautions::cautions,
    differences::{Difference, differences, from_defaults},
};
use crate::{
    rundir::records::PredictionRow,
    scores::statistics::{holm, mcnemar},
};

/// With more runs than this, only the pairs with the best run are shown: all pairs would fill a page with numbers.
const MAX_RUNS_IN_PAIRS: usize = 4;

/// Two runs on the images that both validated on.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Pair {
    /// The indices of the two among the compared runs.
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) both_right: usize,
    pub(crate) only_a: usize,
    pub(crate) only_b: usize,
    pub(crate) both_wrong: usize,
    /// The p-value of McNemar's exact test, two-sided.
    pub(crate) p: f64,
    /// The p-value adjusted by Holm's step-down procedure for all pairs of the runs, shown or not.
    pub(crate) p_holm: f64,
}

/// The pairs that are shown, and the number of all pairs.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pairs {
    pub(crate) shown: Vec<Pair>,
    pub(crate) n_all: usize,
}

impl Pair {
    pub(crate) fn n_images(&self) -> usize {
        self.both_right + self.only_a + self.only_b + self.both_wrong
    }
}

/// The correct predictions among all validation images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CorrectShare {
    pub(crate) n_right: usize,
    pub(crate) n_images: usize,
}

impl CorrectShare {
    pub(crate) fn accuracy(self) -> f64 {
        self.n_right as f64 / self.n_images as f64
    }
}

pub(crate) fn share(rows: &[PredictionRow]) -> Option<CorrectShare> {
    let n_right = rows.iter().filter(|row| is_right(row)).count();
    (!rows.is_empty()).then_some(CorrectShare {
        n_right,
        n_images: rows.len(),
    })
}

/// All pairs of a few runs, or of many runs the pairs with the one at `best`. Pairs without a common image are left out.
///
/// The best run is only known after looking at all of them, so p-values are adjusted for all pairs even if few are shown.
/// Adjusted for the shown pairs alone, the best of many equal runs would look significantly better than some far too often.
pub(crate) fn pairs(predictions: &[Vec<PredictionRow>], best: Option<usize>) -> Pairs {
    let answers = answers(predictions);
    let n_runs = answers.len();
    let mut all: Vec<Pair> = (0..n_runs)
        .flat_map(|a| (a + 1..n_runs).map(move |b| (a, b)))
        .filter_map(|(a, b)| pair(a, b, &answers))
        .collect();
    let p_values: Vec<f64> = all.iter().map(|pair| pair.p).collect();
    for (pair, p_holm) in all.iter_mut().zip(holm(&p_values)) {
        pair.p_holm = p_holm;
    }
    let n_all = all.len();
    if n_runs > MAX_RUNS_IN_PAIRS {
        all.retain(|pair| best.is_none_or(|best| best == pair.a || best == pair.b));
    }
    Pairs { shown: all, n_all }
}

/// For each run and image whether the prediction is right. The images of all runs share one numbering.
fn answers(predictions: &[Vec<PredictionRow>]) -> Vec<Vec<Option<bool>>> {
    let mut numbers: HashMap<(&str, &str), usize> = HashMap::new();
    let mut answers: Vec<Vec<Option<bool>>> = Vec::new();
    for rows in predictions {
        let mut of_run = vec![None; numbers.len()];
        for row in rows {
            let next = numbers.len();
            let photo = (row.file.as_str(), row.class.as_str());
            let number = *numbers.entry(photo).or_insert(next);
            if number >= of_run.len() {
                of_run.resize(number + 1, None);
            }
            of_run[number] = Some(is_right(row));
        }
        answers.push(of_run);
    }
    answers
}

fn pair(a: usize, b: usize, answers: &[Vec<Option<bool>>]) -> Option<Pair> {
    // Indexed by whether A is right, then by whether B is.
    let mut counts = [[0_usize; 2]; 2];
    // `zip` ends with the shorter list, which is right: images that only later runs have come last.
    for answer in answers[a].iter().zip(&answers[b]) {
        if let (Some(of_a), Some(of_b)) = answer {
            counts[usize::from(*of_a)][usize::from(*of_b)] += 1;
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
        let found = &pairs.shown[0];
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
        let many = pairs(&runs, Some(2));
        assert_eq!((many.shown.len(), many.n_all), (5, 15));
        assert_eq!(pairs(&runs[..4], Some(2)).shown.len(), 6);
        let strangers = [rows(&[("1", "cat")]), rows(&[("2", "cat")])];
        assert_eq!(pairs(&strangers, None), Pairs::default());
    }

    #[test]
    fn p_values_count_the_pairs_that_are_not_shown() {
        let names: Vec<String> = (0..20).map(|at| at.to_string()).collect();
        let run = |n_right: usize| -> Vec<PredictionRow> {
            let answer = |at: usize| if at < n_right { "cat" } else { "dog" };
            let answers = names.iter().enumerate();
            rows(
                &answers
                    .map(|(at, name)| (name.as_str(), answer(at)))
                    .collect::<Vec<_>>(),
            )
        };
        let runs: Vec<_> = [10, 10, 10, 10, 20].map(run).to_vec();
        let pairs = pairs(&runs, Some(4));
        // Ten photos that only the best has right, in four of ten pairs.
        let p = 2.0 / 1024.0;
        for pair in &pairs.shown {
            assert!((pair.p - p).abs() < 1e-12);
            assert!((pair.p_holm - 10.0 * p).abs() < 1e-12, "{}", pair.p_holm);
        }
        assert_eq!((pairs.shown.len(), pairs.n_all), (4, 10));
    }
}

//! Confusion matrices: predictions counted by true and predicted class, and the scores that follow from the counts. Pure.

use std::collections::HashMap;

use super::classification::{Margins, macro_mean};
use crate::rundir::records::{ClassScores, MacroAverage, PredictionRow};

/// A confusion matrix, with a row per true class and a column per predicted class.
pub(crate) struct Confusion<'a> {
    pub(crate) classes: &'a [String],
    pub(crate) counts: Vec<Vec<usize>>,
}

impl<'a> Confusion<'a> {
    /// Counts the predictions whose classes are both among `classes`; ignores others.
    pub(crate) fn of<'r>(
        classes: &'a [String],
        rows: impl IntoIterator<Item = &'r PredictionRow>,
    ) -> Self {
        let numbers: HashMap<&str, usize> = classes
            .iter()
            .enumerate()
            .map(|(number, class)| (class.as_str(), number))
            .collect();
        let pairs = rows.into_iter().filter_map(|row| {
            let truth = numbers.get(row.class.as_str())?;
            Some((*truth, *numbers.get(row.predicted.as_str())?))
        });
        Self::of_numbers(classes, pairs)
    }

    /// Counts pairs of a true and a predicted class, given as positions in `classes`.
    pub(crate) fn of_numbers(
        classes: &'a [String],
        pairs: impl IntoIterator<Item = (usize, usize)>,
    ) -> Self {
        let mut counts = vec![vec![0; classes.len()]; classes.len()];
        for (truth, predicted) in pairs {
            counts[truth][predicted] += 1;
        }
        Self { classes, counts }
    }

    /// The scores of each class; `classification.rs` says when one is undefined.
    pub(crate) fn scores(&self) -> Vec<ClassScores> {
        let cells = self.counts.iter().enumerate().flat_map(|(truth, row)| {
            let row = row.iter().enumerate();
            row.map(move |(predicted, n)| (truth, predicted, *n))
        });
        let margins = Margins::count(self.classes.len(), cells);
        let scores = self.classes.iter().enumerate().map(|(class, name)| {
            let scores = margins.scores(class);
            ClassScores {
                name: name.clone(),
                images: margins.support[class],
                precision: scores.precision,
                recall: scores.recall,
                f1: scores.f1,
            }
        });
        scores.collect()
    }

    /// The rows of `confusion.csv`, with a header of class names.
    pub(crate) fn table(&self) -> Vec<Vec<String>> {
        let mut rows = vec![vec!["true \\ predicted".to_owned()]];
        rows[0].extend(self.classes.iter().cloned());
        for (class, counts) in self.classes.iter().zip(&self.counts) {
            let mut row = vec![class.clone()];
            row.extend(counts.iter().map(ToString::to_string));
            rows.push(row);
        }
        rows
    }
}

/// Averages each score over the classes for which it is defined.
pub(crate) fn macro_average(classes: &[ClassScores]) -> MacroAverage {
    let mean = |score: fn(&ClassScores) -> Option<f64>| macro_mean(classes.iter().map(score));
    MacroAverage {
        precision: mean(|class| class.precision),
        recall: mean(|class| class.recall),
        f1: mean(|class| class.f1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The expected scores follow scikit-learn's `precision_recall_fscore_support(.., zero_division=nan)`.
    #[test]
    fn scores_without_a_divisor_are_undefined_as_in_scikit_learn() {
        let classes = names(&["seen", "never predicted", "no image", "neither"]);
        let pairs = [(0, 0), (0, 0), (0, 2), (1, 0)];
        let scores = Confusion::of_numbers(&classes, pairs).scores();
        let found = scores.iter().map(|class| {
            let ClassScores {
                images,
                precision,
                recall,
                f1,
                ..
            } = class;
            (*images, *precision, *recall, *f1)
        });
        let third = 2.0 / 3.0;
        let expected = [
            (3, Some(third), Some(third), Some(third)),
            (1, None, Some(0.0), Some(0.0)),
            (0, Some(0.0), None, Some(0.0)),
            (0, None, None, None),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let average = macro_average(&scores);
        assert_eq!(average.precision, Some(third / 2.0));
        assert_eq!(average.recall, Some(third / 2.0));
        assert_eq!(average.f1, Some(third / 3.0));
        assert_eq!(macro_average(&scores[3..]), MacroAverage::default());
    }

    #[test]
    fn a_row_of_an_unknown_class_counts_nowhere() {
        let classes = names(&["a", "b"]);
        let row = |class: &str, predicted: &str| PredictionRow {
            file: String::new(),
            class: class.to_owned(),
            predicted: predicted.to_owned(),
            probability: 1.0,
            loss: 0.0,
            split: "valid".to_owned(),
        };
        let rows = [row("a", "b"), row("b", "b"), row("c", "a"), row("a", "c")];
        let confusion = Confusion::of(&classes, &rows);
        assert_eq!(confusion.counts, [[0, 1], [0, 1]]);
        assert_eq!(
            confusion.table(),
            [
                ["true \\ predicted", "a", "b"],
                ["a", "0", "1"],
                ["b", "0", "1"]
            ]
        );
    }
}

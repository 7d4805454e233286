//! Precision, recall and F1 of each class and their averages, from counts. Pure.
//!
//! The definitions are those of scikit-learn's `precision_recall_fscore_support` with `zero_division=nan`: a score without a
//! divisor is undefined, not zero.

/// How often each class occurs, is predicted, and is predicted correctly; one number per class each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Margins {
    /// The images of each class.
    pub(crate) support: Vec<usize>,
    /// The images for which each class was predicted.
    pub(crate) predicted: Vec<usize>,
    /// The images of each class for which it was predicted.
    pub(crate) correct: Vec<usize>,
}

/// Precision, recall and F1, each absent if it is undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PrecisionRecall {
    /// `correct / predicted`; undefined for a class that was never predicted.
    pub(crate) precision: Option<f64>,
    /// `correct / support`; undefined for a class without images.
    pub(crate) recall: Option<f64>,
    /// `2 correct / (support + predicted)`; undefined for a class without images that was never predicted.
    pub(crate) f1: Option<f64>,
}

impl Margins {
    /// Counts `(target, predicted, times)`; both are positions below `n_classes`.
    pub(crate) fn count(
        n_classes: usize,
        answers: impl IntoIterator<Item = (usize, usize, usize)>,
    ) -> Self {
        let none = || vec![0; n_classes];
        let (mut support, mut predicted, mut correct) = (none(), none(), none());
        for (target, answer, times) in answers {
            support[target] += times;
            predicted[answer] += times;
            if target == answer {
                correct[target] += times;
            }
        }
        Self {
            support,
            predicted,
            correct,
        }
    }

    pub(crate) fn n_images(&self) -> usize {
        self.support.iter().sum()
    }

    pub(crate) fn n_correct(&self) -> usize {
        self.correct.iter().sum()
    }

    pub(crate) fn scores(&self, class: usize) -> PrecisionRecall {
        let (support, predicted) = (self.support[class], self.predicted[class]);
        let correct = self.correct[class];
        PrecisionRecall {
            precision: ratio(correct, predicted),
            recall: ratio(correct, support),
            f1: ratio(2 * correct, support + predicted),
        }
    }

    /// The scores of all classes, in order.
    pub(crate) fn all_scores(&self) -> Vec<PrecisionRecall> {
        (0..self.support.len())
            .map(|class| self.scores(class))
            .collect()
    }

    /// The most frequent class, the first of several, and its share of the images: the accuracy of always predicting it.
    pub(crate) fn majority(&self) -> Option<(usize, f64)> {
        let most = self.support.iter().copied().max()?;
        let class = self.support.iter().position(|n| *n == most)?;
        Some((class, ratio(most, self.n_images())?))
    }
}

pub(super) fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The mean of the values that are defined; undefined if none is. scikit-learn's `average="macro"`.
pub(crate) fn macro_mean(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let defined: Vec<f64> = values.into_iter().flatten().collect();
    (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
}

/// The mean of the values that are defined, weighted by the images of each class. scikit-learn's `average="weighted"`, which
/// weights all values alike if none of the classes with a value has images.
pub(crate) fn weighted_mean(values: &[Option<f64>], support: &[usize]) -> Option<f64> {
    let defined = || {
        let pairs = values.iter().zip(support);
        pairs.filter_map(|(value, n)| Some(((*value)?, *n as f64)))
    };
    let total: f64 = defined().map(|(_, weight)| weight).sum();
    if total > 0.0 {
        return Some(defined().map(|(value, weight)| value * weight).sum::<f64>() / total);
    }
    macro_mean(values.iter().copied())
}

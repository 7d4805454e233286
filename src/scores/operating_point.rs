//! What a classifier does at one threshold of one class's probability. Pure.

use serde::Serialize;

use super::{
    curves::Ranked,
    evaluation::{Estimate, proportion},
};

/// The threshold at which one of two classes is as probable as the other.
pub(crate) const EVEN: f64 = 0.5;

/// Counts and scores of `positive` against all other classes: an image is predicted to be positive if its probability is at least
/// `threshold`. Scores are absent if they have no divisor; intervals are Wilson's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OperatingPoint {
    pub(crate) positive: String,
    pub(crate) threshold: f64,
    pub(crate) true_positives: usize,
    pub(crate) false_positives: usize,
    pub(crate) false_negatives: usize,
    pub(crate) true_negatives: usize,
    /// The share of positive images that are predicted to be positive: the recall of the class.
    pub(crate) sensitivity: Option<Estimate>,
    /// The share of other images that are not predicted to be positive.
    pub(crate) specificity: Option<Estimate>,
    /// The share of positive predictions that are correct: the precision of the class.
    pub(crate) positive_predictive_value: Option<Estimate>,
    /// The share of other predictions that are correct.
    pub(crate) negative_predictive_value: Option<Estimate>,
}

impl OperatingPoint {
    pub(crate) fn new(name: &str, threshold: f64, ranked: &Ranked) -> Self {
        let outcome = ranked.at(threshold);
        let (n_positives, n_negatives) = (outcome.n_positives(), outcome.n_negatives());
        let n_predicted = outcome.n_predicted();
        let n_others = outcome.false_negatives + outcome.true_negatives;
        Self {
            positive: name.to_owned(),
            threshold,
            true_positives: outcome.true_positives,
            false_positives: outcome.false_positives,
            false_negatives: outcome.false_negatives,
            true_negatives: outcome.true_negatives,
            sensitivity: proportion(outcome.true_positives, n_positives),
            specificity: proportion(outcome.true_negatives, n_negatives),
            positive_predictive_value: proportion(outcome.true_positives, n_predicted),
            negative_predictive_value: proportion(outcome.true_negatives, n_others),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_at_the_threshold_is_positive() {
        let probabilities = [0.9, 0.5, 0.5, 0.4, 0.1].map(|p| vec![1.0 - p, p]);
        let ranked = Ranked::new(1, &[1, 1, 0, 1, 0], &probabilities);
        let point = OperatingPoint::new("b", 0.5, &ranked);
        let counts = |it: &OperatingPoint| {
            let right = (it.true_positives, it.true_negatives);
            (right, (it.false_positives, it.false_negatives))
        };
        assert_eq!(counts(&point), ((2, 1), (1, 1)));
        let value = |estimate: Option<Estimate>| estimate.map(|it| it.value);
        assert_eq!(value(point.sensitivity), Some(2.0 / 3.0));
        assert_eq!(value(point.specificity), Some(0.5));
        assert_eq!(value(point.positive_predictive_value), Some(2.0 / 3.0));
        assert_eq!(value(point.negative_predictive_value), Some(0.5));
        let above = OperatingPoint::new("b", 0.95, &ranked);
        assert_eq!(counts(&above), ((0, 2), (0, 3)));
        assert_eq!(value(above.positive_predictive_value), None);
        assert_eq!(value(above.sensitivity), Some(0.0));
        let all = OperatingPoint::new("b", 0.0, &ranked);
        assert_eq!(value(all.negative_predictive_value), None);
        assert_eq!(value(all.specificity), Some(0.0));
    }
}

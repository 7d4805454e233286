//! What a threshold on the probability would keep. Pure.

/// The thresholds that a report offers: every hundredth, and finer near both ends, where the probabilities of good models are.
pub(crate) fn thresholds() -> Vec<f64> {
    const FINE: [f64; 4] = [0.0001, 0.001, 0.002, 0.005];
    let middle = (1..100).map(|at| f64::from(at) / 100.0);
    let upper = FINE.iter().rev().map(|it| 1.0 - it);
    let all = std::iter::once(0.0).chain(FINE).chain(middle).chain(upper);
    all.chain([1.0]).collect()
}

/// What remains of the predictions if less certain ones are left to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) n: usize,
    pub(crate) n_correct: usize,
}

/// For each threshold, the predictions whose probability is at least as high.
pub(crate) fn kept(predictions: &[(f64, bool)], thresholds: &[f64]) -> Vec<Kept> {
    let at = |threshold: &f64| {
        let kept = predictions.iter().filter(|(p, _)| p >= threshold);
        let (n, n_correct) = kept.fold((0, 0), |(n, right), (_, is_correct)| {
            (n + 1, right + usize::from(*is_correct))
        });
        Kept { n, n_correct }
    };
    thresholds.iter().map(at).collect()
}

/// The decisions between two classes at one threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decisions {
    pub(crate) true_positives: usize,
    pub(crate) false_positives: usize,
    pub(crate) true_negatives: usize,
    pub(crate) false_negatives: usize,
}

/// For each threshold, the decisions if an image counts as positive from that probability on. Each image is given with the
/// probability of the positive class and whether it belongs to it.
pub(crate) fn decisions(images: &[(f64, bool)], thresholds: &[f64]) -> Vec<Decisions> {
    let at = |threshold: &f64| {
        let mut counts = Decisions::default();
        for (probability, is_positive) in images {
            let count = match (probability >= threshold, is_positive) {
                (true, true) => &mut counts.true_positives,
                (true, false) => &mut counts.false_positives,
                (false, false) => &mut counts.true_negatives,
                (false, true) => &mut counts.false_negatives,
            };
            *count += 1;
        }
        counts
    };
    thresholds.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_in_order_and_count_what_is_at_least_as_high() {
        let thresholds = thresholds();
        assert!(thresholds.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(thresholds.contains(&0.8) && thresholds.contains(&0.999));
        let predictions = [(0.4, false), (0.5, true), (0.9, true)];
        let found = kept(&predictions, &[0.0, 0.5, 0.95]);
        let found: Vec<_> = found.iter().map(|it| (it.n, it.n_correct)).collect();
        assert_eq!(found, [(3, 2), (2, 2), (0, 0)]);
        let found = decisions(&predictions, &[0.0, 0.5, 0.95]);
        let found: Vec<_> = found
            .iter()
            .map(|it| {
                (
                    it.true_positives,
                    it.false_positives,
                    it.true_negatives,
                    it.false_negatives,
                )
            })
            .collect();
        assert_eq!(found, [(2, 1, 0, 0), (2, 0, 1, 0), (0, 0, 1, 2)]);
    }
}

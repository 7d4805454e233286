//! Scores of the probabilities themselves: how much they cost where they are wrong, and whether they mean what they say. Pure.

use serde::Serialize;

/// The bins of the expected calibration error, as in the paper that introduced it for networks.
pub(crate) const N_BINS: usize = 15;

/// The images whose confidence, the probability of the predicted class, lies in `(low, high]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct CalibrationBin {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) images: usize,
    /// The mean confidence; absent without images.
    pub(crate) confidence: Option<f64>,
    /// Absent without images.
    pub(crate) accuracy: Option<f64>,
}

/// The log loss of each image in nats, `-ln p` with `p` the probability of the true class. As in scikit-learn's `log_loss`, `p` is
/// at least the difference between 1 and the next larger number, so that a probability of 0 costs 36 rather than infinity.
pub(crate) fn log_losses(targets: &[usize], probabilities: &[Vec<f64>]) -> Vec<f64> {
    let pairs = targets.iter().zip(probabilities);
    pairs
        // Adding zero turns -0.0 into 0.0.
        .map(|(target, row)| -row[*target].clamp(f64::EPSILON, 1.0).ln() + 0.0)
        .collect()
}

/// The Brier score of each image: the squared differences between the probabilities and 1 for the true class, 0 for the others,
/// summed over the classes. With two classes, both differ by the same amount and only one is counted, so that the score is
/// between 0 and 1; with more it is between 0 and 2. scikit-learn's `brier_score_loss`.
///
/// Brier, Verification of Forecasts Expressed in Terms of Probability, 1950.
pub(crate) fn brier_scores(targets: &[usize], probabilities: &[Vec<f64>]) -> Vec<f64> {
    let pairs = targets.iter().zip(probabilities);
    pairs
        .map(|(target, row)| {
            let squares = row.iter().enumerate().map(|(class, probability)| {
                let truth = f64::from(u8::from(class == *target));
                (probability - truth).powi(2)
            });
            let sum: f64 = squares.sum();
            if row.len() == 2 { sum / 2.0 } else { sum }
        })
        .collect()
}

/// The mean of `values`, where value `i` counts `times[i]` times; undefined without any.
pub(crate) fn mean(values: &[f64], times: &[u32]) -> Option<f64> {
    let n: u64 = times.iter().map(|n| u64::from(*n)).sum();
    let terms = values.iter().zip(times);
    let sum: f64 = terms.map(|(value, n)| value * f64::from(*n)).sum();
    (n > 0).then(|| sum / n as f64)
}

/// Sorts images into [`N_BINS`] bins of equal width. Each image has its confidence, whether its prediction is correct, and how many
/// times it counts. A confidence that is no number is left out.
pub(crate) fn bins(images: impl IntoIterator<Item = (f64, bool, usize)>) -> Vec<CalibrationBin> {
    let edge = |at: usize| at as f64 / N_BINS as f64;
    let mut sums = vec![(0_usize, 0.0, 0_usize); N_BINS];
    for (confidence, is_correct, times) in images {
        if confidence.is_finite() {
            let inner = 1..N_BINS;
            let at = inner.filter(|at| confidence > edge(*at)).count();
            let (images, confidences, n_correct) = &mut sums[at];
            *images += times;
            *confidences += confidence * times as f64;
            *n_correct += if is_correct { times } else { 0 };
        }
    }
    let bins = sums.into_iter().enumerate();
    bins.map(|(at, (images, confidences, n_correct))| CalibrationBin {
        low: edge(at),
        high: edge(at + 1),
        images,
        confidence: (images > 0).then(|| confidences / images as f64),
        accuracy: super::classification::ratio(n_correct, images),
    })
    .collect()
}

/// The expected calibration error: the difference between accuracy and mean confidence, averaged over the images of the bins.
/// Undefined without images.
///
/// Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015; with the bins of Guo,
/// Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, 2017.
pub(crate) fn expected_error(bins: &[CalibrationBin]) -> Option<f64> {
    let n: usize = bins.iter().map(|bin| bin.images).sum();
    let gaps = bins.iter().filter_map(|bin| {
        let gap = (bin.accuracy? - bin.confidence?).abs();
        Some(gap * bin.images as f64 / n as f64)
    });
    (n > 0).then(|| gaps.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_mean_distance_over_images() {
        let predictions = [
            (0.95, true, 1),
            (0.95, false, 1),
            (1.0, true, 1),
            (0.55, true, 1),
            (f64::NAN, true, 1),
        ];
        let bins = bins(predictions);
        assert_eq!(bins[14].images, 3);
        assert_eq!(bins[8].images, 1);
        let error = expected_error(&bins).unwrap();
        // |2.9 / 3 - 2 / 3| for three images, |0.55 - 1| for one.
        assert!((error - (0.9 + 0.45) / 4.0).abs() < 1e-12, "{error}");
        assert_eq!(expected_error(&super::bins([])), None);
    }
}

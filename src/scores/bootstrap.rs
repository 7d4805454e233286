//! Confidence intervals of scores that are not proportions, by the bootstrap. Pure: the draws follow from a fixed seed.
//!
//! Efron, Bootstrap Methods: Another Look at the Jackknife, 1979; the interval is that of percentiles.

use rand_chacha::rand_core::Rng as _;
use rayon::prelude::*;

use crate::random;

/// The number of resamples. The ends of an interval vary by a few percent of its width with the seed.
pub(crate) const N_RESAMPLES: usize = 1000;
/// The seed of the resamples, which is not that of the run: evaluations of different runs stay comparable image by image.
const SEED: u64 = 0;

/// Computes scores of resamples of `n` images. `scores` is given how often each image was drawn, and always returns as many
/// values, in the same order. The result has one interval for each.
pub(crate) fn intervals(
    n: usize,
    scores: impl Fn(&[u32]) -> Vec<Option<f64>> + Sync,
) -> Vec<Option<(f64, f64)>> {
    let resamples = (0..N_RESAMPLES).into_par_iter();
    let resamples: Vec<Vec<Option<f64>>> = resamples
        .map(|number| scores(&drawn(n, number as u64)))
        .collect();
    let n_scores = resamples.first().map_or(0, Vec::len);
    (0..n_scores)
        .map(|at| percentiles(resamples.iter().filter_map(|scores| scores[at]).collect()))
        .collect()
}

/// How often each of `n` images occurs among `n` draws with replacement.
fn drawn(n: usize, number: u64) -> Vec<u32> {
    let mut times = vec![0; n];
    let mut rng = random::rng(SEED, "bootstrap", &[number]);
    for _ in 0..n {
        // The high half of the product is uniform in 0..n, except for a bias below one in 2^32 for any real data set.
        let image = (u128::from(rng.next_u64()) * n as u128) >> 64;
        times[image as usize] += 1;
    }
    times
}

/// The 2.5 % and the 97.5 % quantile, interpolated linearly as in `NumPy`. Absent without values, and if all are equal: resamples
/// of a score that cannot vary, such as that of images that are all correct, say nothing about other images.
fn percentiles(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let quantile = |share: f64| {
        let at = share * last as f64;
        let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
        below + (above - below) * at.fract()
    };
    let (low, high) = (quantile(0.025), quantile(0.975));
    (low < high).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8, 16], [0.025, 0.975])
        assert_eq!(
            percentiles(vec![8.0, 1.0, 16.0, 2.0, 4.0]),
            Some((1.1, 15.2))
        );
        assert_eq!(percentiles(vec![1.0; 9]), None);
        assert_eq!(percentiles(Vec::new()), None);
    }

    #[test]
    fn resamples_draw_every_image_about_once_and_are_the_same_each_time() {
        let times = drawn(500, 3);
        assert_eq!(times.iter().sum::<u32>(), 500);
        let n_absent = times.iter().filter(|n| **n == 0).count();
        // 500 / e = 184 on average.
        assert!((150..220).contains(&n_absent), "{n_absent}");
        assert_eq!(times, drawn(500, 3));
        assert_ne!(times, drawn(500, 4));
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_distribution() {
        let n = 400;
        let values: Vec<f64> = (0..n).map(|at| f64::from(at) / f64::from(n)).collect();
        let found = intervals(n as usize, |times| {
            vec![super::super::calibration::mean(&values, times)]
        });
        let (low, high) = found[0].unwrap();
        // The standard error of the mean of uniform numbers is 1 / sqrt(12 n).
        let half = 1.96 / (12.0 * f64::from(n)).sqrt();
        assert!((low - (0.499 - half)).abs() < 0.15 * half, "{low}");
        assert!((high - (0.499 + half)).abs() < 0.15 * half, "{high}");
    }
}

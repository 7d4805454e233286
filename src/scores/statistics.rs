//! Confidence intervals of a measured accuracy, and tests whether two models differ, on counts.
//! Pure; knows no images, runs or models.

/// The 0.975 quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % score interval, as `(low, high)` in 0..=1, of a fraction seen as `n_right` of `n`; `(0, 1)` for `n = 0`.
///
/// `(p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)`: Wilson, Probable Inference, the Law of Succession, and
/// Statistical Inference, 1927.
pub(crate) fn wilson(n_right: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (right, wrong, n) = (n_right as f64, n.saturating_sub(n_right) as f64, n as f64);
    let square = Z * Z;
    let center = right + square / 2.0;
    let half = Z * (right * wrong / n + square / 4.0).sqrt();
    // The exact bounds are 0 and 1 here; with rounded terms, the formula would miss them slightly.
    let low = if right == 0.0 {
        0.0
    } else {
        (center - half) / (n + square)
    };
    let high = if wrong == 0.0 {
        1.0
    } else {
        (center + half) / (n + square)
    };
    (low, high)
}

/// The exact two-sided p-value of the hypothesis that two models err equally often, from the numbers of images that only one of
/// them classifies correctly; 1 if there are none.
///
/// `min(1, 2 P(X <= min(a, b)))` with `X` binomial of `a + b` tosses of a fair coin: `McNemar`, Note on the Sampling Error of
/// the Difference Between Correlated Proportions or Percentages, 1947, with the binomial in place of chi-squared.
pub(crate) fn mcnemar(only_a: usize, only_b: usize) -> f64 {
    if only_a == only_b {
        return 1.0;
    }
    let (fewer, more) = (only_a.min(only_b), only_a.max(only_b));
    let (mantissa, exponent) = choose(fewer, more);
    let exponent = exponent - (only_a + only_b) as f64;
    // Twice, for both tails.
    let p = 2.0 * mantissa * lower_tail(fewer, more) * exponent.exp2();
    p.min(1.0)
}

/// `(a + b)! / (a! b!)` as mantissa and binary exponent, because the number overflows from about a thousand tosses on.
fn choose(a: usize, b: usize) -> (f64, f64) {
    let (mut mantissa, mut exponent) = (1.0, 0.0);
    for i in 1..=a {
        mantissa *= (b + i) as f64 / i as f64;
        // A power of two is divided out without rounding.
        while mantissa >= 2.0 {
            mantissa /= 2.0;
            exponent += 1.0;
        }
    }
    (mantissa, exponent)
}

/// The probabilities of `a` and fewer heads in `a + b` tosses of a fair coin, summed in units of that of `a`; `a < b`.
fn lower_tail(a: usize, b: usize) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for i in 0..a {
        term *= (a - i) as f64 / (b + i + 1) as f64;
        sum += term;
        // The terms fall faster and faster, so the rest cannot change the sum.
        if term < sum * f64::EPSILON * 1e-3 {
            break;
        }
    }
    sum
}

/// Adjusts the p-values of a family of tests, so that each can be compared with the significance level of the whole family.
///
/// The i-th smallest of m (from 0) becomes the largest `(m - j) p_j` of `j <= i`, at most 1: Holm, A Simple Sequentially
/// Rejective Multiple Test Procedure, 1979.
pub(crate) fn holm(p_values: &[f64]) -> Vec<f64> {
    let n = p_values.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; n];
    let mut largest = 0.0_f64;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max((n - rank) as f64 * p_values[index]).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a golden file below its header.
    fn rows(csv: &str) -> Vec<Vec<&str>> {
        csv.lines()
            .skip(1)
            .map(|line| line.split(',').collect())
            .collect()
    }

    fn assert_close(actual: f64, expected: &str, what: &[&str]) {
        let expected: f64 = expected.parse().unwrap();
        let is_close = (actual - expected).abs() <= 1e-9 * expected.abs();
        assert!(is_close, "{what:?}: {actual:e} is not {expected:e}");
    }

    #[test]
    fn wilson_intervals_are_those_of_statsmodels() {
        let rows = rows(include_str!("../../tests/fixtures/statistics/wilson.csv"));
        assert!(rows.len() > 20);
        for row in rows {
            let (low, high) = wilson(row[0].parse().unwrap(), row[1].parse().unwrap());
            assert_close(low, row[2], &row);
            assert_close(high, row[3], &row);
        }
    }

    #[test]
    fn wilson_ends_are_exact() {
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        for n in [1, 3, 10, 160, 5000, 25_000] {
            assert_eq!(wilson(0, n).0.to_bits(), 0.0_f64.to_bits());
            assert_eq!(wilson(n, n).1.to_bits(), 1.0_f64.to_bits());
        }
    }

    #[test]
    fn mcnemar_is_scipys_binomial_test() {
        let rows = rows(include_str!("../../tests/fixtures/statistics/mcnemar.csv"));
        assert!(rows.len() > 15);
        for row in rows {
            let (a, b) = (row[0].parse().unwrap(), row[1].parse().unwrap());
            assert_close(mcnemar(a, b), row[2], &row);
            assert_eq!(mcnemar(a, b).to_bits(), mcnemar(b, a).to_bits());
        }
    }

    #[test]
    fn mcnemar_of_millions_neither_overflows_nor_vanishes() {
        let p = mcnemar(2_000_000, 2_010_000);
        // SciPy 1.17.1's 2 * binom.cdf(2000000, 4010000, 0.5); too slow to be checked in whole numbers.
        assert_close(p, "5.936707170285831e-07", &["millions"]);
        assert!(mcnemar(3_000_000, 1).abs() < f64::MIN_POSITIVE);
    }

    #[test]
    fn holm_is_that_of_statsmodels() {
        let rows = rows(include_str!("../../tests/fixtures/statistics/holm.csv"));
        for family in rows.chunk_by(|a, b| a[0] == b[0]) {
            let p_values: Vec<f64> = family.iter().map(|row| row[1].parse().unwrap()).collect();
            for (adjusted, row) in holm(&p_values).into_iter().zip(family) {
                assert_close(adjusted, row[2], row);
            }
        }
        assert!(holm(&[]).is_empty());
    }
}

//! Draws trials from the distributions of the axes, at points of the unit cube that are random or a Sobol sequence. Pure.
//!
//! A draw depends on the seed, its own number and its axis, never on the number of draws, so that raising `max_trials` keeps the
//! earlier trials. Drawn numbers have four significant digits, so that they are easy to read and type.

use std::collections::HashSet;

use toml::Value;

use super::{
    definition::{Axis, Setting, Values},
    trials::sets,
};
use crate::random::derive_seed;

/// After at least this many consecutive repeated draws, all combinations are assumed to be drawn.
const FEWEST_REPEATS: u64 = 1000;

/// The number of points in one Sobol sequence, as a power of two.
const POINTS_EXPONENT: u32 = 16;
/// The number of random bits that a coordinate of a Sobol point has as an `f32`.
const COORDINATE_BITS: u32 = 23;

/// A source of points in the unit cube.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequence {
    /// Independent uniform points.
    Random { seed: u64 },
    /// The Sobol sequence (Joe and Kuo 2008) with Owen scrambling by hashing (Burley 2020): each point is uniform, and together they
    /// fill the cube evenly. The first 2^k points have one point in each of 2^k equal intervals of every axis.
    Sobol { seed: u64 },
}

impl Sequence {
    /// A coordinate of a point in 0..1, in units of 2^-64.
    fn bits(self, draw: u64, axis: u64) -> u64 {
        match self {
            Self::Random { seed } => derive_seed(seed, "sweep", &[draw, axis]),
            Self::Sobol { seed } => {
                let n_dimensions = u64::from(sobol_burley::NUM_DIMENSIONS);
                // More points, or more axes, than one sequence has are those of another, independent one.
                let numbers = [draw >> POINTS_EXPONENT, axis / n_dimensions];
                let scramble = derive_seed(seed, "sobol", &numbers) as u32;
                let point = draw as u32 & ((1 << POINTS_EXPONENT) - 1);
                let coordinate =
                    sobol_burley::sample(point, (axis % n_dimensions) as u32, scramble);
                let upper = (coordinate * (1_u32 << COORDINATE_BITS) as f32) as u64;
                // Owen scrambling makes the digits that do not tell points apart independent and uniform.
                let lower = derive_seed(seed, "sobol digits", &[draw, axis]) >> COORDINATE_BITS;
                upper << (u64::BITS - COORDINATE_BITS) | lower
            }
        }
    }
}

/// Draws different combinations; a repeated one is skipped, and the next draw takes its place.
pub(super) fn draws(axes: &[Axis], n_trials: usize, sequence: Sequence) -> Vec<Vec<Setting>> {
    let n_different = axes.iter().fold(1_u64, |product, axis| {
        product.saturating_mul(n_different(axis))
    });
    let n_trials = n_trials.min(usize::try_from(n_different).unwrap_or(usize::MAX));
    // The chance that a remaining combination does not turn up in this many draws is e^-64.
    let most_repeats = FEWEST_REPEATS.max(64 * n_different.min(n_trials as u64));
    let mut drawn = HashSet::new();
    let mut combinations = Vec::new();
    let (mut draw, mut n_repeats) = (0, 0);
    while combinations.len() < n_trials && n_repeats < most_repeats {
        let settings: Vec<Setting> = (0_u64..)
            .zip(axes)
            .map(|(index, axis)| sample(axis, sequence.bits(draw, index)))
            .collect();
        if drawn.insert(sets(&settings)) {
            combinations.push(settings);
            n_repeats = 0;
        } else {
            n_repeats += 1;
        }
        draw += 1;
    }
    combinations
}

/// The number of different values of an axis; `u64::MAX` for an interval.
fn n_different(axis: &Axis) -> u64 {
    match &axis.values {
        Values::Choices(choices) => choices.len() as u64,
        Values::UniformInteger { low, high } => high.abs_diff(*low).saturating_add(1),
        Values::Uniform { .. } | Values::LogUniform { .. } => u64::MAX,
    }
}

/// The value of the axis at `bits`, which are a point of 0..1 in units of 2^-64.
fn sample(axis: &Axis, bits: u64) -> Setting {
    // The upper 53 bits, uniform in 0.0..1.0 at the precision of an `f64`.
    let share = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    // The high half of the product is uniform in 0..n, apart from a bias below n in 2^64.
    let below = |n: u128| (u128::from(bits) * n) >> 64;
    let value = match &axis.values {
        Values::Choices(choices) => {
            let (value, span) = &choices[below(choices.len() as u128) as usize];
            return axis.setting(value.clone(), span.clone());
        }
        Values::Uniform { low, high } => {
            // Not `low + share * (high - low)`, because `high - low` may overflow to infinity.
            Value::from(legible(low * (1.0 - share) + high * share, *low, *high))
        }
        Values::UniformInteger { low, high } => {
            let offset = below(u128::from(high.abs_diff(*low)) + 1);
            Value::from((i128::from(*low) + offset as i128) as i64)
        }
        Values::LogUniform { low, high } => {
            let exponent = low.ln() * (1.0 - share) + high.ln() * share;
            Value::from(legible(exponent.exp(), *low, *high))
        }
    };
    axis.setting(value, axis.span.clone())
}

/// Rounds to four significant digits, but never beyond the interval.
fn legible(value: f64, low: f64, high: f64) -> f64 {
    let rounded = format!("{value:.3e}").parse().unwrap_or(value);
    rounded.clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: Sequence = Sequence::Random { seed: 3 };
    const SOBOL: Sequence = Sequence::Sobol { seed: 3 };

    /// The most points of the first 64 in a cell of a grid of `n_columns` times `64 / n_columns` cells.
    fn most_in_a_cell(sequence: Sequence, axes: [u64; 2], n_columns: u64) -> usize {
        let mut cells = [0; 64];
        for draw in 0..64 {
            let place =
                |axis, n: u64| (u128::from(sequence.bits(draw, axis)) * u128::from(n)) >> 64;
            let n_rows = 64 / n_columns;
            let (column, row) = (place(axes[0], n_columns), place(axes[1], n_rows));
            cells[column as usize * n_rows as usize + row as usize] += 1;
        }
        cells.into_iter().max().unwrap_or(0)
    }

    #[test]
    fn a_sobol_sequence_puts_one_point_into_each_cell() {
        for n_columns in [1, 2, 4, 8, 16, 32, 64] {
            assert_eq!(most_in_a_cell(SOBOL, [0, 1], n_columns), 1, "{n_columns}");
            assert!(most_in_a_cell(RANDOM, [0, 1], n_columns) > 1, "{n_columns}");
        }
        // Of any two axes, each alone is even.
        assert_eq!(most_in_a_cell(SOBOL, [255, 256], 64), 1);
        assert_eq!(most_in_a_cell(SOBOL, [255, 256], 1), 1);
    }

    /// The root mean square error, over 50 seeds, of the integral of `cos(x + y + z)` over the unit cube from 64 points.
    fn error(sequence: impl Fn(u64) -> Sequence) -> f64 {
        // The real part of the cube of the integral of e^(ix).
        let (re, im) = (1_f64.sin(), 1.0 - 1_f64.cos());
        let exact = re.powi(3) - 3.0 * re * im * im;
        let squares = (0..50).map(|seed| {
            let sequence = sequence(seed);
            let at = |draw, axis| sequence.bits(draw, axis) as f64 / 2_f64.powi(64);
            let values = (0..64).map(|draw| (at(draw, 0) + at(draw, 1) + at(draw, 2)).cos());
            (values.sum::<f64>() / 64.0 - exact).powi(2)
        });
        (squares.sum::<f64>() / 50.0).sqrt()
    }

    #[test]
    fn a_sobol_sequence_integrates_better_than_random_points() {
        let random = error(|seed| Sequence::Random { seed });
        let sobol = error(|seed| Sequence::Sobol { seed });
        assert!(sobol * 5.0 < random, "{sobol} {random}");
    }

    #[test]
    fn the_points_of_a_sequence_stay_what_they_are() {
        let bits =
            [0, 1, 65_535, 65_536].map(|draw| [0, 1, 256].map(|axis| SOBOL.bits(draw, axis)));
        let expected = [
            [
                17_472_308_133_679_064_449,
                12_348_722_063_228_032_576,
                14_892_312_034_333_452_360,
            ],
            [
                3_154_126_507_472_947_165,
                7_503_452_550_401_069_516,
                2_293_208_143_499_418_020,
            ],
            [
                828_285_562_607_452_313,
                16_113_539_296_543_916_299,
                13_840_209_159_016_681_451,
            ],
            [
                14_910_296_337_771_705_752,
                18_161_039_544_743_513_959,
                6_416_367_356_479_990_743,
            ],
        ];
        assert_eq!(bits, expected);
    }
}

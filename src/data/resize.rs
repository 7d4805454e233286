//! Resamples images like torchvision's `Resize` on float tensors: bilinear or bicubic, with antialiasing, without rounding to 8 bits
//! between or after the passes. Normalizes the output. Pure.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use std::ops::Range;

use pulp::Arch;

use crate::{
    config::experiment::{Interpolation, Normalize},
    data::decode::RgbImage8,
};

/// What is computed of a resampled image.
pub(super) struct Resampling {
    /// The part of the image that is resampled: left, top, width, height.
    pub(super) part: [usize; 4],
    /// The number of rows and columns that the part is resampled to.
    pub(super) size: [usize; 2],
    /// The rows and columns of the result that are computed; neither is empty.
    pub(super) window: [Range<usize>; 2],
    pub(super) interpolation: Interpolation,
}

/// The input lines that contribute to one output line, and their weights, which add up to 1.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

impl Interpolation {
    /// The distance from which on the filter is 0.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The filter at a distance. Bicubic is Keys' kernel with a = -0.5, as in Pillow, whatever PyTorch uses without antialiasing.
    /// Source: `aa_filter` of `PyTorch`'s `UpSampleKernel.cpp`.
    fn weight(self, distance: f64) -> f64 {
        const A: f64 = -0.5;
        let x = distance.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}

/// The taps of the outputs in `wanted`, of a filter that widens with the scale, so that every input pixel contributes when an image
/// is shrunk. Source: `_compute_weights_aa` of `PyTorch`'s `UpSampleKernel.cpp`, which is Pillow's `precompute_coeffs`.
fn taps(
    n_inputs: usize,
    n_outputs: usize,
    wanted: Range<usize>,
    filter: Interpolation,
) -> Vec<Taps> {
    let scale = n_inputs as f64 / n_outputs as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let taps = wanted.map(|output| {
        let center = scale * (output as f64 + 0.5);
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(n_inputs);
        let weights = (first..end).map(|input| {
            let distance = (input as f64 + 0.5 - center) / stretch;
            filter.weight(distance)
        });
        let weights: Vec<f64> = weights.collect();
        let total: f64 = weights.iter().sum();
        Taps {
            first,
            weights: weights
                .iter()
                .map(|weight| (weight / total) as f32)
                .collect(),
        }
    });
    taps.collect()
}

/// Writes the window of the resampled image as normalized planes `[3, rows, columns]`; values are `(pixel / 255 - mean) / std`.
/// A bicubic filter overshoots at edges; as in torchvision on float tensors, its values are not clamped to `0..=1`.
pub(super) fn resize(
    image: &RgbImage8,
    resampling: &Resampling,
    normalize: &Normalize,
    out: &mut [f32],
) {
    let Resampling {
        part: [left, top, width, height],
        size,
        window: [rows, columns],
        interpolation,
    } = resampling;
    let down = taps(*height, size[0], rows.clone(), *interpolation);
    let mut across = taps(*width, size[1], columns.clone(), *interpolation);
    // Only the input columns that the window needs are added up, so that a crop costs no more than what it shows.
    let start = across.first().map_or(0, |taps| taps.first);
    let end = across.last().map_or(0, Taps::end);
    for taps in &mut across {
        taps.first -= start;
    }
    let inputs_of_row = 3 * (left + start)..3 * (left + end);
    let n_columns = columns.len();
    // One extra value, because `gather` loads four values at a time, also for the three of the last pixel.
    let mut line = vec![0.0; 3 * (end - start) + 1];
    let arch = Arch::new();
    for (row, taps) in down.iter().enumerate() {
        let inputs = image.pixels.chunks_exact(3 * image.width);
        let inputs = inputs.skip(top + taps.first).zip(&taps.weights);
        line.fill(0.0);
        for (input, weight) in inputs {
            let input = &input[inputs_of_row.clone()];
            arch.dispatch(|| add(&mut line, input, *weight));
        }
        let [red, green, blue] = planes(out, rows.len() * n_columns);
        let range = row * n_columns..(row + 1) * n_columns;
        let planes = [
            &mut red[range.clone()],
            &mut green[range.clone()],
            &mut blue[range],
        ];
        arch.dispatch(|| gather(&line, &across, normalize, planes));
    }
}

fn planes(out: &mut [f32], n_values: usize) -> [&mut [f32]; 3] {
    let (red, rest) = out.split_at_mut(n_values);
    let (green, blue) = rest.split_at_mut(n_values);
    [red, green, blue]
}

#[inline(always)]
fn add(line: &mut [f32], input: &[u8], weight: f32) {
    for (sum, value) in line.iter_mut().zip(input) {
        *sum += weight * f32::from(*value);
    }
}

#[inline(always)]
fn gather(line: &[f32], across: &[Taps], normalize: &Normalize, planes: [&mut [f32]; 3]) {
    let Normalize { mean, std } = normalize;
    let [red, green, blue] = planes;
    for (column, taps) in across.iter().enumerate() {
        let mut sums = [0.0; 4];
        let pixels = line[3 * taps.first..].windows(4).step_by(3);
        for (pixel, weight) in pixels.zip(&taps.weights) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += weight * value;
            }
        }
        for (channel, plane) in [&mut *red, &mut *green, &mut *blue].into_iter().enumerate() {
            plane[column] = (sums[channel] / 255.0 - mean[channel]) / std[channel];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Normalize = Normalize {
        mean: [0.0; 3],
        std: [1.0; 3],
    };

    fn image(width: usize, height: usize) -> RgbImage8 {
        let pixels = (0..3 * width * height).map(|at| (at * 7919 % 251) as u8);
        RgbImage8 {
            width,
            height,
            pixels: pixels.collect(),
        }
    }

    /// Computes one output value from the definition, in both directions at once.
    fn expected(
        image: &RgbImage8,
        resampling: &Resampling,
        [channel, row, column]: [usize; 3],
    ) -> f64 {
        let [left, top, width, height] = resampling.part;
        let weight = |n_inputs: usize, n_outputs: usize, input: usize, output: usize| {
            let scale = n_inputs as f64 / n_outputs as f64;
            let distance = input as f64 + 0.5 - scale * (output as f64 + 0.5);
            let x = (distance / scale.max(1.0)).abs();
            match resampling.interpolation {
                Interpolation::Bilinear => (1.0 - x).max(0.0),
                Interpolation::Bicubic if x <= 1.0 => 1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0,
                Interpolation::Bicubic if x <= 2.0 => {
                    -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0
                }
                Interpolation::Bicubic => 0.0,
            }
        };
        let [n_rows, n_columns] = resampling.size;
        let (mut sum, mut total) = (0.0, 0.0);
        for y in 0..height {
            for x in 0..width {
                let weight = weight(height, n_rows, y, row) * weight(width, n_columns, x, column);
                let pixel = 3 * ((top + y) * image.width + left + x) + channel;
                sum += weight * f64::from(image.pixels[pixel]);
                total += weight;
            }
        }
        sum / total / 255.0
    }

    #[test]
    fn every_value_is_the_weighted_mean_of_its_neighbours() {
        for (from, part, size, window) in [
            ([9, 7], [0, 0, 9, 7], [3, 4], [0..3, 0..4]),
            ([9, 7], [2, 1, 5, 6], [6, 5], [0..6, 0..5]),
            ([3, 2], [0, 0, 3, 2], [5, 7], [0..5, 0..7]),
            ([1, 1], [0, 0, 1, 1], [2, 3], [0..2, 0..3]),
            ([40, 30], [0, 0, 40, 30], [11, 13], [0..11, 0..13]),
            ([40, 30], [0, 0, 40, 30], [11, 13], [4..7, 6..7]),
            ([40, 30], [3, 5, 31, 24], [50, 60], [12..30, 41..60]),
        ] {
            for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
                let image = image(from[0], from[1]);
                let [rows, columns] = [window[0].len(), window[1].len()];
                let resampling = Resampling {
                    part,
                    size,
                    window: window.clone(),
                    interpolation,
                };
                let mut out = vec![f32::NAN; 3 * rows * columns];
                resize(&image, &resampling, &PLAIN, &mut out);
                for (index, value) in out.iter().enumerate() {
                    let (channel, place) = (index / (rows * columns), index % (rows * columns));
                    let at = [
                        channel,
                        window[0].start + place / columns,
                        window[1].start + place % columns,
                    ];
                    let expected = expected(&image, &resampling, at);
                    assert!(
                        (f64::from(*value) - expected).abs() < 1e-6,
                        "{from:?} {at:?} {interpolation:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_window_has_the_bits_of_the_whole() {
        let image = image(61, 47);
        for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
            let [n_rows, n_columns] = [29, 37];
            let part = [2, 3, 55, 41];
            let computed = |window: [Range<usize>; 2]| {
                let mut out = vec![f32::NAN; 3 * window[0].len() * window[1].len()];
                let resampling = Resampling {
                    part,
                    size: [n_rows, n_columns],
                    window,
                    interpolation,
                };
                resize(&image, &resampling, &PLAIN, &mut out);
                out
            };
            let whole = computed([0..n_rows, 0..n_columns]);
            let (rows, columns) = (5..21, 9..30);
            let mut found = computed([rows.clone(), columns.clone()]).into_iter();
            for plane in whole.chunks(n_rows * n_columns) {
                for row in rows.clone() {
                    for column in columns.clone() {
                        let value = plane[row * n_columns + column];
                        assert_eq!(found.next().map(f32::to_bits), Some(value.to_bits()));
                    }
                }
            }
        }
    }
}

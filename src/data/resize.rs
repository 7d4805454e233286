//! Resamples images like torchvision's `Resize` on float tensors: bilinear, with antialiasing, without rounding to 8 bits between
//! or after the passes. Normalises the output. Pure.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use pulp::Arch;

use crate::{config::experiment::Normalize, data::decode::RgbImage8};

/// The input lines that contribute to one output line, and their weights, which add up to 1.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// Weights of a triangle filter that widens with the scale, so that every input pixel contributes when an image is shrunk.
/// Source: `_compute_weights_aa` of `PyTorch`'s `UpSampleKernel.cpp`, which is Pillow's `precompute_coeffs`.
fn taps(n_inputs: usize, n_outputs: usize) -> Vec<Taps> {
    let scale = n_inputs as f64 / n_outputs as f64;
    let support = scale.max(1.0);
    let taps = (0..n_outputs).map(|output| {
        let center = scale * (output as f64 + 0.5);
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(n_inputs);
        let weights = (first..end).map(|input| {
            let distance = (input as f64 + 0.5 - center) / support;
            (1.0 - distance.abs()).max(0.0)
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

/// Writes the `[left, top, width, height]` of `image`, resampled to `[rows, columns]`, as normalised planes
/// `[3, rows, columns]`; values are `(pixel / 255 - mean) / std`.
pub(super) fn resize(
    image: &RgbImage8,
    [left, top, width, height]: [usize; 4],
    [n_rows, n_columns]: [usize; 2],
    normalize: &Normalize,
    out: &mut [f32],
) {
    let (down, across) = (taps(height, n_rows), taps(width, n_columns));
    // One extra value, because `gather` loads four values at a time, also for the three of the last pixel.
    let mut line = vec![0.0; 3 * width + 1];
    let arch = Arch::new();
    for (row, taps) in down.iter().enumerate() {
        let inputs = image.pixels.chunks_exact(3 * image.width);
        let inputs = inputs.skip(top + taps.first).zip(&taps.weights);
        line.fill(0.0);
        for (input, weight) in inputs {
            let input = &input[3 * left..3 * (left + width)];
            arch.dispatch(|| add(&mut line, input, *weight));
        }
        let [red, green, blue] = planes(out, n_rows * n_columns);
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
    fn expected(image: &RgbImage8, crop: [usize; 4], size: [usize; 2], at: [usize; 3]) -> f64 {
        let [left, top, width, height] = crop;
        let [channel, row, column] = at;
        let weight = |n_inputs: usize, n_outputs: usize, input: usize, output: usize| {
            let scale = n_inputs as f64 / n_outputs as f64;
            let distance = input as f64 + 0.5 - scale * (output as f64 + 0.5);
            (1.0 - (distance / scale.max(1.0)).abs()).max(0.0)
        };
        let (mut sum, mut total) = (0.0, 0.0);
        for y in 0..height {
            for x in 0..width {
                let weight = weight(height, size[0], y, row) * weight(width, size[1], x, column);
                let pixel = 3 * ((top + y) * image.width + left + x) + channel;
                sum += weight * f64::from(image.pixels[pixel]);
                total += weight;
            }
        }
        sum / total / 255.0
    }

    #[test]
    fn every_value_is_the_weighted_mean_of_its_neighbours() {
        for (from, crop, size) in [
            ([9, 7], [0, 0, 9, 7], [3, 4]),
            ([9, 7], [2, 1, 5, 6], [6, 5]),
            ([3, 2], [0, 0, 3, 2], [5, 7]),
            ([1, 1], [0, 0, 1, 1], [2, 3]),
            ([40, 30], [0, 0, 40, 30], [11, 13]),
        ] {
            let image = image(from[0], from[1]);
            let mut out = vec![f32::NAN; 3 * size[0] * size[1]];
            resize(&image, crop, size, &PLAIN, &mut out);
            for (index, value) in out.iter().enumerate() {
                let place = index % (size[0] * size[1]);
                let channel = index / (size[0] * size[1]);
                let at = [channel, place / size[1], place % size[1]];
                let expected = expected(&image, crop, size, at);
                assert!(
                    (f64::from(*value) - expected).abs() < 1e-6,
                    "{from:?} {at:?}"
                );
            }
        }
    }
}

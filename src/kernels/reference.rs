//! Plain f64 convolutions and poolings that the tests compare with. Knows nothing about the kernels.

use super::tiles::Nhwc;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Values of roughly normal distribution from a seed, half of them set to zero if `relu`.
pub(crate) fn random_values(seed: u64, length: usize, relu: bool) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..length)
        .map(|_| {
            let sum: f32 = (0..4).map(|_| random.random_range(-1.0f32..1.0)).sum();
            if relu { sum.max(0.0) } else { sum }
        })
        .collect()
}

/// Weights `[out, in, 3, 3]` that keep the size of ReLU-like activations.
pub(crate) fn random_weights(seed: u64, out_channels: usize, in_channels: usize) -> Vec<f32> {
    let scale = (1.5 / (9.0 * in_channels as f32)).sqrt();
    random_values(seed, out_channels * in_channels * 9, false)
        .into_iter()
        .map(|value| value * scale)
        .collect()
}

/// Calls `visit(input index, weight index, output index)` for every product of a convolution.
pub(crate) fn visit_products(
    shape: Nhwc,
    out_channels: usize,
    mut visit: impl FnMut(usize, usize, usize),
) {
    let outside = shape.with_channels(out_channels);
    for image in 0..shape.n {
        for y in 0..shape.height {
            for x in 0..shape.width {
                for tap in 0..9 {
                    let (from_y, from_x) = (y + tap / 3, x + tap % 3);
                    if from_y == 0 || from_x == 0 || from_y > shape.height || from_x > shape.width {
                        continue;
                    }
                    let from = shape.pixel(image, from_y - 1, from_x - 1);
                    let to = outside.pixel(image, y, x);
                    for output in 0..out_channels {
                        for input in 0..shape.channels {
                            let weight = (output * shape.channels + input) * 9 + tap;
                            visit(from + input, weight, to + output);
                        }
                    }
                }
            }
        }
    }
}

/// Direct convolution of NHWC values.
pub(crate) fn convolve(
    input: &[f64],
    shape: Nhwc,
    weight: &[f32],
    bias: &[f32],
    relu: bool,
) -> Vec<f64> {
    let outside = shape.with_channels(bias.len());
    let mut output = vec![0.0; outside.len()];
    for (value, bias) in output.iter_mut().zip(bias.iter().cycle()) {
        *value = f64::from(*bias);
    }
    visit_products(shape, bias.len(), |from, at, to| {
        output[to] += input[from] * f64::from(weight[at]);
    });
    if relu {
        for value in &mut output {
            *value = value.max(0.0);
        }
    }
    output
}

/// 2x2 max pool of stride 2 of NHWC values.
pub(crate) fn pool(input: &[f64], shape: Nhwc) -> Vec<f64> {
    let target = shape.pooled();
    let mut output = vec![f64::NEG_INFINITY; target.len()];
    for image in 0..shape.n {
        for y in 0..target.height * 2 {
            for x in 0..target.width * 2 {
                for channel in 0..shape.channels {
                    let to = target.pixel(image, y / 2, x / 2) + channel;
                    let from = shape.pixel(image, y, x) + channel;
                    output[to] = f64::max(output[to], input[from]);
                }
            }
        }
    }
    output
}

/// Swaps NCHW values into NHWC order.
pub(crate) fn to_nhwc(values: &[f32], shape: Nhwc) -> Vec<f32> {
    let mut swapped = vec![0.0; shape.len()];
    for image in 0..shape.n {
        for channel in 0..shape.channels {
            for y in 0..shape.height {
                for x in 0..shape.width {
                    let from =
                        ((image * shape.channels + channel) * shape.height + y) * shape.width + x;
                    swapped[shape.pixel(image, y, x) + channel] = values[from];
                }
            }
        }
    }
    swapped
}

/// Converts to f64.
pub(crate) fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// The norm of the difference divided by the norm of the expected values.
pub(crate) fn relative_error(actual: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let (mut difference, mut norm) = (0.0, 0.0);
    for (&actual, expected) in actual.iter().zip(expected) {
        difference += (f64::from(actual) - expected).powi(2);
        norm += expected.powi(2);
    }
    (difference / f64::max(norm, f64::MIN_POSITIVE)).sqrt()
}

/// The bits of values, which tell a NaN from another and -0 from 0.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Runs `work` with this number of threads.
pub(crate) fn in_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

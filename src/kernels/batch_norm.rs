//! Batch normalisation of NCHW values by the statistics of the batch, and its gradients. Sums have a fixed order at any number of
//! threads. Knows no running statistics and no layers.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::buffer::computed;

/// The number of values whose sums are kept in single precision; sums of such blocks are added in double precision.
const BLOCK: usize = 1024;

/// The fewest values of a task.
const TASK_VALUES: usize = 1 << 14;

/// The number of channels, and of pixels of a channel in an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormSizes {
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
}

/// What is known of a channel: of its values in the batch, or of running statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) mean: f64,
    /// The biased variance.
    pub(crate) variance: f64,
}

impl Moments {
    /// `1 / sqrt(variance + eps)`
    fn inverse_deviation(&self, eps: f64) -> f64 {
        1.0 / (self.variance + eps).sqrt()
    }
}

/// What a channel's values are multiplied by, and what is added then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaleShift {
    pub(crate) scale: f32,
    pub(crate) shift: f32,
}

/// The gradients of a channel's weight and bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelGradient {
    pub(crate) weight: f64,
    pub(crate) bias: f64,
}

/// The mean and the biased variance of each channel.
pub(crate) fn moments(sizes: NormSizes, values: &[f32]) -> Vec<Moments> {
    let arch = Arch::new();
    (0..sizes.channels)
        .into_par_iter()
        .with_min_len((TASK_VALUES * sizes.channels / values.len().max(1)).max(1))
        .map(|channel| {
            arch.dispatch(ChannelMoments {
                sizes,
                channel,
                values,
            })
        })
        .collect()
}

/// The scale and shift that `weight * (x - mean) / sqrt(variance + eps) + bias` amounts to.
pub(crate) fn scale_shift(
    moments: &[Moments],
    weight: &[f32],
    bias: &[f32],
    eps: f64,
) -> Vec<ScaleShift> {
    let parameters = weight.iter().zip(bias);
    let channels = moments.iter().zip(parameters);
    channels
        .map(|(moments, (weight, bias))| {
            let scale = f64::from(*weight) * moments.inverse_deviation(eps);
            ScaleShift {
                scale: scale as f32,
                shift: (f64::from(*bias) - moments.mean * scale) as f32,
            }
        })
        .collect()
}

/// Returns `x * scale + shift`.
pub(crate) fn apply(sizes: NormSizes, scale_shift: &[ScaleShift], values: &[f32]) -> Vec<f32> {
    let arch = Arch::new();
    let chunk = planes_per_task(sizes) * sizes.pixels;
    computed(values.len(), chunk, |task, output| {
        visit_planes(
            arch,
            sizes,
            task,
            output,
            #[inline(always)]
            |channel, first, output| {
                let ScaleShift { scale, shift } = scale_shift[channel];
                let values = &values[first..first + output.len()];
                for (output, value) in output.iter_mut().zip(values) {
                    *output = value * scale + shift;
                }
            },
        );
    })
}

/// Computes `x * scale + shift` in place.
pub(crate) fn apply_in_place(sizes: NormSizes, scale_shift: &[ScaleShift], values: &mut [f32]) {
    by_planes(
        sizes,
        values,
        #[inline(always)]
        |channel, _, values| {
            let ScaleShift { scale, shift } = scale_shift[channel];
            for value in values {
                *value = *value * scale + shift;
            }
        },
    );
}

/// The gradients of each channel's weight and bias, from the input and the gradient of the output.
pub(crate) fn channel_gradients(
    sizes: NormSizes,
    moments: &[Moments],
    eps: f64,
    values: &[f32],
    output_gradient: &[f32],
) -> Vec<ChannelGradient> {
    assert_eq!(values.len(), output_gradient.len(), "gradient size");
    let arch = Arch::new();
    moments
        .par_iter()
        .enumerate()
        .with_min_len((TASK_VALUES * sizes.channels / values.len().max(1)).max(1))
        .map(|(channel, moments)| {
            let (product, sum) = arch.dispatch(ChannelProducts {
                sizes,
                channel,
                mean: moments.mean as f32,
                values,
                gradient: output_gradient,
            });
            // The mean was rounded for the products.
            let product = product - (moments.mean - f64::from(moments.mean as f32)) * sum;
            ChannelGradient {
                weight: product * moments.inverse_deviation(eps),
                bias: sum,
            }
        })
        .collect()
}

/// Turns the gradient of the output into that of the input, for a norm that used these moments of the batch:
/// `w / s * (dy - mean(dy) - xhat * mean(dy * xhat))` (Ioffe and Szegedy 2015, with `xhat = (x - mean) / s`).
pub(crate) fn input_gradient(
    sizes: NormSizes,
    (moments, eps): (&[Moments], f64),
    weight: &[f32],
    gradients: &[ChannelGradient],
    values: &[f32],
    gradient: &mut [f32],
) {
    let n = (values.len() / sizes.channels) as f64;
    let factors = moments.iter().zip(weight).zip(gradients);
    let factors: Vec<[f32; 3]> = factors
        .map(|((moments, weight), gradients)| {
            let inverse = moments.inverse_deviation(eps);
            let of_gradient = f64::from(*weight) * inverse;
            let of_value = -of_gradient * inverse * gradients.weight / n;
            let constant = -of_gradient * gradients.bias / n - of_value * moments.mean;
            [of_gradient as f32, of_value as f32, constant as f32]
        })
        .collect();
    by_planes(
        sizes,
        gradient,
        #[inline(always)]
        |channel, first, gradient| {
            let [of_gradient, of_value, constant] = factors[channel];
            let values = &values[first..first + gradient.len()];
            for (gradient, value) in gradient.iter_mut().zip(values) {
                *gradient = *gradient * of_gradient + (value * of_value + constant);
            }
        },
    );
}

/// Calls `work(channel, index of the first value, plane)` for each plane, vectorised and in parallel.
fn by_planes(sizes: NormSizes, values: &mut [f32], work: impl Fn(usize, usize, &mut [f32]) + Sync) {
    let arch = Arch::new();
    values
        .par_chunks_mut(planes_per_task(sizes) * sizes.pixels)
        .enumerate()
        .for_each(|(task, values)| visit_planes(arch, sizes, task, values, &work));
}

fn planes_per_task(sizes: NormSizes) -> usize {
    (TASK_VALUES / sizes.pixels).max(1)
}

fn visit_planes(
    arch: Arch,
    sizes: NormSizes,
    task: usize,
    values: &mut [f32],
    work: impl Fn(usize, usize, &mut [f32]),
) {
    arch.dispatch(
        #[inline(always)]
        || {
            let first = task * planes_per_task(sizes);
            for (index, plane) in values.chunks_exact_mut(sizes.pixels).enumerate() {
                let index = first + index;
                work(index % sizes.channels, index * sizes.pixels, plane);
            }
        },
    );
}

/// The blocks of a channel's values.
fn blocks(sizes: NormSizes, channel: usize, values: &[f32]) -> impl Iterator<Item = &[f32]> {
    let image = sizes.channels * sizes.pixels;
    values.chunks_exact(image).flat_map(move |image| {
        image[channel * sizes.pixels..(channel + 1) * sizes.pixels].chunks(BLOCK)
    })
}

struct ChannelMoments<'a> {
    sizes: NormSizes,
    channel: usize,
    values: &'a [f32],
}

impl WithSimd for ChannelMoments<'_> {
    type Output = Moments;

    /// Adds up blocks, and merges their moments (Chan, Golub and `LeVeque` 1983).
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Moments {
        let (mut n, mut mean, mut squares) = (0.0f64, 0.0f64, 0.0f64);
        for block in blocks(self.sizes, self.channel, self.values) {
            let count = block.len() as f64;
            let sum = f64::from(sum(simd, block));
            let centre = (sum / count) as f32;
            let (above, deviations) = squared_deviations(simd, block, centre);
            let (above, deviations) = (f64::from(above), f64::from(deviations));
            // `centre` is the block's mean up to rounding, `above` what is left of it.
            let block_mean = f64::from(centre) + above / count;
            let block_squares = deviations - above * above / count;
            let difference = block_mean - mean;
            let total = n + count;
            mean += difference * count / total;
            squares += block_squares + difference * difference * n * count / total;
            n = total;
        }
        // Every term is at least zero up to rounding; a maximum with zero would hide a NaN.
        let variance = squares / n;
        Moments {
            mean,
            variance: if variance < 0.0 { 0.0 } else { variance },
        }
    }
}

#[inline(always)]
fn sum<S: Simd>(simd: S, values: &[f32]) -> f32 {
    let (vectors, tail) = S::as_simd_f32s(values);
    let mut sums = [simd.splat_f32s(0.0); 4];
    let (fours, rest) = pulp::as_arrays::<4, _>(vectors);
    for vectors in fours {
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            *sum = simd.add_f32s(*sum, *vector);
        }
    }
    for (sum, vector) in sums.iter_mut().zip(rest) {
        *sum = simd.add_f32s(*sum, *vector);
    }
    total(simd, sums) + tail.iter().sum::<f32>()
}

#[inline(always)]
fn total<S: Simd>(simd: S, sums: [S::f32s; 4]) -> f32 {
    let [a, b, c, d] = sums;
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}

/// The sums of `x - centre` and of their squares.
#[inline(always)]
fn squared_deviations<S: Simd>(simd: S, values: &[f32], centre: f32) -> (f32, f32) {
    let (vectors, tail) = S::as_simd_f32s(values);
    let splat = simd.splat_f32s(centre);
    let mut sums = [simd.splat_f32s(0.0); 4];
    let mut squares = sums;
    for vectors in vectors.chunks(4) {
        for (index, vector) in vectors.iter().enumerate() {
            let deviation = simd.sub_f32s(*vector, splat);
            sums[index] = simd.add_f32s(sums[index], deviation);
            squares[index] = simd.mul_add_e_f32s(deviation, deviation, squares[index]);
        }
    }
    let (mut sum, mut square) = (total(simd, sums), total(simd, squares));
    for value in tail {
        let deviation = value - centre;
        sum += deviation;
        square += deviation * deviation;
    }
    (sum, square)
}

struct ChannelProducts<'a> {
    sizes: NormSizes,
    channel: usize,
    mean: f32,
    values: &'a [f32],
    gradient: &'a [f32],
}

impl WithSimd for ChannelProducts<'_> {
    type Output = (f64, f64);

    /// Sums of `gradient * (value - mean)` and of `gradient`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f64, f64) {
        let mean = simd.splat_f32s(self.mean);
        let pairs = blocks(self.sizes, self.channel, self.values).zip(blocks(
            self.sizes,
            self.channel,
            self.gradient,
        ));
        let mut totals = (0.0, 0.0);
        for (values, gradient) in pairs {
            let (vectors, tail) = S::as_simd_f32s(values);
            let (gradients, gradient_tail) = S::as_simd_f32s(gradient);
            let mut products = [simd.splat_f32s(0.0); 4];
            let mut sums = products;
            for (vectors, gradients) in vectors.chunks(4).zip(gradients.chunks(4)) {
                for (index, (vector, gradient)) in vectors.iter().zip(gradients).enumerate() {
                    let deviation = simd.sub_f32s(*vector, mean);
                    products[index] = simd.mul_add_e_f32s(*gradient, deviation, products[index]);
                    sums[index] = simd.add_f32s(sums[index], *gradient);
                }
            }
            let (mut product, mut sum) = (total(simd, products), total(simd, sums));
            for (value, gradient) in tail.iter().zip(gradient_tail) {
                product += gradient * (value - self.mean);
                sum += gradient;
            }
            totals.0 += f64::from(product);
            totals.1 += f64::from(sum);
        }
        totals
    }
}

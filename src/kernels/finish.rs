//! The operations on the sums of a convolution before they are written. Knows no sums.

use super::filters::PANEL;
use super::transforms::at_least;
use pulp::{Simd, WithSimd};

/// The operations on an output value before it is written, in this order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    /// Added per output channel.
    pub(crate) bias: Option<&'a [f32]>,
    /// Dense NHWC values of the output's sizes, added value by value: the other side of a residual block.
    pub(crate) add: Option<&'a [f32]>,
    /// Sets negative values to zero.
    pub(crate) relu: bool,
    /// 2x2 max pooling of stride 2.
    pub(crate) max_pool: bool,
}

/// NHWC values to write to, the channels of a pixel possibly among those of other layers.
pub(crate) struct Target<'a> {
    /// The values from the first channel of the first pixel on.
    pub(crate) values: &'a mut [f32],
    /// The distance between pixels; at least the number of channels.
    pub(crate) stride: usize,
}

impl<'a> Target<'a> {
    /// Values of pixels that have no other channels.
    pub(crate) fn dense(values: &'a mut [f32], channels: usize) -> Self {
        Self {
            values,
            stride: channels,
        }
    }

    /// Whether there is room for exactly this many pixels.
    pub(crate) fn holds(&self, pixels: usize, channels: usize) -> bool {
        if pixels == 0 {
            return self.values.is_empty();
        }
        let last = (pixels - 1) * self.stride;
        self.stride >= channels
            && self.values.len() >= last + channels
            && self.values.len() <= last + self.stride
    }
}

/// Finishes products `[pixel][rows]`, one panel of output channels, and writes them.
pub(crate) struct FinishPanel<'a> {
    pub(crate) products: &'a [f32],
    /// The distance between the pixels of the products.
    pub(crate) rows: usize,
    pub(crate) pixels: usize,
    pub(crate) channels: usize,
    /// The bias of the panel's channels.
    pub(crate) bias: Option<&'a [f32]>,
    /// Values to add from the panel's first channel of the first pixel on, and the distance between pixels.
    pub(crate) add: Option<(&'a [f32], usize)>,
    pub(crate) relu: bool,
    /// The output from the panel's first channel of the first pixel on.
    pub(crate) output: &'a mut [f32],
    pub(crate) stride: usize,
}

impl WithSimd for FinishPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let floor = simd.splat_f32s(if self.relu { 0.0 } else { f32::NEG_INFINITY });
        let channels = self.channels;
        let zeros = [0.0; PANEL];
        let (bias, last_bias) = S::as_simd_f32s(
            self.bias
                .map_or(&zeros[..channels], |bias| &bias[..channels]),
        );
        for pixel in 0..self.pixels {
            let products = &self.products[pixel * self.rows..][..channels];
            let output = &mut self.output[pixel * self.stride..][..channels];
            let (products, last_product) = S::as_simd_f32s(products);
            let (output, last_output) = S::as_mut_simd_f32s(output);
            let sums = products.iter().zip(bias);
            if let Some((add, stride)) = self.add {
                let (add, last_add) = S::as_simd_f32s(&add[pixel * stride..][..channels]);
                for ((output, (product, bias)), add) in output.iter_mut().zip(sums).zip(add) {
                    let value = simd.add_f32s(simd.add_f32s(*product, *bias), *add);
                    *output = at_least(simd, floor, value);
                }
                if !last_output.is_empty() {
                    let sum = sum_of_last(simd, last_product, last_bias);
                    let value = simd.add_f32s(sum, simd.partial_load_f32s(last_add));
                    simd.partial_store_f32s(last_output, at_least(simd, floor, value));
                }
            } else {
                for (output, (product, bias)) in output.iter_mut().zip(sums) {
                    *output = at_least(simd, floor, simd.add_f32s(*product, *bias));
                }
                if !last_output.is_empty() {
                    let value = sum_of_last(simd, last_product, last_bias);
                    simd.partial_store_f32s(last_output, at_least(simd, floor, value));
                }
            }
        }
    }
}

/// The sum of values that do not fill a vector.
#[inline(always)]
fn sum_of_last<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> S::f32s {
    simd.add_f32s(simd.partial_load_f32s(a), simd.partial_load_f32s(b))
}

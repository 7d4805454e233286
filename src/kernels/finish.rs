//! The operations on the sums of a convolution before they are written. Knows no sums.

use super::transforms::{at_least, load_up_to, store_up_to};
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
        for part in (0..self.channels).step_by(S::F32_LANES) {
            let here = part..self.channels.min(part + S::F32_LANES);
            let bias = self.bias.map_or(simd.splat_f32s(0.0), |bias| {
                load_up_to(simd, &bias[here.clone()])
            });
            for pixel in 0..self.pixels {
                let products = &self.products[pixel * self.rows..];
                let mut value = simd.add_f32s(load_up_to(simd, &products[here.clone()]), bias);
                if let Some((add, stride)) = self.add {
                    let add = &add[pixel * stride..];
                    value = simd.add_f32s(value, load_up_to(simd, &add[here.clone()]));
                }
                let output = &mut self.output[pixel * self.stride..];
                store_up_to(
                    simd,
                    &mut output[here.clone()],
                    at_least(simd, floor, value),
                );
            }
        }
    }
}

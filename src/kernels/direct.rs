//! Direct 3x3 convolution for few input channels, by gathered patches. Knows no Winograd transforms.

use super::buffer::{AlignedBuffer, BLOCK_SCRATCH, with_scratch};
use super::filters::PANEL;
use super::gemm::{GemmSizes, MOST_COLUMNS, Matrix, multiply};
use super::tiles::Nhwc;
use super::transforms::{at_least, load_up_to, store_up_to};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Untransformed weights in panels of output channels: `[out / 64][3 * 3 * in][64]`, the last panel padded
/// to a multiple of 16.
pub(crate) struct DirectFilters {
    out_channels: usize,
    in_channels: usize,
    values: AlignedBuffer,
}

impl DirectFilters {
    /// Packs the filters that `filter(output channel, input channel)` gives.
    pub(crate) fn new(
        out_channels: usize,
        in_channels: usize,
        filter: impl Fn(usize, usize) -> [f32; 9],
    ) -> Self {
        let depth = 9 * in_channels;
        let padded = out_channels.next_multiple_of(16);
        let mut buffer = AlignedBuffer::zeroed(depth * padded);
        let values = buffer.take_mut(depth * padded);
        for output in 0..out_channels {
            let panel = output / PANEL * PANEL;
            let rows = PANEL.min(padded - panel);
            for input in 0..in_channels {
                for (tap, value) in filter(output, input).into_iter().enumerate() {
                    let index = (tap * in_channels + input) * rows + output - panel;
                    values[panel * depth + index] = value;
                }
            }
        }
        Self {
            out_channels,
            in_channels,
            values: buffer,
        }
    }

    /// Convolves NHWC `input` of `shape` into NHWC `output`, a pixel row per task.
    pub(crate) fn forward(
        &self,
        input: &[f32],
        shape: Nhwc,
        bias: Option<&[f32]>,
        relu: bool,
        output: &mut [f32],
    ) {
        let depth = 9 * self.in_channels;
        let padded = self.out_channels.next_multiple_of(16);
        output
            .par_chunks_mut(shape.width * self.out_channels)
            .enumerate()
            .for_each(|(row, output)| {
                let (image, y) = (row / shape.height, row % shape.height);
                with_scratch(&BLOCK_SCRATCH, |scratch| {
                    let patches = scratch.transformed.take_mut(MOST_COLUMNS * depth);
                    let products = scratch.products.take_mut(MOST_COLUMNS * padded);
                    let parts = output.chunks_mut(MOST_COLUMNS * self.out_channels);
                    for (part, output) in parts.enumerate() {
                        let pixels = output.len() / self.out_channels;
                        for (pixel, patch) in
                            patches.chunks_exact_mut(depth).enumerate().take(pixels)
                        {
                            let x = part * MOST_COLUMNS + pixel;
                            gather(input, shape, (image, y, x), patch);
                        }
                        self.multiply(patches, pixels, products);
                        Arch::new().dispatch(FinishPixels {
                            products: &*products,
                            padded,
                            bias,
                            relu,
                            output,
                            channels: self.out_channels,
                        });
                    }
                });
            });
    }

    fn multiply(&self, patches: &[f32], pixels: usize, products: &mut [f32]) {
        let depth = 9 * self.in_channels;
        let padded = self.out_channels.next_multiple_of(16);
        let weights = self.values.take(depth * padded);
        for (panel, weights) in weights.chunks(depth * PANEL).enumerate() {
            let sizes = GemmSizes {
                rows: weights.len() / depth,
                // The gemm crate would sum a single column in another order, and results must not depend on the number of pixels.
                columns: pixels.max(2),
                depth,
            };
            let left = Matrix {
                values: weights,
                row_stride: 1,
                column_stride: sizes.rows,
            };
            let right = Matrix {
                values: patches,
                row_stride: 1,
                column_stride: depth,
            };
            let products = &mut products[panel * PANEL..];
            multiply(sizes, left, right, products, padded, false);
        }
    }
}

/// Copies the 3x3 window around a pixel into `patch`, zeros outside the image.
fn gather(input: &[f32], shape: Nhwc, (image, y, x): (usize, usize, usize), patch: &mut [f32]) {
    let line = 3 * shape.channels;
    for (dy, target) in patch.chunks_exact_mut(line).enumerate() {
        // A row above the image wraps around to a huge number, which is outside the image too.
        let y = (y + dy).wrapping_sub(1);
        if y >= shape.height {
            target.fill(0.0);
        } else if x > 0 && x + 1 < shape.width {
            let start = shape.pixel(image, y, x - 1);
            for (target, &value) in target.iter_mut().zip(&input[start..start + line]) {
                *target = value;
            }
        } else {
            for (dx, target) in target.chunks_exact_mut(shape.channels).enumerate() {
                let x = (x + dx).wrapping_sub(1);
                if x < shape.width {
                    let start = shape.pixel(image, y, x);
                    target.copy_from_slice(&input[start..start + shape.channels]);
                } else {
                    target.fill(0.0);
                }
            }
        }
    }
}

/// Adds the bias to products `[pixel][padded]`, sets negative values to zero if asked to, and writes `[pixel][channels]`.
struct FinishPixels<'a> {
    products: &'a [f32],
    padded: usize,
    bias: Option<&'a [f32]>,
    relu: bool,
    output: &'a mut [f32],
    channels: usize,
}

impl WithSimd for FinishPixels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let floor = simd.splat_f32s(if self.relu { 0.0 } else { f32::NEG_INFINITY });
        let pixels = self.products.chunks_exact(self.padded);
        for (target, products) in self.output.chunks_exact_mut(self.channels).zip(pixels) {
            for (part, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                let start = part * S::F32_LANES;
                let here = start..start + target.len();
                let bias = self.bias.map_or(simd.splat_f32s(0.0), |bias| {
                    load_up_to(simd, &bias[here.clone()])
                });
                let value = simd.add_f32s(load_up_to(simd, &products[here]), bias);
                store_up_to(simd, target, at_least(simd, floor, value));
            }
        }
    }
}

//! Input and weight gradients of a 3x3 convolution in the Winograd domain; knows no layers.

use super::buffer::{SHARED_SCRATCH, Scratch, with_scratch};
use super::filters::{PANEL, filter_gradients};
use super::gemm::{GemmSizes, MOST_COLUMNS, Matrix, multiply};
use super::tiles::{Nhwc, TileBlock, TileGrid};
use super::transforms::{POSITIONS, TileStrides, TransformTiles, Window};
use super::winograd::Winograd3x3;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// The number of tiles whose products are summed by one matrix product.
const SUMMED_TILES: usize = 128;

/// The number of panels of transformed tiles (64 channels and `SUMMED_TILES` tiles, 1.2 MB) that are in memory at a time.
const HELD_PANELS: usize = 32;

/// The output channels per task when sums are transformed to filters.
const STRIP: usize = 16;

/// The gradient `[n, height, width, in]` of the input, from weights `[out, in, 3, 3]` and the output's
/// gradient NHWC of `shape` (`shape.channels` is `out_channels`).
pub(crate) fn input_gradient(
    weight: &[f32],
    out_channels: usize,
    in_channels: usize,
    output_gradient: &[f32],
    shape: Nhwc,
) -> Vec<f32> {
    let filters = Winograd3x3::of_input_gradient(weight, out_channels, in_channels);
    let mut gradient = vec![0.0; shape.with_channels(in_channels).len()];
    filters.forward(output_gradient, shape, None, false, &mut gradient);
    gradient
}

/// The gradient `[out, in, 3, 3]` of the weights, from the NHWC input of `shape` and the NHWC gradient of the output (the same
/// pixels, `out_channels` channels).
pub(crate) fn weight_gradient(
    input: &[f32],
    output_gradient: &[f32],
    shape: Nhwc,
    out_channels: usize,
) -> Vec<f32> {
    let outside = shape.with_channels(out_channels);
    assert_eq!(input.len(), shape.len(), "input size");
    assert_eq!(output_gradient.len(), outside.len(), "gradient size");
    let work = WeightGradient {
        input,
        inside: shape,
        output_gradient,
        outside,
        output_stride: out_channels.next_multiple_of(16),
    };
    let grid = TileGrid::new(shape);
    let blocks = grid.blocks(0..grid.rows, SUMMED_TILES);
    let panels = shape.channels.div_ceil(PANEL) + out_channels.div_ceil(PANEL);
    let length = POSITIONS * shape.channels * work.output_stride;
    if blocks.is_empty() {
        return vec![0.0; out_channels * shape.channels * 9];
    }
    with_scratch(&SHARED_SCRATCH, |scratch| {
        let Scratch {
            transformed,
            products,
        } = scratch;
        let sums = products.take_mut(length);
        for (part, blocks) in blocks.chunks((HELD_PANELS / panels).max(1)).enumerate() {
            let most = blocks.iter().map(TileBlock::tiles).max().unwrap_or(0);
            let strides = TileStrides::new(most, PANEL);
            let held = transformed.take_mut(blocks.len() * panels * strides.len());
            work.add_blocks(blocks, (held, strides), part > 0, sums);
        }
        work.filters(sums)
    })
}

/// The numbers of values in the transformed tiles and in the sums of `weight_gradient`, for this total number of tiles.
pub(crate) fn scratch(n_tiles: usize, in_channels: usize, out_channels: usize) -> (usize, usize) {
    let panels = in_channels.div_ceil(PANEL) + out_channels.div_ceil(PANEL);
    let n_blocks = n_tiles
        .div_ceil(SUMMED_TILES)
        .min((HELD_PANELS / panels).max(1));
    // Only part of the last panels is ever written, and memory that is not written is not resident.
    let n_channels = in_channels + out_channels;
    let held = n_blocks * POSITIONS * n_tiles.min(SUMMED_TILES) * n_channels;
    let sums = POSITIONS * in_channels * out_channels.next_multiple_of(16);
    (held, sums)
}

struct WeightGradient<'a> {
    input: &'a [f32],
    inside: Nhwc,
    output_gradient: &'a [f32],
    outside: Nhwc,
    output_stride: usize,
}

impl WeightGradient<'_> {
    fn in_panels(&self) -> usize {
        self.inside.channels.div_ceil(PANEL)
    }

    fn panels(&self) -> usize {
        self.in_panels() + self.outside.channels.div_ceil(PANEL)
    }

    /// Sets `sums` (`[36][out / 64][in][64]`) to the products of some blocks, or adds them. A block's
    /// transformed tiles are `[panel][36][tile][64]`, the input's panels first, so that each thread writes its own piece of
    /// memory.
    fn add_blocks(
        &self,
        blocks: &[TileBlock],
        (held, strides): (&mut [f32], TileStrides),
        accumulate: bool,
        sums: &mut [f32],
    ) {
        let (in_panels, panels) = (self.in_panels(), self.panels());
        held.par_chunks_mut(strides.len())
            .enumerate()
            .for_each(|(index, destination)| {
                let (block, panel) = (&blocks[index / panels], index % panels);
                self.transform(block, panel, destination, strides);
            });
        let held = &*held;
        sums.par_chunks_mut(self.inside.channels * self.output_stride)
            .enumerate()
            .for_each(|(position, sums)| {
                let out_panels = sums.chunks_mut(self.inside.channels * PANEL);
                for (out_panel, sums) in out_panels.enumerate() {
                    let rows = sums.len() / self.inside.channels;
                    for (in_panel, sums) in sums.chunks_mut(PANEL * rows).enumerate() {
                        for (index, block) in blocks.iter().enumerate() {
                            let panel = |panel: usize| {
                                let start = (index * panels + panel) * strides.len();
                                &held[start + position * strides.position..][..strides.position]
                            };
                            add_product(
                                (block.tiles(), rows),
                                panel(in_panel),
                                panel(in_panels + out_panel),
                                accumulate || index > 0,
                                sums,
                            );
                        }
                    }
                }
            });
    }

    fn transform(
        &self,
        block: &TileBlock,
        panel: usize,
        destination: &mut [f32],
        strides: TileStrides,
    ) {
        let in_panels = self.in_panels();
        let (window, values, shape, first) = if panel < in_panels {
            (Window::Input, self.input, self.inside, panel * PANEL)
        } else {
            let first = (panel - in_panels) * PANEL;
            (
                Window::OutputGradient,
                self.output_gradient,
                self.outside,
                first,
            )
        };
        Arch::new().dispatch(TransformTiles {
            window,
            values,
            shape,
            block,
            channels: first..shape.channels.min(first + PANEL),
            destination,
            strides,
        });
    }

    /// Transforms sums `[36][out / 64][in][64]` to filters `[out, in, 3, 3]`.
    fn filters(&self, sums: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.inside.channels, self.outside.channels);
        let mut filters = vec![0.0; outputs * inputs * 9];
        filters
            .par_chunks_mut(STRIP * inputs * 9)
            .enumerate()
            .for_each(|(strip, filters)| {
                let panel = strip * STRIP / PANEL * PANEL;
                Arch::new().dispatch(FilterStrip {
                    sums: &sums[panel * inputs..],
                    position_stride: inputs * self.output_stride,
                    row_stride: PANEL.min(self.output_stride - panel),
                    first: strip * STRIP - panel,
                    inputs,
                    filters,
                });
            });
        filters
    }
}

/// Sets (or adds to) one position's sums `[in panel][rows]` the product of transformed tiles
/// `[tile][in panel]` and `[tile][rows]`.
fn add_product(
    (tiles, rows): (usize, usize),
    inside: &[f32],
    outside: &[f32],
    accumulate: bool,
    sums: &mut [f32],
) {
    for (part, sums) in sums.chunks_mut(MOST_COLUMNS * rows).enumerate() {
        let sizes = GemmSizes {
            rows,
            columns: sums.len() / rows,
            depth: tiles,
        };
        let left = Matrix {
            values: outside,
            row_stride: 1,
            column_stride: PANEL,
        };
        let right = Matrix {
            values: &inside[part * MOST_COLUMNS..],
            row_stride: PANEL,
            column_stride: 1,
        };
        multiply(sizes, left, right, sums, rows, accumulate);
    }
}

/// Transforms the sums of a strip of output channels to filters `[strip][in][9]`.
struct FilterStrip<'a> {
    sums: &'a [f32],
    position_stride: usize,
    row_stride: usize,
    first: usize,
    inputs: usize,
    filters: &'a mut [f32],
}

impl WithSimd for FilterStrip<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        let outputs = self.filters.len() / (self.inputs * 9);
        let mut taps = [[0.0f32; STRIP]; 9];
        for input in 0..self.inputs {
            for part in (0..STRIP).step_by(lanes) {
                let start = input * self.row_stride + self.first + part;
                let mut summed = [simd.splat_f32s(0.0); POSITIONS];
                for (position, summed) in summed.iter_mut().enumerate() {
                    let at = position * self.position_stride + start;
                    *summed = S::as_simd_f32s(&self.sums[at..at + lanes]).0[0];
                }
                let filters = filter_gradients(simd, &summed);
                for (tap, value) in taps.iter_mut().zip(filters) {
                    S::as_mut_simd_f32s(&mut tap[part..part + lanes]).0[0] = value;
                }
            }
            for output in 0..outputs {
                let start = (output * self.inputs + input) * 9;
                for (value, tap) in self.filters[start..start + 9].iter_mut().zip(&taps) {
                    *value = tap[output];
                }
            }
        }
    }
}

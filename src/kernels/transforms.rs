//! The tile transforms of Winograd F(4x4,3x3), vectorised over channels. Knows no weights.

use super::finish::Finish;
use super::tiles::{Nhwc, TILE, TileBlock, TileGrid};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// The side of a transformed tile.
pub(crate) const SIDE: usize = 6;
/// The number of elements of a transformed tile.
pub(crate) const POSITIONS: usize = SIDE * SIDE;

/// The strides of transformed tiles: `[position][tile][channel]`; multiples of 16.
#[derive(Clone, Copy)]
pub(crate) struct TileStrides {
    pub(crate) position: usize,
    pub(crate) tile: usize,
}

impl TileStrides {
    /// The strides for up to `tiles` tiles of `channels` channels, padded to whole vectors.
    pub(crate) fn new(tiles: usize, channels: usize) -> Self {
        let tile = channels.next_multiple_of(16);
        // At least two tiles, because the gemm crate sums a single column in another order. One additional cache line, so that the
        // 36 positions of a tile do not all map to the same cache set.
        Self {
            position: tiles.max(2) * tile + 16,
            tile,
        }
    }

    /// The number of values of all positions.
    pub(crate) fn len(self) -> usize {
        POSITIONS * self.position
    }
}

/// The kinds of forward transforms: 6x6 windows by `B^T d B`, or 4x4 tiles by `A d A^T`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Input,
    OutputGradient,
}

/// Transforms the tiles of `block`, channels `channels`, from NHWC into `[position][tile][channel]`.
pub(crate) struct TransformTiles<'a> {
    pub(crate) window: Window,
    pub(crate) values: &'a [f32],
    pub(crate) shape: Nhwc,
    pub(crate) block: &'a TileBlock,
    pub(crate) channels: Range<usize>,
    pub(crate) destination: &'a mut [f32],
    pub(crate) strides: TileStrides,
}

#[inline(always)]
fn input_line<S: Simd>(simd: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
    let (two, four, five) = (
        simd.splat_f32s(2.0),
        simd.splat_f32s(4.0),
        simd.splat_f32s(-5.0),
    );
    let (minus_two, minus_four) = (simd.splat_f32s(-2.0), simd.splat_f32s(-4.0));
    let even = simd.mul_add_e_f32s(minus_four, d[2], d[4]);
    let odd = simd.mul_add_e_f32s(minus_four, d[1], d[3]);
    let near = simd.sub_f32s(d[4], d[2]);
    let far = simd.sub_f32s(d[3], d[1]);
    [
        simd.mul_add_e_f32s(four, d[0], simd.mul_add_e_f32s(five, d[2], d[4])),
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.mul_add_e_f32s(two, far, near),
        simd.mul_add_e_f32s(minus_two, far, near),
        simd.mul_add_e_f32s(four, d[1], simd.mul_add_e_f32s(five, d[3], d[5])),
    ]
}

#[inline(always)]
fn gradient_line<S: Simd>(simd: S, y: [S::f32s; 6]) -> [S::f32s; 6] {
    let (two, four) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0));
    let even = simd.add_f32s(y[0], y[2]);
    let odd = simd.add_f32s(y[1], y[3]);
    let far_even = simd.mul_add_e_f32s(four, y[2], y[0]);
    let far_odd = simd.mul_f32s(two, simd.mul_add_e_f32s(four, y[3], y[1]));
    [
        y[0],
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(far_even, far_odd),
        simd.sub_f32s(far_even, far_odd),
        y[3],
    ]
}

#[inline(always)]
fn output_line<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
    let (two, four, eight) = (
        simd.splat_f32s(2.0),
        simd.splat_f32s(4.0),
        simd.splat_f32s(8.0),
    );
    let near_sum = simd.add_f32s(m[1], m[2]);
    let near_difference = simd.sub_f32s(m[1], m[2]);
    let far_sum = simd.add_f32s(m[3], m[4]);
    let far_difference = simd.sub_f32s(m[3], m[4]);
    [
        simd.add_f32s(m[0], simd.add_f32s(near_sum, far_sum)),
        simd.mul_add_e_f32s(two, far_difference, near_difference),
        simd.mul_add_e_f32s(four, far_sum, near_sum),
        simd.mul_add_e_f32s(eight, far_difference, simd.add_f32s(near_difference, m[5])),
    ]
}

impl WithSimd for TransformTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.window {
            Window::Input => self.run::<S, false>(simd),
            Window::OutputGradient => self.run::<S, true>(simd),
        }
    }
}

impl TransformTiles<'_> {
    #[inline(always)]
    fn run<S: Simd, const GRADIENT: bool>(self, simd: S) {
        let Self {
            window: _,
            values,
            shape,
            block,
            channels,
            destination,
            strides,
        } = self;
        let lanes = S::F32_LANES;
        let (side, margin) = if GRADIENT { (TILE, 0) } else { (SIDE, 1) };
        let grid = TileGrid::new(shape);
        let vectors = channels.len().div_ceil(lanes);
        // Pixels outside the image are read from here, so that the loops need no tests.
        let zeros = vec![0.0f32; channels.len()];
        let zeros = S::as_simd_f32s(&zeros);
        // The last six pixel columns, each already transformed along y: `[column % 6][vector][6]`.
        // Neighbouring tiles share two of them, and each image row is read as one long stream.
        let mut ring = vec![simd.splat_f32s(0.0); POSITIONS * vectors];
        let (destination, _) = S::as_mut_simd_f32s(destination);
        let (position_stride, tile_stride) = (strides.position / lanes, strides.tile / lanes);
        let mut tile = 0;
        for row in block.rows.clone() {
            let (image, top) = grid.place(row);
            let left = block.columns.start * TILE;
            let mut done = 0;
            for index in 0..block.columns.len() {
                let end = index * TILE + side;
                for column in done..end {
                    let mut pixels = [zeros; SIDE];
                    // A position left of or above the image wraps around to a huge number, which is outside too.
                    let x = (left + column).wrapping_sub(margin);
                    for (y, pixel) in pixels.iter_mut().enumerate().take(side) {
                        let y = (top + y).wrapping_sub(margin);
                        if x < shape.width && y < shape.height {
                            let start = shape.pixel(image, y, x);
                            let (first, last) = (start + channels.start, start + channels.end);
                            *pixel = S::as_simd_f32s(&values[first..last]);
                        }
                    }
                    let slot = column % SIDE * vectors * SIDE;
                    let ring = &mut ring[slot..slot + vectors * SIDE];
                    transform_column::<S, GRADIENT>(simd, &pixels, ring);
                }
                done = end;
                let first = tile * tile_stride;
                let starts: [usize; SIDE] =
                    std::array::from_fn(|x| (index * TILE + x) % SIDE * vectors * SIDE);
                for vector in 0..vectors {
                    for y in 0..SIDE {
                        let mut line = [simd.splat_f32s(0.0); SIDE];
                        for (value, start) in line.iter_mut().zip(starts).take(side) {
                            *value = ring[start + vector * SIDE + y];
                        }
                        let line = tile_line::<S, GRADIENT>(simd, line);
                        for (x, value) in line.into_iter().enumerate() {
                            let position = y * SIDE + x;
                            destination[position * position_stride + first + vector] = value;
                        }
                    }
                }
                tile += 1;
            }
        }
    }
}

/// Transforms one pixel column of a tile row along y, `[row][channel]` into `[vector][6]`.
#[inline(always)]
fn transform_column<S: Simd, const GRADIENT: bool>(
    simd: S,
    pixels: &[(&[S::f32s], &[f32]); SIDE],
    ring: &mut [S::f32s],
) {
    let whole = pixels[0].0.len();
    for (vector, target) in ring.chunks_exact_mut(SIDE).enumerate() {
        let mut column = [simd.splat_f32s(0.0); SIDE];
        for (value, pixel) in column.iter_mut().zip(pixels) {
            *value = if vector < whole {
                pixel.0[vector]
            } else {
                simd.partial_load_f32s(pixel.1)
            };
        }
        target.copy_from_slice(&tile_line::<S, GRADIENT>(simd, column));
    }
}

#[inline(always)]
fn tile_line<S: Simd, const GRADIENT: bool>(simd: S, line: [S::f32s; 6]) -> [S::f32s; 6] {
    if GRADIENT {
        gradient_line(simd, line)
    } else {
        input_line(simd, line)
    }
}

/// Loads a whole vector, or the remaining values. Whole vectors avoid the cost of a masked load.
#[inline(always)]
pub(crate) fn load_up_to<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values) {
        ([value, ..], _) => *value,
        ([], tail) => simd.partial_load_f32s(tail),
    }
}

/// The larger of `value` and `floor`. A NaN is kept, which the maximum of processors and libraries may not do.
#[inline(always)]
pub(crate) fn at_least<S: Simd>(simd: S, floor: S::f32s, value: S::f32s) -> S::f32s {
    simd.select_f32s(simd.less_than_f32s(value, floor), floor, value)
}

/// The larger of two values, or NaN if either is NaN, as in PyTorch.
#[inline(always)]
pub(crate) fn larger<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    let is_nan = simd.not_m32s(simd.equal_f32s(a, a));
    let is_a = simd.or_m32s(simd.greater_than_f32s(a, b), is_nan);
    simd.select_f32s(is_a, a, b)
}

/// Stores a whole vector, or as many values as fit.
#[inline(always)]
pub(crate) fn store_up_to<S: Simd>(simd: S, target: &mut [f32], value: S::f32s) {
    match S::as_mut_simd_f32s(target) {
        ([target, ..], _) => *target = value,
        ([], tail) => simd.partial_store_f32s(tail, value),
    }
}

/// Transforms products `[position][tile][channel]` of `block` to NHWC rows, one slice per tile row.
pub(crate) struct InverseTiles<'a, 'rows> {
    pub(crate) products: &'a [f32],
    pub(crate) strides: TileStrides,
    /// The index of the block's first tile within the products.
    pub(crate) first_tile: usize,
    pub(crate) block: &'a TileBlock,
    /// The sizes of the output before pooling.
    pub(crate) shape: Nhwc,
    pub(crate) finish: Finish<'a>,
    pub(crate) rows: &'a mut [&'rows mut [f32]],
    /// The distance between pixels in the rows.
    pub(crate) stride: usize,
}

impl WithSimd for InverseTiles<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        let (products, _) = S::as_simd_f32s(self.products);
        let (position_stride, tile_stride) =
            (self.strides.position / lanes, self.strides.tile / lanes);
        let pool = if self.finish.max_pool { 2 } else { 1 };
        let (width, step, channels) = (self.shape.width / pool, TILE / pool, self.shape.channels);
        let grid = TileGrid::new(self.shape);
        let nothing = simd.splat_f32s(0.0);
        let floor = simd.splat_f32s(if self.finish.relu {
            0.0
        } else {
            f32::NEG_INFINITY
        });
        let mut tile = self.first_tile;
        for (tile_row, row) in self.block.rows.clone().zip(self.rows.iter_mut()) {
            // The last pixel of the output may lack the channels of other layers.
            let height = row.len().div_ceil((width * self.stride).max(1));
            let (image, top) = grid.place(tile_row);
            for column in self.block.columns.clone() {
                let left = column * step;
                let inside = step.min(width.saturating_sub(left));
                for vector in 0..channels.div_ceil(lanes) {
                    let start = tile * tile_stride + vector;
                    let here = vector * lanes..channels.min((vector + 1) * lanes);
                    let bias = self
                        .finish
                        .bias
                        .map_or(nothing, |bias| load_up_to(simd, &bias[here.clone()]));
                    let mut half = [nothing; TILE * SIDE];
                    for x in 0..SIDE {
                        let column = output_line(
                            simd,
                            std::array::from_fn(|y| {
                                products[(y * SIDE + x) * position_stride + start]
                            }),
                        );
                        for y in 0..TILE {
                            half[y * SIDE + x] = column[y];
                        }
                    }
                    let mut full = [nothing; TILE * TILE];
                    for y in 0..TILE {
                        let h = &half[y * SIDE..];
                        let line = output_line(simd, [h[0], h[1], h[2], h[3], h[4], h[5]]);
                        for x in 0..TILE {
                            let mut value = simd.add_f32s(line[x], bias);
                            if let Some(add) = self.finish.add
                                && y < height
                                && x < inside
                            {
                                let at = self.shape.pixel(image, top + y, left + x);
                                let add = &add[at + here.start..at + here.end];
                                value = simd.add_f32s(value, load_up_to(simd, add));
                            }
                            full[y * TILE + x] = at_least(simd, floor, value);
                        }
                    }
                    if self.finish.max_pool {
                        for y in 0..2 {
                            for x in 0..2 {
                                let corner = y * 2 * TILE + x * 2;
                                full[y * TILE + x] = larger(
                                    simd,
                                    larger(simd, full[corner], full[corner + 1]),
                                    larger(simd, full[corner + TILE], full[corner + TILE + 1]),
                                );
                            }
                        }
                    }
                    for y in 0..height.min(step) {
                        for x in 0..inside {
                            let at = (y * width + left + x) * self.stride;
                            let target = &mut row[at + here.start..at + here.end];
                            store_up_to(simd, target, full[y * TILE + x]);
                        }
                    }
                }
                tile += 1;
            }
        }
    }
}

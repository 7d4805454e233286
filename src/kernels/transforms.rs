//! The four tile transforms of Winograd F(4x4,3x3), vectorised over channels; knows no products.

use super::tiles::{Nhwc, TILE, TileBlock, TileGrid};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Side of a transformed tile.
pub(crate) const SIDE: usize = 6;
/// Elements of a transformed tile.
pub(crate) const POSITIONS: usize = SIDE * SIDE;

/// Strides of transformed tiles: `[position][tile][channel]`; multiples of 16.
#[derive(Clone, Copy)]
pub(crate) struct TileStrides {
    pub(crate) position: usize,
    pub(crate) tile: usize,
}

impl TileStrides {
    /// Strides for up to `tiles` tiles of `channels` channels, padded to whole vectors.
    pub(crate) fn new(tiles: usize, channels: usize) -> Self {
        let tile = channels.next_multiple_of(16);
        // At least two tiles, as the gemm crate sums a single column in another order; one odd line
        // more, so that the 36 positions of a tile do not fall into the same cache set.
        Self {
            position: tiles.max(2) * tile + 16,
            tile,
        }
    }

    /// Number of values that all positions take.
    pub(crate) fn len(self) -> usize {
        POSITIONS * self.position
    }
}

/// What a forward transform makes of the tiles: 6x6 windows by `B^T d B`, or 4x4 by `A d A^T`.
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
        // Pixels outside the image read from here, which spares every test inside the loop.
        let zeros = vec![0.0f32; channels.len()];
        let zeros = S::as_simd_f32s(&zeros);
        let (destination, _) = S::as_mut_simd_f32s(destination);
        let (position_stride, tile_stride) = (strides.position / lanes, strides.tile / lanes);
        let mut tile = 0;
        for row in block.rows.clone() {
            let (image, top) = grid.place(row);
            for column in block.columns.clone() {
                let left = column * TILE;
                let mut pixels = [zeros; POSITIONS];
                for (y, line) in pixels.chunks_exact_mut(SIDE).enumerate().take(side) {
                    // One above the image wraps around to a huge number, which is outside too.
                    let y = (top + y).wrapping_sub(margin);
                    if y >= shape.height {
                        continue;
                    }
                    for (x, pixel) in line.iter_mut().enumerate().take(side) {
                        let x = (left + x).wrapping_sub(margin);
                        if x < shape.width {
                            let start = shape.pixel(image, y, x);
                            *pixel = S::as_simd_f32s(
                                &values[start + channels.start..start + channels.end],
                            );
                        }
                    }
                }
                let first = tile * tile_stride;
                let whole = zeros.0.len();
                for vector in 0..whole {
                    let mut tile_values = [simd.splat_f32s(0.0); POSITIONS];
                    for (value, pixel) in tile_values.iter_mut().zip(&pixels) {
                        *value = pixel.0[vector];
                    }
                    let transformed = transform_tile::<S, GRADIENT>(simd, &tile_values);
                    for (position, &value) in transformed.iter().enumerate() {
                        destination[position * position_stride + first + vector] = value;
                    }
                }
                if !zeros.1.is_empty() {
                    let mut tile_values = [simd.splat_f32s(0.0); POSITIONS];
                    for (value, pixel) in tile_values.iter_mut().zip(&pixels) {
                        *value = simd.partial_load_f32s(pixel.1);
                    }
                    let transformed = transform_tile::<S, GRADIENT>(simd, &tile_values);
                    for (position, &value) in transformed.iter().enumerate() {
                        destination[position * position_stride + first + whole] = value;
                    }
                }
                tile += 1;
            }
        }
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

#[inline(always)]
fn transform_tile<S: Simd, const GRADIENT: bool>(
    simd: S,
    d: &[S::f32s; POSITIONS],
) -> [S::f32s; POSITIONS] {
    let mut half = *d;
    for x in 0..if GRADIENT { TILE } else { SIDE } {
        let column = tile_line::<S, GRADIENT>(simd, [d[x], d[6 + x], d[12 + x], d[18 + x], d[24 + x], d[30 + x]]);
        for y in 0..SIDE {
            half[y * SIDE + x] = column[y];
        }
    }
    let mut full = half;
    for y in 0..SIDE {
        let h = &half[y * SIDE..];
        let row = tile_line::<S, GRADIENT>(simd, [h[0], h[1], h[2], h[3], h[4], h[5]]);
        full[y * SIDE..y * SIDE + SIDE].copy_from_slice(&row);
    }
    full
}

/// What happens to an output value on its way to memory.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) relu: bool,
    pub(crate) max_pool: bool,
}

/// Turns products `[position][tile][channel]` of `block` into NHWC rows, one slice per tile row.
pub(crate) struct InverseTiles<'a, 'rows> {
    pub(crate) products: &'a [f32],
    pub(crate) strides: TileStrides,
    /// Number, within the products, of the block's first tile.
    pub(crate) first_tile: usize,
    pub(crate) block: &'a TileBlock,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) finish: Finish<'a>,
    pub(crate) rows: &'a mut [&'rows mut [f32]],
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
        let (width, step, channels) = (self.width / pool, TILE / pool, self.channels);
        let nothing = simd.splat_f32s(0.0);
        let floor = simd.splat_f32s(if self.finish.relu {
            0.0
        } else {
            f32::NEG_INFINITY
        });
        let mut tile = self.first_tile;
        for row in self.rows.iter_mut() {
            let height = row.len() / (width * channels).max(1);
            for column in self.block.columns.clone() {
                let left = column * step;
                let inside = step.min(width.saturating_sub(left));
                for vector in 0..channels.div_ceil(lanes) {
                    let start = tile * tile_stride + vector;
                    let here = vector * lanes..channels.min((vector + 1) * lanes);
                    let bias = self.finish.bias.map_or(nothing, |bias| {
                        simd.partial_load_f32s(&bias[here.clone()])
                    });
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
                            full[y * TILE + x] =
                                simd.max_f32s(simd.add_f32s(line[x], bias), floor);
                        }
                    }
                    if self.finish.max_pool {
                        for y in 0..2 {
                            for x in 0..2 {
                                let corner = y * 2 * TILE + x * 2;
                                full[y * TILE + x] = simd.max_f32s(
                                    simd.max_f32s(full[corner], full[corner + 1]),
                                    simd.max_f32s(full[corner + TILE], full[corner + TILE + 1]),
                                );
                            }
                        }
                    }
                    for y in 0..height.min(step) {
                        for x in 0..inside {
                            let at = (y * width + left + x) * channels;
                            let target = &mut row[at + here.start..at + here.end];
                            if target.len() == lanes {
                                S::as_mut_simd_f32s(target).0[0] = full[y * TILE + x];
                            } else {
                                simd.partial_store_f32s(target, full[y * TILE + x]);
                            }
                        }
                    }
                }
                tile += 1;
            }
        }
    }
}

#[inline(always)]
fn filter_line<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 6] {
    let (sixth, fraction) = (simd.splat_f32s(-1.0 / 6.0), simd.splat_f32s(1.0 / 24.0));
    let outer = simd.add_f32s(a, c);
    let far = simd.mul_add_e_f32s(simd.splat_f32s(4.0), c, a);
    let twice = simd.add_f32s(b, b);
    [
        simd.mul_f32s(simd.splat_f32s(0.25), a),
        simd.mul_f32s(sixth, simd.add_f32s(outer, b)),
        simd.mul_f32s(sixth, simd.sub_f32s(outer, b)),
        simd.mul_f32s(fraction, simd.add_f32s(far, twice)),
        simd.mul_f32s(fraction, simd.sub_f32s(far, twice)),
        c,
    ]
}

/// Transforms `lanes` filters at once by `G g G^T`; `filters` is `[9][lanes]`, result `[36][lanes]`.
#[inline(always)]
pub(crate) fn transform_filters<S: Simd>(simd: S, g: [S::f32s; 9]) -> [S::f32s; POSITIONS] {
    let mut half = [simd.splat_f32s(0.0); SIDE * 3];
    for x in 0..3 {
        for (y, value) in filter_line(simd, [g[x], g[3 + x], g[6 + x]]).into_iter().enumerate() {
            half[y * 3 + x] = value;
        }
    }
    let mut full = [simd.splat_f32s(0.0); POSITIONS];
    for y in 0..SIDE {
        let row = filter_line(simd, [half[y * 3], half[y * 3 + 1], half[y * 3 + 2]]);
        full[y * SIDE..y * SIDE + SIDE].copy_from_slice(&row);
    }
    full
}

#[inline(always)]
fn filter_gradient_line<S: Simd>(simd: S, u: [S::f32s; 6]) -> [S::f32s; 3] {
    let (sixth, twelfth) = (simd.splat_f32s(1.0 / 6.0), simd.splat_f32s(1.0 / 12.0));
    let (quarter, fraction) = (simd.splat_f32s(0.25), simd.splat_f32s(1.0 / 24.0));
    let near = simd.add_f32s(u[1], u[2]);
    let far = simd.add_f32s(u[3], u[4]);
    let first = simd.sub_f32s(simd.mul_f32s(quarter, u[0]), simd.mul_f32s(sixth, near));
    let near_difference = simd.mul_f32s(sixth, simd.sub_f32s(u[2], u[1]));
    [
        simd.mul_add_e_f32s(fraction, far, first),
        simd.mul_add_e_f32s(twelfth, simd.sub_f32s(u[3], u[4]), near_difference),
        simd.mul_add_e_f32s(sixth, simd.sub_f32s(far, near), u[5]),
    ]
}

/// Turns the summed products `[36]` of filters' gradients into the 3x3 gradients by `G^T u G`.
#[inline(always)]
pub(crate) fn filter_gradients<S: Simd>(simd: S, u: &[S::f32s; POSITIONS]) -> [S::f32s; 9] {
    let mut half = [simd.splat_f32s(0.0); 3 * SIDE];
    for x in 0..SIDE {
        let column = filter_gradient_line(
            simd,
            [u[x], u[6 + x], u[12 + x], u[18 + x], u[24 + x], u[30 + x]],
        );
        for y in 0..3 {
            half[y * SIDE + x] = column[y];
        }
    }
    let mut full = [simd.splat_f32s(0.0); 9];
    for y in 0..3 {
        let h = &half[y * SIDE..];
        let row = filter_gradient_line(simd, [h[0], h[1], h[2], h[3], h[4], h[5]]);
        full[y * 3..y * 3 + 3].copy_from_slice(&row);
    }
    full
}

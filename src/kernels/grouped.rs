//! Convolution in many small groups, vectorised over the channels of several groups. Knows no matrix products.

use super::buffer::{AlignedBuffer, BLOCK_SCRATCH, with_scratch};
use super::finish::{Finish, Target};
use super::patches::FilterSizes;
use super::tiles::{Nhwc, TileGrid, tile_row_slices};
use super::transforms::at_least;
use super::window::SlidingWindow;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// The channels that are computed together.
const BLOCK: usize = 16;
/// The output pixels of a row that are computed together: enough independent sums to hide the latency of a multiplication.
const PIXELS: usize = 6;
/// The output rows per task, which share the input rows between them.
const ROWS: usize = super::tiles::TILE;

/// Weights `[out / 16][y][x][input channel within the group][16]`.
pub(crate) struct GroupFilters {
    sizes: FilterSizes,
    values: AlignedBuffer,
}

impl GroupFilters {
    /// Whether a convolution has groups that are narrow enough, and whole blocks of them.
    pub(crate) fn fits(sizes: FilterSizes) -> bool {
        sizes.in_channels == sizes.out_channels
            && sizes.in_channels.is_multiple_of(BLOCK)
            && matches!(sizes.in_channels / sizes.groups, 1 | 2 | 4 | 8)
    }

    /// The number of values in the packed weights.
    pub(crate) fn packed_values(sizes: FilterSizes) -> usize {
        sizes.out_channels * sizes.window.taps() * (sizes.in_channels / sizes.groups)
    }

    /// Packs the weights that `weight(output channel, input channel within the group, y * side + x)` gives.
    pub(crate) fn new(sizes: FilterSizes, weight: impl Fn(usize, usize, usize) -> f32) -> Self {
        assert!(Self::fits(sizes), "groups of another kind");
        let length = Self::packed_values(sizes);
        let (width, taps) = (sizes.in_channels / sizes.groups, sizes.window.taps());
        let mut values = AlignedBuffer::zeroed(length);
        for (index, value) in values.take_mut(length).iter_mut().enumerate() {
            let (lane, input) = (index % BLOCK, index / BLOCK % width);
            let (tap, block) = (index / BLOCK / width % taps, index / BLOCK / width / taps);
            *value = weight(block * BLOCK + lane, input, tap);
        }
        Self { sizes, values }
    }

    /// Convolves NHWC `input` of `shape` into `output`. Does not pool.
    pub(crate) fn forward(&self, input: &[f32], shape: Nhwc, finish: Finish, output: Target) {
        let outside = self.sizes.window.after(shape, self.sizes.out_channels);
        let pixels = outside.n * outside.height * outside.width;
        assert!(!finish.max_pool, "groups do not pool");
        assert_eq!(shape.channels, self.sizes.in_channels, "input channels");
        assert_eq!(input.len(), shape.len(), "input size");
        assert!(output.holds(pixels, outside.channels), "output size");
        if pixels == 0 {
            return;
        }
        let Target { values, stride } = output;
        let grid = TileGrid::new(outside);
        let row = outside.width * stride;
        let mut bands = tile_row_slices(values, grid, outside.height, row, ROWS);
        bands.par_iter_mut().enumerate().for_each(|(index, band)| {
            let (image, top) = grid.place(index);
            with_scratch(&BLOCK_SCRATCH, |scratch| {
                Arch::new().dispatch(Band {
                    filters: self,
                    input,
                    shape,
                    outside,
                    finish,
                    image,
                    top,
                    expanded: &mut scratch.transformed,
                    output: band,
                    stride,
                });
            });
        });
    }
}

/// Some rows of an output map.
struct Band<'a> {
    filters: &'a GroupFilters,
    input: &'a [f32],
    shape: Nhwc,
    outside: Nhwc,
    finish: Finish<'a>,
    image: usize,
    top: usize,
    expanded: &'a mut AlignedBuffer,
    output: &'a mut [f32],
    stride: usize,
}

impl WithSimd for Band<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let sizes = self.filters.sizes;
        // Strides that the compiler knows need no tests of each index.
        match (sizes.in_channels / sizes.groups, sizes.window.stride) {
            (1, 1) => self.run::<S, 1, 1>(simd),
            (2, 1) => self.run::<S, 2, 1>(simd),
            (4, 1) => self.run::<S, 4, 1>(simd),
            (8, 1) => self.run::<S, 8, 1>(simd),
            (1, 2) => self.run::<S, 1, 2>(simd),
            (2, 2) => self.run::<S, 2, 2>(simd),
            (4, 2) => self.run::<S, 4, 2>(simd),
            (8, 2) => self.run::<S, 8, 2>(simd),
            (1, _) => self.run::<S, 1, 0>(simd),
            (2, _) => self.run::<S, 2, 0>(simd),
            (4, _) => self.run::<S, 4, 0>(simd),
            _ => self.run::<S, 8, 0>(simd),
        }
    }
}

impl Band<'_> {
    #[inline(always)]
    fn run<S: Simd, const WIDTH: usize, const STRIDE: usize>(self, simd: S) {
        let window = self.filters.sizes.window;
        let columns =
            (self.outside.width.next_multiple_of(PIXELS) - 1) * window.stride + window.side;
        let rows = (ROWS - 1) * window.stride + window.side;
        let length = rows * columns * WIDTH * BLOCK;
        let expanded = self.expanded.take_mut(length);
        let n_values = GroupFilters::packed_values(self.filters.sizes);
        let weights = self.filters.values.take(n_values);
        let per_block = window.taps() * WIDTH * BLOCK;
        for (block, weights) in weights.chunks_exact(per_block).enumerate() {
            let rows = expanded.chunks_exact_mut(columns * WIDTH * BLOCK);
            for (row, target) in rows.enumerate() {
                // Places outside the map wrap around to huge numbers.
                let y = (self.top * window.stride + row).wrapping_sub(window.padding);
                expand_row::<WIDTH>(
                    self.input,
                    self.shape,
                    (self.image, y, block),
                    window.padding,
                    target,
                );
            }
            let work = Sums {
                expanded: S::as_simd_f32s(expanded).0,
                weights: S::as_simd_f32s(weights).0,
                columns,
                window,
            };
            let height = self.output.len().div_ceil(self.outside.width * self.stride);
            for x in (0..self.outside.width).step_by(PIXELS) {
                for y in 0..height {
                    for part in 0..BLOCK / S::F32_LANES {
                        let sums = work.sums::<S, WIDTH, STRIDE>(simd, (y, x), part);
                        let inside = PIXELS.min(self.outside.width - x);
                        let channel = block * BLOCK + part * S::F32_LANES;
                        let bias = self.finish.bias.map_or(simd.splat_f32s(0.0), |bias| {
                            S::as_simd_f32s(&bias[channel..channel + S::F32_LANES]).0[0]
                        });
                        let floor = if self.finish.relu {
                            0.0
                        } else {
                            f32::NEG_INFINITY
                        };
                        for (pixel, sum) in sums.into_iter().enumerate().take(inside) {
                            let mut value = simd.add_f32s(sum, bias);
                            if let Some(add) = self.finish.add {
                                let at = self.outside.pixel(self.image, self.top + y, x + pixel)
                                    + channel;
                                let add = &add[at..at + S::F32_LANES];
                                value = simd.add_f32s(value, S::as_simd_f32s(add).0[0]);
                            }
                            let at = (y * self.outside.width + x + pixel) * self.stride + channel;
                            let target = &mut self.output[at..at + S::F32_LANES];
                            S::as_mut_simd_f32s(target).0[0] =
                                at_least(simd, simd.splat_f32s(floor), value);
                        }
                    }
                }
            }
        }
    }
}

/// The input of a band for one block of channels, as vectors.
struct Sums<'a, V> {
    /// `[row][column][input channel within the group][16]`.
    expanded: &'a [V],
    /// `[y][x][input channel within the group][16]`.
    weights: &'a [V],
    columns: usize,
    window: SlidingWindow,
}

impl<V: Copy> Sums<'_, V> {
    /// The sums of `PIXELS` output pixels, one vector of the block each. `STRIDE` is that of the window, or 0 for any.
    #[inline(always)]
    fn sums<S: Simd<f32s = V>, const WIDTH: usize, const STRIDE: usize>(
        &self,
        simd: S,
        (y, x): (usize, usize),
        part: usize,
    ) -> [V; PIXELS] {
        let parts = BLOCK / S::F32_LANES;
        let side = self.window.side;
        let stride = if STRIDE == 0 {
            self.window.stride
        } else {
            STRIDE
        };
        // The vectors from the first input of the first pixel to the last one of the last pixel.
        let reach = ((PIXELS - 1) * stride + 1) * WIDTH * parts;
        let mut sums = [simd.splat_f32s(0.0); PIXELS];
        for dy in 0..side {
            let row = (y * stride + dy) * self.columns + x * stride;
            for dx in 0..side {
                let inputs = &self.expanded[(row + dx) * WIDTH * parts..][..reach];
                let weights = &self.weights[(dy * side + dx) * WIDTH * parts..][..WIDTH * parts];
                for input in 0..WIDTH {
                    let weight = weights[input * parts + part];
                    for (pixel, sum) in sums.iter_mut().enumerate() {
                        let at = (pixel * stride * WIDTH + input) * parts + part;
                        *sum = simd.mul_add_e_f32s(inputs[at], weight, *sum);
                    }
                }
            }
        }
        sums
    }
}

/// Writes, for each pixel of an input row, one block of channels once per input channel within a group: each time every lane holds
/// that channel of its own group. Zeros outside the map.
#[inline(always)]
fn expand_row<const WIDTH: usize>(
    input: &[f32],
    shape: Nhwc,
    (image, y, block): (usize, usize, usize),
    padding: usize,
    target: &mut [f32],
) {
    if y >= shape.height {
        target.fill(0.0);
        return;
    }
    for (column, target) in target.chunks_exact_mut(WIDTH * BLOCK).enumerate() {
        let x = column.wrapping_sub(padding);
        if x >= shape.width {
            target.fill(0.0);
            continue;
        }
        let start = shape.pixel(image, y, x) + block * BLOCK;
        let mut channels = [0.0; BLOCK];
        channels.copy_from_slice(&input[start..start + BLOCK]);
        for (index, target) in target.chunks_exact_mut(BLOCK).enumerate() {
            let lanes: [f32; BLOCK] =
                std::array::from_fn(|lane| channels[lane / WIDTH * WIDTH + index]);
            target.copy_from_slice(&lanes);
        }
    }
}

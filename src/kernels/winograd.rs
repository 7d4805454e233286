//! 3x3 convolution of stride 1 and padding 1 by Winograd F(4x4,3x3). Knows no layers and no files.

use super::buffer::{AlignedBuffer, BLOCK_SCRATCH, SHARED_SCRATCH, Scratch, with_scratch};
use super::filters::{PANEL, TransformPanel};
use super::finish::{Finish, Target};
use super::gemm::{GemmSizes, MOST_COLUMNS, Matrix, multiply};
use super::patches::{FilterSizes, PatchFilters};
use super::tiles::{Nhwc, TILE, TileBlock, TileGrid, tile_row_slices};
use super::transforms::{InverseTiles, POSITIONS, TileStrides, TransformTiles, Window};
use super::window::SlidingWindow;
use pulp::Arch;
use rayon::prelude::*;

/// The most input channels for which a direct convolution is faster.
const MOST_DIRECT_CHANNELS: usize = 4;

/// From this number of transformed weights on, reading them costs more than sharing a block of tiles between threads. Then all
/// threads work on one large block, and each reads only the weights of its positions.
pub(super) const SHARED_WEIGHTS: usize = POSITIONS * 256 * 512;

/// The number of tiles of a block that all threads share: products and transformed tiles of 512 channels take about 30 MB, and
/// 38 MB of weights are read once per block.
pub(super) const SHARED_TILES: usize = 200;

/// The number of values in the transformed tiles and products of one thread together (1 MB, which fits its cache).
const BLOCK_VALUES: usize = 1 << 18;

/// The position of the weight of (output channel, input channel, y, x) in an untransformed weight slice.
#[derive(Clone, Copy)]
struct WeightOrder {
    output: usize,
    input: usize,
    flipped: bool,
}

/// The transformed weights of a convolution, in panels of output channels:
/// `[out / 64][36][in][64]`, the last panel padded to a multiple of 16.
pub(crate) struct Winograd3x3 {
    out_channels: usize,
    in_channels: usize,
    filters: Filters,
}

enum Filters {
    Transformed(AlignedBuffer),
    Direct(PatchFilters),
}

/// The only window of this convolution.
pub(crate) const WINDOW: SlidingWindow = SlidingWindow {
    side: 3,
    stride: 1,
    padding: 1,
};

/// Whether a convolution with this number of input channels can be fused with a following pooling.
pub(crate) fn pools(in_channels: usize) -> bool {
    in_channels > MOST_DIRECT_CHANNELS
}

impl Winograd3x3 {
    /// Transforms weights `[out, in, 3, 3]`.
    pub(crate) fn new(weight: &[f32], out_channels: usize, in_channels: usize) -> Self {
        let order = WeightOrder {
            output: in_channels * 9,
            input: 9,
            flipped: false,
        };
        Self::from_order(weight, order, out_channels, in_channels)
    }

    /// Transforms weights `[out, in, 3, 3]` of a convolution into those of its input gradient, which
    /// maps `out` channels to `in`: the same convolution with flipped, transposed filters.
    pub(crate) fn of_input_gradient(
        weight: &[f32],
        out_channels: usize,
        in_channels: usize,
    ) -> Self {
        let order = WeightOrder {
            output: 9,
            input: in_channels * 9,
            flipped: true,
        };
        Self::from_order(weight, order, in_channels, out_channels)
    }

    fn from_order(
        weight: &[f32],
        order: WeightOrder,
        out_channels: usize,
        in_channels: usize,
    ) -> Self {
        assert!(out_channels > 0 && in_channels > 0, "no channels");
        assert_eq!(weight.len(), out_channels * in_channels * 9, "weight size");
        let filter = |output: usize, input: usize| -> [f32; 9] {
            let start = output * order.output + input * order.input;
            let filter = &weight[start..start + 9];
            std::array::from_fn(|tap| filter[if order.flipped { 8 - tap } else { tap }])
        };
        let filters = if in_channels <= MOST_DIRECT_CHANNELS {
            let sizes = FilterSizes {
                out_channels,
                in_channels,
                window: WINDOW,
                groups: 1,
            };
            let weight = |output, input, tap: usize| filter(output, input)[tap];
            Filters::Direct(PatchFilters::new(sizes, weight))
        } else {
            let padded = out_channels.next_multiple_of(16);
            let length = POSITIONS * in_channels * padded;
            let mut values = AlignedBuffer::zeroed(length);
            let arch = Arch::new();
            values
                .take_mut(length)
                .par_chunks_mut(POSITIONS * in_channels * PANEL)
                .enumerate()
                .for_each(|(panel, values)| {
                    arch.dispatch(TransformPanel {
                        first: panel * PANEL,
                        out_channels,
                        in_channels,
                        filter: &filter,
                        values,
                    });
                });
            Filters::Transformed(values)
        };
        Self {
            out_channels,
            in_channels,
            filters,
        }
    }

    /// Convolves NHWC `input` of `shape` into NHWC `output`, adding `bias` per output channel.
    pub(crate) fn forward(
        &self,
        input: &[f32],
        shape: Nhwc,
        bias: Option<&[f32]>,
        relu: bool,
        output: &mut [f32],
    ) {
        let finish = Finish {
            bias,
            relu,
            ..Finish::default()
        };
        let output = Target::dense(output, self.out_channels);
        self.forward_finished(input, shape, finish, output);
    }

    /// Convolves NHWC `input` of `shape` into `output`. Pools only if `pools(in_channels)`, and then adds no values.
    pub(crate) fn forward_finished(
        &self,
        input: &[f32],
        shape: Nhwc,
        finish: Finish,
        output: Target,
    ) {
        let outside = shape.with_channels(self.out_channels);
        let target = if finish.max_pool {
            outside.pooled()
        } else {
            outside
        };
        assert_eq!(shape.channels, self.in_channels, "input channels");
        assert_eq!(input.len(), shape.len(), "input size");
        let pixels = target.n * target.height * target.width;
        assert!(output.holds(pixels, target.channels), "output size");
        let is_vector = |bias: &[f32]| bias.len() == self.out_channels;
        assert!(finish.bias.is_none_or(is_vector), "bias size");
        let is_map = |add: &[f32]| add.len() == outside.len() && !finish.max_pool;
        assert!(finish.add.is_none_or(is_map), "size of added values");
        if pixels == 0 {
            return;
        }
        match &self.filters {
            Filters::Direct(filters) => filters.forward(input, shape, finish, output),
            Filters::Transformed(values) => {
                let step = if finish.max_pool { TILE / 2 } else { TILE };
                let grid = TileGrid::new(shape);
                let stride = output.stride;
                let row = target.width * stride;
                let mut rows = tile_row_slices(output.values, grid, target.height, row, step);
                let work = Forward {
                    layer: self,
                    weights: values.take(
                        POSITIONS * self.in_channels * self.out_channels.next_multiple_of(16),
                    ),
                    input,
                    shape,
                    grid,
                    finish,
                    stride,
                };
                let weights = POSITIONS * self.in_channels * self.out_channels;
                // A shared block consists of whole tile rows, which must fit into one matrix product.
                if weights >= SHARED_WEIGHTS && grid.columns <= MOST_COLUMNS {
                    work.in_shared_blocks(&mut rows);
                } else {
                    work.in_own_blocks(&mut rows);
                }
            }
        }
    }
}

/// A forward pass with transformed weights.
struct Forward<'a> {
    layer: &'a Winograd3x3,
    weights: &'a [f32],
    input: &'a [f32],
    shape: Nhwc,
    grid: TileGrid,
    finish: Finish<'a>,
    stride: usize,
}

impl Forward<'_> {
    /// Each thread takes its own block of tiles through all steps, within its cache.
    fn in_own_blocks(&self, rows: &mut [&mut [f32]]) {
        let channels = self.layer.in_channels + self.layer.out_channels;
        let most = (BLOCK_VALUES / (POSITIONS * channels)).clamp(12, MOST_COLUMNS);
        let height = (most / self.grid.columns).max(1);
        rows.par_chunks_mut(height)
            .enumerate()
            .for_each(|(index, rows)| {
                let first = index * height;
                with_scratch(&BLOCK_SCRATCH, |scratch| {
                    for block in self.grid.blocks(first..first + rows.len(), most) {
                        self.one_block(&block, scratch, rows);
                    }
                });
            });
    }

    fn one_block(&self, block: &TileBlock, scratch: &mut Scratch, rows: &mut [&mut [f32]]) {
        let tiles = block.tiles();
        let inside = TileStrides::new(tiles, self.layer.in_channels);
        let outside = TileStrides::new(tiles, self.layer.out_channels);
        let transformed = scratch.transformed.take_mut(inside.len());
        let products = scratch.products.take_mut(outside.len());
        self.transform(block, transformed, inside);
        for position in 0..POSITIONS {
            self.multiply_position(
                position,
                tiles,
                &transformed[position * inside.position..],
                inside.tile,
                &mut products[position * outside.position..],
                outside.tile,
            );
        }
        self.invert(block, 0, products, outside, rows);
    }

    /// All threads work on the same block of tiles, step by step.
    fn in_shared_blocks(&self, rows: &mut [&mut [f32]]) {
        with_scratch(&SHARED_SCRATCH, |scratch| {
            let parts = self.grid.blocks(0..self.grid.rows, SHARED_TILES);
            for part in parts {
                let target = &mut rows[part.rows.clone()];
                self.shared_block(&part, scratch, target);
            }
        });
    }

    fn shared_block(&self, part: &TileBlock, scratch: &mut Scratch, rows: &mut [&mut [f32]]) {
        let tiles = part.tiles();
        let blocks = self.grid.blocks(part.rows.clone(), MOST_COLUMNS);
        let most = blocks.iter().map(TileBlock::tiles).max().unwrap_or(0);
        let inside = TileStrides::new(most, self.layer.in_channels);
        let outside = TileStrides::new(tiles, self.layer.out_channels);
        let transformed = scratch.transformed.take_mut(inside.len() * blocks.len());
        let products = scratch.products.take_mut(outside.len());
        transformed
            .par_chunks_mut(inside.len())
            .zip(&blocks)
            .for_each(|(transformed, block)| self.transform(block, transformed, inside));
        let transformed = &*transformed;
        products
            .par_chunks_mut(outside.position)
            .enumerate()
            .for_each(|(position, products)| {
                let mut first = 0;
                for (index, block) in blocks.iter().enumerate() {
                    self.multiply_position(
                        position,
                        block.tiles(),
                        &transformed[index * inside.len() + position * inside.position..],
                        inside.tile,
                        &mut products[first * outside.tile..],
                        outside.tile,
                    );
                    first += block.tiles();
                }
            });
        let products = &*products;
        let columns = self.grid.columns;
        rows.par_iter_mut().enumerate().for_each(|(index, row)| {
            let block = TileBlock {
                rows: part.rows.start + index..part.rows.start + index + 1,
                columns: 0..columns,
            };
            let row = std::slice::from_mut(row);
            self.invert(&block, index * columns, products, outside, row);
        });
    }

    fn transform(&self, block: &TileBlock, destination: &mut [f32], strides: TileStrides) {
        Arch::new().dispatch(TransformTiles {
            window: Window::Input,
            values: self.input,
            shape: self.shape,
            block,
            channels: 0..self.layer.in_channels,
            destination,
            strides,
        });
    }

    /// Computes the products of one position: `[tiles, in] * [in, out]`, panel by panel.
    fn multiply_position(
        &self,
        position: usize,
        tiles: usize,
        transformed: &[f32],
        tile_stride: usize,
        products: &mut [f32],
        product_stride: usize,
    ) {
        let depth = self.layer.in_channels;
        let parts = tiles.div_ceil(MOST_COLUMNS);
        // Parts of whole kernel widths (6 columns) except the last. A lone tile gets a neighbour, because the gemm crate sums a
        // single column in another order.
        let columns = tiles.div_ceil(parts).next_multiple_of(6);
        for (panel, weights) in self.weights.chunks(POSITIONS * depth * PANEL).enumerate() {
            let rows = weights.len() / (POSITIONS * depth);
            let left = Matrix {
                values: &weights[position * depth * rows..(position + 1) * depth * rows],
                row_stride: 1,
                column_stride: rows,
            };
            for first in (0..tiles).step_by(columns) {
                let sizes = GemmSizes {
                    rows,
                    columns: columns.min(tiles - first).max(2),
                    depth,
                };
                let right = Matrix {
                    values: &transformed[first * tile_stride..],
                    row_stride: 1,
                    column_stride: tile_stride,
                };
                let products = &mut products[first * product_stride + panel * PANEL..];
                multiply(sizes, left, right, products, product_stride, false);
            }
        }
    }

    fn invert(
        &self,
        block: &TileBlock,
        first_tile: usize,
        products: &[f32],
        strides: TileStrides,
        rows: &mut [&mut [f32]],
    ) {
        Arch::new().dispatch(InverseTiles {
            products,
            strides,
            first_tile,
            block,
            shape: self.shape.with_channels(self.layer.out_channels),
            finish: self.finish,
            rows,
            stride: self.stride,
        });
    }
}

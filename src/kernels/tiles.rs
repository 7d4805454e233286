//! The geometry of NHWC activations cut into 4x4 output tiles. Knows no values and no arithmetic.

use std::ops::Range;

/// The side of an output tile.
pub(crate) const TILE: usize = 4;

/// The sizes of a batch of activations `[n, height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nhwc {
    pub(crate) n: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Nhwc {
    /// The number of values.
    pub(crate) fn len(self) -> usize {
        self.n * self.height * self.width * self.channels
    }

    /// The same pixels with another number of channels.
    pub(crate) fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// The sizes after a 2x2 max pool of stride 2.
    pub(crate) fn pooled(self) -> Self {
        Self {
            height: self.height / 2,
            width: self.width / 2,
            ..self
        }
    }

    /// The index of the first channel of a pixel.
    pub(crate) fn pixel(self, image: usize, y: usize, x: usize) -> usize {
        ((image * self.height + y) * self.width + x) * self.channels
    }
}

/// The tiles of a batch: `rows` counts the tile rows of all images together.
#[derive(Clone, Copy)]
pub(crate) struct TileGrid {
    pub(crate) rows_per_image: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// A rectangle of tiles; its tiles are numbered row by row.
#[derive(Clone, Debug)]
pub(crate) struct TileBlock {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

impl TileBlock {
    /// The number of tiles.
    pub(crate) fn tiles(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

impl TileGrid {
    /// Cuts the pixels of `shape` into tiles. The last one of a row or column may be incomplete.
    pub(crate) fn new(shape: Nhwc) -> Self {
        let rows_per_image = shape.height.div_ceil(TILE);
        Self {
            rows_per_image,
            rows: rows_per_image * shape.n,
            columns: shape.width.div_ceil(TILE),
        }
    }

    /// The image and the first pixel row of a tile row.
    pub(crate) fn place(&self, row: usize) -> (usize, usize) {
        (row / self.rows_per_image, row % self.rows_per_image * TILE)
    }

    /// Cuts `rows` into rectangles of at most `most` tiles (at least one tile each), evenly.
    pub(crate) fn blocks(&self, rows: Range<usize>, most: usize) -> Vec<TileBlock> {
        let column_parts = self.columns.div_ceil(most);
        let columns = self.columns.div_ceil(column_parts.max(1)).max(1);
        let row_parts = rows.len().div_ceil((most / columns).max(1));
        let height = rows.len().div_ceil(row_parts.max(1)).max(1);
        let mut blocks = Vec::new();
        for first_row in rows.clone().step_by(height) {
            for first_column in (0..self.columns).step_by(columns) {
                blocks.push(TileBlock {
                    rows: first_row..(first_row + height).min(rows.end),
                    columns: first_column..(first_column + columns).min(self.columns),
                });
            }
        }
        blocks
    }
}

/// Cuts an NHWC slice into one slice per tile row. `height` and `row` (values per pixel row) describe the slice, whose last pixel
/// may be incomplete; a tile row consists of `step` pixel rows.
pub(crate) fn tile_row_slices(
    mut values: &mut [f32],
    grid: TileGrid,
    height: usize,
    row: usize,
    step: usize,
) -> Vec<&mut [f32]> {
    let mut slices = Vec::with_capacity(grid.rows);
    for tile_row in 0..grid.rows {
        let first = (tile_row % grid.rows_per_image * step).min(height);
        let pixel_rows = step.min(height - first);
        let (head, tail) = values.split_at_mut((pixel_rows * row).min(values.len()));
        slices.push(head);
        values = tail;
    }
    slices
}

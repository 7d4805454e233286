//! Small matrices cut into panels of columns, so that the rows of a panel are next to each other in the first-level cache. In row-major
//! order they would be a power of two apart and compete for the same cache lines.

use std::ops::Range;

use pulp::Simd;

/// The number of columns of a panel: four of the largest vectors.
pub(super) const COLUMNS: usize = 64;
/// The number of rows of a large matrix that a panel is combined with before the next panel, so that it is read less often.
const BLOCK_ROWS: usize = 16;

/// A matrix of few rows and many columns: `[panels, rows, COLUMNS]`, with zeros behind the last column.
#[derive(Debug)]
pub(super) struct Panels {
    pub(super) rows: usize,
    pub(super) width: usize,
    values: Vec<f32>,
}

impl Panels {
    pub(super) fn zeros(rows: usize, width: usize) -> Self {
        Self {
            rows,
            width,
            values: vec![0.0; width.div_ceil(COLUMNS) * rows * COLUMNS],
        }
    }

    /// Cuts a row-major matrix.
    pub(super) fn of(matrix: &[f32], width: usize) -> Self {
        let mut panels = Self::zeros(matrix.len() / width, width);
        for (row, values) in matrix.chunks_exact(width).enumerate() {
            for (panel, values) in values.chunks(COLUMNS).enumerate() {
                panels.row_mut(panel, row)[..values.len()].copy_from_slice(values);
            }
        }
        panels
    }

    /// Adds the values of a row.
    pub(super) fn add_row_to(&self, row: usize, sums: &mut [f32]) {
        for (panel, sums) in sums.chunks_mut(COLUMNS).enumerate() {
            let start = (panel * self.rows + row) * COLUMNS;
            for (sum, value) in sums.iter_mut().zip(&self.values[start..]) {
                *sum += value;
            }
        }
    }

    /// A panel: `[rows, COLUMNS]`.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize) -> &[f32] {
        let length = self.rows * COLUMNS;
        &self.values[panel * length..][..length]
    }

    #[inline(always)]
    pub(super) fn panel_mut(&mut self, panel: usize) -> &mut [f32] {
        let length = self.rows * COLUMNS;
        &mut self.values[panel * length..][..length]
    }

    fn row_mut(&mut self, panel: usize, row: usize) -> &mut [f32] {
        &mut self.panel_mut(panel)[row * COLUMNS..][..COLUMNS]
    }
}

/// A column-major copy of some columns of `matrix`: `[columns, rows]`.
pub(super) fn transposed(matrix: &[f32], width: usize, columns: Range<usize>) -> Vec<f32> {
    let rows = matrix.len() / width;
    let mut values = vec![0.0; columns.len() * rows];
    for (row, from) in matrix.chunks_exact(width).enumerate() {
        for (to, value) in values.chunks_exact_mut(rows).zip(&from[columns.clone()]) {
            to[row] = *value;
        }
    }
    values
}

/// Some rows and columns of a large row-major matrix. The columns are in one panel.
pub(super) struct Strip {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    pub(super) panel: usize,
    /// The distance in the matrix from a value to the one that is needed as much later as a panel takes.
    pub(super) ahead: usize,
}

impl Strip {
    /// The first column within the panel.
    #[inline(always)]
    pub(super) fn offset(&self) -> usize {
        self.columns.start % COLUMNS
    }
}

/// What combines a large matrix with panels. Its functions must be `inline(always)`, as vector code that is called has no instruction set.
pub(super) trait StripWork {
    /// Works on a strip of `V` vectors.
    fn vectors<S: Simd, const V: usize>(&mut self, simd: S, strip: &Strip);

    /// Works on the columns that do not fill a vector.
    fn rest<S: Simd>(&mut self, simd: S, strip: &Strip);
}

/// Passes once over a matrix, in blocks of rows and, within them, strips of columns.
#[inline(always)]
pub(super) fn pass<S: Simd>(simd: S, n_rows: usize, width: usize, work: &mut impl StripWork) {
    let n_panels = width.div_ceil(COLUMNS);
    for first in (0..n_rows).step_by(BLOCK_ROWS) {
        for panel in 0..n_panels {
            let start = panel * COLUMNS;
            let ahead = if panel + 1 < n_panels {
                COLUMNS
            } else {
                BLOCK_ROWS * width - start
            };
            let mut strip = Strip {
                rows: first..n_rows.min(first + BLOCK_ROWS),
                columns: start..start,
                panel,
                ahead,
            };
            let end = width.min(start + COLUMNS);
            // Sixteen sums need more than sixteen registers.
            if S::REGISTER_COUNT >= 32 {
                strips::<S, 4>(simd, &mut strip, end, work);
            } else {
                strips::<S, 2>(simd, &mut strip, end, work);
            }
            strips::<S, 1>(simd, &mut strip, end, work);
            if strip.columns.end < end {
                strip.columns = strip.columns.end..end;
                work.rest(simd, &strip);
            }
        }
    }
}

/// Works on strips of `V` vectors behind `strip` as long as they fit.
#[inline(always)]
fn strips<S: Simd, const V: usize>(
    simd: S,
    strip: &mut Strip,
    end: usize,
    work: &mut impl StripWork,
) {
    let length = V * S::F32_LANES;
    while strip.columns.end + length <= end {
        strip.columns = strip.columns.end..strip.columns.end + length;
        work.vectors::<S, V>(simd, strip);
    }
}

/// Asks for the cache line of a value that will be needed soon. The value may lie outside `values`: nothing is read then.
#[inline(always)]
pub(super) fn prefetch(values: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let address = values.as_ptr().wrapping_add(at).cast();
        #[expect(unsafe_code, reason = "there is no safe way to prefetch")]
        // SAFETY: a prefetch is a hint. It neither accesses memory nor fails, whatever the address is.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(address);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

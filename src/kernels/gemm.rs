//! A checked single-threaded f32 matrix product on top of the `gemm` crate. Knows nothing about convolutions.

/// The longest sum of a product. Up to this length the `gemm` crate never splits a sum, whatever the other sizes, so that an
/// element's value does not depend on how many rows or columns are computed at once.
const LONGEST_SUM: usize = 512;

/// The most columns of a product. Up to this number the `gemm` crate reads an aligned left side in place instead of copying it.
pub(crate) const MOST_COLUMNS: usize = 48;

/// A strided read-only matrix: element (r, c) is `values[r * row_stride + c * column_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl Matrix<'_> {
    fn assert_holds(&self, rows: usize, columns: usize) {
        let last = (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
        assert!(last < self.values.len(), "matrix smaller than its sizes");
    }
}

/// The sizes of a product `[rows, depth] * [depth, columns]`.
#[derive(Clone, Copy)]
pub(crate) struct GemmSizes {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
}

/// Writes the product `left * right` to `destination[c * destination_stride + r]`, or adds it.
pub(crate) fn multiply(
    sizes: GemmSizes,
    left: Matrix,
    right: Matrix,
    destination: &mut [f32],
    destination_stride: usize,
    accumulate: bool,
) {
    let GemmSizes {
        rows,
        columns,
        depth,
    } = sizes;
    assert!(rows > 0 && columns > 0 && depth > 0, "empty product");
    assert!(
        destination_stride >= rows,
        "columns of the destination overlap"
    );
    assert!(
        (columns - 1) * destination_stride + rows <= destination.len(),
        "destination smaller than its sizes"
    );
    left.assert_holds(rows, depth);
    right.assert_holds(depth, columns);
    for first in (0..depth).step_by(LONGEST_SUM) {
        // SAFETY: the assertions above bound every index of the three matrices, `destination` is
        // borrowed mutably and so overlaps neither side, and its columns do not overlap.
        #[expect(unsafe_code, reason = "the gemm crate takes raw pointers")]
        unsafe {
            gemm::gemm(
                rows,
                columns,
                LONGEST_SUM.min(depth - first),
                destination.as_mut_ptr(),
                destination_stride as isize,
                1,
                accumulate || first > 0,
                left.values.as_ptr().add(first * left.column_stride),
                left.column_stride as isize,
                left.row_stride as isize,
                right.values.as_ptr().add(first * right.row_stride),
                right.column_stride as isize,
                right.row_stride as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

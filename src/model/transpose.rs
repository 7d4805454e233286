//! Transposes large matrices on the host. Knows no Burn.

use rayon::prelude::*;

use super::state::HostTensor;

/// The side of the tiles that are transposed at a time. A tile of both matrices fits into the CPU cache.
const TILE: usize = 32;

/// How many rows of a transposed matrix are made at a time where it is not needed as a whole: enough tiles for several threads.
pub(crate) const ROWS_AT_ONCE: usize = 4 * TILE;

/// Transposes `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transposed(matrix: &HostTensor) -> HostTensor {
    let (n_rows, n_columns) = (matrix.shape[0], matrix.shape[1]);
    let mut values = vec![0.0; matrix.values.len()];
    transpose_columns(&matrix.values, n_rows, n_columns, 0, &mut values);
    HostTensor {
        shape: vec![n_columns, n_rows],
        values,
    }
}

/// Passes the transpose of a matrix `[rows, columns]` to `visitor`, some rows at a time.
pub(crate) fn visit_transposed(
    values: &[f32],
    n_rows: usize,
    n_columns: usize,
    visitor: &mut dyn FnMut(&[f32]),
) {
    let mut rows = vec![0.0; ROWS_AT_ONCE.min(n_columns) * n_rows];
    for first in (0..n_columns).step_by(ROWS_AT_ONCE) {
        let rows = &mut rows[..ROWS_AT_ONCE.min(n_columns - first) * n_rows];
        transpose_columns(values, n_rows, n_columns, first, rows);
        visitor(rows);
    }
}

/// Fills `out` with columns of a matrix `[rows, columns]`, from column `first` on, as rows.
fn transpose_columns(
    values: &[f32],
    n_rows: usize,
    n_columns: usize,
    first: usize,
    out: &mut [f32],
) {
    out.par_chunks_mut(TILE * n_rows)
        .enumerate()
        .for_each(|(tile, out)| {
            let first_column = first + tile * TILE;
            let width = out.len() / n_rows;
            // The rows of either matrix may be a power of two apart, so that a tile's lines would push each other out of the cache.
            let mut turned = [[0.0; TILE]; TILE];
            for first_row in (0..n_rows).step_by(TILE) {
                let height = TILE.min(n_rows - first_row);
                for row in 0..height {
                    let start = (first_row + row) * n_columns + first_column;
                    for (column, value) in values[start..start + width].iter().enumerate() {
                        turned[column][row] = *value;
                    }
                }
                for (out, column) in out.chunks_exact_mut(n_rows).zip(&turned) {
                    out[first_row..][..height].copy_from_slice(&column[..height]);
                }
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_at_any_size() {
        for (n_rows, n_columns) in [(1, 1), (2, 3), (33, 70), (64, 32)] {
            let values = (0..n_rows * n_columns).map(|value| value as f32).collect();
            let matrix = HostTensor {
                shape: vec![n_rows, n_columns],
                values,
            };
            let other = transposed(&matrix);
            assert_eq!(other.shape, [n_columns, n_rows]);
            let last_column: Vec<f32> = (1..=n_rows)
                .map(|row| (row * n_columns - 1) as f32)
                .collect();
            assert_eq!(other.values[(n_columns - 1) * n_rows..], last_column);
            assert_eq!(transposed(&other), matrix);
        }
    }

    #[test]
    fn the_pieces_of_a_transposed_matrix_are_the_whole() {
        for (n_rows, n_columns) in [(1, 1), (3, 128), (5, 300)] {
            let matrix = HostTensor {
                shape: vec![n_rows, n_columns],
                values: (0..n_rows * n_columns).map(|value| value as f32).collect(),
            };
            let mut values = Vec::new();
            visit_transposed(&matrix.values, n_rows, n_columns, &mut |rows| {
                values.extend_from_slice(rows);
            });
            assert_eq!(values, transposed(&matrix).values);
        }
    }
}

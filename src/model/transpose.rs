//! Transposes large matrices on the host. Knows no Burn.

use rayon::prelude::*;

use super::state::HostTensor;

/// The side of the tiles that are transposed at a time. A tile of both matrices fits into the CPU cache.
const TILE: usize = 32;

/// Transposes `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transposed(matrix: &HostTensor) -> HostTensor {
    let (n_rows, n_columns) = (matrix.shape[0], matrix.shape[1]);
    let mut values = vec![0.0; matrix.values.len()];
    values
        .par_chunks_mut(TILE * n_rows)
        .enumerate()
        .for_each(|(tile, out)| {
            let first_column = tile * TILE;
            for first_row in (0..n_rows).step_by(TILE) {
                for (column, out_row) in out.chunks_mut(n_rows).enumerate() {
                    let last_row = (first_row + TILE).min(n_rows);
                    for (offset, value) in out_row[first_row..last_row].iter_mut().enumerate() {
                        let row = first_row + offset;
                        *value = matrix.values[row * n_columns + first_column + column];
                    }
                }
            }
        });
    HostTensor {
        shape: vec![n_columns, n_rows],
        values,
    }
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
}

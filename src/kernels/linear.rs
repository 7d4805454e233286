//! Fully connected layers for small batches on the CPU. Reading and writing the weight dominates the cost, so each of the three
//! products passes over the weight once, in memory order.
//! The weight is `[inputs, outputs]`, as in Burn. Sums have a fixed order at any number of threads.

use std::{array, ops::Range};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// The number of rows that are combined with as many other rows at a time, so that sixteen sums or factors stay in registers.
/// More rows would compete for the same lines of the first-level cache, because their distances are powers of two.
const TILE: usize = 4;
/// The number of columns that are processed before the next rows, so that they are still in the first-level cache.
const COLUMNS: usize = 1024;
/// The number of rows of the weight per task.
pub(super) const ROWS: usize = 8;
/// The number of partial sums of `forward`. Fixed, so that results do not depend on the number of threads, and large enough to
/// keep most machines busy.
pub(crate) const MAX_PARTS: usize = 16;

/// The sizes of a layer and a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinearSizes {
    pub(crate) images: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl LinearSizes {
    pub(super) fn check(self, input: &[f32], weight: &[f32], output: &[f32]) {
        assert_eq!(input.len(), self.images * self.inputs, "[images, inputs]");
        assert_eq!(
            weight.len(),
            self.inputs * self.outputs,
            "[inputs, outputs]"
        );
        assert_eq!(
            output.len(),
            self.images * self.outputs,
            "[images, outputs]"
        );
    }
}

/// Computes `output = input weight + bias`: `[images, inputs]`, `[inputs, outputs]`, `[outputs]` to `[images, outputs]`.
pub(crate) fn forward(
    sizes: LinearSizes,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    sizes.check(input, weight, output);
    let LinearSizes {
        images,
        inputs,
        outputs,
    } = sizes;
    assert_eq!(bias.len(), outputs, "[outputs]");
    let rows_per_part = inputs.div_ceil(MAX_PARTS).next_multiple_of(TILE);
    let arch = Arch::new();
    let parts: Vec<Vec<f32>> = weight
        .par_chunks(rows_per_part * outputs)
        .enumerate()
        .map(|(part, weight)| {
            let first_input = part * rows_per_part;
            let mut sums = vec![0.0; images * outputs];
            for (block, weight) in weight.chunks(ROWS * outputs).enumerate() {
                let first_input = first_input + block * ROWS;
                let factor = |image: usize, row: usize| input[image * inputs + first_input + row];
                arch.dispatch(Product {
                    width: outputs,
                    factor,
                    rows: weight,
                    sums: &mut sums,
                });
            }
            sums
        })
        .collect();
    for (image, output) in output.chunks_exact_mut(outputs).enumerate() {
        output.copy_from_slice(bias);
        for part in &parts {
            for (sum, value) in output.iter_mut().zip(&part[image * outputs..]) {
                *sum += value;
            }
        }
    }
}

/// Computes `input^T output_gradient`: `[images, inputs]`, `[images, outputs]` to `[inputs, outputs]`.
pub(crate) fn weight_gradient(
    sizes: LinearSizes,
    input: &[f32],
    output_gradient: &[f32],
    weight_gradient: &mut [f32],
) {
    sizes.check(input, weight_gradient, output_gradient);
    let arch = Arch::new();
    weight_gradient
        .par_chunks_mut(ROWS * sizes.outputs)
        .enumerate()
        .for_each(|(block, rows)| {
            let factors = (input, output_gradient);
            weight_gradient_rows(arch, sizes, factors, block * ROWS, rows);
        });
}

/// Computes some rows of the weight gradient, from `first_row` on.
pub(super) fn weight_gradient_rows(
    arch: Arch,
    sizes: LinearSizes,
    (input, output_gradient): (&[f32], &[f32]),
    first_row: usize,
    rows: &mut [f32],
) {
    let LinearSizes {
        inputs, outputs, ..
    } = sizes;
    rows.fill(0.0);
    arch.dispatch(Product {
        width: outputs,
        factor: |row: usize, image: usize| input[image * inputs + first_row + row],
        rows: output_gradient,
        sums: rows,
    });
}

/// Computes `sums[s] += factor(s, r) * rows[r]` over all rows `r` and sums `s`, each `width` long.
struct Product<'a, F> {
    width: usize,
    factor: F,
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl<F: Fn(usize, usize) -> f32> WithSimd for Product<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            width,
            factor,
            rows,
            sums,
        } = self;
        for first_column in (0..width).step_by(COLUMNS) {
            let columns = first_column..(first_column + COLUMNS).min(width);
            for (row_tile, rows) in rows.chunks(TILE * width).enumerate() {
                for (sum_tile, sums) in sums.chunks_mut(TILE * width).enumerate() {
                    let (row, sum) = (row_tile * TILE, sum_tile * TILE);
                    let whole = TILE * width;
                    if rows.len() == whole && sums.len() == whole {
                        let rows = cut::<TILE>(rows, width, &columns);
                        let sums = cut_mut::<TILE>(sums, width, &columns);
                        add_products(simd, &rows, sums, |s, r| factor(sum + s, row + r));
                        continue;
                    }
                    for (s, sums) in sums.chunks_exact_mut(width).enumerate() {
                        for (r, rows) in rows.chunks_exact(width).enumerate() {
                            let rows = cut::<1>(rows, width, &columns);
                            let sums = cut_mut::<1>(sums, width, &columns);
                            add_products(simd, &rows, sums, |_, _| factor(sum + s, row + r));
                        }
                    }
                }
            }
        }
    }
}

/// Returns the `columns` of each of `N` rows.
#[inline(always)]
fn cut<'a, const N: usize>(
    rows: &'a [f32],
    width: usize,
    columns: &Range<usize>,
) -> [&'a [f32]; N] {
    array::from_fn(|row| &rows[row * width..][columns.clone()])
}

#[inline(always)]
fn cut_mut<'a, const N: usize>(
    rows: &'a mut [f32],
    width: usize,
    columns: &Range<usize>,
) -> [&'a mut [f32]; N] {
    let mut rows = rows.chunks_exact_mut(width);
    array::from_fn(|_| &mut rows.next().expect("a tile holds its rows")[columns.clone()])
}

/// Computes `sums[s] += factor(s, r) * rows[r]`.
#[inline(always)]
fn add_products<S: Simd, const N: usize>(
    simd: S,
    rows: &[&[f32]; N],
    sums: [&mut [f32]; N],
    factor: impl Fn(usize, usize) -> f32,
) {
    let factors: [[f32; N]; N] = array::from_fn(|s| array::from_fn(|r| factor(s, r)));
    let splats: [[S::f32s; N]; N] =
        factors.map(|factors| factors.map(|factor| simd.splat_f32s(factor)));
    let n_vectors = rows[0].len() / S::F32_LANES;
    let vectors: [&[S::f32s]; N] = array::from_fn(|r| &S::as_simd_f32s(rows[r]).0[..n_vectors]);
    let tail = n_vectors * S::F32_LANES;
    let mut halves = sums.map(|sum| sum.split_at_mut(tail));
    let heads = halves
        .each_mut()
        .map(|(head, _)| &mut S::as_mut_simd_f32s(head).0[..n_vectors]);
    for index in 0..n_vectors {
        let row: [S::f32s; N] = array::from_fn(|r| vectors[r][index]);
        for s in 0..N {
            let mut sum = heads[s][index];
            for r in 0..N {
                sum = simd.mul_add_e_f32s(splats[s][r], row[r], sum);
            }
            heads[s][index] = sum;
        }
    }
    for (s, (_, sums)) in halves.iter_mut().enumerate() {
        for (index, sum) in sums.iter_mut().enumerate() {
            for r in 0..N {
                *sum += factors[s][r] * rows[r][tail + index];
            }
        }
    }
}

/// Computes `output_gradient weight^T`: `[images, outputs]`, `[inputs, outputs]` to `[images, inputs]`.
pub(crate) fn input_gradient(
    sizes: LinearSizes,
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
) {
    sizes.check(input_gradient, weight, output_gradient);
    let LinearSizes {
        images,
        inputs,
        outputs,
    } = sizes;
    let arch = Arch::new();
    // Images are the last dimension, so that each task writes one contiguous piece of memory.
    let mut by_input = vec![0.0; images * inputs];
    by_input
        .par_chunks_mut(ROWS * images)
        .zip(weight.par_chunks(ROWS * outputs))
        .for_each(|(sums, rows)| {
            arch.dispatch(DotProducts {
                width: outputs,
                rows,
                others: output_gradient,
                sums,
            });
        });
    input_gradient
        .par_chunks_mut(inputs)
        .enumerate()
        .for_each(|(image, gradient)| {
            for (value, sums) in gradient.iter_mut().zip(by_input.chunks_exact(images)) {
                *value = sums[image];
            }
        });
}

/// Computes `sums[r][o] = rows[r] . others[o]`.
struct DotProducts<'a> {
    width: usize,
    rows: &'a [f32],
    others: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for DotProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            width,
            rows,
            others,
            sums,
        } = self;
        let n_others = others.len() / width;
        for first_column in (0..width).step_by(COLUMNS) {
            let columns = first_column..(first_column + COLUMNS).min(width);
            let tiles = rows
                .chunks(TILE * width)
                .zip(sums.chunks_mut(TILE * n_others));
            for (rows, sums) in tiles {
                for (tile, others) in others.chunks(TILE * width).enumerate() {
                    let whole = TILE * width;
                    if rows.len() == whole && others.len() == whole {
                        let rows = cut::<TILE>(rows, width, &columns);
                        let products =
                            dot_products(simd, &rows, &cut::<TILE>(others, width, &columns));
                        for (sums, products) in sums.chunks_exact_mut(n_others).zip(products) {
                            for (sum, product) in sums[tile * TILE..].iter_mut().zip(products) {
                                *sum += product;
                            }
                        }
                        continue;
                    }
                    for (row, sums) in rows
                        .chunks_exact(width)
                        .zip(sums.chunks_exact_mut(n_others))
                    {
                        let row = cut::<1>(row, width, &columns);
                        let others = others.chunks_exact(width);
                        for (sum, other) in sums[tile * TILE..].iter_mut().zip(others) {
                            let [[product]] =
                                dot_products(simd, &row, &cut::<1>(other, width, &columns));
                            *sum += product;
                        }
                    }
                }
            }
        }
    }
}

/// Returns `rows[r] . others[o]`.
#[inline(always)]
fn dot_products<S: Simd, const N: usize>(
    simd: S,
    rows: &[&[f32]; N],
    others: &[&[f32]; N],
) -> [[f32; N]; N] {
    let n_vectors = rows[0].len() / S::F32_LANES;
    let tail = n_vectors * S::F32_LANES;
    let row_vectors: [&[S::f32s]; N] = array::from_fn(|r| &S::as_simd_f32s(rows[r]).0[..n_vectors]);
    let other_vectors: [&[S::f32s]; N] =
        array::from_fn(|o| &S::as_simd_f32s(others[o]).0[..n_vectors]);
    let mut sums = [[simd.splat_f32s(0.0); N]; N];
    for index in 0..n_vectors {
        let other: [S::f32s; N] = array::from_fn(|o| other_vectors[o][index]);
        for r in 0..N {
            let row = row_vectors[r][index];
            for o in 0..N {
                sums[r][o] = simd.mul_add_e_f32s(row, other[o], sums[r][o]);
            }
        }
    }
    let totals = sums.map(|sums| sums.map(|sum| simd.reduce_sum_f32s(sum)));
    array::from_fn(|r| {
        array::from_fn(|o| {
            let tails = rows[r][tail..].iter().zip(&others[o][tail..]);
            totals[r][o] + tails.map(|(a, b)| a * b).sum::<f32>()
        })
    })
}

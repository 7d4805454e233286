//! Fully connected layers for small batches on the CPU. Reading and writing the weight dominates the cost, so each of the three
//! products passes over the weight once, in memory order.
//! The weight is `[inputs, outputs]`, as in Burn. Sums have a fixed order at any number of threads.

use std::{array, ops::Range};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    panels::{COLUMNS, Panels, Strip, StripWork, pass, prefetch, transposed},
    update::{self, VectorRule},
};

/// The number of rows that are combined with as many other rows at a time, so that sixteen sums or factors stay in registers.
/// More rows would compete for the same lines of the first-level cache, because their distances are powers of two.
const TILE: usize = 4;
/// The number of columns of a dot product that are summed in one go. A whole number of panels.
const DOT_COLUMNS: usize = 1024;
/// The number of rows of the weight per task.
const ROWS: usize = 8;
/// The number of partial sums of a product. Fixed, so that results do not depend on the number of threads, and large enough to
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

/// `input weight` as partial sums, each over the same number of rows of the weight: `[images, inputs]` times `[inputs, outputs]`.
#[derive(Debug)]
pub(crate) struct PartialProducts(pub(super) Vec<Panels>);

impl PartialProducts {
    pub(crate) fn new(sizes: LinearSizes, input: &[f32], weight: &[f32]) -> Self {
        let LinearSizes {
            images,
            inputs,
            outputs,
        } = sizes;
        assert_eq!(input.len(), images * inputs, "[images, inputs]");
        assert_eq!(weight.len(), inputs * outputs, "[inputs, outputs]");
        let rows_per_part = rows_per_part(inputs);
        let arch = Arch::new();
        let parts = weight.par_chunks(rows_per_part * outputs).enumerate();
        let parts = parts.map(|(part, weight)| {
            let first = part * rows_per_part;
            let rows = first..(first + rows_per_part).min(inputs);
            let mut sums = Panels::zeros(images, outputs);
            arch.dispatch(AddProducts {
                input: &transposed(input, inputs, rows),
                weight,
                sums: &mut sums,
                is_cached: false,
            });
            sums
        });
        Self(parts.collect())
    }

    /// Computes `output = input weight + bias`: `[outputs]` to `[images, outputs]`.
    pub(crate) fn finish(&self, bias: &[f32], output: &mut [f32]) {
        let rows = output.par_chunks_exact_mut(bias.len()).enumerate();
        rows.for_each(|(row, output)| {
            output.copy_from_slice(bias);
            for part in &self.0 {
                part.add_row_to(row, output);
            }
        });
    }
}

/// The number of rows of the weight per partial sum.
pub(super) fn rows_per_part(inputs: usize) -> usize {
    inputs.div_ceil(MAX_PARTS).next_multiple_of(TILE)
}

/// Adds `input weight` to `sums`. Each sum adds its terms in the order of the rows of the weight.
pub(super) struct AddProducts<'a> {
    /// `[rows, images]`
    pub(super) input: &'a [f32],
    /// `[rows, outputs]`
    pub(super) weight: &'a [f32],
    /// `[images, outputs]`
    pub(super) sums: &'a mut Panels,
    /// Whether the weight is in the cache already.
    pub(super) is_cached: bool,
}

impl WithSimd for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let width = self.sums.width;
        let n_rows = self.weight.len() / width;
        pass(simd, n_rows, width, &mut self);
    }
}

impl StripWork for AddProducts<'_> {
    #[inline(always)]
    fn vectors<S: Simd, const V: usize>(&mut self, simd: S, strip: &Strip) {
        let images = self.sums.rows;
        let tiled = images / TILE * TILE;
        for image in (0..tiled).step_by(TILE) {
            self.tile::<S, TILE, V>(simd, strip, image);
        }
        for image in tiled..images {
            self.tile::<S, 1, V>(simd, strip, image);
        }
    }

    #[inline(always)]
    fn rest<S: Simd>(&mut self, _simd: S, strip: &Strip) {
        let Panels {
            rows: images,
            width,
            ..
        } = *self.sums;
        let panel = self.sums.panel_mut(strip.panel);
        for row in strip.rows.clone() {
            let weights = &self.weight[row * width..][strip.columns.clone()];
            let factors = &self.input[row * images..][..images];
            for (factor, sums) in factors.iter().zip(panel.chunks_exact_mut(COLUMNS)) {
                for (sum, weight) in sums[strip.offset()..].iter_mut().zip(weights) {
                    *sum += factor * weight;
                }
            }
        }
    }
}

impl AddProducts<'_> {
    /// Adds the products of `N` images from `image` on.
    #[inline(always)]
    fn tile<S: Simd, const N: usize, const V: usize>(
        &mut self,
        simd: S,
        strip: &Strip,
        image: usize,
    ) {
        let Panels {
            rows: images,
            width,
            ..
        } = *self.sums;
        let length = V * S::F32_LANES;
        let panel = self.sums.panel_mut(strip.panel);
        let panel = &mut panel[image * COLUMNS + strip.offset()..];
        let mut sums: [[S::f32s; V]; N] = array::from_fn(|n| {
            let sums = S::as_simd_f32s(&panel[n * COLUMNS..][..length]).0;
            array::from_fn(|vector| sums[vector])
        });
        for row in strip.rows.clone() {
            let at = row * width + strip.columns.start;
            let weights = S::as_simd_f32s(&self.weight[at..][..length]).0;
            let weights: [S::f32s; V] = array::from_fn(|vector| weights[vector]);
            if image == 0 && !self.is_cached {
                for vector in 0..V {
                    prefetch(self.weight, at + strip.ahead + vector * S::F32_LANES);
                }
            }
            let factors = &self.input[row * images + image..][..N];
            for n in 0..N {
                let factor = simd.splat_f32s(factors[n]);
                for vector in 0..V {
                    sums[n][vector] = simd.mul_add_e_f32s(factor, weights[vector], sums[n][vector]);
                }
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            let kept = &mut panel[n * COLUMNS..][..length];
            S::as_mut_simd_f32s(kept).0.copy_from_slice(sums);
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
    let factors = (input, output_gradient);
    update::rule(Assign).update_by_factors(sizes, weight_gradient, factors, &mut [], None);
}

/// Replaces a parameter with its gradient.
#[derive(Clone, Copy)]
struct Assign;

impl VectorRule<0> for Assign {
    type Lanes<S: Simd> = ();

    #[inline(always)]
    fn lanes<S: Simd>(self, _simd: S) {}

    #[inline(always)]
    fn step<S: Simd>(
        _simd: S,
        _lanes: (),
        _parameter: S::f32s,
        gradient: S::f32s,
        moments: [S::f32s; 0],
    ) -> (S::f32s, [S::f32s; 0]) {
        (gradient, moments)
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
    let output_gradient = Panels::of(output_gradient, outputs);
    // Images are the last dimension, so that each task writes one contiguous piece of memory.
    let mut by_input = vec![0.0; images * inputs];
    by_input
        .par_chunks_mut(ROWS * images)
        .zip(weight.par_chunks(ROWS * outputs))
        .for_each(|(sums, rows)| {
            arch.dispatch(DotProducts {
                rows,
                others: &output_gradient,
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
    rows: &'a [f32],
    others: &'a Panels,
    sums: &'a mut [f32],
}

impl WithSimd for DotProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Panels {
            rows: n_others,
            width,
            ..
        } = *self.others;
        let n_rows = self.rows.len() / width;
        let (tiled_rows, tiled_others) = (n_rows / TILE * TILE, n_others / TILE * TILE);
        for first in (0..width).step_by(DOT_COLUMNS) {
            let columns = first..(first + DOT_COLUMNS).min(width);
            for row in (0..tiled_rows).step_by(TILE) {
                for other in (0..tiled_others).step_by(TILE) {
                    self.tile::<S, TILE>(simd, &columns, row, other);
                }
            }
            for row in 0..n_rows {
                let first_other = if row < tiled_rows { tiled_others } else { 0 };
                for other in first_other..n_others {
                    self.tile::<S, 1>(simd, &columns, row, other);
                }
            }
        }
    }
}

impl DotProducts<'_> {
    /// Adds the products of `columns` of `N` rows and as many others.
    #[inline(always)]
    fn tile<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        columns: &Range<usize>,
        row: usize,
        other: usize,
    ) {
        let Panels {
            rows: n_others,
            width,
            ..
        } = *self.others;
        let rows: [&[f32]; N] =
            array::from_fn(|n| &self.rows[(row + n) * width..][columns.clone()]);
        let mut sums = [[simd.splat_f32s(0.0); N]; N];
        let mut rests = [[0.0; N]; N];
        for start in (0..columns.len()).step_by(COLUMNS) {
            let panel = self.others.panel((columns.start + start) / COLUMNS);
            let length = COLUMNS.min(columns.len() - start);
            let rows = rows.map(|row| S::as_simd_f32s(&row[start..start + length]));
            let others: [_; N] =
                array::from_fn(|n| S::as_simd_f32s(&panel[(other + n) * COLUMNS..][..length]));
            for index in 0..length / S::F32_LANES {
                let others: [S::f32s; N] = array::from_fn(|o| others[o].0[index]);
                for r in 0..N {
                    let row = rows[r].0[index];
                    for o in 0..N {
                        sums[r][o] = simd.mul_add_e_f32s(row, others[o], sums[r][o]);
                    }
                }
            }
            for r in 0..N {
                for o in 0..N {
                    let pairs = rows[r].1.iter().zip(others[o].1);
                    rests[r][o] += pairs.map(|(a, b)| a * b).sum::<f32>();
                }
            }
        }
        for r in 0..N {
            for o in 0..N {
                let sum = &mut self.sums[(row + r) * n_others + other + o];
                *sum += simd.reduce_sum_f32s(sums[r][o]) + rests[r][o];
            }
        }
    }
}

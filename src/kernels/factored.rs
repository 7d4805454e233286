//! The step of a weight whose gradient is a product of two small matrices: each tile of the gradient is computed in registers while
//! the tile before it takes its step. The pass is then as fast as memory, and 400 MB of gradient are never written.

use std::{array, ops::Range};

use pulp::{Simd, WithSimd};

use super::{
    linear::AddProducts,
    panels::{COLUMNS, Panels, Strip, StripWork, pass, prefetch},
    update::{ParameterBlock, VectorRule},
};

/// The number of rows of the weight per task.
pub(super) const TASK_ROWS: usize = 64;
/// The number of rows of a tile.
const ROWS: usize = 4;

/// Steps some rows of a weight.
pub(super) struct ByFactors<'a, R, const M: usize> {
    pub(super) rule: R,
    /// Whole rows.
    pub(super) block: ParameterBlock<'a, M>,
    /// The part of the input that belongs to these rows, `[rows, images]`.
    pub(super) input: &'a [f32],
    /// `[images, outputs]`
    pub(super) output_gradient: &'a Panels,
    /// The part of the next input that belongs to these rows, `[rows, images]`, and what its products with the new rows are added to.
    pub(super) next: Option<(&'a [f32], &'a mut Panels)>,
}

impl<const M: usize, R: VectorRule<M>> WithSimd for ByFactors<'_, R, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let width = self.output_gradient.width;
        let n_rows = self.block.parameter.len() / width;
        pass(simd, n_rows, width, &mut self);
    }
}

impl<const M: usize, R: VectorRule<M>> StripWork for ByFactors<'_, R, M> {
    #[inline(always)]
    fn vectors<S: Simd, const V: usize>(&mut self, simd: S, strip: &Strip) {
        let Range { start, end } = strip.rows;
        let tiled = start + (end - start) / ROWS * ROWS;
        self.tiles::<S, ROWS, V>(simd, start..tiled, strip);
        self.tiles::<S, 1, V>(simd, tiled..end, strip);
        if let Some(mut products) = self.products() {
            products.vectors::<S, V>(simd, strip);
        }
    }

    #[inline(always)]
    fn rest<S: Simd>(&mut self, simd: S, strip: &Strip) {
        let Panels {
            rows: images,
            width,
            ..
        } = *self.output_gradient;
        let panel = self.output_gradient.panel(strip.panel);
        let lanes = self.rule.lanes(simd);
        let mut sums = [0.0; COLUMNS];
        let sums = &mut sums[..strip.columns.len()];
        for row in strip.rows.clone() {
            sums.fill(0.0);
            let factors = &self.input[row * images..][..images];
            for (factor, gradients) in factors.iter().zip(panel.chunks_exact(COLUMNS)) {
                for (sum, gradient) in sums.iter_mut().zip(&gradients[strip.offset()..]) {
                    *sum += factor * gradient;
                }
            }
            let at = row * width + strip.columns.start;
            self.block.step_rest::<S, R>(simd, lanes, at, sums);
        }
        if let Some(mut products) = self.products() {
            products.rest(simd, strip);
        }
    }
}

impl<const M: usize, R: VectorRule<M>> ByFactors<'_, R, M> {
    #[inline(always)]
    fn products(&mut self) -> Option<AddProducts<'_>> {
        let (input, sums) = self.next.as_mut()?;
        Some(AddProducts {
            input,
            weight: self.block.parameter,
            sums,
            is_cached: true,
        })
    }

    /// Steps the rows of a strip, `N` at a time. The gradient of a tile is computed between the steps of the tile before: the former
    /// keeps the multipliers busy, the latter the divider and memory.
    #[inline(always)]
    fn tiles<S: Simd, const N: usize, const V: usize>(
        &mut self,
        simd: S,
        rows: Range<usize>,
        strip: &Strip,
    ) {
        let Panels {
            rows: images,
            width,
            ..
        } = *self.output_gradient;
        let panel = &self.output_gradient.panel(strip.panel)[strip.offset()..];
        // The place of a vector of the tile that begins at a row.
        let at = |row: usize, place: usize| {
            (row + place / V) * width + strip.columns.start + place % V * S::F32_LANES
        };
        let lanes = self.rule.lanes(simd);
        let zero = simd.splat_f32s(0.0);
        let mut waiting = [[zero; V]; N];
        for row in rows.clone().step_by(N) {
            let is_first = row == rows.start;
            let inputs: [&[f32]; N] =
                array::from_fn(|n| &self.input[(row + n) * images..][..images]);
            let mut sums = [[zero; V]; N];
            for image in 0..images {
                let gradients = &panel[image * COLUMNS..][..V * S::F32_LANES];
                let gradients = S::as_simd_f32s(gradients).0;
                let gradients: [S::f32s; V] = array::from_fn(|vector| gradients[vector]);
                for n in 0..N {
                    let factor = simd.splat_f32s(inputs[n][image]);
                    for vector in 0..V {
                        sums[n][vector] =
                            simd.mul_add_e_f32s(factor, gradients[vector], sums[n][vector]);
                    }
                }
                if image < N * V {
                    let later = at(row, image) + strip.ahead;
                    prefetch(self.block.parameter, later);
                    for moment in &self.block.moments {
                        prefetch(moment, later);
                    }
                    if !is_first {
                        let gradient = waiting[image / V][image % V];
                        self.block
                            .step::<S, R>(simd, lanes, at(row - N, image), gradient);
                    }
                }
            }
            if !is_first {
                self.finish(simd, lanes, &waiting, images, |place| at(row - N, place));
            }
            waiting = sums;
        }
        if !rows.is_empty() {
            self.finish(simd, lanes, &waiting, 0, |place| at(rows.end - N, place));
        }
    }

    /// Steps the vectors of a tile from the `first` on.
    #[inline(always)]
    fn finish<S: Simd, const N: usize, const V: usize>(
        &mut self,
        simd: S,
        lanes: R::Lanes<S>,
        gradients: &[[S::f32s; V]; N],
        first: usize,
        at: impl Fn(usize) -> usize,
    ) {
        for place in first..N * V {
            let gradient = gradients[place / V][place % V];
            self.block.step::<S, R>(simd, lanes, at(place), gradient);
        }
    }
}

//! Optimizer steps on the CPU: one parallel pass over parameter, gradient and moments, in place. Where the gradient is a product of two
//! small matrices, it exists in registers only. Knows no formula.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    factored::{ByFactors, TASK_ROWS},
    linear::{self, LinearSizes, PartialProducts},
    panels::{Panels, transposed},
};

/// The number of values that one task updates: a few hundred microseconds of memory traffic.
const BLOCK: usize = 1 << 17;

/// An optimizer's step with its scalars worked out.
pub(crate) trait Rule: Sync {
    /// Takes one step of `parameter` by its gradient. All slices have the same length; the moments are those of the rule.
    fn update(&self, parameter: &mut [f32], gradient: &[f32], moments: &mut [Vec<f32>]);

    /// Takes one step of an `[inputs, outputs]` parameter whose gradient is `input^T output_gradient`. With `next_input`,
    /// `[images, inputs]`, also computes its product with the new parameter, which is in the cache then.
    fn update_by_factors(
        &self,
        sizes: LinearSizes,
        parameter: &mut [f32],
        factors: (&[f32], &[f32]),
        moments: &mut [Vec<f32>],
        next_input: Option<&[f32]>,
    ) -> Option<PartialProducts>;
}

/// An optimizer's formula at one step, on vectors. It has `M` moments. Its functions must be `inline(always)`, as vector code that is
/// called has no instruction set.
pub(crate) trait VectorRule<const M: usize>: Copy + Sync {
    /// The scalars of the formula, each in all lanes of a vector. They are made outside of loops and stay in registers.
    type Lanes<S: Simd>: Copy;

    fn lanes<S: Simd>(self, simd: S) -> Self::Lanes<S>;

    /// The new values of a parameter and its moments.
    fn step<S: Simd>(
        simd: S,
        lanes: Self::Lanes<S>,
        parameter: S::f32s,
        gradient: S::f32s,
        moments: [S::f32s; M],
    ) -> (S::f32s, [S::f32s; M]);
}

/// Makes a rule of a formula.
pub(crate) fn rule<const M: usize>(formula: impl VectorRule<M> + 'static) -> Box<dyn Rule> {
    Box::new(OnVectors(formula))
}

struct OnVectors<R, const M: usize>(R);

impl<const M: usize, R: VectorRule<M>> Rule for OnVectors<R, M> {
    fn update(&self, parameter: &mut [f32], gradient: &[f32], moments: &mut [Vec<f32>]) {
        let arch = Arch::new();
        cut(parameter, moments, BLOCK)
            .into_par_iter()
            .zip(gradient.par_chunks(BLOCK))
            .for_each(|(block, gradient)| {
                arch.dispatch(ByGradient {
                    rule: self.0,
                    block,
                    gradient,
                });
            });
    }

    fn update_by_factors(
        &self,
        sizes: LinearSizes,
        parameter: &mut [f32],
        (input, output_gradient): (&[f32], &[f32]),
        moments: &mut [Vec<f32>],
        next_input: Option<&[f32]>,
    ) -> Option<PartialProducts> {
        sizes.check(input, parameter, output_gradient);
        let LinearSizes {
            inputs, outputs, ..
        } = sizes;
        let arch = Arch::new();
        let output_gradient = Panels::of(output_gradient, outputs);
        // With products, a task is one of their parts, as their sums have a fixed order.
        let task_rows = next_input.map_or(TASK_ROWS, |_| linear::rows_per_part(inputs));
        let sums = |next: &[f32]| Panels::zeros(next.len() / inputs, outputs);
        let sums = (0..inputs.div_ceil(task_rows)).map(|_| next_input.map(sums));
        let mut sums: Vec<Option<Panels>> = sums.collect();
        cut(parameter, moments, task_rows * outputs)
            .into_par_iter()
            .zip(sums.par_iter_mut())
            .enumerate()
            .for_each(|(index, (block, sums))| {
                let first = index * task_rows;
                let rows = first..(first + task_rows).min(inputs);
                let next = next_input.map(|next| transposed(next, inputs, rows.clone()));
                arch.dispatch(ByFactors {
                    rule: self.0,
                    block,
                    input: &transposed(input, inputs, rows),
                    output_gradient: &output_gradient,
                    next: next.as_deref().zip(sums.as_mut()),
                });
            });
        let sums: Option<Vec<Panels>> = sums.into_iter().collect();
        next_input.and(sums).map(PartialProducts)
    }
}

/// A part of a parameter, with the same part of each moment.
pub(super) struct ParameterBlock<'a, const M: usize> {
    pub(super) parameter: &'a mut [f32],
    pub(super) moments: [&'a mut [f32]; M],
}

fn cut<'a, const M: usize>(
    parameter: &'a mut [f32],
    moments: &'a mut [Vec<f32>],
    n_values: usize,
) -> Vec<ParameterBlock<'a, M>> {
    let moments: &mut [Vec<f32>; M] = moments.try_into().expect("the moments are the rule's");
    let mut moments = moments.each_mut().map(|moment| moment.chunks_mut(n_values));
    parameter
        .chunks_mut(n_values)
        .map(|parameter| ParameterBlock {
            parameter,
            moments: moments.each_mut().map(|moment| {
                let part = moment.next();
                part.expect("a moment is as long as its parameter")
            }),
        })
        .collect()
}

impl<const M: usize> ParameterBlock<'_, M> {
    /// Steps the vector that begins at `at`, by its gradient.
    #[inline(always)]
    pub(super) fn step<S: Simd, R: VectorRule<M>>(
        &mut self,
        simd: S,
        lanes: R::Lanes<S>,
        at: usize,
        gradient: S::f32s,
    ) {
        let place = at..at + S::F32_LANES;
        let parameter = &mut S::as_mut_simd_f32s(&mut self.parameter[place.clone()]).0[0];
        let mut moments = self
            .moments
            .each_mut()
            .map(|moment| &mut S::as_mut_simd_f32s(&mut moment[place.clone()]).0[0]);
        let old = moments.each_ref().map(|moment| **moment);
        let (new, new_moments) = R::step(simd, lanes, *parameter, gradient, old);
        *parameter = new;
        for (moment, new) in moments.iter_mut().zip(new_moments) {
            **moment = new;
        }
    }

    /// Steps the values from `at` on by as many gradients, fewer than a vector has. The instructions are the same, so that a value's
    /// bits do not depend on where a block ends.
    #[inline(always)]
    pub(super) fn step_rest<S: Simd, R: VectorRule<M>>(
        &mut self,
        simd: S,
        lanes: R::Lanes<S>,
        at: usize,
        gradient: &[f32],
    ) {
        let place = at..at + gradient.len();
        let parameter = &mut self.parameter[place.clone()];
        let old = self
            .moments
            .each_ref()
            .map(|moment| simd.partial_load_f32s(&moment[place.clone()]));
        let (new, new_moments) = R::step(
            simd,
            lanes,
            simd.partial_load_f32s(parameter),
            simd.partial_load_f32s(gradient),
            old,
        );
        simd.partial_store_f32s(parameter, new);
        for (moment, new) in self.moments.iter_mut().zip(new_moments) {
            simd.partial_store_f32s(&mut moment[place.clone()], new);
        }
    }
}

/// Steps a block by its whole gradient.
struct ByGradient<'a, R, const M: usize> {
    rule: R,
    block: ParameterBlock<'a, M>,
    gradient: &'a [f32],
}

impl<const M: usize, R: VectorRule<M>> WithSimd for ByGradient<'_, R, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = self.rule.lanes(simd);
        let (gradients, rest) = S::as_simd_f32s(self.gradient);
        for (index, gradient) in gradients.iter().enumerate() {
            self.block
                .step::<S, R>(simd, lanes, index * S::F32_LANES, *gradient);
        }
        if !rest.is_empty() {
            let at = gradients.len() * S::F32_LANES;
            self.block.step_rest::<S, R>(simd, lanes, at, rest);
        }
    }
}

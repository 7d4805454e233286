//! Optimizer steps on the CPU: one parallel pass over parameter, gradient and moments, in place. Where the gradient is a
//! product of two small matrices, it is computed block by block on the way and never written to memory. Knows no formula.

use pulp::Arch;
use rayon::prelude::*;

use super::linear::{self, LinearSizes, ROWS};

/// The number of values that one task updates: a few hundred microseconds of memory traffic.
const BLOCK: usize = 1 << 17;

/// An optimizer's formula at one step, with its scalars worked out.
pub(crate) trait Rule: Sync {
    /// Updates a block of a parameter in place. All slices have the same length.
    fn apply(
        &self,
        arch: Arch,
        parameter: &mut [f32],
        gradient: &[f32],
        moments: &mut [&mut [f32]],
    );
}

/// Takes one step of `parameter` by its gradient. All slices have the same length; the moments are those of the rule.
pub(crate) fn update(
    rule: &dyn Rule,
    parameter: &mut [f32],
    gradient: &[f32],
    moments: &mut [Vec<f32>],
) {
    let arch = Arch::new();
    cut(parameter, moments, BLOCK)
        .into_par_iter()
        .zip(gradient.par_chunks(BLOCK))
        .for_each(|(mut block, gradient)| {
            rule.apply(arch, block.parameter, gradient, &mut block.moments);
        });
}

/// Takes one step of an `[inputs, outputs]` parameter whose gradient is `input^T output_gradient`.
pub(crate) fn update_by_factors(
    rule: &dyn Rule,
    sizes: LinearSizes,
    parameter: &mut [f32],
    (input, output_gradient): (&[f32], &[f32]),
    moments: &mut [Vec<f32>],
) {
    sizes.check(input, parameter, output_gradient);
    let arch = Arch::new();
    let n_values = ROWS * sizes.outputs;
    cut(parameter, moments, n_values)
        .into_par_iter()
        .enumerate()
        .for_each_init(
            || vec![0.0; n_values],
            |gradient, (index, mut block)| {
                let gradient = &mut gradient[..block.parameter.len()];
                linear::weight_gradient_rows(
                    arch,
                    sizes,
                    (input, output_gradient),
                    index * ROWS,
                    gradient,
                );
                rule.apply(arch, block.parameter, gradient, &mut block.moments);
            },
        );
}

/// A part of a parameter, with the same part of each moment.
struct ParameterBlock<'a> {
    parameter: &'a mut [f32],
    moments: Vec<&'a mut [f32]>,
}

fn cut<'a>(
    parameter: &'a mut [f32],
    moments: &'a mut [Vec<f32>],
    n_values: usize,
) -> Vec<ParameterBlock<'a>> {
    let mut blocks: Vec<ParameterBlock> = parameter
        .chunks_mut(n_values)
        .map(|parameter| ParameterBlock {
            parameter,
            moments: Vec::with_capacity(moments.len()),
        })
        .collect();
    for moment in moments {
        for (block, moment) in blocks.iter_mut().zip(moment.chunks_mut(n_values)) {
            block.moments.push(moment);
        }
    }
    blocks
}

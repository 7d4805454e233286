//! `ReLU` and its gradient, in place and in parallel. As in PyTorch, a NaN is kept.

use pulp::Arch;
use rayon::prelude::*;

/// The number of values per task.
const TASK_VALUES: usize = 1 << 14;

/// Sets negative values to zero.
pub(crate) fn relu(values: &mut [f32]) {
    let arch = Arch::new();
    values.par_chunks_mut(TASK_VALUES).for_each(|values| {
        arch.dispatch(
            #[inline(always)]
            || {
                for value in values {
                    *value = if *value <= 0.0 { 0.0 } else { *value };
                }
            },
        );
    });
}

/// Adds `others`, and sets negative sums to zero.
pub(crate) fn add_relu(values: &mut [f32], others: &[f32]) {
    assert_eq!(values.len(), others.len(), "sizes of the sum");
    let arch = Arch::new();
    values
        .par_chunks_mut(TASK_VALUES)
        .zip(others.par_chunks(TASK_VALUES))
        .for_each(|(values, others)| {
            arch.dispatch(
                #[inline(always)]
                || {
                    for (value, other) in values.iter_mut().zip(others) {
                        let sum = *value + other;
                        *value = if sum <= 0.0 { 0.0 } else { sum };
                    }
                },
            );
        });
}

/// Turns the gradient of the output into that of the input: zero where the output is zero.
pub(crate) fn gradient(output: &[f32], gradient: &mut [f32]) {
    assert_eq!(output.len(), gradient.len(), "gradient size");
    let arch = Arch::new();
    gradient
        .par_chunks_mut(TASK_VALUES)
        .zip(output.par_chunks(TASK_VALUES))
        .for_each(|(gradient, output)| {
            arch.dispatch(
                #[inline(always)]
                || {
                    for (gradient, output) in gradient.iter_mut().zip(output) {
                        *gradient = if *output <= 0.0 { 0.0 } else { *gradient };
                    }
                },
            );
        });
}

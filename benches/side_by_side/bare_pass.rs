//! The least that an Adam step on VGG16's classifier can cost: a pass over its parameters and two moments, which runs in a child
//! process with the threads and the allocator of a training run.

use std::{hint::black_box, time::Instant};

use pulp::Arch;
use rayon::prelude::*;

/// The parameters of VGG16's classifier with two classes.
const PARAMETERS: usize = (25_088 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 2;
/// As many values as one task of the optimizer updates.
const BLOCK: usize = 1 << 17;
const REPEATS: usize = 9;
const FACTOR: f32 = 0.999_999;

/// The median time in milliseconds in which three vectors of `PARAMETERS` values are read, multiplied by a number and written, after
/// one uncounted pass.
pub(crate) fn milliseconds() -> f64 {
    let [mut parameters, mut first, mut second] =
        [1.0_f32, 0.1, 0.01].map(|at| vec![at; PARAMETERS]);
    let arch = Arch::new();
    let mut times: Vec<f64> = (0..=REPEATS)
        .map(|_| {
            let started = Instant::now();
            parameters
                .par_chunks_mut(BLOCK)
                .zip(first.par_chunks_mut(BLOCK))
                .zip(second.par_chunks_mut(BLOCK))
                .for_each(|((parameters, first), second)| {
                    arch.dispatch(|| {
                        for ((parameter, first), second) in
                            parameters.iter_mut().zip(first).zip(second)
                        {
                            *parameter *= FACTOR;
                            *first *= FACTOR;
                            *second *= FACTOR;
                        }
                    });
                });
            let milliseconds = started.elapsed().as_secs_f64() * 1e3;
            black_box((&parameters, &first, &second));
            milliseconds
        })
        .skip(1)
        .collect();
    super::table::median(&mut times)
}

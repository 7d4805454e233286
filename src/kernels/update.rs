//! Optimizer steps on the CPU: one parallel pass over parameter, gradient and moments, in place.
//! Formulas and rounding of the scalars are those of Burn's optimizers, which are PyTorch's.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Values that one task updates: a few hundred microseconds of memory traffic.
const BLOCK: usize = 1 << 17;

/// Adam's numbers at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adam {
    pub(crate) beta_1: f32,
    pub(crate) beta_2: f32,
    pub(crate) eps: f32,
    pub(crate) decay: Decay,
    pub(crate) lr: f64,
    /// Steps of this parameter, this one included.
    pub(crate) time: usize,
}

/// How weights are pulled towards 0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decay {
    /// Added to the gradient: Adam.
    InGradient(f32),
    /// Taken off the parameter, apart from the moments: `AdamW`.
    Decoupled(f32),
}

/// `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `p -= lr m_hat / (sqrt(v_hat) + eps)`.
/// Source: Kingma & Ba 2015, and Loshchilov & Hutter 2019 for the decoupled decay.
pub(crate) fn adam(
    numbers: &Adam,
    parameter: &mut [f32],
    gradient: &[f32],
    moment_1: &mut [f32],
    moment_2: &mut [f32],
) {
    let bias_correction_1 = 1.0 - numbers.beta_1.powi(numbers.time as i32);
    let bias_correction_2 = (1.0 - numbers.beta_2.powi(numbers.time as i32)).sqrt();
    let (l2, shrink) = match numbers.decay {
        Decay::InGradient(decay) => (decay, 1.0),
        Decay::Decoupled(decay) => (0.0, (1.0 - numbers.lr * f64::from(decay)) as f32),
    };
    let factors = AdamFactors {
        l2,
        shrink,
        keep_1: numbers.beta_1,
        take_1: 1.0 - numbers.beta_1,
        keep_2: numbers.beta_2,
        take_2: 1.0 - numbers.beta_2,
        eps: numbers.eps * bias_correction_2,
        rate: (numbers.lr * f64::from(bias_correction_2 / bias_correction_1)) as f32,
    };
    let arch = Arch::new();
    parameter
        .par_chunks_mut(BLOCK)
        .zip(gradient.par_chunks(BLOCK))
        .zip(moment_1.par_chunks_mut(BLOCK))
        .zip(moment_2.par_chunks_mut(BLOCK))
        .for_each(|(((parameter, gradient), moment_1), moment_2)| {
            arch.dispatch(AdamBlock {
                factors,
                parameter,
                gradient,
                moment_1,
                moment_2,
            });
        });
}

#[derive(Clone, Copy)]
struct AdamFactors {
    l2: f32,
    shrink: f32,
    keep_1: f32,
    take_1: f32,
    keep_2: f32,
    take_2: f32,
    eps: f32,
    rate: f32,
}

struct AdamBlock<'a> {
    factors: AdamFactors,
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    moment_1: &'a mut [f32],
    moment_2: &'a mut [f32],
}

impl WithSimd for AdamBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (parameters, parameters_tail) = S::as_mut_simd_f32s(self.parameter);
        let (gradients, gradients_tail) = S::as_simd_f32s(self.gradient);
        let (first, first_tail) = S::as_mut_simd_f32s(self.moment_1);
        let (second, second_tail) = S::as_mut_simd_f32s(self.moment_2);
        let f = self.factors;
        let (l2, shrink) = (simd.splat_f32s(f.l2), simd.splat_f32s(f.shrink));
        let (keep_1, take_1) = (simd.splat_f32s(f.keep_1), simd.splat_f32s(f.take_1));
        let (keep_2, take_2) = (simd.splat_f32s(f.keep_2), simd.splat_f32s(f.take_2));
        let (eps, rate) = (simd.splat_f32s(f.eps), simd.splat_f32s(f.rate));
        let blocks = parameters.iter_mut().zip(gradients);
        for ((p, g), (m, v)) in blocks.zip(first.iter_mut().zip(second)) {
            let g = simd.mul_add_e_f32s(l2, *p, *g);
            *m = simd.mul_add_e_f32s(keep_1, *m, simd.mul_f32s(take_1, g));
            *v = simd.mul_add_e_f32s(keep_2, *v, simd.mul_f32s(take_2, simd.mul_f32s(g, g)));
            let denominator = simd.add_f32s(simd.sqrt_f32s(*v), eps);
            let step = simd.div_f32s(simd.mul_f32s(rate, *m), denominator);
            *p = simd.sub_f32s(simd.mul_f32s(*p, shrink), step);
        }
        let tails = parameters_tail.iter_mut().zip(gradients_tail);
        for ((p, g), (m, v)) in tails.zip(first_tail.iter_mut().zip(second_tail)) {
            let g = f.l2 * *p + g;
            *m = f.keep_1 * *m + f.take_1 * g;
            *v = f.keep_2 * *v + f.take_2 * (g * g);
            *p = *p * f.shrink - f.rate * *m / (v.sqrt() + f.eps);
        }
    }
}

/// SGD's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sgd {
    pub(crate) lr: f64,
    pub(crate) weight_decay: f32,
    pub(crate) momentum: f32,
    pub(crate) dampening: f64,
    pub(crate) nesterov: bool,
}

/// `p -= lr (g + decay p)`.
pub(crate) fn sgd(numbers: &Sgd, parameter: &mut [f32], gradient: &[f32]) {
    let (decay, lr) = (numbers.weight_decay, numbers.lr as f32);
    let arch = Arch::new();
    let blocks = parameter
        .par_chunks_mut(BLOCK)
        .zip(gradient.par_chunks(BLOCK));
    blocks.for_each(|(parameter, gradient)| {
        arch.dispatch(|| {
            for (p, g) in parameter.iter_mut().zip(gradient) {
                *p -= lr * (decay * *p + g);
            }
        });
    });
}

/// `v = momentum v + (1 - dampening) g`, `p -= lr v`, with Nesterov `p -= lr (g + momentum v)`; at a parameter's first
/// step `v = g`, as in `torch.optim.SGD`.
pub(crate) fn sgd_with_momentum(
    numbers: &Sgd,
    parameter: &mut [f32],
    gradient: &[f32],
    velocity: &mut [f32],
    is_first: bool,
) {
    let (decay, lr) = (numbers.weight_decay, numbers.lr as f32);
    let (keep, take) = if is_first {
        (0.0, 1.0)
    } else {
        (numbers.momentum, (1.0 - numbers.dampening) as f32)
    };
    let (from_gradient, from_velocity) = if numbers.nesterov {
        (1.0, numbers.momentum)
    } else {
        (0.0, 1.0)
    };
    let arch = Arch::new();
    parameter
        .par_chunks_mut(BLOCK)
        .zip(gradient.par_chunks(BLOCK))
        .zip(velocity.par_chunks_mut(BLOCK))
        .for_each(|((parameter, gradient), velocity)| {
            arch.dispatch(|| {
                for ((p, g), v) in parameter.iter_mut().zip(gradient).zip(velocity) {
                    let g = decay * *p + g;
                    *v = keep * *v + take * g;
                    *p -= lr * (from_gradient * g + from_velocity * *v);
                }
            });
        });
}

//! Adam and `AdamW`.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};

use super::formula::{Formula, StepScalars, decayed, mean};
use crate::kernels::update::Rule;

pub(crate) struct Adam {
    pub(crate) betas: [f64; 2],
    pub(crate) eps: f64,
    /// Whether weights decay apart from the gradient, as in `AdamW`.
    pub(crate) is_decoupled: bool,
}

impl Formula for Adam {
    fn moment_names(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn rule(&self, scalars: StepScalars) -> Box<dyn Rule> {
        let decay = scalars.weight_decay;
        let decays = if self.is_decoupled {
            (0.0, decay)
        } else {
            (decay, 0.0)
        };
        Box::new(AdamScalars::new(
            self.betas,
            self.eps,
            decays,
            scalars.lr,
            scalars.step,
        ))
    }

    fn tensors(
        &self,
        scalars: StepScalars,
        p: Tensor<1>,
        mut g: Tensor<1>,
        moments: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let StepScalars {
            lr,
            weight_decay,
            step,
        } = scalars;
        let [beta_1, beta_2] = self.betas;
        let [first, second] = <[Tensor<1>; 2]>::try_from(moments).expect("Adam has two moments");
        if !self.is_decoupled {
            g = decayed(g, &p, weight_decay);
        }
        let first = mean(first, g.clone(), beta_1);
        let second = mean(second, g.clone() * g, beta_2);
        let [bias_1, bias_2] = [beta_1, beta_2].map(|beta| 1.0 - beta.powf(step as f64));
        let denominator = second.clone().sqrt() + self.eps * bias_2.sqrt();
        let step = first.clone() / denominator * (lr * bias_2.sqrt() / bias_1);
        let p = if self.is_decoupled {
            p * (1.0 - lr * weight_decay)
        } else {
            p
        };
        (p - step, vec![first, second])
    }
}

/// `g += decay p`, `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `p -= lr m_hat / (sqrt(v_hat) + eps)`.
/// Source: Kingma & Ba 2015, and Loshchilov & Hutter 2019 for the decoupled decay.
#[derive(Clone, Copy, Debug)]
struct AdamScalars {
    decay: f32,
    /// The factor of the parameter before the step: `AdamW`'s decay.
    shrink: f32,
    keep_1: f32,
    take_1: f32,
    keep_2: f32,
    take_2: f32,
    /// `eps sqrt(1 - b2^t)` and `lr sqrt(1 - b2^t) / (1 - b1^t)` correct the bias of both moments.
    eps: f32,
    rate: f32,
}

impl AdamScalars {
    /// The scalars of the `time`-th step of a parameter, from 1. `decay` goes into the gradient, `decoupled_decay` does not.
    fn new(
        [beta_1, beta_2]: [f64; 2],
        eps: f64,
        (decay, decoupled_decay): (f64, f64),
        lr: f64,
        time: usize,
    ) -> Self {
        let [bias_1, bias_2] = [beta_1, beta_2].map(|beta| 1.0 - beta.powf(time as f64));
        Self {
            decay: decay as f32,
            shrink: (1.0 - lr * decoupled_decay) as f32,
            keep_1: beta_1 as f32,
            take_1: (1.0 - beta_1) as f32,
            keep_2: beta_2 as f32,
            take_2: (1.0 - beta_2) as f32,
            eps: (eps * bias_2.sqrt()) as f32,
            rate: (lr * bias_2.sqrt() / bias_1) as f32,
        }
    }
}

impl Rule for AdamScalars {
    fn apply(
        &self,
        arch: Arch,
        parameter: &mut [f32],
        gradient: &[f32],
        moments: &mut [&mut [f32]],
    ) {
        let [moment_1, moment_2] = moments else {
            unreachable!("Adam has two moments");
        };
        arch.dispatch(AdamBlock {
            factors: *self,
            parameter,
            gradient,
            moment_1,
            moment_2,
        });
    }
}

struct AdamBlock<'a> {
    factors: AdamScalars,
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
        let factors = self.factors.splat(simd);
        let blocks = parameters.iter_mut().zip(gradients);
        for ((p, g), (m, v)) in blocks.zip(first.iter_mut().zip(second)) {
            factors.step(simd, p, *g, m, v);
        }
        // The same instructions, so that a value's bits do not depend on where a block ends.
        let g = simd.partial_load_f32s(gradients_tail);
        let mut p = simd.partial_load_f32s(parameters_tail);
        let mut m = simd.partial_load_f32s(first_tail);
        let mut v = simd.partial_load_f32s(second_tail);
        factors.step(simd, &mut p, g, &mut m, &mut v);
        simd.partial_store_f32s(parameters_tail, p);
        simd.partial_store_f32s(first_tail, m);
        simd.partial_store_f32s(second_tail, v);
    }
}

/// Adam's scalars in every lane of a vector.
struct AdamLanes<S: Simd> {
    decay: S::f32s,
    shrink: S::f32s,
    keep_1: S::f32s,
    take_1: S::f32s,
    keep_2: S::f32s,
    take_2: S::f32s,
    eps: S::f32s,
    rate: S::f32s,
}

impl AdamScalars {
    #[inline(always)]
    fn splat<S: Simd>(self, simd: S) -> AdamLanes<S> {
        AdamLanes {
            decay: simd.splat_f32s(self.decay),
            shrink: simd.splat_f32s(self.shrink),
            keep_1: simd.splat_f32s(self.keep_1),
            take_1: simd.splat_f32s(self.take_1),
            keep_2: simd.splat_f32s(self.keep_2),
            take_2: simd.splat_f32s(self.take_2),
            eps: simd.splat_f32s(self.eps),
            rate: simd.splat_f32s(self.rate),
        }
    }
}

impl<S: Simd> AdamLanes<S> {
    #[inline(always)]
    fn step(&self, simd: S, p: &mut S::f32s, g: S::f32s, m: &mut S::f32s, v: &mut S::f32s) {
        let g = simd.mul_add_e_f32s(self.decay, *p, g);
        *m = simd.mul_add_e_f32s(self.keep_1, *m, simd.mul_f32s(self.take_1, g));
        let square = simd.mul_f32s(g, g);
        *v = simd.mul_add_e_f32s(self.keep_2, *v, simd.mul_f32s(self.take_2, square));
        let denominator = simd.add_f32s(simd.sqrt_f32s(*v), self.eps);
        let step = simd.div_f32s(simd.mul_f32s(self.rate, *m), denominator);
        *p = simd.sub_f32s(simd.mul_f32s(*p, self.shrink), step);
    }
}

//! Adam and `AdamW`.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::Simd;

use super::formula::{Formula, StepScalars, decayed, lanes, mean, negligible, unless_negligible};
use crate::kernels::update::{Rule, VectorRule, rule};

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
        rule(AdamScalars::new(
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
struct AdamScalars<T> {
    decay: T,
    /// The factor of the parameter before the step: `AdamW`'s decay.
    shrink: T,
    keep_1: T,
    take_1: T,
    keep_2: T,
    take_2: T,
    /// `eps sqrt(1 - b2^t)` and `lr sqrt(1 - b2^t) / (1 - b1^t)` correct the bias of both moments.
    eps: T,
    rate: T,
    /// Squares of smaller gradients are taken as 0: see `negligible`.
    negligible: T,
}

impl AdamScalars<f32> {
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
            negligible: negligible((1.0 - beta_2) as f32),
        }
    }
}

impl VectorRule<2> for AdamScalars<f32> {
    lanes!(AdamScalars: decay, shrink, keep_1, take_1, keep_2, take_2, eps, rate, negligible);

    #[inline(always)]
    fn step<S: Simd>(
        simd: S,
        lanes: AdamScalars<S::f32s>,
        p: S::f32s,
        g: S::f32s,
        [m, v]: [S::f32s; 2],
    ) -> (S::f32s, [S::f32s; 2]) {
        let g = simd.mul_add_e_f32s(lanes.decay, p, g);
        let m = simd.mul_add_e_f32s(lanes.keep_1, m, simd.mul_f32s(lanes.take_1, g));
        let g = unless_negligible(simd, g, lanes.negligible);
        let taken = simd.mul_f32s(lanes.take_2, simd.mul_f32s(g, g));
        let v = simd.mul_add_e_f32s(lanes.keep_2, v, taken);
        let denominator = simd.add_f32s(simd.sqrt_f32s(v), lanes.eps);
        let step = simd.div_f32s(simd.mul_f32s(lanes.rate, m), denominator);
        let p = simd.sub_f32s(simd.mul_f32s(p, lanes.shrink), step);
        (p, [m, v])
    }
}

//! Lion, which steps by the sign of an interpolation between its moment and the gradient.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::Simd;

use super::formula::{Formula, StepScalars, lanes, mean};
use crate::kernels::update::{Rule, VectorRule, rule};

pub(crate) struct Lion {
    pub(crate) betas: [f64; 2],
}

impl Formula for Lion {
    fn moment_names(&self) -> Vec<&'static str> {
        vec!["exp_avg"]
    }

    fn rule(&self, scalars: StepScalars) -> Box<dyn Rule> {
        let [beta_1, beta_2] = self.betas;
        rule(LionScalars {
            shrink: (1.0 - scalars.lr * scalars.weight_decay) as f32,
            keep_1: beta_1 as f32,
            take_1: (1.0 - beta_1) as f32,
            keep_2: beta_2 as f32,
            take_2: (1.0 - beta_2) as f32,
            lr: scalars.lr as f32,
        })
    }

    fn tensors(
        &self,
        scalars: StepScalars,
        p: Tensor<1>,
        g: Tensor<1>,
        moments: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let [beta_1, beta_2] = self.betas;
        let [moment] = <[Tensor<1>; 1]>::try_from(moments).expect("Lion has one moment");
        let update = mean(moment.clone(), g.clone(), beta_1).sign();
        let shrunk = p * (1.0 - scalars.lr * scalars.weight_decay);
        (shrunk - update * scalars.lr, vec![mean(moment, g, beta_2)])
    }
}

/// `u = sign(b1 m + (1 - b1) g)`, `p = (1 - lr decay) p - lr u`, `m = b2 m + (1 - b2) g`.
/// Source: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2.
#[derive(Clone, Copy, Debug)]
struct LionScalars<T> {
    /// The factor of the parameter before the step: the decoupled weight decay.
    shrink: T,
    keep_1: T,
    take_1: T,
    keep_2: T,
    take_2: T,
    lr: T,
}

impl VectorRule<1> for LionScalars<f32> {
    lanes!(LionScalars: shrink, keep_1, take_1, keep_2, take_2, lr);

    #[inline(always)]
    fn step<S: Simd>(
        simd: S,
        lanes: LionScalars<S::f32s>,
        p: S::f32s,
        g: S::f32s,
        [m]: [S::f32s; 1],
    ) -> (S::f32s, [S::f32s; 1]) {
        let mean = |keep, take| simd.add_f32s(simd.mul_f32s(keep, m), simd.mul_f32s(take, g));
        let zero = simd.splat_f32s(0.0);
        let direction = mean(lanes.keep_1, lanes.take_1);
        // Not the sign bit, which 0 has too: a parameter without a gradient must stay where it is.
        let up = simd.select_f32s(simd.greater_than_f32s(direction, zero), lanes.lr, zero);
        let down = simd.neg_f32s(lanes.lr);
        let step = simd.select_f32s(simd.less_than_f32s(direction, zero), down, up);
        let p = simd.sub_f32s(simd.mul_f32s(p, lanes.shrink), step);
        (p, [mean(lanes.keep_2, lanes.take_2)])
    }
}

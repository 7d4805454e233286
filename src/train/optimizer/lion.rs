//! Lion, which steps by the sign of an interpolation between its moment and the gradient.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::Arch;

use super::formula::{Formula, StepScalars, mean};
use crate::kernels::update::Rule;

pub(crate) struct Lion {
    pub(crate) betas: [f64; 2],
}

impl Formula for Lion {
    fn moment_names(&self) -> Vec<&'static str> {
        vec!["exp_avg"]
    }

    fn rule(&self, scalars: StepScalars) -> Box<dyn Rule> {
        let [beta_1, beta_2] = self.betas;
        Box::new(LionScalars {
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
struct LionScalars {
    /// The factor of the parameter before the step: the decoupled weight decay.
    shrink: f32,
    keep_1: f32,
    take_1: f32,
    keep_2: f32,
    take_2: f32,
    lr: f32,
}

impl LionScalars {
    #[inline(always)]
    fn step(&self, parameter: &mut [f32], gradient: &[f32], moment: &mut [f32]) {
        for ((p, g), m) in parameter.iter_mut().zip(gradient).zip(moment) {
            let direction = self.keep_1 * *m + self.take_1 * g;
            // Not `signum`, which is 1 for 0: a parameter without a gradient must stay where it is.
            let sign = f32::from(i8::from(direction > 0.0) - i8::from(direction < 0.0));
            *p = *p * self.shrink - self.lr * sign;
            *m = self.keep_2 * *m + self.take_2 * g;
        }
    }
}

impl Rule for LionScalars {
    fn apply(
        &self,
        arch: Arch,
        parameter: &mut [f32],
        gradient: &[f32],
        moments: &mut [&mut [f32]],
    ) {
        let [moment] = moments else {
            unreachable!("Lion has one moment");
        };
        arch.dispatch(|| self.step(parameter, gradient, moment));
    }
}

//! Stochastic gradient descent, with and without momentum.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::Arch;

use super::formula::{Formula, StepScalars, decayed};
use crate::kernels::update::Rule;

pub(crate) struct Sgd {
    pub(crate) momentum: f64,
    pub(crate) dampening: f64,
    pub(crate) nesterov: bool,
}

impl Sgd {
    /// The share of the gradient that enters the velocity. PyTorch starts the velocity with the whole gradient.
    fn take(&self, step: usize) -> f64 {
        if step == 1 { 1.0 } else { 1.0 - self.dampening }
    }
}

impl Formula for Sgd {
    fn moment_names(&self) -> Vec<&'static str> {
        if self.momentum == 0.0 {
            Vec::new()
        } else {
            vec!["momentum_buffer"]
        }
    }

    fn rule(&self, scalars: StepScalars) -> Box<dyn Rule> {
        Box::new(SgdScalars {
            decay: scalars.weight_decay as f32,
            momentum: self.momentum as f32,
            take: self.take(scalars.step) as f32,
            nesterov: self.nesterov,
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
        let g = decayed(g, &p, scalars.weight_decay);
        let Some(velocity) = moments.into_iter().next() else {
            return (p - g * scalars.lr, Vec::new());
        };
        let velocity = velocity * self.momentum + g.clone() * self.take(scalars.step);
        let step = if self.nesterov {
            g + velocity.clone() * self.momentum
        } else {
            velocity.clone()
        };
        (p - step * scalars.lr, vec![velocity])
    }
}

/// `g += decay p`, `v = momentum v + (1 - dampening) g` (`v = g` at first), `p -= lr v`; with Nesterov
/// `p -= lr (g + momentum v)`.
#[derive(Clone, Copy, Debug)]
struct SgdScalars {
    decay: f32,
    momentum: f32,
    /// `1 - dampening`, and 1 at a parameter's first step.
    take: f32,
    nesterov: bool,
    lr: f32,
}

impl Rule for SgdScalars {
    fn apply(
        &self,
        arch: Arch,
        parameter: &mut [f32],
        gradient: &[f32],
        moments: &mut [&mut [f32]],
    ) {
        match moments {
            [] => arch.dispatch(|| {
                for (p, g) in parameter.iter_mut().zip(gradient) {
                    *p -= self.lr * (self.decay * *p + g);
                }
            }),
            [velocity] => arch.dispatch(|| self.step(parameter, gradient, velocity)),
            _ => unreachable!("SGD has at most one moment"),
        }
    }
}

impl SgdScalars {
    #[inline(always)]
    fn step(&self, parameter: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
        let (from_gradient, from_velocity) = if self.nesterov {
            (1.0, self.momentum)
        } else {
            (0.0, 1.0)
        };
        for ((p, g), v) in parameter.iter_mut().zip(gradient).zip(velocity) {
            let g = self.decay * *p + g;
            *v = self.momentum * *v + self.take * g;
            *p -= self.lr * (from_gradient * g + from_velocity * *v);
        }
    }
}

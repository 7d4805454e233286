//! Stochastic gradient descent, with and without momentum.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::Simd;

use super::formula::{Formula, StepScalars, decayed, lanes};
use crate::kernels::update::{Rule, VectorRule, rule};

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
        let (decay, lr) = (scalars.weight_decay as f32, scalars.lr as f32);
        if self.momentum == 0.0 {
            return rule(PlainScalars { decay, lr });
        }
        let momentum = self.momentum as f32;
        let (from_gradient, from_velocity) = if self.nesterov {
            (1.0, momentum)
        } else {
            (0.0, 1.0)
        };
        rule(MomentumScalars {
            decay,
            momentum,
            take: self.take(scalars.step) as f32,
            from_gradient,
            from_velocity,
            lr,
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

/// `p -= lr (g + decay p)`
#[derive(Clone, Copy, Debug)]
struct PlainScalars<T> {
    decay: T,
    lr: T,
}

impl VectorRule<0> for PlainScalars<f32> {
    lanes!(PlainScalars: decay, lr);

    #[inline(always)]
    fn step<S: Simd>(
        simd: S,
        lanes: PlainScalars<S::f32s>,
        p: S::f32s,
        g: S::f32s,
        _moments: [S::f32s; 0],
    ) -> (S::f32s, [S::f32s; 0]) {
        let g = simd.add_f32s(simd.mul_f32s(lanes.decay, p), g);
        (simd.sub_f32s(p, simd.mul_f32s(lanes.lr, g)), [])
    }
}

/// `g += decay p`, `v = momentum v + (1 - dampening) g` (`v = g` at first), `p -= lr v`; with Nesterov
/// `p -= lr (g + momentum v)`.
#[derive(Clone, Copy, Debug)]
struct MomentumScalars<T> {
    decay: T,
    momentum: T,
    /// `1 - dampening`, and 1 at a parameter's first step.
    take: T,
    /// The factors of `g` and `v` in the step.
    from_gradient: T,
    from_velocity: T,
    lr: T,
}

impl VectorRule<1> for MomentumScalars<f32> {
    lanes!(MomentumScalars: decay, momentum, take, from_gradient, from_velocity, lr);

    #[inline(always)]
    fn step<S: Simd>(
        simd: S,
        lanes: MomentumScalars<S::f32s>,
        p: S::f32s,
        g: S::f32s,
        [v]: [S::f32s; 1],
    ) -> (S::f32s, [S::f32s; 1]) {
        let times = |factor, vector| simd.mul_f32s(factor, vector);
        let g = simd.add_f32s(times(lanes.decay, p), g);
        let v = simd.add_f32s(times(lanes.momentum, v), times(lanes.take, g));
        let step = simd.add_f32s(times(lanes.from_gradient, g), times(lanes.from_velocity, v));
        (simd.sub_f32s(p, times(lanes.lr, step)), [v])
    }
}

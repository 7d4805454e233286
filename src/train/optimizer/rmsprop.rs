//! `RMSprop`, with and without momentum, centered or not.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::Simd;

use super::formula::{Formula, StepScalars, decayed, mean};
use crate::kernels::update::{Rule, VectorRule, rule};

pub(crate) struct RmsProp {
    pub(crate) alpha: f64,
    pub(crate) eps: f64,
    pub(crate) momentum: f64,
    pub(crate) centered: bool,
}

impl Formula for RmsProp {
    fn moment_names(&self) -> Vec<&'static str> {
        let velocity = (self.momentum > 0.0).then_some("momentum_buffer");
        let mean = self.centered.then_some("grad_avg");
        ["square_avg"]
            .into_iter()
            .chain(velocity)
            .chain(mean)
            .collect()
    }

    fn rule(&self, scalars: StepScalars) -> Box<dyn Rule> {
        let scalars = RmsPropScalars {
            decay: scalars.weight_decay as f32,
            alpha: self.alpha as f32,
            take: (1.0 - self.alpha) as f32,
            eps: self.eps as f32,
            momentum: self.momentum as f32,
            centered: self.centered,
            lr: scalars.lr as f32,
        };
        match self.moment_names().len() {
            1 => rule::<1>(scalars),
            2 => rule::<2>(scalars),
            _ => rule::<3>(scalars),
        }
    }

    fn tensors(
        &self,
        scalars: StepScalars,
        p: Tensor<1>,
        g: Tensor<1>,
        moments: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let g = decayed(g, &p, scalars.weight_decay);
        let mut moments = moments.into_iter();
        let mut next = || moments.next().expect("there are as many moments as names");
        let squares = mean(next(), g.clone() * g.clone(), self.alpha);
        let velocity = (self.momentum > 0.0).then(&mut next);
        let means = self.centered.then(|| mean(next(), g.clone(), self.alpha));
        let variance = match &means {
            Some(means) => squares.clone() - means.clone() * means.clone(),
            None => squares.clone(),
        };
        let step = g / (variance.sqrt() + self.eps);
        let velocity = velocity.map(|velocity| velocity * self.momentum + step.clone());
        let step = velocity.clone().unwrap_or(step);
        let kept = [squares].into_iter().chain(velocity).chain(means);
        (p - step * scalars.lr, kept.collect())
    }
}

/// `g += decay p`, `s = alpha s + (1 - alpha) g^2`, `d = g / (sqrt(s) + eps)`, `v = momentum v + d`, `p -= lr v`;
/// centered with the variance in place of `s`.
#[derive(Clone, Copy, Debug)]
struct RmsPropScalars {
    decay: f32,
    alpha: f32,
    /// `1 - alpha`
    take: f32,
    eps: f32,
    momentum: f32,
    centered: bool,
    lr: f32,
}

impl<const M: usize> VectorRule<M> for RmsPropScalars {
    #[inline(always)]
    fn step<S: Simd>(
        self,
        simd: S,
        p: S::f32s,
        g: S::f32s,
        mut moments: [S::f32s; M],
    ) -> (S::f32s, [S::f32s; M]) {
        let times = |scalar, vector| simd.mul_f32s(simd.splat_f32s(scalar), vector);
        let g = simd.add_f32s(times(self.decay, p), g);
        let squares = simd.mul_f32s(times(self.take, g), g);
        moments[0] = simd.add_f32s(times(self.alpha, moments[0]), squares);
        let mut variance = moments[0];
        if self.centered {
            let mean = simd.add_f32s(times(self.alpha, moments[M - 1]), times(self.take, g));
            moments[M - 1] = mean;
            variance = simd.sub_f32s(variance, simd.mul_f32s(mean, mean));
        }
        let deviation = simd.add_f32s(simd.sqrt_f32s(variance), simd.splat_f32s(self.eps));
        let mut step = simd.div_f32s(g, deviation);
        if self.momentum > 0.0 {
            step = simd.add_f32s(times(self.momentum, moments[1]), step);
            moments[1] = step;
        }
        (simd.sub_f32s(p, times(self.lr, step)), moments)
    }
}

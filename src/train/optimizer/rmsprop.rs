//! `RMSprop`, with and without momentum, centered or not.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::Simd;

use super::formula::{Formula, StepScalars, decayed, lanes, mean, negligible, unless_negligible};
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
            has_momentum: self.momentum > 0.0,
            centered: self.centered,
            lr: scalars.lr as f32,
            negligible: negligible((1.0 - self.alpha) as f32),
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
struct RmsPropScalars<T> {
    decay: T,
    alpha: T,
    /// `1 - alpha`
    take: T,
    eps: T,
    momentum: T,
    has_momentum: bool,
    centered: bool,
    lr: T,
    /// Squares of smaller gradients are taken as 0: see `negligible`.
    negligible: T,
}

impl<const M: usize> VectorRule<M> for RmsPropScalars<f32> {
    lanes!(RmsPropScalars: decay, alpha, take, eps, momentum, lr, negligible; has_momentum, centered);

    #[inline(always)]
    fn step<S: Simd>(
        simd: S,
        lanes: RmsPropScalars<S::f32s>,
        p: S::f32s,
        g: S::f32s,
        mut moments: [S::f32s; M],
    ) -> (S::f32s, [S::f32s; M]) {
        let times = |factor, vector| simd.mul_f32s(factor, vector);
        let g = simd.add_f32s(times(lanes.decay, p), g);
        // Taken by both means: their variance could be negative otherwise.
        let averaged = unless_negligible(simd, g, lanes.negligible);
        let squares = times(times(lanes.take, averaged), averaged);
        moments[0] = simd.add_f32s(times(lanes.alpha, moments[0]), squares);
        let mut variance = moments[0];
        if lanes.centered {
            let mean = simd.add_f32s(
                times(lanes.alpha, moments[M - 1]),
                times(lanes.take, averaged),
            );
            moments[M - 1] = mean;
            variance = simd.sub_f32s(variance, simd.mul_f32s(mean, mean));
        }
        let deviation = simd.add_f32s(simd.sqrt_f32s(variance), lanes.eps);
        let mut step = simd.div_f32s(g, deviation);
        if lanes.has_momentum {
            step = simd.add_f32s(times(lanes.momentum, moments[1]), step);
            moments[1] = step;
        }
        (simd.sub_f32s(p, times(lanes.lr, step)), moments)
    }
}

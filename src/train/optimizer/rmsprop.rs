//! `RMSprop`, with and without momentum, centered or not.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::Arch;

use super::formula::{Formula, StepScalars, decayed, mean};
use crate::kernels::update::Rule;

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
        Box::new(RmsPropScalars {
            decay: scalars.weight_decay as f32,
            alpha: self.alpha as f32,
            take: (1.0 - self.alpha) as f32,
            eps: self.eps as f32,
            momentum: self.momentum as f32,
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
    lr: f32,
}

impl Rule for RmsPropScalars {
    fn apply(
        &self,
        arch: Arch,
        parameter: &mut [f32],
        gradient: &[f32],
        moments: &mut [&mut [f32]],
    ) {
        arch.dispatch(|| self.step(parameter, gradient, moments));
    }
}

impl RmsPropScalars {
    #[inline(always)]
    fn step(&self, parameter: &mut [f32], gradient: &[f32], moments: &mut [&mut [f32]]) {
        let Some((squares, rest)) = moments.split_first_mut() else {
            unreachable!("RMSprop has at least one moment");
        };
        let (velocity, means) = rest.split_at_mut(usize::from(self.momentum > 0.0));
        for (index, (p, g)) in parameter.iter_mut().zip(gradient).enumerate() {
            let g = self.decay * *p + g;
            let square = &mut squares[index];
            *square = self.alpha * *square + self.take * g * g;
            let mut variance = *square;
            if let [means] = &mut *means {
                means[index] = self.alpha * means[index] + self.take * g;
                variance -= means[index] * means[index];
            }
            let mut step = g / (variance.sqrt() + self.eps);
            if let [velocity] = &mut *velocity {
                velocity[index] = self.momentum * velocity[index] + step;
                step = velocity[index];
            }
            *p -= self.lr * step;
        }
    }
}

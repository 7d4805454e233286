//! Optimizer steps on the CPU: one parallel pass over parameter, gradient and moments, in place. Where the gradient is a
//! product of two small matrices, it is made piece by piece on the way and never written to memory.
//! Formulas are PyTorch's.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::linear::{self, ROWS, Sizes};

/// Values that one task updates: a few hundred microseconds of memory traffic.
const BLOCK: usize = 1 << 17;

/// What an optimizer does at one step, its scalars worked out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// Moments: the mean of the gradient and that of its square.
    Adam(Adam),
    /// Moments: the velocity, where there is momentum.
    Sgd(Sgd),
    /// Moments: the mean of the squared gradient; with momentum the velocity; if centered the mean of the gradient.
    RmsProp(RmsProp),
}

/// `g += decay p`, `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `p -= lr m_hat / (sqrt(v_hat) + eps)`.
/// Source: Kingma & Ba 2015, and Loshchilov & Hutter 2019 for the decay apart from the gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adam {
    decay: f32,
    /// What the parameter is multiplied by first: `AdamW`'s decay.
    shrink: f32,
    keep_1: f32,
    take_1: f32,
    keep_2: f32,
    take_2: f32,
    /// `eps sqrt(1 - b2^t)` and `lr sqrt(1 - b2^t) / (1 - b1^t)` correct the bias of both moments.
    eps: f32,
    rate: f32,
}

impl Adam {
    /// At the `time`-th step of a parameter, from 1. `decay` goes into the gradient, `decoupled_decay` does not.
    pub(crate) fn new(
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

/// `g += decay p`, `v = momentum v + (1 - dampening) g` (`v = g` at first), `p -= lr v`; with Nesterov
/// `p -= lr (g + momentum v)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sgd {
    pub(crate) decay: f32,
    pub(crate) momentum: f32,
    /// `1 - dampening`, and 1 at a parameter's first step.
    pub(crate) take: f32,
    pub(crate) nesterov: bool,
    pub(crate) lr: f32,
}

/// `g += decay p`, `s = alpha s + (1 - alpha) g^2`, `d = g / (sqrt(s) + eps)`, `v = momentum v + d`, `p -= lr v`;
/// centered with the variance in place of `s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RmsProp {
    pub(crate) decay: f32,
    pub(crate) alpha: f32,
    /// `1 - alpha`
    pub(crate) take: f32,
    pub(crate) eps: f32,
    pub(crate) momentum: f32,
    pub(crate) lr: f32,
}

/// One step of `parameter` by its gradient. All slices have one length; there are as many moments as the rule has.
pub(crate) fn update(
    rule: &Rule,
    parameter: &mut [f32],
    gradient: &[f32],
    moments: &mut [Vec<f32>],
) {
    let arch = Arch::new();
    cut(parameter, moments, BLOCK)
        .into_par_iter()
        .zip(gradient.par_chunks(BLOCK))
        .for_each(|(mut block, gradient)| rule.apply(arch, &mut block, gradient));
}

/// The same where the gradient of the `[inputs, outputs]` parameter is `input^T output_gradient`.
pub(crate) fn update_by_factors(
    rule: &Rule,
    sizes: Sizes,
    parameter: &mut [f32],
    (input, output_gradient): (&[f32], &[f32]),
    moments: &mut [Vec<f32>],
) {
    sizes.check(input, parameter, output_gradient);
    let arch = Arch::new();
    let n_values = ROWS * sizes.outputs;
    cut(parameter, moments, n_values)
        .into_par_iter()
        .enumerate()
        .for_each_init(
            || vec![0.0; n_values],
            |gradient, (index, mut block)| {
                let gradient = &mut gradient[..block.parameter.len()];
                linear::weight_gradient_rows(
                    arch,
                    sizes,
                    (input, output_gradient),
                    index * ROWS,
                    gradient,
                );
                rule.apply(arch, &mut block, gradient);
            },
        );
}

struct Block<'a> {
    parameter: &'a mut [f32],
    moments: Vec<&'a mut [f32]>,
}

fn cut<'a>(
    parameter: &'a mut [f32],
    moments: &'a mut [Vec<f32>],
    n_values: usize,
) -> Vec<Block<'a>> {
    let mut blocks: Vec<Block> = parameter
        .chunks_mut(n_values)
        .map(|parameter| Block {
            parameter,
            moments: Vec::with_capacity(moments.len()),
        })
        .collect();
    for moment in moments {
        for (block, moment) in blocks.iter_mut().zip(moment.chunks_mut(n_values)) {
            block.moments.push(moment);
        }
    }
    blocks
}

impl Rule {
    fn apply(&self, arch: Arch, block: &mut Block, gradient: &[f32]) {
        let parameter = &mut *block.parameter;
        match (self, block.moments.as_mut_slice()) {
            (Self::Adam(factors), [moment_1, moment_2]) => arch.dispatch(AdamBlock {
                factors: *factors,
                parameter,
                gradient,
                moment_1,
                moment_2,
            }),
            (Self::Sgd(sgd), []) => arch.dispatch(|| {
                for (p, g) in parameter.iter_mut().zip(gradient) {
                    *p -= sgd.lr * (sgd.decay * *p + g);
                }
            }),
            (Self::Sgd(sgd), [velocity]) => {
                arch.dispatch(|| sgd.step(parameter, gradient, velocity));
            }
            (Self::RmsProp(rms), moments) => {
                arch.dispatch(|| rms.step(parameter, gradient, moments));
            }
            (Self::Adam(_) | Self::Sgd(_), _) => {
                unreachable!("the rule says how many moments it has")
            }
        }
    }
}

impl Sgd {
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

impl RmsProp {
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

struct AdamBlock<'a> {
    factors: Adam,
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

/// Adam's numbers in every lane.
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

impl Adam {
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

//! Optimizers by PyTorch's formulas. On the CPU a step is one pass over memory, in place; elsewhere the same formulas are
//! written in tensors, which Burn fuses. Moments are plain numbers without a shape, so that checkpoints need no copy.

use std::{borrow::Cow, collections::BTreeMap};

use burn::{
    backend::Flex,
    module::{Module, ModuleMapper, Param},
    optim::GradientsParams,
    tensor::{Tensor, TensorData},
};

use crate::{
    config::experiment::{Optimizer as Settings, OptimizerKind},
    device,
    kernels::update::{self, Adam, RmsProp, Rule, Sgd},
    model::{
        host::{on_cpu, slice, slice_mut},
        linear::Factors,
    },
};

pub(crate) struct Optimizer {
    settings: Settings,
    states: States,
}

/// By the parameter's place in the state dict.
pub(crate) type States = BTreeMap<usize, State>;

/// What is remembered of a parameter.
#[derive(Default)]
pub(crate) struct State {
    /// Steps it has taken.
    pub(crate) step: usize,
    /// In the order of `moment_names`.
    pub(crate) moments: Vec<Moment>,
}

/// One number for each of a parameter's, in the parameter's own order.
pub(crate) enum Moment {
    Host(Vec<f32>),
    Device(Box<Tensor<1>>),
}

impl Moment {
    pub(crate) fn values(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Host(values) => values.into(),
            Self::Device(tensor) => {
                let values: Vec<f32> = tensor
                    .to_data()
                    .try_into_vec()
                    .expect("moments are kept in f32");
                values.into()
            }
        }
    }
}

/// What PyTorch calls the moments in an optimizer's state dict.
pub(crate) fn moment_names(kind: OptimizerKind) -> Vec<&'static str> {
    match kind {
        OptimizerKind::Adam { .. } | OptimizerKind::AdamW { .. } => vec!["exp_avg", "exp_avg_sq"],
        OptimizerKind::Sgd { momentum: 0.0, .. } => Vec::new(),
        OptimizerKind::Sgd { .. } => vec!["momentum_buffer"],
        OptimizerKind::RmsProp {
            momentum, centered, ..
        } => {
            let velocity = (momentum > 0.0).then_some("momentum_buffer");
            let mean = centered.then_some("grad_avg");
            ["square_avg"]
                .into_iter()
                .chain(velocity)
                .chain(mean)
                .collect()
        }
    }
}

/// The gradients of one step.
pub(crate) struct StepGradients {
    pub(crate) whole: GradientsParams,
    /// Of weights whose gradient is a product of two small matrices.
    pub(crate) factored: BTreeMap<usize, Factors>,
}

impl Optimizer {
    pub(crate) fn new(settings: &Settings, states: States) -> Self {
        Self {
            settings: settings.clone(),
            states,
        }
    }

    pub(crate) fn states(&self) -> &States {
        &self.states
    }

    pub(crate) fn into_states(self) -> States {
        self.states
    }

    /// Updates every parameter that has a gradient; `lr` gives the rate of the parameter at a place in the state dict.
    pub(crate) fn step<M: Module>(
        &mut self,
        model: M,
        gradients: StepGradients,
        lr: impl Fn(usize) -> f64,
    ) -> M {
        model.map(&mut Update {
            optimizer: self,
            gradients,
            lr,
        })
    }
}

struct Update<'a, F> {
    optimizer: &'a mut Optimizer,
    gradients: StepGradients,
    lr: F,
}

impl<F: Fn(usize) -> f64> ModuleMapper for Update<'_, F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let index = id.val() as usize;
        let factors = self.gradients.factored.remove(&index);
        let gradient = self.gradients.whole.remove::<D>(id);
        if factors.is_none() && gradient.is_none() {
            return Param::from_mapped_value(id, tensor, mapper);
        }
        let Optimizer { settings, states } = &mut *self.optimizer;
        let state = states.entry(index).or_default();
        state.step += 1;
        let lr = (self.lr)(index);
        let is_autodiff = tensor.device().is_autodiff();
        let tensor = if is_autodiff { tensor.inner() } else { tensor };
        let updated = match (factors, gradient) {
            (Some(factors), _) => by_factors(settings, state, lr, tensor, &factors),
            (None, Some(gradient)) => by_gradient(settings, state, lr, tensor, gradient),
            (None, None) => tensor,
        };
        let updated = if is_autodiff {
            Tensor::from_inner(updated).require_grad()
        } else {
            updated
        };
        Param::from_mapped_value(id, updated, mapper)
    }
}

fn by_gradient<const D: usize>(
    settings: &Settings,
    state: &mut State,
    lr: f64,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<D> {
    if !device::is_cpu(&parameter.device()) {
        return by_tensors(settings, state, lr, parameter, gradient);
    }
    let gradient = on_cpu(gradient);
    in_place(settings, state, lr, parameter, |rule, values, moments| {
        update::update(rule, values, &slice(&gradient), moments);
    })
}

fn by_factors<const D: usize>(
    settings: &Settings,
    state: &mut State,
    lr: f64,
    parameter: Tensor<D>,
    factors: &Factors,
) -> Tensor<D> {
    let (input, output_gradient) = (slice(&factors.input), slice(&factors.output_gradient));
    let product = (&*input, &*output_gradient);
    in_place(settings, state, lr, parameter, |rule, values, moments| {
        update::update_by_factors(rule, factors.sizes, values, product, moments);
    })
}

/// Lets `work` step a parameter that lies in host memory, with its moments.
fn in_place<const D: usize>(
    settings: &Settings,
    state: &mut State,
    lr: f64,
    parameter: Tensor<D>,
    work: impl FnOnce(&Rule, &mut [f32], &mut [Vec<f32>]),
) -> Tensor<D> {
    let mut parameter = on_cpu(parameter);
    let values = slice_mut(&mut parameter);
    let mut moments = host_moments(settings, state, values.len());
    work(&rule(settings, lr, state.step), values, &mut moments);
    state.moments = moments.into_iter().map(Moment::Host).collect();
    Tensor::from_primitive::<Flex>(parameter)
}

/// Takes the moments out of the state; at the first step they are 0.
fn host_moments(settings: &Settings, state: &mut State, n_values: usize) -> Vec<Vec<f32>> {
    let moments = std::mem::take(&mut state.moments).into_iter();
    let mut moments: Vec<Vec<f32>> = moments
        .map(|moment| match moment {
            Moment::Host(values) => values,
            Moment::Device(_) => moment.values().into_owned(),
        })
        .collect();
    moments.resize_with(moment_names(settings.kind).len(), || vec![0.0; n_values]);
    moments
}

/// The numbers of a parameter's `step`-th step, from 1.
fn rule(settings: &Settings, lr: f64, step: usize) -> Rule {
    let decay = settings.weight_decay;
    match settings.kind {
        OptimizerKind::Adam { betas, eps } => {
            Rule::Adam(Adam::new(betas, eps, (decay, 0.0), lr, step))
        }
        OptimizerKind::AdamW { betas, eps } => {
            Rule::Adam(Adam::new(betas, eps, (0.0, decay), lr, step))
        }
        OptimizerKind::Sgd {
            momentum,
            dampening,
            nesterov,
        } => Rule::Sgd(Sgd {
            decay: decay as f32,
            momentum: momentum as f32,
            take: if step == 1 { 1.0 } else { 1.0 - dampening } as f32,
            nesterov,
            lr: lr as f32,
        }),
        OptimizerKind::RmsProp {
            alpha,
            eps,
            momentum,
            centered: _,
        } => Rule::RmsProp(RmsProp {
            decay: decay as f32,
            alpha: alpha as f32,
            take: (1.0 - alpha) as f32,
            eps: eps as f32,
            momentum: momentum as f32,
            lr: lr as f32,
        }),
    }
}

/// The formulas of `kernels::update` in tensors.
pub(super) fn by_tensors<const D: usize>(
    settings: &Settings,
    state: &mut State,
    lr: f64,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<D> {
    let (shape, device) = (parameter.shape(), parameter.device());
    let (p, mut g) = (
        parameter.flatten::<1>(0, D - 1),
        gradient.flatten::<1>(0, D - 1),
    );
    let moments = std::mem::take(&mut state.moments).into_iter();
    let mut moments: Vec<Tensor<1>> = moments
        .map(|moment| match moment {
            Moment::Device(tensor) => *tensor,
            Moment::Host(values) => {
                let n_values = values.len();
                Tensor::from_data(TensorData::new(values, [n_values]), &device)
            }
        })
        .collect();
    moments.resize_with(moment_names(settings.kind).len(), || p.zeros_like());
    let (decay, step) = (settings.weight_decay, state.step);
    let is_decoupled = matches!(settings.kind, OptimizerKind::AdamW { .. });
    if decay > 0.0 && !is_decoupled {
        g = g + p.clone() * decay;
    }
    let mut moments = moments.into_iter();
    let mut next = || moments.next().expect("there are as many as have names");
    let mean = |old: Tensor<1>, new: Tensor<1>, keep: f64| old * keep + new * (1.0 - keep);
    let (updated, kept) = match settings.kind {
        OptimizerKind::Adam {
            betas: [beta_1, beta_2],
            eps,
        }
        | OptimizerKind::AdamW {
            betas: [beta_1, beta_2],
            eps,
        } => {
            let first = mean(next(), g.clone(), beta_1);
            let second = mean(next(), g.clone() * g, beta_2);
            let [bias_1, bias_2] = [beta_1, beta_2].map(|beta| 1.0 - beta.powf(step as f64));
            let denominator = second.clone().sqrt() + eps * bias_2.sqrt();
            let step = first.clone() / denominator * (lr * bias_2.sqrt() / bias_1);
            let p = if is_decoupled {
                p * (1.0 - lr * decay)
            } else {
                p
            };
            (p - step, vec![first, second])
        }
        OptimizerKind::Sgd { momentum: 0.0, .. } => (p - g * lr, Vec::new()),
        OptimizerKind::Sgd {
            momentum,
            dampening,
            nesterov,
        } => {
            let take = if step == 1 { 1.0 } else { 1.0 - dampening };
            let velocity = next() * momentum + g.clone() * take;
            let step = if nesterov {
                g + velocity.clone() * momentum
            } else {
                velocity.clone()
            };
            (p - step * lr, vec![velocity])
        }
        OptimizerKind::RmsProp {
            alpha,
            eps,
            momentum,
            centered,
        } => {
            let squares = mean(next(), g.clone() * g.clone(), alpha);
            let velocity = (momentum > 0.0).then(&mut next);
            let means = centered.then(|| mean(next(), g.clone(), alpha));
            let variance = match &means {
                Some(means) => squares.clone() - means.clone() * means.clone(),
                None => squares.clone(),
            };
            let step = g / (variance.sqrt() + eps);
            let velocity = velocity.map(|velocity| velocity * momentum + step.clone());
            let step = velocity.clone().unwrap_or(step);
            let kept = [squares].into_iter().chain(velocity).chain(means);
            (p - step * lr, kept.collect())
        }
    };
    state.moments = kept
        .into_iter()
        .map(|moment| Moment::Device(Box::new(moment)))
        .collect();
    updated.reshape(shape)
}

//! Optimizers by PyTorch's formulas. On the CPU a step is one pass over memory, in place; elsewhere the same formulas are
//! written in tensors, which Burn fuses. Moments are plain numbers without a shape, so that checkpoints need no copy.
//!
//! A new optimizer is a file here and a row in `formula`, a variant of `OptimizerKind` and its defaults in `defaults.toml`.

mod adam;
mod formula;
mod lion;
mod rmsprop;
mod sgd;

use std::{borrow::Cow, collections::BTreeMap};

use burn::{
    backend::Flex,
    module::{Module, ModuleMapper, Param},
    optim::GradientsParams,
    tensor::{Tensor, TensorData},
};

use crate::{
    config::experiment::{OptimizerKind, OptimizerSettings},
    device,
    kernels::{linear::PartialProducts, update::Rule},
    model::{
        host::{on_cpu, slice, slice_mut},
        linear::{Ahead, Factors},
    },
};

use self::{
    adam::Adam,
    formula::{Formula, StepScalars},
    lion::Lion,
    rmsprop::RmsProp,
    sgd::Sgd,
};

pub(crate) struct Optimizer {
    settings: OptimizerSettings,
    states: States,
}

/// The states of parameters by position in the state dict.
pub(crate) type States = BTreeMap<usize, ParameterState>;

/// The state that an optimizer keeps of one parameter.
#[derive(Default)]
pub(crate) struct ParameterState {
    /// The number of steps that the parameter has taken.
    pub(crate) step: usize,
    /// In the order of `moment_names`.
    pub(crate) moments: Vec<Moment>,
}

/// A running statistic with one number for each number of a parameter, in the same order.
pub(crate) enum Moment {
    Host(Vec<f32>),
    Device(Box<Tensor<1>>),
}

impl Moment {
    pub(crate) fn n_values(&self) -> usize {
        match self {
            Self::Host(values) => values.len(),
            Self::Device(tensor) => tensor.shape().num_elements(),
        }
    }

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

/// The formula of an optimizer with its numbers.
fn formula(kind: OptimizerKind) -> Box<dyn Formula> {
    match kind {
        OptimizerKind::Adam { betas, eps } => Box::new(Adam {
            betas,
            eps,
            is_decoupled: false,
        }),
        OptimizerKind::AdamW { betas, eps } => Box::new(Adam {
            betas,
            eps,
            is_decoupled: true,
        }),
        OptimizerKind::Sgd {
            momentum,
            dampening,
            nesterov,
        } => Box::new(Sgd {
            momentum,
            dampening,
            nesterov,
        }),
        OptimizerKind::RmsProp {
            alpha,
            eps,
            momentum,
            centered,
        } => Box::new(RmsProp {
            alpha,
            eps,
            momentum,
            centered,
        }),
        OptimizerKind::Lion { betas } => Box::new(Lion { betas }),
    }
}

/// The moments under the names that PyTorch gives them in an optimizer's state dict.
pub(crate) fn moment_names(kind: OptimizerKind) -> Vec<&'static str> {
    formula(kind).moment_names()
}

/// The gradients of one step.
pub(crate) struct StepGradients {
    pub(crate) whole: GradientsParams,
    /// The gradients of fully connected weights, as the two small matrices whose product they are.
    pub(crate) factored: BTreeMap<usize, Factors>,
}

impl Optimizer {
    pub(crate) fn new(settings: &OptimizerSettings, states: States) -> Self {
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

    /// Updates every parameter that has a gradient. `lr` is the learning rate of the parameter at a position in the state dict.
    /// Also returns the product of `next_input` with the weight of that number, if its gradient is factored.
    pub(crate) fn step<M: Module>(
        &mut self,
        model: M,
        gradients: StepGradients,
        lr: impl Fn(usize) -> f64,
        next_input: Option<(usize, &[f32])>,
    ) -> (M, Option<Ahead>) {
        let mut update = Update {
            optimizer: self,
            gradients,
            lr,
            next_input,
            ahead: None,
        };
        let model = model.map(&mut update);
        (model, update.ahead)
    }
}

struct Update<'a, F> {
    optimizer: &'a mut Optimizer,
    gradients: StepGradients,
    lr: F,
    next_input: Option<(usize, &'a [f32])>,
    ahead: Option<Ahead>,
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
            (Some(factors), _) => {
                let next = self.next_input.filter(|(number, _)| *number == index);
                let next = next.map(|(_, input)| input);
                let (updated, products) = by_factors(settings, state, lr, tensor, &factors, next);
                let ahead = next.zip(products).map(|(input, products)| Ahead {
                    number: index,
                    input: input.to_vec(),
                    products,
                });
                self.ahead = self.ahead.take().or(ahead);
                updated
            }
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
    settings: &OptimizerSettings,
    state: &mut ParameterState,
    lr: f64,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<D> {
    if !device::is_cpu(&parameter.device()) {
        return by_tensors(settings, state, lr, parameter, gradient);
    }
    let gradient = on_cpu(gradient);
    let (updated, ()) = in_place(settings, state, lr, parameter, |rule, values, moments| {
        rule.update(values, &slice(&gradient), moments);
    });
    updated
}

fn by_factors<const D: usize>(
    settings: &OptimizerSettings,
    state: &mut ParameterState,
    lr: f64,
    parameter: Tensor<D>,
    factors: &Factors,
    next_input: Option<&[f32]>,
) -> (Tensor<D>, Option<PartialProducts>) {
    let (input, output_gradient) = (slice(&factors.input), slice(&factors.output_gradient));
    let product = (&*input, &*output_gradient);
    in_place(settings, state, lr, parameter, |rule, values, moments| {
        rule.update_by_factors(factors.sizes, values, product, moments, next_input)
    })
}

/// Calls `work` with a parameter in host memory and its moments.
fn in_place<const D: usize, T>(
    settings: &OptimizerSettings,
    state: &mut ParameterState,
    lr: f64,
    parameter: Tensor<D>,
    work: impl FnOnce(&dyn Rule, &mut [f32], &mut [Vec<f32>]) -> T,
) -> (Tensor<D>, T) {
    let mut parameter = on_cpu(parameter);
    let values = slice_mut(&mut parameter);
    let mut moments = host_moments(settings, state, values.len());
    let rule = formula(settings.kind).rule(scalars(settings, state, lr));
    let result = work(&*rule, values, &mut moments);
    state.moments = moments.into_iter().map(Moment::Host).collect();
    (Tensor::from_primitive::<Flex>(parameter), result)
}

/// Takes the moments out of the state. At the first step they are 0.
fn host_moments(
    settings: &OptimizerSettings,
    state: &mut ParameterState,
    n_values: usize,
) -> Vec<Vec<f32>> {
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

fn scalars(settings: &OptimizerSettings, state: &ParameterState, lr: f64) -> StepScalars {
    StepScalars {
        lr,
        weight_decay: settings.weight_decay,
        step: state.step,
    }
}

/// Steps a parameter on another device, in tensors.
fn by_tensors<const D: usize>(
    settings: &OptimizerSettings,
    state: &mut ParameterState,
    lr: f64,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<D> {
    let (shape, device) = (parameter.shape(), parameter.device());
    let (p, g) = (
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
    let scalars = scalars(settings, state, lr);
    let (updated, kept) = formula(settings.kind).tensors(scalars, p, g, moments);
    state.moments = kept
        .into_iter()
        .map(|moment| Moment::Device(Box::new(moment)))
        .collect();
    updated.reshape(shape)
}

#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod tests;

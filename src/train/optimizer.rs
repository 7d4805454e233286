//! Burn's optimizers with every number given. On the CPU a step is one pass over memory, in place; elsewhere, and for
//! RMSprop, it is Burn's own.

use burn::{
    backend::{Flex, tensor::FloatTensor},
    optim::{
        Adam, AdamConfig, AdamState, AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState,
        ModuleOptimizer, Optimizer as BurnOptimizer, RecordState, RmsPropConfig, StateSink,
        StateSource, decay::WeightDecayConfig,
    },
    tensor::{Device, Tensor},
};

use crate::{
    config::experiment::{Optimizer, OptimizerKind},
    device,
    kernels::update::{self, Decay},
    model::host::{on_cpu, slice, slice_mut},
};

/// Burn's own defaults are not PyTorch's, so none of them is used.
pub(super) fn build(optimizer: &Optimizer) -> ModuleOptimizer {
    let weight_decay = optimizer.weight_decay as f32;
    let decay = (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay));
    match optimizer.kind {
        OptimizerKind::Adam {
            betas: [beta_1, beta_2],
            eps,
        } => {
            let plain = AdamConfig::new()
                .with_beta_1(beta_1 as f32)
                .with_beta_2(beta_2 as f32)
                .with_epsilon(eps as f32)
                .with_weight_decay(decay)
                .build();
            ModuleOptimizer::from(FusedAdam {
                plain: PlainAdam::Adam(plain),
                betas: [beta_1 as f32, beta_2 as f32],
                eps: eps as f32,
                decay: Decay::InGradient(weight_decay),
            })
        }
        OptimizerKind::AdamW {
            betas: [beta_1, beta_2],
            eps,
        } => {
            let plain = AdamWConfig::new()
                .with_beta_1(beta_1 as f32)
                .with_beta_2(beta_2 as f32)
                .with_epsilon(eps as f32)
                .with_weight_decay(weight_decay)
                .build();
            ModuleOptimizer::from(FusedAdam {
                plain: PlainAdam::AdamW(plain),
                betas: [beta_1 as f32, beta_2 as f32],
                eps: eps as f32,
                decay: Decay::Decoupled(weight_decay),
            })
        }
        OptimizerKind::Sgd {
            momentum,
            dampening,
            nesterov,
        } => ModuleOptimizer::from(Sgd {
            weight_decay,
            momentum: momentum as f32,
            dampening,
            nesterov,
        }),
        OptimizerKind::RmsProp {
            alpha,
            eps,
            momentum,
            centered,
        } => RmsPropConfig::new()
            .with_alpha(alpha as f32)
            .with_epsilon(eps as f32)
            .with_momentum(momentum as f32)
            .with_centered(centered)
            .with_weight_decay(decay)
            .init(),
    }
}

/// Adam and `AdamW`, with the state of Burn's Adam.
#[derive(Clone)]
struct FusedAdam {
    plain: PlainAdam,
    betas: [f32; 2],
    eps: f32,
    decay: Decay,
}

#[derive(Clone)]
enum PlainAdam {
    Adam(Adam),
    AdamW(AdamW),
}

impl BurnOptimizer for FusedAdam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        if !device::is_cpu(&parameter.device()) {
            return self.plain.step(lr, parameter, gradient, state);
        }
        let momentum = state.map_or_else(
            || AdaptiveMomentumState::new(0, parameter.zeros_like(), parameter.zeros_like()),
            |state| state.momentum,
        );
        let time = momentum.time + 1;
        let (mut moment_1, mut moment_2) = (on_cpu(momentum.moment_1), on_cpu(momentum.moment_2));
        let mut parameter = on_cpu(parameter);
        let numbers = update::Adam {
            beta_1: self.betas[0],
            beta_2: self.betas[1],
            eps: self.eps,
            decay: self.decay,
            lr,
            time,
        };
        update::adam(
            &numbers,
            slice_mut(&mut parameter),
            &slice(&on_cpu(gradient)),
            slice_mut(&mut moment_1),
            slice_mut(&mut moment_2),
        );
        let momentum = AdaptiveMomentumState::new(time, tensor(moment_1), tensor(moment_2));
        (tensor(parameter), Some(AdamState::new(momentum)))
    }

    fn to_device<const D: usize>(state: AdamState<D>, device: &Device) -> AdamState<D> {
        Adam::to_device(state, device)
    }
}

impl PlainAdam {
    fn step<const D: usize>(
        &self,
        lr: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        match self {
            Self::Adam(adam) => adam.step(lr, parameter, gradient, state),
            Self::AdamW(adamw) => {
                let state = state.map(|state| AdamWState::new(state.momentum));
                let (parameter, state) = adamw.step(lr, parameter, gradient, state);
                (parameter, state.map(|state| AdamState::new(state.momentum)))
            }
        }
    }
}

/// SGD by PyTorch's formulas on any device.
#[derive(Clone)]
struct Sgd {
    weight_decay: f32,
    momentum: f32,
    dampening: f64,
    nesterov: bool,
}

#[derive(Clone)]
struct SgdState<const D: usize> {
    velocity: Tensor<D>,
}

impl<const D: usize> RecordState for SgdState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, "velocity", self.velocity.to_data());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let velocity = Tensor::from_data(source.take_tensor(prefix, "velocity")?, device);
        Some(Self { velocity })
    }
}

impl BurnOptimizer for Sgd {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        if !device::is_cpu(&parameter.device()) {
            return self.step_by_tensors(lr, parameter, gradient, state);
        }
        let numbers = update::Sgd {
            lr,
            weight_decay: self.weight_decay,
            momentum: self.momentum,
            dampening: self.dampening,
            nesterov: self.nesterov,
        };
        let is_first = state.is_none();
        let velocity = (self.momentum > 0.0)
            .then(|| state.map_or_else(|| parameter.zeros_like(), |state| state.velocity));
        let (mut parameter, gradient) = (on_cpu(parameter), on_cpu(gradient));
        let Some(velocity) = velocity else {
            update::sgd(&numbers, slice_mut(&mut parameter), &slice(&gradient));
            return (tensor(parameter), None);
        };
        let mut velocity = on_cpu(velocity);
        update::sgd_with_momentum(
            &numbers,
            slice_mut(&mut parameter),
            &slice(&gradient),
            slice_mut(&mut velocity),
            is_first,
        );
        let velocity = tensor(velocity);
        (tensor(parameter), Some(SgdState { velocity }))
    }

    fn to_device<const D: usize>(state: SgdState<D>, device: &Device) -> SgdState<D> {
        SgdState {
            velocity: state.velocity.to_device(device),
        }
    }
}

impl Sgd {
    fn step_by_tensors<const D: usize>(
        &self,
        lr: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        let gradient = if self.weight_decay > 0.0 {
            gradient + parameter.clone() * self.weight_decay
        } else {
            gradient
        };
        if self.momentum == 0.0 {
            return (parameter - gradient * lr, None);
        }
        let velocity = match state {
            Some(state) => {
                state.velocity * self.momentum + gradient.clone() * (1.0 - self.dampening)
            }
            None => gradient.clone(),
        };
        let step = if self.nesterov {
            gradient + velocity.clone() * self.momentum
        } else {
            velocity.clone()
        };
        (parameter - step * lr, Some(SgdState { velocity }))
    }
}

fn tensor<const D: usize>(primitive: FloatTensor<Flex>) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(primitive)
}

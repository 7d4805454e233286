//! A network as a Burn module: one layer for each step on paper, built from a state dict in host memory and converted back to one.

use std::{ops::Range, sync::Arc};

use burn::{
    module::{Module, Param, ParamGroup, ParamId, RunningState},
    nn::{
        Dropout, DropoutConfig, Linear, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, TensorData},
};

use super::{
    batch_norm::BatchNorm2d,
    forward,
    host::to_host,
    paper::{Kernel, Op, Paper, Step, is_in},
    parameters::{Parameter, flat},
    start::StartState,
    state::HostTensor,
};
use crate::kernels::program::{self, Program, ProgramStep};

/// A network. Input `[n, 3, height, width]`, output logits `[n, classes]`.
#[derive(Module, Debug)]
pub(crate) struct Network {
    pub(super) layers: Vec<Layer>,
    #[module(skip)]
    pub(super) paper: Arc<Paper>,
}

/// What a step has of its own: parameters, or a probability.
#[derive(Module, Debug)]
pub(super) enum Layer {
    Conv(Conv2d),
    BatchNorm(BatchNorm2d),
    Linear(Linear),
    Dropout(Dropout),
    Plain(Plain),
}

/// A step that is fully described on paper.
#[derive(Module, Debug)]
pub(super) struct Plain;

impl Network {
    /// Builds the network from a complete state dict on a device that records gradients; every parameter requires them.
    /// A parameter's id is its position in the state dict, so that an optimizer's state finds its parameter again in another
    /// process.
    ///
    /// Panics if the state dict lacks a tensor of `paper`; `weights::load` returns only complete ones.
    pub(crate) fn from_state(
        paper: Arc<Paper>,
        dropout: f64,
        state: impl Into<StartState>,
        device: &Device,
    ) -> Self {
        let mut source = StateSource {
            paper: &paper,
            state: state.into(),
            device,
        };
        let steps = paper.steps.iter();
        let layers = steps.map(|step| source.layer(step, dropout)).collect();
        Self { layers, paper }
    }

    /// All parameters and buffers, in the order of the state dict.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let layers = self.layers.iter().zip(&self.paper.steps);
        layers.flat_map(|(layer, step)| {
            let specs = self.paper.tensors[step.tensors.clone()].iter();
            specs.enumerate().map(|(place, spec)| Parameter {
                spec,
                values: layer.tensor(place),
            })
        })
    }

    /// Copies of all parameters and buffers, in PyTorch's shapes.
    #[cfg(test)]
    pub(crate) fn state(&self) -> super::state::StateDict {
        use super::tensor_file::TensorValues as _;
        let copied = |parameter: Parameter| {
            let mut values = Vec::new();
            parameter.visit(&mut |piece| values.extend_from_slice(piece));
            let shape = parameter.shape();
            (parameter.path().to_owned(), HostTensor { shape, values })
        };
        self.parameters().map(copied).collect()
    }

    /// The number of steps of a forward pass.
    pub(crate) fn n_steps(&self) -> usize {
        self.layers.len()
    }

    /// The number of the weight that the output of the first `n_done` steps is multiplied with, if that is what happens next.
    pub(crate) fn weight_after(&self, n_done: usize) -> Option<usize> {
        match self.layers.get(n_done)? {
            Layer::Linear(linear) => Some(linear.weight.id.val() as usize),
            _ => None,
        }
    }

    pub(crate) fn paper(&self) -> &Paper {
        &self.paper
    }

    /// Maps pixels `[n, 3, height, width]` to logits `[n, classes]`.
    #[cfg(test)]
    pub(crate) fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        self.forward_from(0, input)
    }

    /// The logits, given the output of the first `n_done` steps, which end at a cut.
    pub(crate) fn forward_from(&self, n_done: usize, input: Tensor<4>) -> Tensor<2> {
        self.forward_steps(n_done..self.n_steps(), input)
            .flatten(1, 3)
    }

    /// Runs consecutive steps that begin at a cut. After the pooling tensors are `[n, values, 1, 1]`.
    pub(crate) fn forward_steps(&self, steps: Range<usize>, input: Tensor<4>) -> Tensor<4> {
        forward::run(self, steps, input)
    }

    /// The first steps of a forward pass, as a network of their own.
    pub(crate) fn front(&self, n_steps: usize) -> Self {
        Self {
            layers: self.layers[..n_steps].to_vec(),
            paper: Arc::clone(&self.paper),
        }
    }

    /// The steps before the first fully connected layer as a program of CPU kernels, and how many they are. Batch norm uses its
    /// running statistics.
    pub(super) fn program(&self) -> (Program, usize) {
        let layers = self.layers.iter().zip(&self.paper.steps);
        let layers = layers.map_while(|(layer, step)| layer.compiled(step.op));
        let steps = layers.zip(&self.paper.steps);
        let steps = steps.map(|(layer, step)| ProgramStep {
            layer,
            inputs: step.inputs.clone(),
        });
        let steps: Vec<ProgramStep> = steps.collect();
        let n_steps = steps.len();
        (Program::new(self.paper.pixels[0], steps), n_steps)
    }

    /// Sets PyTorch's `requires_grad` for exactly the parameters in `trainable`. Dropout stays active. A batch norm without trainable
    /// parameters updates its running statistics only if `frozen_batch_norm_trains`.
    pub(crate) fn with_trainable(
        self,
        trainable: &[String],
        frozen_batch_norm_trains: bool,
    ) -> Self {
        let tensors = self.paper.tensors.iter().enumerate();
        let ids = tensors
            .filter(|(_, spec)| trainable.contains(&spec.path))
            .map(|(index, _)| param_id(index));
        let group = ParamGroup::from_ids(ids.collect());
        let mut model = self.no_grad().set_require_grad_group(group, true);
        for (layer, step) in model.layers.iter_mut().zip(&model.paper.steps) {
            if let Layer::BatchNorm(norm) = layer {
                let is_trained = trainable.iter().any(|path| is_in(path, &step.module));
                norm.training = Param::from_bool(is_trained || frozen_batch_norm_trains);
            }
        }
        model
    }
}

impl Layer {
    /// The layer for the program of frozen layers; `None` for fully connected layers.
    fn compiled(&self, op: Op) -> Option<program::Layer> {
        Some(match (op, self) {
            (Op::Conv(kernel), Self::Conv(conv)) => {
                let weight = to_host(conv.weight.val());
                let bias = conv.bias.as_ref();
                program::Layer::Conv {
                    out_channels: weight.shape[0],
                    in_channels: weight.shape[1] * kernel.groups,
                    weight: weight.values,
                    side: kernel.side,
                    stride: kernel.stride,
                    padding: kernel.padding,
                    groups: kernel.groups,
                    bias: bias.map(|bias| to_host(bias.val()).values),
                }
            }
            (Op::BatchNorm(_), Self::BatchNorm(norm)) => norm.as_layer(),
            (Op::Relu, _) => program::Layer::Relu,
            (Op::MaxPool(pool), _) => program::Layer::MaxPool {
                side: pool.side,
                stride: pool.stride,
                padding: pool.padding,
                ceil: pool.ceil,
            },
            (Op::AdaptivePool { side }, _) => program::Layer::AdaptivePool { side },
            (Op::Dropout, _) => program::Layer::Identity,
            (Op::Add, _) => program::Layer::Add,
            (Op::Concat, _) => program::Layer::Concat,
            (Op::Linear, _) => return None,
            (Op::Conv(_) | Op::BatchNorm(_), _) => {
                unreachable!("a network has the layers of its paper")
            }
        })
    }

    /// A tensor of the layer, in the order of the state dict.
    fn tensor(&self, place: usize) -> Tensor<1> {
        match (self, place) {
            (Self::Conv(conv), 0) => flat(conv.weight.val()),
            (Self::Linear(linear), 0) => flat(linear.weight.val()),
            (
                Self::Conv(Conv2d {
                    bias: Some(bias), ..
                })
                | Self::Linear(Linear {
                    bias: Some(bias), ..
                }),
                1,
            ) => flat(bias.val()),
            (Self::BatchNorm(norm), 0) => flat(norm.weight.val()),
            (Self::BatchNorm(norm), 1) => flat(norm.bias.val()),
            (Self::BatchNorm(norm), 2) => flat(norm.running_mean.value_sync()),
            (Self::BatchNorm(norm), 3) => flat(norm.running_var.value_sync()),
            (
                Self::Conv(_)
                | Self::Linear(_)
                | Self::BatchNorm(_)
                | Self::Dropout(_)
                | Self::Plain(_),
                _,
            ) => {
                unreachable!("a step has as many tensors as its layer")
            }
        }
    }
}

/// The id of the parameter at `index` of the state dict.
pub(crate) fn param_id(index: usize) -> ParamId {
    ParamId::from(index as u64)
}

/// Takes tensors out of a state dict to build layers from them.
struct StateSource<'a> {
    paper: &'a Paper,
    state: StartState,
    device: &'a Device,
}

impl StateSource<'_> {
    fn take(&mut self, index: usize) -> (ParamId, HostTensor) {
        let spec = &self.paper.tensors[index];
        let tensor = self
            .state
            .take(spec)
            .expect("weights::load returns complete states");
        (param_id(index), tensor)
    }

    fn param<const D: usize>(&mut self, index: usize) -> Param<Tensor<D>> {
        let (id, tensor) = self.take(index);
        Param::initialized(id, to_device(tensor, self.device).require_grad())
    }

    fn running(&mut self, index: usize) -> RunningState<Tensor<1>> {
        let (id, tensor) = self.take(index);
        RunningState::with_id(id, to_device(tensor, self.device))
    }

    fn layer(&mut self, step: &Step, dropout: f64) -> Layer {
        let first = step.tensors.start;
        let has_bias = step.tensors.len() > 1;
        match step.op {
            Op::Conv(kernel) => {
                let shape = self.paper.tensors[first].shape.clone();
                let channels = [shape[1] * kernel.groups, shape[0]];
                let conv = conv_config(kernel, channels).init(self.device);
                Layer::Conv(Conv2d {
                    weight: self.param(first),
                    bias: has_bias.then(|| self.param(first + 1)),
                    ..conv
                })
            }
            Op::BatchNorm(norm) => Layer::BatchNorm(BatchNorm2d {
                weight: self.param(first),
                bias: self.param(first + 1),
                running_mean: self.running(first + 2),
                running_var: self.running(first + 3),
                training: Param::from_bool(true),
                eps: norm.eps,
                momentum: norm.momentum,
            }),
            Op::Linear => Layer::Linear(Linear {
                weight: self.param(first),
                bias: has_bias.then(|| self.param(first + 1)),
            }),
            Op::Dropout => Layer::Dropout(DropoutConfig::new(dropout).init()),
            Op::Relu | Op::MaxPool(_) | Op::AdaptivePool { .. } | Op::Add | Op::Concat => {
                Layer::Plain(Plain)
            }
        }
    }
}

/// Burn's configuration of a convolution; its bias is set by the caller.
fn conv_config(kernel: Kernel, channels: [usize; 2]) -> Conv2dConfig {
    let Kernel {
        side,
        stride,
        padding,
        groups,
    } = kernel;
    Conv2dConfig::new(channels, [side, side])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(
            padding, padding, padding, padding,
        ))
        .with_groups(groups)
        .with_bias(false)
}

fn to_device<const D: usize>(tensor: HostTensor, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(tensor.values, tensor.shape), device)
}

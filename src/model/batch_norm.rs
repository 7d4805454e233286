//! Batch normalisation with PyTorch's running statistics: with our own kernels on the CPU, with Burn's on other devices.

use burn::{
    backend::{
        Flex,
        autodiff::{
            checkpoint::base::Checkpointer,
            grads::Gradients,
            ops::{Backward, Ops},
        },
        tensor::FloatTensor,
    },
    module::{Flag, Module, Param, RunningState},
    tensor::{Tensor, TensorData, module as ops},
};

use super::{
    host::{from_vec, slice, slice_mut, to_host},
    operation::{self, Operand, operand},
};
use crate::{
    device,
    kernels::{
        batch_norm::{self, ChannelGradient, Moments, NormSizes},
        program,
    },
};

/// PyTorch's `BatchNorm2d`. Burn's own version updates the running variance with the biased
/// variance of the batch, PyTorch with the unbiased one.
#[derive(Module, Debug)]
pub(crate) struct BatchNorm2d {
    pub(super) weight: Param<Tensor<1>>,
    pub(super) bias: Param<Tensor<1>>,
    pub(super) running_mean: RunningState<Tensor<1>>,
    pub(super) running_var: RunningState<Tensor<1>>,
    pub(super) training: Param<Flag>,
    /// Is added to variances, so that nothing is divided by zero.
    pub(super) eps: f64,
    /// The share of a batch's statistics in the new running statistics.
    pub(super) momentum: f64,
}

impl BatchNorm2d {
    /// Normalises `[n, channels, height, width]` by the statistics of the batch if gradients are recorded and the norm is in
    /// training mode, which updates the running statistics, and by the running statistics otherwise.
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let device = input.device();
        let is_training = device.is_autodiff() && self.training.is_enabled();
        match (device::is_cpu(&device), is_training) {
            (true, true) => self.train_on_cpu(input),
            (true, false) => self.evaluate_on_cpu(input),
            (false, true) => {
                let count = n_samples(&input);
                let (weight, bias) = (self.weight.val(), self.bias.val());
                let result = ops::batch_norm_train(input, weight, bias, self.eps);
                let variance = result.variance.detach() * unbiased(count);
                self.update(result.mean.detach(), variance);
                result.output
            }
            (false, false) => {
                let (mean, var) = (self.running_mean.value(), self.running_var.value());
                let (mean, var) = (mean.to_device(&device), var.to_device(&device));
                let (weight, bias) = (self.weight.val(), self.bias.val());
                ops::batch_norm(input, weight, bias, mean, var, self.eps)
            }
        }
    }

    fn train_on_cpu(&self, input: Tensor<4>) -> Tensor<4> {
        let (sizes, count) = (norm_sizes(&input), n_samples(&input));
        let device = input.device();
        let mut moments = Vec::new();
        let output = self.apply(input, |[input, weight, bias], is_tracked| {
            let values = slice(&input);
            moments = batch_norm::moments(sizes, &values);
            let scale_shift =
                batch_norm::scale_shift(&moments, &slice(&weight), &slice(&bias), self.eps);
            let output = batch_norm::apply(sizes, &scale_shift, &values);
            drop(values);
            let output = from_vec(output, input.layout().shape().clone());
            let state = NormState {
                sizes,
                eps: self.eps,
                moments: moments.clone(),
                uses_batch: true,
                input: is_tracked.iter().any(|it| *it).then_some(input),
                weight,
            };
            (output, state)
        });
        let tensor = |value: &dyn Fn(&Moments) -> f64| {
            let values: Vec<f32> = moments.iter().map(|it| value(it) as f32).collect();
            Tensor::from_data(TensorData::new(values, [sizes.channels]), &device)
        };
        let factor = unbiased(count);
        self.update(
            tensor(&|moments| moments.mean),
            tensor(&|moments| moments.variance * factor),
        );
        output
    }

    fn evaluate_on_cpu(&self, input: Tensor<4>) -> Tensor<4> {
        let sizes = norm_sizes(&input);
        self.apply(input, |[mut input, weight, bias], is_tracked| {
            let moments = self.running_moments();
            let scale_shift =
                batch_norm::scale_shift(&moments, &slice(&weight), &slice(&bias), self.eps);
            // Gradients of the parameters need the input as it was; otherwise it is overwritten.
            let kept = (is_tracked[1] || is_tracked[2]).then(|| input.clone());
            let output = if let Some(kept) = &kept {
                let output = batch_norm::apply(sizes, &scale_shift, &slice(kept));
                from_vec(output, kept.layout().shape().clone())
            } else {
                batch_norm::apply_in_place(sizes, &scale_shift, slice_mut(&mut input));
                input
            };
            let state = NormState {
                sizes,
                eps: self.eps,
                moments,
                uses_batch: false,
                input: kept,
                weight,
            };
            (output, state)
        })
    }

    fn apply(
        &self,
        input: Tensor<4>,
        compute: impl FnOnce([FloatTensor<Flex>; 3], [bool; 3]) -> (FloatTensor<Flex>, NormState),
    ) -> Tensor<4> {
        let operands: [Operand; 3] = [
            operand(input),
            operand(self.weight.val()),
            operand(self.bias.val()),
        ];
        operation::apply(NormBackward, operands, compute)
    }

    fn running_moments(&self) -> Vec<Moments> {
        let mean = to_host(self.running_mean.value_sync()).values;
        let variance = to_host(self.running_var.value_sync()).values;
        let pairs = mean.into_iter().zip(variance);
        pairs
            .map(|(mean, variance)| Moments {
                mean: f64::from(mean),
                variance: f64::from(variance),
            })
            .collect()
    }

    fn update(&self, mean: Tensor<1>, variance: Tensor<1>) {
        for (running, batch) in [(&self.running_mean, mean), (&self.running_var, variance)] {
            let old = running.value_sync().to_device(&batch.device());
            running.update((old * (1.0 - self.momentum) + batch * self.momentum).detach());
        }
    }

    /// The layer with its running statistics, for the program of frozen layers.
    pub(super) fn as_layer(&self) -> program::Layer {
        let host = |tensor: Tensor<1>| to_host(tensor).values;
        program::Layer::BatchNorm {
            weight: host(self.weight.val()),
            bias: host(self.bias.val()),
            mean: host(self.running_mean.value_sync()),
            var: host(self.running_var.value_sync()),
            eps: self.eps,
        }
    }
}

fn norm_sizes(input: &Tensor<4>) -> NormSizes {
    let [_, channels, height, width] = input.dims();
    NormSizes {
        channels,
        pixels: height * width,
    }
}

/// The number of values of each channel.
fn n_samples(input: &Tensor<4>) -> f64 {
    let [n, _, height, width] = input.dims();
    (n * height * width) as f64
}

/// What a biased variance is multiplied by to be unbiased.
fn unbiased(n_samples: f64) -> f64 {
    n_samples / (n_samples - 1.0).max(1.0)
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug)]
struct NormState {
    sizes: NormSizes,
    eps: f64,
    moments: Vec<Moments>,
    /// Whether the moments are those of the batch, so that they have gradients too.
    uses_batch: bool,
    input: Option<FloatTensor<Flex>>,
    weight: FloatTensor<Flex>,
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = NormState;

    fn backward(
        self,
        ops: Ops<NormState, 3>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let mut gradient = gradients.consume::<Flex>(&ops.node);
        let NormState {
            sizes,
            eps,
            moments,
            uses_batch,
            input,
            weight,
        } = ops.state;
        let [input_node, weight_node, bias_node] = ops.parents;
        let values = input.as_ref().map(slice);
        let sums = values.as_ref().map(|values| {
            batch_norm::channel_gradients(sizes, &moments, eps, values, &slice(&gradient))
        });
        let weight = slice(&weight);
        if let Some(sums) = &sums {
            let mut register = |id, value: &dyn Fn(&ChannelGradient) -> f64| {
                let values: Vec<f32> = sums.iter().map(|sums| value(sums) as f32).collect();
                gradients.register::<Flex>(id, from_vec(values, [sizes.channels]));
            };
            if let Some(node) = weight_node {
                register(node.id, &|sums| sums.weight);
            }
            if let Some(node) = bias_node {
                register(node.id, &|sums| sums.bias);
            }
        }
        let Some(node) = input_node else {
            return;
        };
        let target = slice_mut(&mut gradient);
        match (&values, &sums) {
            (Some(values), Some(sums)) if uses_batch => {
                batch_norm::input_gradient(sizes, (&moments, eps), &weight, sums, values, target);
            }
            _ => {
                let bias = vec![0.0; sizes.channels];
                let mut scale = batch_norm::scale_shift(&moments, &weight, &bias, eps);
                for channel in &mut scale {
                    channel.shift = 0.0;
                }
                batch_norm::apply_in_place(sizes, &scale, target);
            }
        }
        gradients.register::<Flex>(node.id, gradient);
    }
}

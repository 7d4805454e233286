//! Batch normalisation with PyTorch's running statistics.

use burn::{
    module::{Flag, Module, Param, RunningState},
    tensor::{Tensor, module as ops},
};

use super::host::to_host;
use crate::kernels::program;

/// PyTorch's `BatchNorm2d`. Burn's own version updates the running variance with the biased
/// variance of the batch, PyTorch with the unbiased one.
#[derive(Module, Debug)]
pub(crate) struct BatchNorm2d {
    pub(super) weight: Param<Tensor<1>>,
    pub(super) bias: Param<Tensor<1>>,
    pub(super) running_mean: RunningState<Tensor<1>>,
    pub(super) running_var: RunningState<Tensor<1>>,
    pub(super) training: Param<Flag>,
}

/// PyTorch's defaults of `nn.BatchNorm2d`.
const BATCH_NORM_EPS: f64 = 1e-5;
const BATCH_NORM_MOMENTUM: f64 = 0.1;

impl BatchNorm2d {
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let device = input.device();
        if !(device.is_autodiff() && self.training.is_enabled()) {
            let (mean, var) = (self.running_mean.value(), self.running_var.value());
            let (mean, var) = (mean.to_device(&device), var.to_device(&device));
            return ops::batch_norm(
                input,
                self.weight.val(),
                self.bias.val(),
                mean,
                var,
                BATCH_NORM_EPS,
            );
        }
        let [n, _, height, width] = input.dims();
        let n_samples = (n * height * width) as f64;
        let unbiased = n_samples / (n_samples - 1.0).max(1.0);
        let result =
            ops::batch_norm_train(input, self.weight.val(), self.bias.val(), BATCH_NORM_EPS);
        update(&self.running_mean, result.mean.detach());
        update(&self.running_var, result.variance.detach() * unbiased);
        result.output
    }
}

impl BatchNorm2d {
    /// The layer with its running statistics, for the CPU's kernels.
    pub(super) fn as_layer(&self) -> program::Layer {
        let host = |tensor: Tensor<1>| to_host(tensor).values;
        program::Layer::BatchNorm {
            weight: host(self.weight.val()),
            bias: host(self.bias.val()),
            mean: host(self.running_mean.value_sync()),
            var: host(self.running_var.value_sync()),
            eps: BATCH_NORM_EPS,
        }
    }
}

fn update(running: &RunningState<Tensor<1>>, batch: Tensor<1>) {
    let old = running.value_sync().to_device(&batch.device());
    running.update((old * (1.0 - BATCH_NORM_MOMENTUM) + batch * BATCH_NORM_MOMENTUM).detach());
}

//! Batch normalisation with PyTorch's running statistics.

use burn::{
    module::{Flag, Module, Param, RunningState},
    tensor::{Tensor, module as ops},
};

use super::host::to_host;
use crate::kernels::chain::ChainLayer;

/// PyTorch's `BatchNorm2d`. Burn's own version updates the running variance with the biased
/// variance of the batch, PyTorch with the unbiased one.
#[derive(Module, Debug)]
pub(crate) struct BatchNorm2d {
    pub(super) weight: Param<Tensor<1>>,
    pub(super) bias: Param<Tensor<1>>,
    pub(super) running_mean: RunningState<Tensor<1>>,
    pub(super) running_var: RunningState<Tensor<1>>,
    pub(super) training: Param<Flag>,
    pub(super) eps: f64,
    pub(super) momentum: f64,
}

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
                self.eps,
            );
        }
        let [n, _, height, width] = input.dims();
        let n_samples = (n * height * width) as f64;
        let unbiased = n_samples / (n_samples - 1.0).max(1.0);
        let result = ops::batch_norm_train(input, self.weight.val(), self.bias.val(), self.eps);
        self.update(&self.running_mean, result.mean.detach());
        self.update(&self.running_var, result.variance.detach() * unbiased);
        result.output
    }
}

impl BatchNorm2d {
    /// The scale and shift that the running statistics amount to, for the CPU's kernels.
    pub(super) fn as_layer(&self) -> ChainLayer {
        let host = |tensor: Tensor<1>| to_host(tensor).values;
        let (weight, bias) = (host(self.weight.val()), host(self.bias.val()));
        let (mean, var) = (
            host(self.running_mean.value_sync()),
            host(self.running_var.value_sync()),
        );
        let deviations = var.iter().map(|var| (f64::from(*var) + self.eps).sqrt());
        let scale: Vec<f32> = weight
            .iter()
            .zip(deviations)
            .map(|(weight, deviation)| (f64::from(*weight) / deviation) as f32)
            .collect();
        let shifts = bias.iter().zip(mean).zip(&scale);
        let shift = shifts
            .map(|((bias, mean), scale)| bias - mean * scale)
            .collect();
        ChainLayer::ScaleShift { scale, shift }
    }

    fn update(&self, running: &RunningState<Tensor<1>>, batch: Tensor<1>) {
        let old = running.value_sync().to_device(&batch.device());
        running.update((old * (1.0 - self.momentum) + batch * self.momentum).detach());
    }
}

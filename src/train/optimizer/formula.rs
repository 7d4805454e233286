//! The interface of an optimizer: its moments, and its formula on slices and on tensors. Knows no configuration, so that the
//! benchmarks can use it too.

use burn::tensor::Tensor;

use crate::kernels::update::Rule;

/// The numbers of one step of one parameter that every optimizer takes.
#[derive(Clone, Copy)]
pub(crate) struct StepScalars {
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
    /// The number of this step among the steps of the parameter, from 1.
    pub(crate) step: usize,
}

/// An optimizer's formula, written twice: on slices of host memory, in one pass, and in tensors for other devices, where Burn
/// fuses the operations.
pub(crate) trait Formula {
    /// The moments under the names that PyTorch gives them in an optimizer's state dict.
    fn moment_names(&self) -> Vec<&'static str>;

    /// The formula on slices at one step.
    fn rule(&self, scalars: StepScalars) -> Box<dyn Rule>;

    /// The updated parameter and moments. All tensors have the same length; the moments are in the order of `moment_names`.
    fn tensors(
        &self,
        scalars: StepScalars,
        parameter: Tensor<1>,
        gradient: Tensor<1>,
        moments: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>);
}

/// A running mean that keeps the share `keep` of its old value.
pub(super) fn mean(old: Tensor<1>, new: Tensor<1>, keep: f64) -> Tensor<1> {
    old * keep + new * (1.0 - keep)
}

/// The gradient with the weight decay of PyTorch's optimizers but `AdamW`: an L2 penalty.
pub(super) fn decayed(gradient: Tensor<1>, parameter: &Tensor<1>, weight_decay: f64) -> Tensor<1> {
    if weight_decay > 0.0 {
        gradient + parameter.clone() * weight_decay
    } else {
        gradient
    }
}

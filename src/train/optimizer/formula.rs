//! The interface of an optimizer: its moments, and its formula on slices and on tensors. Knows no configuration, so that the
//! benchmarks can use it too.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use burn::tensor::Tensor;
use pulp::Simd;

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

/// The lanes of a `VectorRule`: the struct of its scalars, the fields that are numbers, and after `;` those that are not.
macro_rules! lanes {
    ($scalars:ident: $($number:ident),+ $(; $($other:ident),+)?) => {
        type Lanes<S: Simd> = $scalars<S::f32s>;

        #[inline(always)]
        fn lanes<S: Simd>(self, simd: S) -> $scalars<S::f32s> {
            $scalars {
                $($number: simd.splat_f32s(self.$number),)+
                $($($other: self.$other,)+)?
            }
        }
    };
}
pub(super) use lanes;

/// The gradient below which `share` of its square is smaller than every normal number. Processors take many times as long for such
/// products, and a loss near 0 makes millions of them. Taking them as 0 changes means of squares only below 1e-29, whose root is far
/// below any usual `eps`.
pub(super) fn negligible(share: f32) -> f32 {
    (f32::MIN_POSITIVE / share).sqrt()
}

/// The gradient, or 0 where it is negligible. NaN stays NaN.
#[inline(always)]
pub(super) fn unless_negligible<S: Simd>(
    simd: S,
    gradient: S::f32s,
    negligible: S::f32s,
) -> S::f32s {
    let is_negligible = simd.less_than_f32s(simd.abs_f32s(gradient), negligible);
    simd.select_f32s(is_negligible, simd.splat_f32s(0.0), gradient)
}

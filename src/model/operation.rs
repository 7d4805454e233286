//! Registers our own operations with Burn's autodiff on the CPU: the forward pass is computed at once, and if gradients are
//! recorded, the operation brings its own backward pass.

use std::fmt::Debug;

use burn::{
    backend::{
        Autodiff, Flex,
        autodiff::{
            checkpoint::strategy::NoCheckpointing,
            ops::{Backward, OpsKind},
        },
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

use super::host::{on_cpu, recorded};

/// A tensor on the CPU that an operation reads.
pub(super) enum Operand {
    Plain(FloatTensor<Flex>),
    /// It lies on a device that records gradients, whether or not this tensor requires them.
    Recorded(FloatTensor<Autodiff<Flex>>),
}

/// Panics if the tensor is not on the CPU, so the caller must check the device.
pub(super) fn operand<const D: usize>(tensor: Tensor<D>) -> Operand {
    if tensor.device().is_autodiff() {
        Operand::Recorded(recorded(tensor))
    } else {
        Operand::Plain(on_cpu(tensor))
    }
}

/// Runs `compute` on the operands, which are on the same device. It returns the output and what the backward pass will need; its
/// second argument says which operands' gradients that pass will be asked for.
pub(super) fn apply<const N: usize, const D: usize, B, S>(
    backward: B,
    operands: [Operand; N],
    compute: impl FnOnce([FloatTensor<Flex>; N], [bool; N]) -> (FloatTensor<Flex>, S),
) -> Tensor<D>
where
    B: Backward<Flex, N, State = S>,
    S: Clone + Send + Debug + 'static,
{
    if operands
        .iter()
        .all(|operand| matches!(operand, Operand::Plain(_)))
    {
        let tensors = operands.map(|operand| match operand {
            Operand::Plain(tensor) => tensor,
            Operand::Recorded(tensor) => tensor.into_primitive(),
        });
        let (output, _) = compute(tensors, [false; N]);
        return Tensor::from_primitive::<Flex>(output);
    }
    let tensors = operands.map(|operand| match operand {
        Operand::Plain(tensor) => FloatTensor::<Autodiff<Flex>>::new(tensor),
        Operand::Recorded(tensor) => tensor,
    });
    let is_tracked = tensors
        .each_ref()
        .map(FloatTensor::<Autodiff<Flex>>::is_tracked);
    let nodes = tensors.each_ref().map(FloatTensor::<Autodiff<Flex>>::node);
    let tensors = tensors.map(FloatTensor::<Autodiff<Flex>>::into_primitive);
    let (output, state) = compute(tensors, is_tracked);
    let prepared = backward.prepare::<NoCheckpointing>(nodes).compute_bound();
    Tensor::from_primitive::<Autodiff<Flex>>(match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    })
}

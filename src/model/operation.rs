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

/// Runs `compute(input, weight, bias)` on tensors that are all on the CPU; `state` keeps what the backward pass will need of
/// input and weight.
pub(super) fn apply<const D: usize, const W: usize, B, S>(
    backward: B,
    (input, weight, bias): (Tensor<D>, Tensor<W>, Tensor<1>),
    compute: impl FnOnce(
        &FloatTensor<Flex>,
        &FloatTensor<Flex>,
        &FloatTensor<Flex>,
    ) -> FloatTensor<Flex>,
    state: impl FnOnce(FloatTensor<Flex>, FloatTensor<Flex>) -> S,
) -> Tensor<D>
where
    B: Backward<Flex, 3, State = S>,
    S: Clone + Send + Debug + 'static,
{
    if !input.device().is_autodiff() {
        let output = compute(&on_cpu(input), &on_cpu(weight), &on_cpu(bias));
        return Tensor::from_primitive::<Flex>(output);
    }
    let (input, weight, bias) = (recorded(input), recorded(weight), recorded(bias));
    let nodes = [input.node(), weight.node(), bias.node()];
    let (input, weight) = (input.into_primitive(), weight.into_primitive());
    let output = compute(&input, &weight, bias.primitive());
    let prepared = backward.prepare::<NoCheckpointing>(nodes).compute_bound();
    Tensor::from_primitive::<Autodiff<Flex>>(match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state(input, weight), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    })
}

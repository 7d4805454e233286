//! `ReLU`: with our own kernel on the CPU, with Burn's on other devices.

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
    tensor::{Tensor, activation},
};

use super::{
    host::{slice, slice_mut},
    operation::{self, operand},
};
use crate::{device, kernels::relu};

/// Sets negative values to zero. The input's memory is reused if nothing else needs it.
pub(super) fn relu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    if !device::is_cpu(&input.device()) {
        return activation::relu(input);
    }
    operation::apply(ReluBackward, [operand(input)], |[mut values], _| {
        relu::relu(slice_mut(&mut values));
        (values.clone(), values)
    })
}

/// Adds two tensors of the same shape and sets negative sums to zero, as at the end of a residual block.
pub(super) fn add_relu<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    if !device::is_cpu(&left.device()) {
        return activation::relu(left + right);
    }
    let operands = [operand(left), operand(right)];
    operation::apply(ReluBackward, operands, |[mut sums, right], _| {
        relu::add_relu(slice_mut(&mut sums), &slice(&right));
        (sums.clone(), sums)
    })
}

#[derive(Debug)]
struct ReluBackward;

impl<const N: usize> Backward<Flex, N> for ReluBackward {
    /// The output.
    type State = FloatTensor<Flex>;

    /// Every parent has the same gradient, because the output is a function of their sum.
    fn backward(
        self,
        ops: Ops<FloatTensor<Flex>, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let mut gradient = gradients.consume::<Flex>(&ops.node);
        relu::gradient(&slice(&ops.state), slice_mut(&mut gradient));
        for node in ops.parents.into_iter().flatten() {
            gradients.register::<Flex>(node.id, gradient.clone());
        }
    }
}

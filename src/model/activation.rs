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

#[derive(Debug)]
struct ReluBackward;

impl Backward<Flex, 1> for ReluBackward {
    /// The output.
    type State = FloatTensor<Flex>;

    fn backward(
        self,
        ops: Ops<FloatTensor<Flex>, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let mut gradient = gradients.consume::<Flex>(&ops.node);
        if let [Some(node)] = ops.parents {
            relu::gradient(&slice(&ops.state), slice_mut(&mut gradient));
            gradients.register::<Flex>(node.id, gradient);
        }
    }
}

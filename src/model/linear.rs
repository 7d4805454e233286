//! Fully connected layers: with our own kernels on the CPU, with Burn's on other devices.

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
    nn::Linear,
    tensor::Tensor,
};

use std::{cell::RefCell, collections::BTreeMap};

use super::{
    host::{from_vec, slice},
    operation::{self, operand},
};
use crate::{
    device,
    kernels::linear::{self, LinearSizes},
};

/// The gradient of a weight as two factors: it is `input^T output_gradient`.
#[derive(Debug)]
pub(crate) struct Factors {
    pub(crate) sizes: LinearSizes,
    /// `[images, inputs]`
    pub(crate) input: FloatTensor<Flex>,
    /// `[images, outputs]`
    pub(crate) output_gradient: FloatTensor<Flex>,
}

thread_local! {
    /// Where backward passes of this thread put factors, by the number of the weight. While it is `None`, they register whole
    /// gradients.
    static FACTORS: RefCell<Option<BTreeMap<usize, Factors>>> = const { RefCell::new(None) };
}

/// Runs a backward pass that keeps the gradients of fully connected layers as factors. A weight of VGG16 takes 411 MB, its
/// factors at batch size 16 take 2 MB, and an optimizer that multiplies them block by block never writes the whole gradient.
pub(crate) fn with_factors<T>(backward: impl FnOnce() -> T) -> (T, BTreeMap<usize, Factors>) {
    FACTORS.set(Some(BTreeMap::new()));
    let result = backward();
    (result, FACTORS.take().unwrap_or_default())
}

/// Maps `[n, inputs]` to `[n, outputs]`, as `torch.nn.Linear`; the weight is `[inputs, outputs]`, as Burn keeps it.
pub(super) fn forward(layer: &Linear, input: Tensor<2>) -> Tensor<2> {
    let Some(bias) = &layer.bias else {
        return layer.forward(input);
    };
    if !device::is_cpu(&input.device()) {
        return layer.forward(input);
    }
    let number = layer.weight.id.val() as usize;
    let operands = [
        operand(input),
        operand(layer.weight.val()),
        operand(bias.val()),
    ];
    operation::apply(LinearBackward, operands, |[input, weight, bias], _| {
        let output = multiply(&input, &weight, &bias);
        (output, (number, input, weight))
    })
}

fn sizes(input: &FloatTensor<Flex>, weight: &FloatTensor<Flex>) -> LinearSizes {
    let (input, weight) = (input.layout().shape(), weight.layout().shape());
    LinearSizes {
        images: input[0],
        inputs: weight[0],
        outputs: weight[1],
    }
}

fn multiply(
    input: &FloatTensor<Flex>,
    weight: &FloatTensor<Flex>,
    bias: &FloatTensor<Flex>,
) -> FloatTensor<Flex> {
    let sizes = sizes(input, weight);
    let mut output = vec![0.0; sizes.images * sizes.outputs];
    linear::forward(
        sizes,
        &slice(input),
        &slice(weight),
        &slice(bias),
        &mut output,
    );
    from_vec(output, [sizes.images, sizes.outputs])
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    /// The number of the weight, and the input and the weight of the forward pass.
    type State = (usize, FloatTensor<Flex>, FloatTensor<Flex>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let given = gradients.consume::<Flex>(&ops.node);
        let output_gradient = slice(&given);
        let (number, input, weight) = ops.state;
        let sizes = sizes(&input, &weight);
        let [input_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = input_node {
            let mut gradient = vec![0.0; sizes.images * sizes.inputs];
            linear::input_gradient(sizes, &output_gradient, &slice(&weight), &mut gradient);
            gradients.register::<Flex>(node.id, from_vec(gradient, [sizes.images, sizes.inputs]));
        }
        if let Some(node) = bias_node {
            let mut gradient = vec![0.0; sizes.outputs];
            for row in output_gradient.chunks_exact(sizes.outputs) {
                for (sum, value) in gradient.iter_mut().zip(row) {
                    *sum += value;
                }
            }
            gradients.register::<Flex>(node.id, from_vec(gradient, [sizes.outputs]));
        }
        if let Some(node) = weight_node {
            let is_kept = FACTORS.with_borrow(Option::is_some);
            if is_kept {
                // `given` is moved into the factors, and this view may borrow from it.
                drop(output_gradient);
                let factors = Factors {
                    sizes,
                    input,
                    output_gradient: given,
                };
                FACTORS.with_borrow_mut(|kept| kept.as_mut()?.insert(number, factors));
            } else {
                let mut gradient = vec![0.0; sizes.inputs * sizes.outputs];
                linear::weight_gradient(sizes, &slice(&input), &output_gradient, &mut gradient);
                let gradient = from_vec(gradient, [sizes.inputs, sizes.outputs]);
                gradients.register::<Flex>(node.id, gradient);
            }
        }
    }
}

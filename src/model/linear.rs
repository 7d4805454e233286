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
    kernels::linear::{self, LinearSizes, PartialProducts},
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

/// The product of a weight with the next input, computed when the weight was updated.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// The number of the weight.
    pub(crate) number: usize,
    /// `[images, inputs]`
    pub(crate) input: Vec<f32>,
    pub(crate) products: PartialProducts,
}

thread_local! {
    /// What forward passes of this thread need not compute.
    static AHEAD: RefCell<Option<Ahead>> = const { RefCell::new(None) };
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

/// Runs a forward pass that uses `ahead` where it has the same input. The weight must not have changed since.
pub(crate) fn with_ahead<T>(ahead: Option<Ahead>, forward: impl FnOnce() -> T) -> T {
    AHEAD.set(ahead);
    let result = forward();
    AHEAD.set(None);
    result
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
        let output = multiply(number, &input, &weight, &bias);
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
    number: usize,
    input: &FloatTensor<Flex>,
    weight: &FloatTensor<Flex>,
    bias: &FloatTensor<Flex>,
) -> FloatTensor<Flex> {
    let sizes = sizes(input, weight);
    let values = slice(input);
    let ahead = AHEAD.with_borrow_mut(|ahead| {
        ahead.take_if(|ahead| ahead.number == number && ahead.input == *values)
    });
    let products = match ahead {
        Some(ahead) => ahead.products,
        None => PartialProducts::new(sizes, &values, &slice(weight)),
    };
    let mut output = vec![0.0; sizes.images * sizes.outputs];
    products.finish(&slice(bias), &mut output);
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

#[cfg(test)]
mod tests {
    use burn::{
        module::{Param, ParamId},
        tensor::Device,
    };

    use super::*;

    #[test]
    fn products_ahead_are_used_for_their_weight_and_input_only() {
        let device = Device::flex();
        let layer = |number: u64| Linear {
            weight: Param::initialized(
                ParamId::from(number),
                Tensor::from_floats([[1.0, 2.0], [3.0, 4.0]], &device),
            ),
            bias: Some(Param::from_tensor(Tensor::from_floats(
                [0.5, 0.25],
                &device,
            ))),
        };
        // Those of the products that would be wrong, so that their use shows.
        let ahead = || Ahead {
            number: 7,
            input: vec![1.0, 1.0],
            products: PartialProducts::new(
                LinearSizes {
                    images: 1,
                    inputs: 2,
                    outputs: 2,
                },
                &[10.0, 10.0],
                &[1.0, 2.0, 3.0, 4.0],
            ),
        };
        let output = |number, input: [f32; 2]| {
            let input = Tensor::from_floats([input], &device);
            let output = with_ahead(Some(ahead()), || forward(&layer(number), input));
            output.into_data().try_into_vec::<f32>().unwrap()
        };
        assert_eq!(output(7, [1.0, 1.0]), [40.5, 60.25]);
        assert_eq!(output(7, [1.0, 2.0]), [7.5, 10.25]);
        assert_eq!(output(8, [1.0, 1.0]), [4.5, 6.25]);
        assert!(AHEAD.take().is_none(), "nothing is kept for later passes");
    }
}

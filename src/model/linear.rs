//! Fully connected layers: on the CPU by our own kernels, on other devices by Burn's.

use burn::{
    backend::{
        Autodiff, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        tensor::FloatTensor,
    },
    nn::Linear,
    tensor::Tensor,
};

use super::host::{from_vec, on_cpu, recorded, slice};
use crate::{
    device,
    kernels::linear::{self, Sizes},
};

/// `[n, inputs]` to `[n, outputs]`, as `torch.nn.Linear`; the weight is `[inputs, outputs]`, as Burn keeps it.
pub(super) fn forward(layer: &Linear, input: Tensor<2>) -> Tensor<2> {
    let Some(bias) = &layer.bias else {
        return layer.forward(input);
    };
    if !device::is_cpu(&input.device()) {
        return layer.forward(input);
    }
    let (weight, bias) = (layer.weight.val(), bias.val());
    if !input.device().is_autodiff() {
        let output = multiply(&on_cpu(input), &on_cpu(weight), &on_cpu(bias));
        return Tensor::from_primitive::<Flex>(output);
    }
    let (input, weight, bias) = (recorded(input), recorded(weight), recorded(bias));
    let nodes = [input.node(), weight.node(), bias.node()];
    let (input, weight) = (input.into_primitive(), weight.into_primitive());
    let output = multiply(&input, &weight, bias.primitive());
    let prepared = LinearBackward
        .prepare::<NoCheckpointing>(nodes)
        .compute_bound();
    Tensor::from_primitive::<Autodiff<Flex>>(match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((input, weight), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    })
}

fn sizes(input: &FloatTensor<Flex>, weight: &FloatTensor<Flex>) -> Sizes {
    let (input, weight) = (input.layout().shape(), weight.layout().shape());
    Sizes {
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
    /// Input and weight.
    type State = (FloatTensor<Flex>, FloatTensor<Flex>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output_gradient = gradients.consume::<Flex>(&ops.node);
        let output_gradient = slice(&output_gradient);
        let (input, weight) = ops.state;
        let sizes = sizes(&input, &weight);
        let [input_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = input_node {
            let mut gradient = vec![0.0; sizes.images * sizes.inputs];
            linear::input_gradient(sizes, &output_gradient, &slice(&weight), &mut gradient);
            gradients.register::<Flex>(node.id, from_vec(gradient, [sizes.images, sizes.inputs]));
        }
        if let Some(node) = weight_node {
            let mut gradient = vec![0.0; sizes.inputs * sizes.outputs];
            linear::weight_gradient(sizes, &slice(&input), &output_gradient, &mut gradient);
            gradients.register::<Flex>(node.id, from_vec(gradient, [sizes.inputs, sizes.outputs]));
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
    }
}

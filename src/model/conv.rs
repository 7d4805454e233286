//! 3x3 convolutions of stride 1 and padding 1: with our own kernels on the CPU, with Burn's on other devices.

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
    nn::{PaddingConfig2d, conv::Conv2d},
    tensor::Tensor,
};

use super::{
    host::{from_vec, slice},
    operation,
};
use crate::{
    device,
    kernels::{
        gradients,
        layout::{nchw_to_nhwc, nhwc_to_nchw},
        tiles::Nhwc,
        winograd::Winograd3x3,
    },
};

/// Maps `[n, in, height, width]` to `[n, out, height, width]`, as `torch.nn.Conv2d(in, out, 3, padding=1)`.
pub(super) fn forward(layer: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let is_winograd = layer.kernel_size == [3, 3]
        && layer.stride == [1, 1]
        && layer.groups == 1
        && layer.padding == PaddingConfig2d::Explicit(1, 1, 1, 1);
    let Some(bias) = layer.bias.as_ref().filter(|_| is_winograd) else {
        return layer.forward(input);
    };
    if !device::is_cpu(&input.device()) {
        return layer.forward(input);
    }
    let tensors = (input, layer.weight.val(), bias.val());
    operation::apply(ConvBackward, tensors, convolve, |input, weight| {
        (input, weight)
    })
}

/// The shape of the input, and the number of output channels.
fn sizes(input: &FloatTensor<Flex>, weight: &FloatTensor<Flex>) -> (Nhwc, usize) {
    let shape = input.layout().shape();
    let shape = Nhwc {
        n: shape[0],
        channels: shape[1],
        height: shape[2],
        width: shape[3],
    };
    (shape, weight.layout().shape()[0])
}

fn convolve(
    input: &FloatTensor<Flex>,
    weight: &FloatTensor<Flex>,
    bias: &FloatTensor<Flex>,
) -> FloatTensor<Flex> {
    let (shape, out_channels) = sizes(input, weight);
    let filters = Winograd3x3::new(&slice(weight), out_channels, shape.channels);
    let input = channels_last(&slice(input), shape);
    let output_shape = shape.with_channels(out_channels);
    let mut output = vec![0.0; output_shape.len()];
    filters.forward(&input, shape, Some(&slice(bias)), false, &mut output);
    channels_first(&output, output_shape)
}

fn channels_last(values: &[f32], shape: Nhwc) -> Vec<f32> {
    let mut moved = vec![0.0; values.len()];
    nchw_to_nhwc(values, shape, &mut moved);
    moved
}

fn channels_first(values: &[f32], shape: Nhwc) -> FloatTensor<Flex> {
    let mut moved = vec![0.0; values.len()];
    nhwc_to_nchw(values, shape, &mut moved);
    from_vec(moved, [shape.n, shape.channels, shape.height, shape.width])
}

#[derive(Debug)]
struct ConvBackward;

impl Backward<Flex, 3> for ConvBackward {
    /// The input and the weight of the forward pass.
    type State = (FloatTensor<Flex>, FloatTensor<Flex>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output_gradient = gradients.consume::<Flex>(&ops.node);
        let (input, weight) = ops.state;
        let (shape, out_channels) = sizes(&input, &weight);
        let output_shape = shape.with_channels(out_channels);
        let output_gradient = channels_last(&slice(&output_gradient), output_shape);
        let [input_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = input_node {
            let gradient = gradients::input_gradient(
                &slice(&weight),
                out_channels,
                shape.channels,
                &output_gradient,
                output_shape,
            );
            gradients.register::<Flex>(node.id, channels_first(&gradient, shape));
        }
        if let Some(node) = weight_node {
            let input = channels_last(&slice(&input), shape);
            let gradient =
                gradients::weight_gradient(&input, &output_gradient, shape, out_channels);
            let gradient = from_vec(gradient, [out_channels, shape.channels, 3, 3]);
            gradients.register::<Flex>(node.id, gradient);
        }
        if let Some(node) = bias_node {
            let mut gradient = vec![0.0; out_channels];
            for pixel in output_gradient.chunks_exact(out_channels) {
                for (sum, value) in gradient.iter_mut().zip(pixel) {
                    *sum += value;
                }
            }
            gradients.register::<Flex>(node.id, from_vec(gradient, [out_channels]));
        }
    }
}

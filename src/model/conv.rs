//! 2D convolutions: with our own kernels on the CPU, with Burn's on other devices.

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
    operation::{self, operand},
};
use crate::{
    device,
    kernels::{
        conv2d::{self, ConvSizes},
        conv2d_gradients, gradients,
        layout::{to_nchw, to_nhwc},
        tiles::Nhwc,
        winograd::Winograd3x3,
    },
};

/// Maps `[n, in, height, width]` to `[n, out, height', width']`, as `torch.nn.Conv2d` with zeros as padding.
pub(super) fn forward(layer: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let sizes = sizes(layer, input.dims());
    let Some(sizes) = sizes.filter(|_| device::is_cpu(&input.device())) else {
        return layer.forward(input);
    };
    let weight = layer.weight.val();
    if let Some(bias) = &layer.bias {
        let operands = [operand(input), operand(weight), operand(bias.val())];
        operation::apply(
            ConvBackward,
            operands,
            |[input, weight, bias], [_, is_weight_tracked, _]| {
                let output = convolve(&sizes, &input, &weight, Some(&slice(&bias)));
                (
                    output,
                    ConvState::new(sizes, input, weight, is_weight_tracked),
                )
            },
        )
    } else {
        let operands = [operand(input), operand(weight)];
        operation::apply(
            ConvBackward,
            operands,
            |[input, weight], [_, is_weight_tracked]| {
                let output = convolve(&sizes, &input, &weight, None);
                (
                    output,
                    ConvState::new(sizes, input, weight, is_weight_tracked),
                )
            },
        )
    }
}

/// The sizes of a convolution that our kernels compute; `None` for dilated ones, and for padding that differs between opposite
/// sides.
fn sizes(layer: &Conv2d, [images, in_channels, height, width]: [usize; 4]) -> Option<ConvSizes> {
    let padding = match layer.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if (top, left) == (bottom, right) => {
            [top, left]
        }
        _ => return None,
    };
    let sizes = ConvSizes {
        images,
        in_channels,
        out_channels: layer.weight.dims()[0],
        groups: layer.groups,
        input: [height, width],
        side: layer.kernel_size,
        stride: layer.stride,
        padding,
    };
    (layer.dilation == [1, 1] && sizes.fits()).then_some(sizes)
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug)]
struct ConvState {
    sizes: ConvSizes,
    /// Only the gradient of the weight needs it.
    input: Option<FloatTensor<Flex>>,
    weight: FloatTensor<Flex>,
}

impl ConvState {
    fn new(
        sizes: ConvSizes,
        input: FloatTensor<Flex>,
        weight: FloatTensor<Flex>,
        is_weight_tracked: bool,
    ) -> Self {
        Self {
            sizes,
            input: is_weight_tracked.then_some(input),
            weight,
        }
    }
}

/// Whether Winograd's kernels compute this convolution.
fn is_winograd(sizes: &ConvSizes) -> bool {
    let geometry = [sizes.side, sizes.stride, sizes.padding];
    geometry == [[3, 3], [1, 1], [1, 1]] && sizes.groups == 1
}

fn input_shape(sizes: &ConvSizes) -> Nhwc {
    Nhwc {
        n: sizes.images,
        height: sizes.input[0],
        width: sizes.input[1],
        channels: sizes.in_channels,
    }
}

fn convolve(
    sizes: &ConvSizes,
    input: &FloatTensor<Flex>,
    weight: &FloatTensor<Flex>,
    bias: Option<&[f32]>,
) -> FloatTensor<Flex> {
    if is_winograd(sizes) {
        let shape = input_shape(sizes);
        let filters = Winograd3x3::new(&slice(weight), sizes.out_channels, sizes.in_channels);
        let input = to_nhwc(&slice(input), shape);
        let output_shape = shape.with_channels(sizes.out_channels);
        let mut output = vec![0.0; output_shape.len()];
        filters.forward(&input, shape, bias, false, &mut output);
        return channels_first(&output, output_shape);
    }
    let output = conv2d::forward(sizes, &slice(input), &slice(weight), bias);
    let [height, width] = sizes.output();
    from_vec(output, [sizes.images, sizes.out_channels, height, width])
}

fn channels_first(values: &[f32], shape: Nhwc) -> FloatTensor<Flex> {
    from_vec(
        to_nchw(values, shape),
        [shape.n, shape.channels, shape.height, shape.width],
    )
}

#[derive(Debug)]
struct ConvBackward;

impl<const N: usize> Backward<Flex, N> for ConvBackward {
    type State = ConvState;

    /// The parents are input, weight and, if there is one, bias.
    fn backward(
        self,
        ops: Ops<ConvState, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output_gradient = gradients.consume::<Flex>(&ops.node);
        let output_gradient = slice(&output_gradient);
        let [input_node, weight_node, bias_node] =
            std::array::from_fn(|index| ops.parents.get(index).and_then(Option::as_ref));
        let sizes = &ops.state.sizes;
        // Winograd's kernels read it channels last.
        let is_moved = is_winograd(sizes) && (input_node.is_some() || weight_node.is_some());
        let outside = input_shape(sizes).with_channels(sizes.out_channels);
        let moved = is_moved.then(|| to_nhwc(&output_gradient, outside));
        if let Some(node) = input_node {
            let gradient = input_gradient(&ops.state, &output_gradient, moved.as_deref());
            gradients.register::<Flex>(node.id, gradient);
        }
        if let (Some(node), Some(input)) = (weight_node, &ops.state.input) {
            let gradient = weight_gradient(&ops.state, input, &output_gradient, moved.as_deref());
            gradients.register::<Flex>(node.id, gradient);
        }
        if let Some(node) = bias_node {
            let gradient = if let Some(moved) = &moved {
                channel_sums(moved, sizes.out_channels)
            } else {
                conv2d_gradients::bias_gradient(sizes, &output_gradient)
            };
            gradients.register::<Flex>(node.id, from_vec(gradient, [sizes.out_channels]));
        }
    }
}

/// The sum of each channel of NHWC values.
fn channel_sums(values: &[f32], channels: usize) -> Vec<f32> {
    let mut sums = vec![0.0; channels];
    for pixel in values.chunks_exact(channels) {
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += value;
        }
    }
    sums
}

fn input_gradient(
    state: &ConvState,
    output_gradient: &[f32],
    moved: Option<&[f32]>,
) -> FloatTensor<Flex> {
    let sizes = &state.sizes;
    let weight = slice(&state.weight);
    let shape = input_shape(sizes);
    if let Some(moved) = moved {
        let outside = shape.with_channels(sizes.out_channels);
        let (outputs, inputs) = (sizes.out_channels, sizes.in_channels);
        let gradient = gradients::input_gradient(&weight, outputs, inputs, moved, outside);
        return channels_first(&gradient, shape);
    }
    let gradient = conv2d_gradients::input_gradient(sizes, &weight, output_gradient);
    from_vec(
        gradient,
        [shape.n, shape.channels, shape.height, shape.width],
    )
}

fn weight_gradient(
    state: &ConvState,
    input: &FloatTensor<Flex>,
    output_gradient: &[f32],
    moved: Option<&[f32]>,
) -> FloatTensor<Flex> {
    let sizes = &state.sizes;
    let gradient = if let Some(moved) = moved {
        let shape = input_shape(sizes);
        let input = to_nhwc(&slice(input), shape);
        gradients::weight_gradient(&input, moved, shape, sizes.out_channels)
    } else {
        conv2d_gradients::weight_gradient(sizes, &slice(input), output_gradient)
    };
    from_vec(gradient, state.weight.layout().shape().clone())
}

//! Pooling: with our own kernels on the CPU, with Burn's on other devices.

use burn::{
    backend::{
        Flex,
        autodiff::{
            checkpoint::base::Checkpointer,
            grads::Gradients,
            ops::{Backward, Ops},
        },
    },
    tensor::{Shape, Tensor, module as ops, ops::MaxPoolOptions},
};

use super::{
    host::{from_vec, slice},
    operation::{self, operand},
    paper::MaxPool,
};
use crate::{
    device,
    kernels::{im2col::PatchGrid, pool2d},
};

/// Maps `[n, channels, height, width]` to `[n, channels, height', width']`.
pub(super) fn max_pool(input: Tensor<4>, pool: MaxPool) -> Tensor<4> {
    let [n, channels, height, width] = input.dims();
    if !device::is_cpu(&input.device()) {
        let options = MaxPoolOptions::new([pool.side; 2])
            .with_stride([pool.stride; 2])
            .with_padding([pool.padding; 2])
            .with_ceil_mode(pool.ceil);
        return ops::max_pool2d(input, options);
    }
    let grid = PatchGrid {
        input: [height, width],
        output: [pool.after(height), pool.after(width)],
        side: [pool.side; 2],
        stride: [pool.stride; 2],
        padding: [pool.padding; 2],
    };
    let [out_height, out_width] = grid.output;
    operation::apply(MaxPoolBackward, [operand(input)], |[input], _| {
        let mut output = vec![0.0; n * channels * out_height * out_width];
        let mut taps = vec![0; output.len()];
        pool2d::max_pool(&grid, &slice(&input), &mut output, &mut taps);
        let output = from_vec(output, [n, channels, out_height, out_width]);
        (output, MaxPoolState { grid, taps })
    })
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug)]
struct MaxPoolState {
    grid: PatchGrid,
    /// The number of each window's largest pixel.
    taps: Vec<u8>,
}

#[derive(Debug)]
struct MaxPoolBackward;

impl Backward<Flex, 1> for MaxPoolBackward {
    type State = MaxPoolState;

    fn backward(
        self,
        ops: Ops<MaxPoolState, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output_gradient = gradients.consume::<Flex>(&ops.node);
        let MaxPoolState { grid, taps } = ops.state;
        if let [Some(node)] = ops.parents {
            let shape = output_gradient.layout().shape();
            let (n, channels) = (shape[0], shape[1]);
            let [height, width] = grid.input;
            let gradient = pool2d::max_pool_gradient(&grid, &taps, &slice(&output_gradient));
            gradients.register::<Flex>(node.id, from_vec(gradient, [n, channels, height, width]));
        }
    }
}

/// Average pooling to `side` x `side` windows, as `torch.nn.AdaptiveAvgPool2d`, flattened: maps `[n, channels, height, width]` to
/// `[n, channels * side * side, 1, 1]`.
pub(super) fn adaptive_avg(input: Tensor<4>, side: usize) -> Tensor<4> {
    let [_, _, height, width] = input.dims();
    let pooled = if (height, width) == (side, side) {
        input
    } else if side == 1 && device::is_cpu(&input.device()) {
        mean(input)
    } else {
        ops::adaptive_avg_pool2d(input, [side, side])
    };
    pooled.flatten::<2>(1, 3).unsqueeze_dims(&[2, 3])
}

/// The mean of each channel, `[n, channels, 1, 1]`.
fn mean(input: Tensor<4>) -> Tensor<4> {
    let [n, channels, height, width] = input.dims();
    operation::apply(MeanBackward, [operand(input)], |[input], _| {
        let mut output = vec![0.0; n * channels];
        pool2d::means(&slice(&input), height * width, &mut output);
        let shape = input.layout().shape().clone();
        (from_vec(output, [n, channels, 1, 1]), shape)
    })
}

#[derive(Debug)]
struct MeanBackward;

impl Backward<Flex, 1> for MeanBackward {
    /// The shape of the input.
    type State = Shape;

    fn backward(
        self,
        ops: Ops<Shape, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output_gradient = gradients.consume::<Flex>(&ops.node);
        let shape = ops.state;
        if let [Some(node)] = ops.parents {
            let pixels = shape[2] * shape[3];
            let gradient = pool2d::means_gradient(&slice(&output_gradient), pixels);
            gradients.register::<Flex>(node.id, from_vec(gradient, shape));
        }
    }
}

//! The forward pass of a network: its steps one after the other, on Burn's tensors.

use std::ops::Range;

use burn::tensor::{Tensor, activation::relu, module as ops, ops::MaxPoolOptions};

use super::{
    conv, linear,
    network::{Layer, Network},
    paper::{MaxPool, Op},
};

/// Runs consecutive steps that begin at a cut. Values are dropped after the last step that reads them. Maps are
/// `[n, channels, height, width]`, values `[n, values, 1, 1]`.
pub(super) fn run(network: &Network, steps: Range<usize>, input: Tensor<4>) -> Tensor<4> {
    let paper = &network.paper;
    let last_readers = paper.last_readers();
    let first = steps.start;
    let mut values: Vec<Option<Tensor<4>>> = vec![None; steps.len() + 1];
    values[0] = Some(input);
    for index in steps.clone() {
        let step = &paper.steps[index];
        let mut take = |value: usize| {
            let kept = &mut values[value - first];
            let tensor = if last_readers[value] == Some(index) {
                kept.take()
            } else {
                kept.clone()
            };
            tensor.expect("steps begin at a cut, and a value is kept until its last reader")
        };
        let inputs: Vec<Tensor<4>> = step.inputs.iter().map(|value| take(*value)).collect();
        values[index + 1 - first] = Some(forward(step.op, &network.layers[index], inputs));
    }
    values
        .pop()
        .flatten()
        .expect("the last step gives a value, or the input is returned")
}

fn forward(op: Op, layer: &Layer, mut inputs: Vec<Tensor<4>>) -> Tensor<4> {
    let x = inputs.remove(0);
    match (op, layer) {
        (Op::Conv(_), Layer::Conv(conv)) => conv::forward(conv, x),
        (Op::BatchNorm(_), Layer::BatchNorm(norm)) => norm.forward(x),
        (Op::Linear, Layer::Linear(linear)) => {
            linear::forward(linear, x.flatten(1, 3)).unsqueeze_dims(&[2, 3])
        }
        (Op::Dropout, Layer::Dropout(dropout)) => dropout.forward(x),
        (Op::Relu, _) => relu(x),
        (Op::MaxPool(pool), _) => max_pool(x, pool),
        (Op::AdaptivePool { side }, _) => pooled(x, side),
        (Op::Add, _) => inputs.into_iter().fold(x, |sum, term| sum + term),
        (Op::Concat, _) => {
            inputs.insert(0, x);
            Tensor::cat(inputs, 1)
        }
        (Op::Conv(_) | Op::BatchNorm(_) | Op::Linear | Op::Dropout, _) => {
            unreachable!("a network has the layers of its paper")
        }
    }
}

fn max_pool(x: Tensor<4>, pool: MaxPool) -> Tensor<4> {
    let MaxPool {
        side,
        stride,
        padding,
        ceil,
    } = pool;
    let options = MaxPoolOptions::new([side, side])
        .with_stride([stride, stride])
        .with_padding([padding, padding])
        .with_ceil_mode(ceil);
    ops::max_pool2d(x, options)
}

/// Average pooling to `side` x `side`, flattened to `[n, values, 1, 1]`.
fn pooled(x: Tensor<4>, side: usize) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let pooled = if (height, width) == (side, side) {
        x
    } else {
        ops::adaptive_avg_pool2d(x, [side, side])
    };
    pooled.flatten::<2>(1, 3).unsqueeze_dims(&[2, 3])
}

//! The forward pass of a network: its steps one after the other, on Burn's tensors.

use std::ops::Range;

use burn::tensor::Tensor;

use super::{
    activation::{add_relu, relu},
    conv, linear,
    network::{Layer, Network},
    paper::{Op, Paper, Step},
    pool,
};

/// Runs consecutive steps that begin at a cut. Maps are `[n, channels, height, width]`, values `[n, values, 1, 1]`.
pub(super) fn run(network: &Network, steps: Range<usize>, input: Tensor<4>) -> Tensor<4> {
    let paper = &network.paper;
    let mut values = Values {
        first: steps.start,
        kept: vec![None; steps.len() + 1],
        last_readers: paper.last_readers(),
    };
    values.kept[0] = Some(input);
    let mut index = steps.start;
    while index < steps.end {
        let step = &paper.steps[index];
        let inputs = values.inputs(step, index);
        let is_fused = index + 1 < steps.end && is_sum_for_relu(paper, index);
        let layer = &network.layers[index];
        let output = match <[Tensor<4>; 2]>::try_from(inputs) {
            Ok([left, right]) if is_fused => add_relu(left, right),
            Ok(pair) => forward(step.op, layer, pair.into()),
            Err(inputs) => forward(step.op, layer, inputs),
        };
        index += if is_fused { 2 } else { 1 };
        values.kept[index - steps.start] = Some(output);
    }
    let last = values.kept.pop().flatten();
    last.expect("the last step gives a value, or the input is returned")
}

/// The values of a forward pass, each of which is dropped after the last step that reads it.
struct Values {
    /// The number on paper of the first value that is kept.
    first: usize,
    kept: Vec<Option<Tensor<4>>>,
    last_readers: Vec<Option<usize>>,
}

impl Values {
    fn inputs(&mut self, step: &Step, index: usize) -> Vec<Tensor<4>> {
        let take = |value: &usize| {
            let kept = &mut self.kept[value - self.first];
            let is_last = self.last_readers[*value] == Some(index);
            let tensor = if is_last { kept.take() } else { kept.clone() };
            tensor.expect("steps begin at a cut, and values are kept until their last reader")
        };
        step.inputs.iter().map(take).collect()
    }
}

/// Whether a step adds two values, and the next one is a ReLU that alone reads the sum, as at the end of a residual block.
fn is_sum_for_relu(paper: &Paper, index: usize) -> bool {
    let sum = index + 1;
    let readers = paper.steps[sum..].iter();
    let mut readers = readers.filter(|step| step.inputs.contains(&sum));
    paper.steps[index].op == Op::Add
        && paper.steps[sum].op == Op::Relu
        && readers.next().is_some_and(|step| step.inputs == [sum])
        && readers.next().is_none()
}

fn forward(op: Op, layer: &Layer, mut inputs: Vec<Tensor<4>>) -> Tensor<4> {
    if op == Op::Concat {
        return Tensor::cat(inputs, 1);
    }
    let x = inputs.remove(0);
    match (op, layer) {
        (Op::Conv(_), Layer::Conv(conv)) => conv::forward(conv, x),
        (Op::BatchNorm(_), Layer::BatchNorm(norm)) => norm.forward(x),
        (Op::Linear, Layer::Linear(linear)) => {
            linear::forward(linear, x.flatten(1, 3)).unsqueeze_dims(&[2, 3])
        }
        (Op::Dropout, Layer::Dropout(dropout)) => dropout.forward(x),
        (Op::Relu, _) => relu(x),
        (Op::MaxPool(windows), _) => pool::max_pool(x, windows),
        (Op::AdaptivePool { side }, _) => pool::adaptive_avg(x, side),
        (Op::Add, _) => inputs.into_iter().fold(x, |sum, term| sum + term),
        (Op::Conv(_) | Op::BatchNorm(_) | Op::Linear | Op::Dropout | Op::Concat, _) => {
            unreachable!("a network has the layers of its paper")
        }
    }
}

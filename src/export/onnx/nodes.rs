//! The steps of a network on paper as ONNX nodes, for any number of images.

use super::graph::{Attribute, Graph};
use crate::{
    config::experiment::Normalize,
    model::{
        paper::{Kernel, MaxPool, Op, Paper, Step, Value},
        state::StateDict,
    },
};

/// The input: RGB images with values from 0 to 1.
pub(super) const IMAGE: &str = "image";
/// The output of the network, one number for each class.
pub(super) const LOGITS: &str = "logits";
/// Their softmax.
pub(super) const PROBABILITIES: &str = "probabilities";

/// Adds the whole network to the graph, from the normalization to the probabilities. Nodes are named after PyTorch's modules.
///
/// Panics if `state` lacks a tensor of `paper`; checkpoints are complete.
pub(super) fn add<'a>(
    graph: &mut Graph<'a>,
    paper: &Paper,
    state: &'a StateDict,
    normalize: &Normalize,
) {
    let pixels = Known {
        name: normalized(graph, normalize),
        is_flat: false,
    };
    let mut network = Network {
        graph,
        paper,
        state,
        known: vec![pixels],
    };
    for step in &paper.steps {
        let output = network.step(step);
        network.known.push(output);
    }
    network.flat(paper.steps.len());
    graph.rename_last(LOGITS);
    let axis = Attribute::Integer("axis", 1);
    graph.node(PROBABILITIES, "Softmax", &[LOGITS], vec![axis]);
}

/// `(value - mean) / std`, in the order of `data::resize`, so that both round alike.
fn normalized(graph: &mut Graph, normalize: &Normalize) -> String {
    let Normalize { mean, std } = normalize;
    let shape = [1, mean.len(), 1, 1];
    let mean = graph.constant("normalize.mean", &shape, mean.to_vec());
    let std = graph.constant("normalize.std", &shape, std.to_vec());
    let centered = graph.node("normalize.sub", "Sub", &[IMAGE, &mean], Vec::new());
    graph.node("normalize.div", "Div", &[&centered, &std], Vec::new())
}

struct Network<'g, 'a, 'p> {
    graph: &'g mut Graph<'a>,
    paper: &'p Paper,
    state: &'a StateDict,
    /// The values of the paper so far.
    known: Vec<Known>,
}

/// A value under the name that it has in the graph.
#[derive(Clone)]
struct Known {
    name: String,
    /// Whether it has the shape `[batch, values]`. On paper, pooled maps are flat too; here they stay maps until a fully connected
    /// layer needs them flat, because a convolution would need them as maps again.
    is_flat: bool,
}

impl Network<'_, '_, '_> {
    fn step(&mut self, step: &Step) -> Known {
        let input = self.known[step.inputs[0]].clone();
        let x = input.name.as_str();
        let is_flat = input.is_flat || step.op == Op::Linear;
        let name = match step.op {
            Op::Conv(kernel) => self.layer(step, "Conv", x, conv_attributes(kernel)),
            Op::BatchNorm(norm) => {
                let eps = Attribute::Float("epsilon", norm.eps as f32);
                self.layer(step, "BatchNormalization", x, vec![eps])
            }
            Op::Linear => {
                let x = self.flat(step.inputs[0]);
                let turned = Attribute::Integer("transB", 1);
                self.layer(step, "Gemm", &x, vec![turned])
            }
            Op::Relu => self.layer(step, "Relu", x, Vec::new()),
            Op::MaxPool(pool) => {
                let [_, height, width] = self.sides(step.inputs[0]);
                self.layer(step, "MaxPool", x, pool_attributes(pool, [height, width]))
            }
            Op::AdaptivePool { side } => self.adaptive_pool(step, x, side),
            Op::Dropout => x.to_owned(),
            Op::Add => self.joined(step, "add", "Add", Vec::new()),
            Op::Concat => {
                let axis = Attribute::Integer("axis", 1);
                self.joined(step, "concat", "Concat", vec![axis])
            }
        };
        Known { name, is_flat }
    }

    /// A node with the tensors of the step, in the order of the state dict, which is that of ONNX too.
    fn layer(
        &mut self,
        step: &Step,
        op: &'static str,
        x: &str,
        attributes: Vec<Attribute>,
    ) -> String {
        let specs = &self.paper.tensors[step.tensors.clone()];
        let tensors = specs.iter().map(|spec| {
            let values = &self.state[&spec.path].values;
            self.graph.parameter(&spec.path, &spec.shape, values)
        });
        let tensors: Vec<String> = tensors.collect();
        let inputs = std::iter::once(x).chain(tensors.iter().map(String::as_str));
        let inputs: Vec<&str> = inputs.collect();
        self.graph.node(&step.module, op, &inputs, attributes)
    }

    /// A node that reads several values, and is no module of its own.
    fn joined(
        &mut self,
        step: &Step,
        name: &str,
        op: &'static str,
        attributes: Vec<Attribute>,
    ) -> String {
        let inputs = step.inputs.iter();
        let inputs: Vec<&str> = inputs
            .map(|value| self.known[*value].name.as_str())
            .collect();
        let name = if step.module.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", step.module)
        };
        self.graph.node(&name, op, &inputs, attributes)
    }

    /// Average pooling to `side` x `side`, without the flattening.
    fn adaptive_pool(&mut self, step: &Step, x: &str, side: usize) -> String {
        let [_, height, width] = self.sides(step.inputs[0]);
        let name = &step.module;
        if [height, width] == [side, side] {
            x.to_owned()
        } else if side == 1 {
            self.graph.node(name, "GlobalAveragePool", &[x], Vec::new())
        } else if height % side == 0 && width % side == 0 {
            let windows = vec![height / side, width / side];
            let attributes = vec![
                Attribute::Integers("kernel_shape", windows.clone()),
                Attribute::Integers("strides", windows),
            ];
            self.graph.node(name, "AveragePool", &[x], attributes)
        } else {
            // Windows of several sizes, which may overlap, are no pooling in ONNX.
            let rows = averages(height, side);
            let columns = transposed(&averages(width, side), width);
            let constant = format!("{name}.rows");
            let rows = self.graph.constant(&constant, &[side, height], rows);
            let constant = format!("{name}.columns");
            let columns = self.graph.constant(&constant, &[width, side], columns);
            let x = self.graph.node(name, "MatMul", &[&rows, x], Vec::new());
            self.graph.node(name, "MatMul", &[&x, &columns], Vec::new())
        }
    }

    /// The name of a value with the shape `[batch, values]`.
    fn flat(&mut self, value: Value) -> String {
        let Known { name, is_flat } = &self.known[value];
        if *is_flat {
            return name.clone();
        }
        let axis = Attribute::Integer("axis", 1);
        self.graph.node("flatten", "Flatten", &[name], vec![axis])
    }

    /// Channels, height and width of a value; those of a pooled one are on paper flattened.
    fn sides(&self, value: Value) -> [usize; 3] {
        match *self.paper.shape(value) {
            [channels, height, width] => [channels, height, width],
            ref shape => [shape.iter().product(), 1, 1],
        }
    }
}

fn conv_attributes(kernel: Kernel) -> Vec<Attribute> {
    let Kernel {
        side,
        stride,
        padding,
        groups,
    } = kernel;
    vec![
        Attribute::Integer("group", groups),
        Attribute::Integers("kernel_shape", vec![side; 2]),
        Attribute::Integers("pads", vec![padding; 4]),
        Attribute::Integers("strides", vec![stride; 2]),
    ]
}

/// Windows that reach over the edge are written as padding at the end, because runtimes differ in which of them count with
/// `ceil_mode`. Padding is no value of a maximum.
fn pool_attributes(pool: MaxPool, input: [usize; 2]) -> Vec<Attribute> {
    let MaxPool {
        side,
        stride,
        padding,
        ceil: _,
    } = pool;
    let ends = input.map(|length| {
        let reached = (pool.after(length).max(1) - 1) * stride + side;
        reached.saturating_sub(length + padding)
    });
    vec![
        Attribute::Integers("kernel_shape", vec![side; 2]),
        Attribute::Integers("pads", vec![padding, padding, ends[0], ends[1]]),
        Attribute::Integers("strides", vec![stride; 2]),
    ]
}

/// The matrix `[side, length]` whose rows average the windows of `torch.nn.AdaptiveAvgPool2d`: window `i` reaches from
/// `floor(i * length / side)` to `ceil((i + 1) * length / side)`.
/// Source: `start_index` and `end_index` in PyTorch's `aten/src/ATen/native/AdaptivePooling.h`.
fn averages(length: usize, side: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; side * length];
    for (window, row) in matrix.chunks_exact_mut(length).enumerate() {
        let start = window * length / side;
        let end = ((window + 1) * length).div_ceil(side);
        row[start..end].fill(1.0 / (end - start) as f32);
    }
    matrix
}

fn transposed(matrix: &[f32], n_columns: usize) -> Vec<f32> {
    let columns = (0..n_columns).map(|column| matrix.iter().skip(column).step_by(n_columns));
    columns.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_an_adaptive_pool_are_those_of_pytorch() {
        // torch.nn.functional.adaptive_avg_pool1d(torch.eye(5), 3).T: windows 0..2, 1..4 and 3..5.
        let third = 1.0 / 3.0;
        let expected = [
            [0.5, 0.5, 0.0, 0.0, 0.0],
            [0.0, third, third, third, 0.0],
            [0.0, 0.0, 0.0, 0.5, 0.5],
        ];
        assert_eq!(averages(5, 3), expected.as_flattened());
        assert_eq!(averages(2, 4), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(
            transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
    }

    #[test]
    fn padding_stands_for_windows_over_the_edge() {
        let pads = |pool: MaxPool, input| {
            let attributes = pool_attributes(pool, input);
            let pads = attributes
                .into_iter()
                .find_map(|attribute| match attribute {
                    Attribute::Integers("pads", pads) => Some(pads),
                    _ => None,
                });
            pads.unwrap()
        };
        let three = MaxPool::new(3, 2);
        assert_eq!(pads(three.ceil(), [7, 8]), [0, 0, 0, 1]);
        assert_eq!(pads(three, [7, 8]), [0, 0, 0, 0]);
        // A window of 112 pixels with padding ends in the last pixel, not behind it.
        assert_eq!(pads(three.padding(1), [112, 113]), [1, 1, 0, 1]);
        assert_eq!(pads(MaxPool::new(2, 2), [8, 9]), [0, 0, 0, 0]);
    }
}

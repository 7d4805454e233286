//! ONNX graphs: nodes, initializers, inputs and outputs, and their encoding. Knows no networks.
//! Source of the field numbers: `onnx/onnx.proto`.

use std::{borrow::Cow, collections::HashSet};

use crate::protobuf::{Floats, Message};

/// The number of ONNX's type `FLOAT`.
const FLOAT: i64 = 1;
/// The number of ONNX's type `FLOAT16`.
const FLOAT16: i64 = 10;
/// The largest number that 16 bits can hold.
const LARGEST_HALF: f32 = 65_504.0;

/// The name of the first axis of every input and output, which can have any length.
const BATCH: &str = "batch";

/// A graph under construction. Values have the names of the nodes that compute them.
#[derive(Default)]
pub(super) struct Graph<'a> {
    names: HashSet<String>,
    nodes: Vec<Node>,
    initializers: Vec<Message<'a>>,
    /// Whether tensors that 16 bits can hold are stored in 16 bits.
    is_half: bool,
}

struct Node {
    name: String,
    op: &'static str,
    inputs: Vec<String>,
    output: String,
    attributes: Vec<Attribute>,
}

/// A named constant of a node.
pub(super) enum Attribute {
    Integer(&'static str, usize),
    Integers(&'static str, Vec<usize>),
    Float(&'static str, f32),
}

impl<'a> Graph<'a> {
    /// A graph in which no node gets one of the `taken` names.
    pub(super) fn new(is_half: bool, taken: &[&str]) -> Self {
        Self {
            names: taken.iter().map(|name| (*name).to_owned()).collect(),
            is_half,
            ..Self::default()
        }
    }

    /// Adds a node, and returns the name of its output. `name` gets a number if it is taken: a module can be used several times.
    pub(super) fn node(
        &mut self,
        name: &str,
        op: &'static str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        let mut unique = name.to_owned();
        let mut n_taken = 0;
        while !self.names.insert(unique.clone()) {
            n_taken += 1;
            unique = format!("{name}_{n_taken}");
        }
        self.nodes.push(Node {
            name: unique.clone(),
            op,
            inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: unique.clone(),
            attributes,
        });
        unique
    }

    /// Gives the output of the last node another name.
    pub(super) fn rename_last(&mut self, name: &str) {
        if let Some(node) = self.nodes.last_mut() {
            name.clone_into(&mut node.output);
        }
    }

    /// Adds a tensor of parameters, and returns the name under which nodes read it as 32-bit floats.
    ///
    /// In 16 bits only weights are stored. They are most of the file, and converted before they are used, so that nothing
    /// overflows on the way. Biases and the statistics of batch norm are vectors, and stay as they are.
    pub(super) fn parameter(&mut self, name: &str, shape: &[usize], values: &'a [f32]) -> String {
        let is_half = self.is_half
            && shape.len() > 1
            && values.iter().all(|value| value.abs() <= LARGEST_HALF);
        self.initializer(name, shape, values.into(), is_half);
        if !is_half {
            return name.to_owned();
        }
        let to = Attribute::Integer("to", FLOAT as usize);
        self.node(&format!("{name}.float32"), "Cast", &[name], vec![to])
    }

    /// Adds a constant that is no parameter of the network, and returns its name.
    pub(super) fn constant(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> String {
        self.initializer(name, shape, values.into(), false);
        name.to_owned()
    }

    fn initializer(&mut self, name: &str, shape: &[usize], values: Cow<'a, [f32]>, is_half: bool) {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        let is_new = self.names.insert(name.to_owned());
        debug_assert!(is_new, "{name} is added twice");
        let tensor = shape
            .iter()
            .fold(Message::default(), |tensor, side| {
                tensor.integer(1, *side as i64)
            })
            .integer(2, if is_half { FLOAT16 } else { FLOAT })
            .text(8, name)
            .floats(9, Floats { values, is_half });
        self.initializers.push(tensor);
    }

    /// The graph as a message. Inputs and outputs are 32-bit floats with a batch axis before the sides that are given.
    pub(super) fn finish(
        self,
        name: &str,
        inputs: &[(&str, &[usize], &str)],
        outputs: &[(&str, &[usize], &str)],
    ) -> Message<'a> {
        Message::default()
            .messages(1, self.nodes.iter().map(Node::encoded))
            .text(2, name)
            .messages(5, self.initializers)
            .messages(11, inputs.iter().map(value))
            .messages(12, outputs.iter().map(value))
    }
}

impl Node {
    fn encoded<'a>(&self) -> Message<'a> {
        let inputs = self.inputs.iter();
        inputs
            .fold(Message::default(), |node, input| node.text(1, input))
            .text(2, &self.output)
            .text(3, &self.name)
            .text(4, self.op)
            .messages(5, self.attributes.iter().map(Attribute::encoded))
    }
}

impl Attribute {
    fn encoded<'a>(&self) -> Message<'a> {
        // The last field is the type of the attribute.
        match self {
            Self::Integer(name, value) => Message::default()
                .text(1, name)
                .integer(3, *value as i64)
                .integer(20, 2),
            Self::Integers(name, values) => values
                .iter()
                .fold(Message::default().text(1, name), |attribute, value| {
                    attribute.integer(8, *value as i64)
                })
                .integer(20, 7),
            Self::Float(name, value) => Message::default()
                .text(1, name)
                .float(2, *value)
                .integer(20, 1),
        }
    }
}

/// An input or output: its name, its sides after the batch axis, and a text about it.
fn value<'a>((name, sides, text): &(&str, &[usize], &str)) -> Message<'a> {
    let batch = Message::default().message(1, Message::default().text(2, BATCH));
    let shape = sides.iter().fold(batch, |shape, side| {
        shape.message(1, Message::default().integer(1, *side as i64))
    });
    let tensor = Message::default().integer(1, FLOAT).message(2, shape);
    Message::default()
        .text(1, name)
        .message(2, Message::default().message(1, tensor))
        .text(3, text)
}

//! Networks as ONNX files: written from the same description on paper that everything else reads, so every architecture can be
//! exported. The same network gives the same bytes.
//!
//! The file has opset 17, one input and two outputs, all 32-bit floats, with the number of images left open. Initializers have
//! torchvision's names, and nodes those of its modules.

mod graph;
mod nodes;
pub(crate) mod runtime;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

use self::graph::Graph;
use crate::{
    config::experiment::Normalize,
    disk::files,
    error::{Error, Result},
    model::{paper::Paper, state::StateDict},
    protobuf::Message,
    text::table::size,
};

/// The version of ONNX's operators, the first with all that the networks need and widely supported.
pub(crate) const OPSET: i64 = 17;
/// The version of the file format that came with this opset.
const IR_VERSION: i64 = 8;
/// The largest message that protobuf reads.
const MOST_BYTES: u64 = i32::MAX as u64;

/// Everything that an ONNX file holds.
pub(crate) struct OnnxModel<'a> {
    /// The name of the graph.
    pub(crate) name: &'a str,
    pub(crate) paper: &'a Paper,
    /// Every tensor of the network.
    pub(crate) state: &'a StateDict,
    /// Applied inside the graph.
    pub(crate) normalize: Normalize,
    pub(crate) metadata: &'a BTreeMap<&'static str, String>,
    /// Whether weights are stored in 16 bits. The network computes in 32 bits all the same.
    pub(crate) is_half: bool,
}

impl OnnxModel<'_> {
    /// Writes the file atomically, and returns its size in bytes.
    pub(crate) fn write(&self, path: &Path) -> Result<u64> {
        let message = self.message();
        let n_bytes = message.length();
        if n_bytes > MOST_BYTES {
            return Err(Error::usage(format!(
                "the model takes {}, but an ONNX file holds at most {}",
                size(n_bytes),
                size(MOST_BYTES)
            ))
            .at(path)
            .help("use `--half`, or export to a `.safetensors` file"));
        }
        files::write_streamed(path, |to| message.write(to))?;
        Ok(n_bytes)
    }

    /// The whole file. Source of the field numbers: `onnx/onnx.proto`.
    fn message(&self) -> Message<'_> {
        let mut graph = Graph::new(self.is_half, &[nodes::IMAGE, nodes::LOGITS]);
        nodes::add(&mut graph, self.paper, self.state, &self.normalize);
        let classes = &self.paper.shape(self.paper.steps.len())[..1];
        let inputs: [(&str, &[usize], &str); 1] = [(
            nodes::IMAGE,
            &self.paper.pixels,
            "RGB images with values from 0 to 1",
        )];
        let outputs = [
            (nodes::LOGITS, classes, "one number for each class"),
            (nodes::PROBABILITIES, classes, "the softmax of the logits"),
        ];
        let entries = self.metadata.iter();
        let entries = entries.map(|(key, value)| Message::default().text(1, key).text(2, value));
        Message::default()
            .integer(1, IR_VERSION)
            .text(2, "runner")
            .text(3, env!("CARGO_PKG_VERSION"))
            .message(7, graph.finish(self.name, &inputs, &outputs))
            // The empty domain is that of ONNX's own operators.
            .message(8, Message::default().text(1, "").integer(2, OPSET))
            .messages(14, entries)
    }
}

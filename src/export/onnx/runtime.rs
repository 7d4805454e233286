//! Runs ONNX files in `rten`, which shares no code with this program.

use std::path::Path;

use rten::{LoadError, Model, ModelOptions, RunError, ValueView, op_registry};

use super::nodes::{IMAGE, LOGITS, PROBABILITIES};
use crate::error::{Error, Result};

/// A file that is loaded.
pub(crate) struct Runtime(Model);

impl Runtime {
    /// The name of the runtime in texts.
    pub(crate) const NAME: &str = "rten";

    pub(crate) fn load(path: &Path) -> Result<Self> {
        // Only these operators, which `nodes.rs` writes, are linked.
        let operators = op_registry!(
            Add,
            AveragePool,
            BatchNormalization,
            Cast,
            Concat,
            Conv,
            Div,
            Flatten,
            Gemm,
            GlobalAveragePool,
            MatMul,
            MaxPool,
            Relu,
            Softmax,
            Sub
        );
        let model = ModelOptions::with_ops(operators).load_file(path);
        model
            .map(Self)
            .map_err(|error: LoadError| failed(path, &error))
    }

    /// The logits and probabilities of images, `[n, 3, height, width]` with values from 0 to 1.
    pub(crate) fn run(&self, pixels: &[f32], shape: [usize; 4]) -> Result<Vec<[Vec<f32>; 2]>> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::internal(format!("the exported file cannot be run: {error}"))
        };
        let id = |name| {
            self.0
                .node_id(name)
                .map_err(|error: RunError| failed(&error))
        };
        let image = ValueView::from_shape(shape, pixels).map_err(|error| failed(&error))?;
        let outputs = [id(LOGITS)?, id(PROBABILITIES)?];
        let outputs = self
            .0
            .run_n(vec![(id(IMAGE)?, image.into())], outputs, None);
        let [logits, probabilities] = outputs.map_err(|error| failed(&error))?;
        let rows = |value: rten::Value| {
            let values = value.into_shape_vec::<f32, 2>();
            let ([_, n_classes], values) = values.map_err(|error| failed(&error))?;
            Ok(values
                .chunks(n_classes)
                .map(<[f32]>::to_vec)
                .collect::<Vec<_>>())
        };
        let pairs = rows(logits)?.into_iter().zip(rows(probabilities)?);
        Ok(pairs
            .map(|(logits, probabilities)| [logits, probabilities])
            .collect())
    }
}

fn failed(path: &Path, error: &LoadError) -> Error {
    Error::internal(format!("the exported file cannot be read: {error}")).at(path)
}

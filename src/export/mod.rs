//! What `runner export` writes for other programs: the network as ONNX (`onnx/`), the metadata that every format carries
//! (`metadata.rs`) and a model card (`card.rs`). Safetensors files are written by `model/tensor_file.rs`. Knows no Burn.

pub(crate) mod agreement;
pub(crate) mod card;
pub(crate) mod metadata;
pub(crate) mod onnx;

use std::path::Path;

use crate::{
    config::experiment::Experiment,
    data::split::Part,
    error::{Error, Result},
    rundir::records::{ClassScores, Manifest},
    scores::statistics,
    train::checkpoint::Which,
};

/// The format of an export, which the extension of the file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Parameters for PyTorch.
    Safetensors,
    /// The whole network, with normalization and softmax.
    Onnx,
}

impl Format {
    const ALL: [Self; 2] = [Self::Safetensors, Self::Onnx];

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Onnx => "onnx",
        }
    }

    /// Fails for other extensions, which promise a format that the file would not have.
    pub(crate) fn of(file: &Path) -> Result<Self> {
        let extension = file.extension().map(|it| it.to_string_lossy());
        let known = Self::ALL
            .into_iter()
            .find(|format| extension.as_deref() == Some(format.extension()));
        if let Some(format) = known {
            return Ok(format);
        }
        let problem = extension.map_or_else(
            || "missing file extension".to_owned(),
            |extension| format!("unsupported export format `.{extension}`"),
        );
        let [for_pytorch, for_others] =
            Self::ALL.map(|format| file.with_extension(format.extension()));
        Err(Error::usage(format!("{problem} in `{}`", file.display()))
            .at(file)
            .help(format!(
                "use `{}` for PyTorch, or `{}` for other programs",
                for_pytorch.display(),
                for_others.display()
            )))
    }
}

/// An exported model: where it comes from and how good it is.
pub(crate) struct Exported<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) manifest: &'a Manifest,
    /// The name of the run directory.
    pub(crate) run: String,
    pub(crate) which: Which,
    /// The number of epochs that the model was trained for.
    pub(crate) epoch: usize,
    pub(crate) model_sha256: String,
    /// The scores of this checkpoint, as far as the run has recorded them.
    pub(crate) scores: Vec<PartScores>,
}

/// The scores on one part of the split.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PartScores {
    pub(crate) part: Part,
    pub(crate) images: usize,
    /// The fraction of images that are classified correctly.
    pub(crate) accuracy: f64,
    pub(crate) loss: f64,
    /// The scores of each class; empty if they are not recorded.
    pub(crate) classes: Vec<ClassScores>,
}

impl PartScores {
    /// The 95 % interval of the accuracy.
    pub(crate) fn interval(&self) -> (f64, f64) {
        interval(self.accuracy, self.images)
    }
}

/// The 95 % interval of a fraction of `n` images.
fn interval(fraction: f64, n: usize) -> (f64, f64) {
    statistics::wilson((fraction * n as f64).round() as usize, n)
}

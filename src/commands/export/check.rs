//! Runs an exported ONNX file in another runtime, on validation images of the run, and compares it with the checkpoint.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    config::experiment::{Experiment, ImageSize, Normalize, Precision},
    console::Console,
    data::{
        augment::View,
        decode::{DecodeOptions, decode_rgb},
        photo,
        split::Part,
        transform,
    },
    error::{Error, Result},
    export::{agreement::Agreement, onnx::runtime::Runtime},
    inference::OpenedRun,
    runs::RunView,
    text::table::counted,
};

/// The number of images that are compared if the command line does not say.
pub(super) const DEFAULT: &str = "32";
/// The number of images that are computed at a time.
const BATCH: usize = 8;

/// Validation images on which a file is compared with its checkpoint.
pub(super) struct Sample<'a> {
    console: &'a Console,
    files: Vec<PathBuf>,
    /// Whether the command line asks for the comparison.
    is_wanted: bool,
}

impl<'a> Sample<'a> {
    /// Chooses the images; `None` if none are to be compared. Fails if some do not exist and the command line asks for them.
    pub(super) fn choose(
        wanted: Option<usize>,
        experiment: &Experiment,
        view: &RunView,
        console: &'a Console,
    ) -> Result<Option<Self>> {
        let n_wanted = wanted.or_else(|| DEFAULT.parse().ok()).unwrap_or_default();
        let all = view.files(Part::Valid);
        let n_files = n_wanted.min(all.len());
        // Spread over the split, because its images are sorted by class.
        let files = (0..n_files).map(|place| &all[place * all.len() / n_files]);
        let files: Vec<PathBuf> = files.map(|file| experiment.data.root.join(file)).collect();
        let sample = Self {
            console,
            files,
            is_wanted: wanted.is_some(),
        };
        if sample.files.is_empty() {
            return Ok(None);
        }
        let missing = sample.files.iter().find(|file| !file.is_file());
        match missing.map(|file| Error::data("a validation image does not exist").at(file)) {
            Some(error) => sample.unavailable(error),
            None => Ok(Some(sample)),
        }
    }

    /// Without images there is nothing to compare, which is an error only if the command line asks for it.
    fn unavailable<T>(&self, error: Error) -> Result<Option<T>> {
        if self.is_wanted {
            return Err(error.help("use `--check 0` to export without comparing predictions"));
        }
        self.console
            .note(&format!("not compared with the checkpoint: {error}"));
        Ok(None)
    }

    /// Runs the file and the checkpoint, and deletes the file if they do not agree.
    pub(super) fn compare(
        &self,
        file: &Path,
        opened: OpenedRun,
        is_half: bool,
    ) -> Result<Option<Agreement>> {
        // One after the other, because each takes the memory of all parameters.
        let theirs = match self.theirs(file, &opened.experiment) {
            Ok(theirs) => theirs,
            Err(error) => return self.unavailable(error),
        };
        let ours = self.ours(opened)?;
        let agreement = Agreement::of(&ours, &theirs);
        if let Some(problem) = agreement.problem(is_half) {
            let _ = fs::remove_file(file);
            return Err(disagreement(&problem, is_half).at(file));
        }
        self.console.note(&format!(
            "checked on {} with {}: {agreement}",
            counted(self.files.len(), "validation image"),
            Runtime::NAME
        ));
        Ok(Some(agreement))
    }

    /// The logits of the checkpoint.
    fn ours(&self, mut opened: OpenedRun) -> Result<Vec<Vec<f32>>> {
        // A file has no cache, whose 16-bit activations would be another rounding.
        opened.experiment.cache.precision = Precision::F32;
        let model = opened.into_model(false)?;
        let mut logits = Vec::new();
        for files in self.files.chunks(BATCH) {
            let pixels = pixels(files, &model.experiment, model.transforms().normalize)?;
            let activations = model.predictor.activations(pixels);
            let targets = vec![0; files.len()];
            logits.extend(model.predictor.answers(activations, &targets, false).logits);
        }
        Ok(logits)
    }

    /// The logits and probabilities of the file, which normalizes the pixels itself.
    fn theirs(&self, file: &Path, experiment: &Experiment) -> Result<Vec<[Vec<f32>; 2]>> {
        const NONE: Normalize = Normalize {
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        let ImageSize { height, width } = experiment.transforms.size();
        let runtime = Runtime::load(file)?;
        let mut outputs = Vec::new();
        for files in self.files.chunks(BATCH) {
            let pixels = pixels(files, experiment, NONE)?;
            outputs.extend(runtime.run(&pixels, [files.len(), 3, height, width])?);
        }
        Ok(outputs)
    }
}

/// The error for a file that does not compute what the checkpoint computes. Weights may be too large or too small for 16 bits; in 32
/// bits there is no excuse.
fn disagreement(problem: &str, is_half: bool) -> Error {
    if is_half {
        let message = format!("16-bit weights change what the model computes: {problem}");
        return Error::weights(message).help("export without `--half`");
    }
    Error::internal(format!(
        "the exported file does not compute what the checkpoint computes: {problem}"
    ))
}

/// The pixels of images, preprocessed as for validation but with this normalization.
fn pixels(files: &[PathBuf], experiment: &Experiment, normalize: Normalize) -> Result<Vec<f32>> {
    let mut transforms = experiment.transforms.clone();
    transforms.normalize = normalize;
    let ImageSize { height, width } = transforms.size();
    let mut pixels = vec![0.0; files.len() * 3 * height * width];
    for (path, pixels) in files
        .iter()
        .zip(pixels.chunks_exact_mut(3 * height * width))
    {
        let (file, metadata) = photo::open(path).map_err(Error::io("open", path))?;
        let bytes = photo::read_exactly(file, metadata.len()).map_err(Error::io("read", path))?;
        let bytes = bytes.unwrap_or_default();
        let image = decode_rgb(&bytes, &DecodeOptions::of(&experiment.data))
            .map_err(|reason| Error::data(format!("the image {reason}")).at(path))?;
        transform::preprocess(&image, &transforms, View::Whole, pixels);
    }
    Ok(pixels)
}

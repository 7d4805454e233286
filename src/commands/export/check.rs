//! Runs an exported ONNX file in another runtime, on images of the validation split.

use std::{fs, path::Path, sync::Arc};

use crate::{
    commands::{images, prepare},
    config::experiment::{Experiment, Normalize},
    console::Console,
    data::{
        index::DatasetIndex,
        source::{ImageSource as _, Item, Photos},
        split::{Part, SplitTable},
    },
    device,
    error::{Error, Result},
    export::{agreement::Agreement, onnx::runtime::Runtime},
    model::state::StateDict,
    runs::RunView,
    system::stop,
    text::table::counted,
    train::{self, Session},
};

/// The number of images that are compared if the command line does not say.
pub(super) const DEFAULT: &str = "32";
/// The number of images that the runtime gets at a time.
const BATCH: usize = 8;

/// Validation images on which a file is compared with its checkpoint.
pub(super) struct Sample<'a> {
    experiment: &'a Experiment,
    view: &'a RunView,
    console: &'a Console,
    index: Arc<DatasetIndex>,
    split: SplitTable,
    /// Positions in the index.
    images: Vec<usize>,
}

impl<'a> Sample<'a> {
    /// Chooses the images, before anything is written. `None` if there is nothing to compare, or if the images cannot be read and
    /// `wanted` does not ask for them.
    pub(super) fn open(
        wanted: Option<usize>,
        experiment: &'a Experiment,
        view: &'a RunView,
        console: &'a Console,
    ) -> Result<Option<Self>> {
        let n_wanted = wanted.or_else(|| DEFAULT.parse().ok()).unwrap_or_default();
        if n_wanted == 0 {
            return Ok(None);
        }
        match Self::choose(n_wanted, experiment, view, console) {
            Ok(sample) => Ok(Some(sample)),
            Err(error) if wanted.is_none() => {
                console.note(&format!("not checked, because the images are not available: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn choose(
        n_wanted: usize,
        experiment: &'a Experiment,
        view: &'a RunView,
        console: &'a Console,
    ) -> Result<Self> {
        let index = prepare::scan(&experiment.data, console)?;
        let split = images::check(&view.dir, &index, &view.manifest)?;
        let all = split.images(Part::Valid);
        let n_images = n_wanted.min(all.len());
        // Spread over the split, because images are sorted by class.
        let images = (0..n_images).map(|place| all[place * all.len() / n_images]);
        Ok(Self {
            experiment,
            view,
            console,
            images: images.collect(),
            index: Arc::new(index),
            split,
        })
    }

    /// Runs the file and the checkpoint, and deletes the file if they do not agree.
    pub(super) fn compare(self, file: &Path, state: StateDict, is_half: bool) -> Result<Agreement> {
        let theirs = self.theirs(file)?;
        let ours = self.ours(state)?;
        let agreement = Agreement::of(&ours, &theirs);
        if let Some(problem) = agreement.problem(is_half) {
            let _ = fs::remove_file(file);
            return Err(Error::internal(format!(
                "the exported file does not compute what the checkpoint computes: {problem}"
            ))
            .at(file));
        }
        self.console.note(&format!(
            "checked on {} with {}: {agreement}",
            counted(self.images.len(), "validation image"),
            Runtime::NAME
        ));
        Ok(agreement)
    }

    /// The logits of the checkpoint.
    fn ours(&self, state: StateDict) -> Result<Vec<Vec<f32>>> {
        device::set_threads(self.experiment.threads);
        let session = Session {
            experiment: self.experiment,
            index: Arc::clone(&self.index),
            split: &self.split,
            run_dir: &self.view.dir,
            device: device::open(self.experiment.device)?,
            console: self.console,
            stop: stop::on_signals(),
        };
        let model = train::build_evaluation_model(&session, state);
        let predictions = train::predict_images(&session, &model, "check", self.images.clone())?;
        self.console.evaluation_ends();
        let predictions = predictions.ok_or(Error::interrupted())?;
        Ok(predictions.into_iter().map(|it| it.logits).collect())
    }

    /// The logits and probabilities of the file.
    fn theirs(&self, file: &Path) -> Result<Vec<[Vec<f32>; 2]>> {
        let mut transforms = self.experiment.transforms.clone();
        // The graph normalizes.
        transforms.normalize = Normalize {
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        let size = transforms.size();
        let photos = Photos {
            index: Arc::clone(&self.index),
            data: self.experiment.data.clone(),
            transforms,
        };
        let runtime = Runtime::load(file)?;
        let mut outputs = Vec::new();
        for images in self.images.chunks(BATCH) {
            let mut pixels = vec![0.0; images.len() * photos.n_values()];
            let rows = pixels.chunks_exact_mut(photos.n_values());
            for (image, row) in images.iter().zip(rows) {
                photos.load(&Item::whole(*image), row)?;
            }
            let shape = [images.len(), 3, size.height, size.width];
            outputs.extend(runtime.run(pixels, shape)?);
        }
        Ok(outputs)
    }
}

//! The predictions for a stream of files, batch by batch. Files are read and decoded by threads while the network computes, and no
//! more than a few batches are in memory.

use super::{
    activation_store::ActivationStore,
    files::InputFile,
    open::TrainedModel,
    photos::{Loaded, PhotoReader},
};
use crate::{
    cache::ItemKey,
    console::Console,
    data::{ahead::Ahead, loader::BATCHES_AHEAD},
    error::Result,
};

/// A file and what the model says of it.
pub(crate) struct Prediction {
    pub(crate) file: InputFile,
    /// Why the file could not be read: a predicate whose subject is the file.
    pub(crate) answer: std::result::Result<Answer, String>,
}

/// The answer of the model to an image.
pub(crate) struct Answer {
    /// One value per class.
    pub(crate) logits: Vec<f32>,
    /// The cross-entropy, if the true class is known.
    pub(crate) loss: Option<f32>,
}

/// Consecutive files of the stream.
pub(crate) struct PredictedBatch {
    pub(crate) predictions: Vec<Prediction>,
    /// The embeddings of the predictions, one after the other, if they were asked for; NaN for files that could not be read.
    pub(crate) embeddings: Vec<f32>,
    /// Files that do not claim to be images, which have no prediction.
    pub(crate) n_skipped: usize,
}

pub(crate) struct Predictions<'a> {
    model: &'a TrainedModel,
    loaded: Ahead<InputFile, Result<Loaded>>,
    store: Option<&'a ActivationStore>,
    with_embeddings: bool,
    console: &'a Console,
}

impl<'a> Predictions<'a> {
    /// Starts to read `files`.
    pub(crate) fn new(
        model: &'a TrainedModel,
        files: impl Iterator<Item = InputFile> + Send + 'static,
        store: Option<&'a ActivationStore>,
        with_embeddings: bool,
        console: &'a Console,
    ) -> Result<Self> {
        let reader = PhotoReader::new(model, store.map(ActivationStore::shared));
        let n_ahead = model.predictor.batch_size() * BATCHES_AHEAD;
        let n_threads = model.experiment.data.workers;
        Ok(Self {
            model,
            loaded: Ahead::new(files, n_ahead, n_threads, move |file| reader.load(file))?,
            store,
            with_embeddings,
            console,
        })
    }

    /// The next files; `None` after the last one.
    pub(crate) fn next_batch(&mut self) -> Result<Option<PredictedBatch>> {
        let batch_size = self.model.predictor.batch_size();
        let mut batch = LoadedBatch::default();
        // Files without an image are counted as well, so that a folder full of them does not become one batch.
        while batch.n_files < batch_size {
            let Some((file, loaded)) = self.loaded.next() else {
                break;
            };
            batch.n_files += 1;
            let problem = |text: &str| Ok(Loaded::Unreadable(text.to_owned()));
            let loaded =
                loaded.unwrap_or_else(|_| problem("cannot be read: the decoder gave up"))?;
            batch.add(file.unwrap_or_default(), loaded);
        }
        if batch.n_files == 0 {
            return Ok(None);
        }
        self.predict(batch).map(Some)
    }

    fn predict(&self, batch: LoadedBatch) -> Result<PredictedBatch> {
        let predictor = &self.model.predictor;
        let n_embedding = predictor.n_embedding();
        let targets: Vec<usize> = batch
            .with_images()
            .map(|it| it.true_class.unwrap_or(0))
            .collect();
        let n_images = targets.len();
        let LoadedBatch {
            files,
            sources,
            pixels,
            keys,
            n_skipped,
            ..
        } = batch;
        let mut answers = Vec::new();
        let mut embeddings = Vec::new();
        if n_images > 0 {
            let computed = if pixels.is_empty() {
                Vec::new()
            } else {
                predictor.activations(pixels)
            };
            if let Some(store) = self.store {
                store.put(&keys, &computed, self.console)?;
            }
            let values = merged(sources, computed, predictor.n_activations());
            let result = predictor.answers(values, &targets, self.with_embeddings);
            answers = result.logits.into_iter().zip(result.losses).collect();
            embeddings = result.embeddings.unwrap_or_default();
        }
        let mut answers = answers.into_iter();
        let mut rows = embeddings.chunks_exact(n_embedding);
        let mut predicted = PredictedBatch {
            predictions: Vec::with_capacity(files.len()),
            embeddings: Vec::new(),
            n_skipped,
        };
        for (file, problem) in files {
            let answer = match problem {
                Some(problem) => Err(problem),
                None => Ok(answers.next().expect("one answer per image")),
            };
            match (self.with_embeddings, &answer) {
                (false, _) => {}
                (true, Ok(_)) => predicted
                    .embeddings
                    .extend(rows.next().into_iter().flatten()),
                (true, Err(_)) => {
                    let nothing = std::iter::repeat_n(f32::NAN, n_embedding);
                    predicted.embeddings.extend(nothing);
                }
            }
            let answer = answer.map(|(logits, loss)| Answer {
                logits,
                loss: file.true_class.map(|_| loss),
            });
            predicted.predictions.push(Prediction { file, answer });
        }
        Ok(predicted)
    }
}

/// Where the activations of an image come from.
enum Source {
    /// They are computed from the next pixels.
    Pixels,
    Cached(Vec<f32>),
}

/// Files that were loaded but not predicted yet.
#[derive(Default)]
struct LoadedBatch {
    n_files: usize,
    n_skipped: usize,
    /// The files that get a row, with the problem of those that have no image.
    files: Vec<(InputFile, Option<String>)>,
    /// One for each image.
    sources: Vec<Source>,
    /// The preprocessed pixels of the images that are computed, one after the other, and their keys in the cache.
    pixels: Vec<f32>,
    keys: Vec<ItemKey>,
}

impl LoadedBatch {
    fn add(&mut self, file: InputFile, loaded: Loaded) {
        let problem = match loaded {
            Loaded::Skipped => {
                self.n_skipped += 1;
                return;
            }
            Loaded::Unreadable(problem) => Some(problem),
            Loaded::Activations(values) => {
                self.sources.push(Source::Cached(values));
                None
            }
            Loaded::Pixels(values, key) => {
                self.sources.push(Source::Pixels);
                self.pixels.extend_from_slice(&values);
                self.keys.extend(key);
                None
            }
        };
        self.files.push((file, problem));
    }

    fn with_images(&self) -> impl Iterator<Item = &InputFile> {
        let files = self.files.iter().filter(|(_, problem)| problem.is_none());
        files.map(|(file, _)| file)
    }
}

/// The activations of all images in their order, `n_values` each.
fn merged(sources: Vec<Source>, computed: Vec<f32>, n_values: usize) -> Vec<f32> {
    if sources
        .iter()
        .all(|source| matches!(source, Source::Pixels))
    {
        return computed;
    }
    let mut values = Vec::with_capacity(sources.len() * n_values);
    let mut computed = computed.chunks_exact(n_values);
    for source in sources {
        match source {
            Source::Cached(cached) => values.extend_from_slice(&cached),
            Source::Pixels => values.extend(computed.next().into_iter().flatten()),
        }
    }
    values
}

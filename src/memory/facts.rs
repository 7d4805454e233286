//! What an estimate must know besides the experiment and the plan: numbers of images and threads, and the largest photos. Reads
//! headers; decodes nothing.

use std::{io::BufReader, thread};

use crate::{
    config::experiment::Experiment,
    data::{
        decode,
        index::DatasetIndex,
        photo,
        split::{Part, SplitTable},
    },
    device,
};

/// How many of the largest files have their headers read.
pub(crate) const N_HEADERS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) n_classes: usize,
    pub(crate) n_train: usize,
    pub(crate) n_valid: usize,
    pub(crate) n_test: usize,
    pub(crate) n_threads: usize,
    /// The threads of the data loader.
    pub(crate) n_workers: usize,
    /// The bytes that each of the largest photos takes while it is decoded, in descending order; padded with 0.
    pub(crate) photo_bytes: [usize; N_HEADERS],
    pub(crate) start: Start,
    pub(crate) is_cpu: bool,
    /// Whether everything is cached already.
    pub(crate) is_cache_full: bool,
    /// Whether the best model is held in memory between checkpoints, as it is if there is room for it.
    pub(crate) holds_best: bool,
}

/// Where the parameters come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Weights,
    /// The best checkpoint of another run.
    Parent,
    /// The last checkpoint of the run itself, with its optimizer state.
    Resumed,
}

impl Facts {
    /// The facts of a run that writes the best model at once.
    pub(crate) fn without_held_best(self) -> Self {
        Self {
            holds_best: false,
            ..self
        }
    }

    /// Gathers the facts of a run. `is_cache_full` stays false, because finding out takes the weights.
    pub(crate) fn gather(
        experiment: &Experiment,
        index: &DatasetIndex,
        split: &SplitTable,
        start: Start,
    ) -> Self {
        let count = |part| split.images(part).len();
        let n_threads = or_cores(experiment.threads);
        Self {
            n_classes: index.classes.len(),
            n_train: count(Part::Train),
            n_valid: count(Part::Valid),
            n_test: count(Part::Test),
            n_threads,
            n_workers: match experiment.data.workers {
                0 => n_threads,
                n_workers => n_workers,
            },
            photo_bytes: largest_photos(index),
            start,
            is_cpu: device::name(experiment.device) == "cpu",
            is_cache_full: false,
            holds_best: true,
        }
    }
}

fn or_cores(n_threads: usize) -> usize {
    match n_threads {
        0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
        n_threads => n_threads,
    }
}

/// The bytes that decoding takes for each of the largest files, in descending order. A photo with more pixels in a smaller file
/// may be missed, but photos of one camera hardly differ in the ratio of the two.
fn largest_photos(index: &DatasetIndex) -> [usize; N_HEADERS] {
    let mut files: Vec<(u64, &str)> = index
        .images
        .iter()
        .map(|image| (image.bytes, image.file.as_str()))
        .collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    let mut photos = [0; N_HEADERS];
    for (photo, (n_bytes, file)) in photos.iter_mut().zip(files) {
        let opened = photo::open(&index.root.join(file)).ok();
        let decoding = opened.and_then(|(file, _)| decode::decoding_bytes(BufReader::new(file)));
        *photo = (n_bytes + decoding.unwrap_or(0)) as usize;
    }
    photos.sort_unstable_by(|a, b| b.cmp(a));
    photos
}

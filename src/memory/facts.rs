//! What an estimate must know beside the experiment and the plan: numbers of images and threads, the largest photo, the
//! size of the file of weights. Reads headers and sizes; decodes nothing.

use std::{fs, io::BufReader, thread};

use crate::{
    config::experiment::Experiment,
    data::{
        decode,
        index::DatasetIndex,
        photo,
        split::{Part, SplitTable},
    },
    device,
    model::weights::{self, Location},
};

/// Of so many of the largest files the headers are read.
pub(crate) const N_HEADERS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) n_classes: usize,
    pub(crate) n_train: usize,
    pub(crate) n_valid: usize,
    pub(crate) n_test: usize,
    pub(crate) n_threads: usize,
    /// Of the loader.
    pub(crate) n_workers: usize,
    /// The bytes that each of the largest photos takes while it is decoded, the most first; 0 where there are no more.
    pub(crate) photo_bytes: [usize; N_HEADERS],
    pub(crate) start: Start,
    /// Of that name or place; `None` where the parameters start fresh, or from the program itself.
    pub(crate) weights: Option<File>,
    pub(crate) is_cpu: bool,
    /// Nothing needs to be computed for the cache.
    pub(crate) is_cache_full: bool,
}

/// Where the parameters come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Weights,
    /// The best checkpoint of another run.
    Parent,
    /// The last checkpoint of the run itself, with its optimizer.
    Resumed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) n_bytes: usize,
    /// Rather than tensor by tensor.
    pub(crate) is_read_whole: bool,
}

impl Facts {
    /// Whether the cache is full is not asked, as that takes the weights.
    pub(crate) fn gather(
        experiment: &Experiment,
        index: &DatasetIndex,
        split: &SplitTable,
        start: Start,
    ) -> Self {
        let count = |part| split.images(part).len();
        let n_threads = or_cores(experiment.threads);
        let file = match weights::locate(&experiment.model) {
            Location::File(path) => Some(path),
            Location::Nowhere | Location::Embedded => None,
        };
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
            weights: file.map(|path| File {
                n_bytes: fs::metadata(&path).map_or(0, |file| file.len() as usize),
                is_read_whole: path.extension().is_some_and(|it| it == "safetensors"),
            }),
            is_cpu: device::name(experiment.device) == "cpu",
            is_cache_full: false,
        }
    }
}

fn or_cores(n_threads: usize) -> usize {
    match n_threads {
        0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
        n_threads => n_threads,
    }
}

/// What decoding takes of each of the photos that need most, the most first. A photo with more pixels in a smaller file may
/// hide behind the largest files; photos of one camera have much the same number of either.
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

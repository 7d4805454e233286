//! What an estimate must know besides the experiment and the plan: numbers of images and threads, the largest photos, and the
//! size of the weights file. Reads headers and sizes; decodes nothing.

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
    /// The weights file; `None` if the parameters start fresh or come with the program.
    pub(crate) weights: Option<File>,
    pub(crate) is_cpu: bool,
    /// Whether everything is cached already.
    pub(crate) is_cache_full: bool,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) n_bytes: usize,
    /// Whether the file is read as a whole rather than tensor by tensor.
    pub(crate) is_read_whole: bool,
}

impl Facts {
    /// Gathers the facts of a run. `is_cache_full` stays false, because finding out needs the weights.
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
            Location::Nowhere | Location::Embedded(_) => None,
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

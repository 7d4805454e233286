//! Where the values of a batch come from: image files, or cached activations. Knows no tensors.

use std::{path::Path, sync::Arc};

use crate::{
    config::experiment::{Data, Experiment, Transforms},
    data::{
        augment::View,
        decode::{DecodeOptions, decode_rgb},
        index::DatasetIndex,
        photo::Unusable,
        transform::preprocess,
    },
    error::{Error, Result},
};

/// One image of a batch, and the view of it to load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Item {
    /// Position in the index.
    pub(crate) image: usize,
    pub(crate) view: View,
}

impl Item {
    pub(crate) fn whole(image: usize) -> Self {
        Self {
            image,
            view: View::Whole,
        }
    }

    /// A training image with the augmentations that it gets in an epoch of a phase.
    pub(crate) fn in_epoch(
        experiment: &Experiment,
        phase: usize,
        epoch: usize,
        image: usize,
    ) -> Self {
        let view = View::in_epoch(experiment.augment, experiment.seed, phase, epoch, image);
        Self { image, view }
    }
}

/// Gives a loader the values of images.
pub(crate) trait ImageSource: Send + Sync {
    /// The number of values of one item.
    fn n_values(&self) -> usize;

    /// Writes the values to `out`; `false` if the source no longer has them.
    fn load(&self, item: &Item, out: &mut [f32]) -> Result<bool>;
}

/// Decodes and preprocesses files to `[3, height, width]`. Files that changed since the scan are refused, because activations
/// are cached under the hash of the scanned bytes.
pub(crate) struct Photos {
    pub(crate) index: Arc<DatasetIndex>,
    pub(crate) data: Data,
    pub(crate) transforms: Transforms,
}

impl ImageSource for Photos {
    fn n_values(&self) -> usize {
        let size = self.transforms.size();
        3 * size.height * size.width
    }

    fn load(&self, item: &Item, out: &mut [f32]) -> Result<bool> {
        let image = &self.index.images[item.image];
        let read = self.index.read_photo(image);
        let bytes = read.map_err(|problem| explained(&self.index.root, &image.file, problem))?;
        let decoded = decode_rgb(&bytes, &DecodeOptions::of(&self.data)).map_err(|reason| {
            Error::data(format!("the image {reason}")).at(self.index.root.join(&image.file))
        })?;
        preprocess(&decoded, &self.transforms, item.view, out);
        Ok(true)
    }
}

/// Why an image of a data folder cannot be used, and what to do about it.
pub(crate) fn explained(root: &Path, file: &str, problem: Unusable) -> Error {
    let path = root.join(file);
    match problem {
        Unusable::Unreadable(error) => Error::io("read", path)(error),
        Unusable::Changed => Error::data(format!("the image {problem}"))
            .at(path)
            .help("restore the old file and resume, or start a new run with the new one"),
        Unusable::Gone if root.is_dir() => Error::data(format!("the image {problem}"))
            .at(path)
            .help("restore the file, then resume"),
        // This happens when a disk is unmounted in the middle of a run.
        Unusable::Gone => Error::data(format!("the data folder {problem}"))
            .at(root)
            .help("restore or mount the folder, then resume"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        data::index,
        sample_data::{self, Options, Task},
        test_support::experiment,
    };

    #[test]
    fn only_the_files_that_were_scanned_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("photos");
        let options = Options {
            task: Task::Pets,
            per_class: 2,
            seed: 1,
            broken: false,
        };
        sample_data::write(&root, &options, &|_, _| {}).unwrap();
        let text = format!(
            "data.root = {root:?}\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"all\"]"
        );
        let experiment = experiment(&text);
        let index = index::scan(&experiment.data, None, &|_, _| {}).unwrap();
        let photos = Photos {
            index: Arc::new(index),
            data: experiment.data,
            transforms: experiment.transforms,
        };
        let mut out = vec![0.0; photos.n_values()];
        let mut load = |image| photos.load(&Item::whole(image), &mut out);
        assert!(load(0).unwrap() && load(1).unwrap());
        let path = |image: usize| root.join(&photos.index.images[image].file);
        fs::copy(path(1), path(0)).unwrap();
        let changed = load(0).unwrap_err().to_string();
        assert!(changed.contains("the image has changed"), "{changed}");
        fs::remove_file(path(0)).unwrap();
        let gone = load(0).unwrap_err().to_string();
        assert!(gone.starts_with(&path(0).display().to_string()), "{gone}");
        fs::remove_dir_all(&root).unwrap();
        let gone = load(1).unwrap_err().to_string();
        assert!(
            gone.starts_with(&format!("{}: the data folder", root.display())),
            "{gone}"
        );
    }
}

//! Batches of images in a given order, loaded ahead of need by threads, in bounded memory.
//! The batches are the same at any number of threads. Knows no tensors.

use std::{num::NonZeroUsize, sync::Arc};

use crate::{
    data::{
        ahead::Ahead,
        index::DatasetIndex,
        source::{ImageSource, Item},
    },
    error::{Error, Result},
};

/// Batches that may be loaded or under way before the first of them is taken.
pub(crate) const BATCHES_AHEAD: usize = 3;

/// One batch in host memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostBatch {
    /// `[n, ..]`, image by image.
    pub(crate) values: Vec<f32>,
    /// Class of each image.
    pub(crate) targets: Vec<usize>,
    pub(crate) items: Vec<Item>,
    /// Rows whose values the source no longer had; they are 0.
    pub(crate) missing: Vec<usize>,
}

/// The values of an item; `None` if the source no longer has them.
type LoadedValues = Option<Vec<f32>>;

/// An iterator over batches that ends after the last one, or after an error. Dropping it stops its threads.
pub(crate) struct Loader {
    index: Arc<DatasetIndex>,
    /// The number of values of one item.
    n_values: usize,
    batch_size: usize,
    /// The number of items that no batch has contained yet.
    n_left: usize,
    /// `None` after an error.
    loaded: Option<Ahead<Item, Result<LoadedValues>>>,
    /// Why no thread could be started; the iterator yields it as its only item.
    spawn_error: Option<Error>,
}

impl Loader {
    /// Starts loading `items`, whose images are those of `index`. The last batch may be short. With `n_threads` 0, as many
    /// threads load as compute.
    pub(crate) fn new(
        index: Arc<DatasetIndex>,
        source: Arc<dyn ImageSource>,
        items: Vec<Item>,
        batch_size: NonZeroUsize,
        n_threads: usize,
    ) -> Self {
        let batch_size = batch_size.get();
        let n_ahead = batch_size.saturating_mul(BATCHES_AHEAD);
        let (n_left, n_values) = (items.len(), source.n_values());
        let load = move |item: &Item| {
            let mut values = vec![0.0; n_values];
            let is_there = source.load(item, &mut values)?;
            Ok(is_there.then_some(values))
        };
        let (loaded, spawn_error) = match Ahead::new(items.into_iter(), n_ahead, n_threads, load) {
            Ok(loaded) => (Some(loaded), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            index,
            n_values,
            batch_size,
            n_left,
            loaded,
            spawn_error,
        }
    }

    fn next_batch(&mut self, n: usize) -> Option<Result<HostBatch>> {
        let loaded = self.loaded.as_mut()?;
        let mut batch = HostBatch {
            values: Vec::with_capacity(n * self.n_values),
            targets: Vec::with_capacity(n),
            items: Vec::with_capacity(n),
            missing: Vec::new(),
        };
        for (row, (item, result)) in loaded.take(n).enumerate() {
            let item = item?;
            let image = &self.index.images[item.image];
            let result = result.unwrap_or_else(|_| {
                let message = "cannot load the image: decoding or preprocessing it panicked";
                Err(Error::data(message).at(self.index.root.join(&image.file)))
            });
            match result {
                Ok(Some(values)) => batch.values.extend_from_slice(&values),
                Ok(None) => {
                    batch.missing.push(row);
                    batch.values.resize(batch.values.len() + self.n_values, 0.0);
                }
                Err(error) => return Some(Err(error)),
            }
            batch.targets.push(image.class);
            batch.items.push(item);
        }
        Some(Ok(batch))
    }
}

impl Iterator for Loader {
    type Item = Result<HostBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.spawn_error.take() {
            return Some(Err(error));
        }
        let n = self.batch_size.min(self.n_left);
        if n == 0 {
            return None;
        }
        self.n_left -= n;
        let batch = self.next_batch(n);
        if !matches!(batch, Some(Ok(_))) {
            self.loaded = None;
        }
        batch
    }
}

#[cfg(test)]
mod tests;

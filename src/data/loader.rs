//! Batches of images in a given order, loaded ahead of need by threads, in bounded memory.
//! The batches are the same at any number of threads. Knows no tensors.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use crate::{
    data::{
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

/// An iterator over batches that ends after the last one, or after an error. Dropping it stops its threads.
pub(crate) struct Loader {
    shared: Arc<Shared>,
    batch_size: usize,
    /// Number of items that the batches so far contained.
    n_given: usize,
    threads: Vec<JoinHandle<()>>,
    /// Why no thread could be started; the iterator yields it as its only item.
    spawn_error: Option<Error>,
}

struct Shared {
    index: Arc<DatasetIndex>,
    source: Arc<dyn ImageSource>,
    /// All items, in the order in which batches are made of them.
    items: Vec<Item>,
    state: Mutex<LoaderState>,
    /// Signalled when an item has been loaded.
    is_done: Condvar,
    /// Signalled when another item may be loaded, and when the threads should stop.
    has_room: Condvar,
}

/// The values of an item; `None` if the source no longer has them.
type LoadedValues = Option<Vec<f32>>;

struct LoaderState {
    /// The next item to load.
    next: usize,
    /// Threads start only items below this one, so that memory stays bounded however slowly batches are taken.
    limit: usize,
    done: HashMap<usize, Result<LoadedValues>>,
    stopped: bool,
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
        let n_threads = match n_threads {
            0 => rayon::current_num_threads(),
            n_threads => n_threads,
        };
        // With small batches, a limit below the number of threads would leave some of them idle.
        let limit = batch_size.saturating_mul(BATCHES_AHEAD).max(n_threads);
        let shared = Arc::new(Shared {
            index,
            source,
            state: Mutex::new(LoaderState {
                next: 0,
                limit,
                done: HashMap::new(),
                stopped: false,
            }),
            is_done: Condvar::new(),
            has_room: Condvar::new(),
            items,
        });
        let mut threads = Vec::new();
        let mut spawn_error = None;
        for _ in 0..n_threads.min(shared.items.len()) {
            let worker = Arc::clone(&shared);
            let spawned = thread::Builder::new()
                .name("runner-load".to_owned())
                .spawn(move || worker.work());
            match spawned {
                Ok(thread) => threads.push(thread),
                // The batches are the same at any number of threads, so a process limit only costs time.
                Err(_) if !threads.is_empty() => break,
                Err(error) => {
                    let message = format!("cannot start a thread to load images: {error}");
                    spawn_error = Some(Error::data(message));
                    break;
                }
            }
        }
        Self {
            shared,
            batch_size,
            n_given: 0,
            threads,
            spawn_error,
        }
    }

    fn next_batch(&mut self, n: usize) -> Result<HostBatch> {
        let shared = &*self.shared;
        let items = shared.items[self.n_given..self.n_given + n].to_vec();
        let n_values = shared.source.n_values();
        let mut values = Vec::with_capacity(n * n_values);
        let mut missing = Vec::new();
        for row in 0..n {
            if let Some(loaded) = shared.take(self.n_given + row)? {
                values.extend_from_slice(&loaded);
            } else {
                missing.push(row);
                values.resize(values.len() + n_values, 0.0);
            }
        }
        self.n_given += n;
        Ok(HostBatch {
            values,
            targets: items
                .iter()
                .map(|item| shared.index.images[item.image].class)
                .collect(),
            items,
            missing,
        })
    }
}

impl Iterator for Loader {
    type Item = Result<HostBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.spawn_error.take() {
            self.n_given = self.shared.items.len();
            return Some(Err(error));
        }
        let n = self.batch_size.min(self.shared.items.len() - self.n_given);
        if n == 0 {
            return None;
        }
        let batch = self.next_batch(n);
        if batch.is_err() {
            self.n_given = self.shared.items.len();
            self.shared.stop();
        }
        Some(batch)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // `work` catches panics of an item and reports them as errors, so there is nothing to report here.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Loads items until none is left, or until `stop`. A panic in a decoder fails its item alone: a thread that died with it
    /// would leave `take` waiting forever.
    fn work(&self) {
        while let Some(item) = self.start_item() {
            let loaded = catch_unwind(AssertUnwindSafe(|| self.load(item)));
            let loaded = loaded.unwrap_or_else(|_| {
                let file = self
                    .index
                    .root
                    .join(&self.index.images[self.items[item].image].file);
                let message = "cannot load the image: decoding or preprocessing it panicked";
                Err(Error::data(message).at(file))
            });
            self.lock().done.insert(item, loaded);
            self.is_done.notify_one();
        }
    }

    fn start_item(&self) -> Option<usize> {
        let mut state = self.lock();
        while !state.stopped && state.next < self.items.len() {
            if state.next < state.limit {
                state.next += 1;
                return Some(state.next - 1);
            }
            state = self
                .has_room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn load(&self, item: usize) -> Result<LoadedValues> {
        let mut values = vec![0.0; self.source.n_values()];
        let is_there = self.source.load(&self.items[item], &mut values)?;
        Ok(is_there.then_some(values))
    }

    /// Waits until the item is loaded, and lets the threads start another one.
    fn take(&self, item: usize) -> Result<LoadedValues> {
        let mut state = self.lock();
        loop {
            if let Some(loaded) = state.done.remove(&item) {
                state.limit += 1;
                self.has_room.notify_one();
                return loaded;
            }
            state = self
                .is_done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.has_room.notify_all();
    }

    /// Locks the state. Nothing panics while it holds the lock, so a poisoned state is still consistent.
    fn lock(&self) -> MutexGuard<'_, LoaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

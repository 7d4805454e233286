//! Batches of preprocessed images in a given order, decoded ahead of need by threads, in bounded memory.
//! The batches are the same at any number of threads. Knows no tensors.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use crate::{
    config::experiment::{Data, Transforms},
    data::{index::DatasetIndex, transform},
    error::{Error, Result},
};

/// Batches that may be decoded or under way before the first of them is taken.
const BATCHES_AHEAD: usize = 3;

/// One batch in host memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostBatch {
    /// `[n, 3, height, width]`
    pub(crate) pixels: Vec<f32>,
    /// Class of each image.
    pub(crate) targets: Vec<usize>,
    /// Position of each image in the index.
    pub(crate) image_indices: Vec<usize>,
}

/// An iterator over batches; ends after the last one, or after an error. Dropping it stops its threads.
pub(crate) struct Loader {
    shared: Arc<Shared>,
    batch_size: usize,
    /// Items given out so far.
    n_given: usize,
    threads: Vec<JoinHandle<()>>,
    /// Why there are no threads; the first item.
    spawn_error: Option<Error>,
}

struct Shared {
    index: Arc<DatasetIndex>,
    data: Data,
    transforms: Transforms,
    /// Image indices in order.
    items: Vec<usize>,
    state: Mutex<State>,
    /// An item is done.
    is_done: Condvar,
    /// There is room for another item, or work has stopped.
    has_room: Condvar,
}

struct State {
    /// The next item to decode.
    next: usize,
    /// Items below this may be started.
    limit: usize,
    done: HashMap<usize, Result<Vec<f32>>>,
    stopped: bool,
}

impl Loader {
    /// Starts decoding `items`, which are positions in `index.images`; the last batch may be short.
    pub(crate) fn new(
        index: Arc<DatasetIndex>,
        data: &Data,
        transforms: &Transforms,
        items: Vec<usize>,
        batch_size: NonZeroUsize,
    ) -> Self {
        let batch_size = batch_size.get();
        let n_threads = match data.workers {
            0 => rayon::current_num_threads(),
            workers => workers,
        };
        // With fewer items under way than threads some would idle.
        let limit = batch_size.saturating_mul(BATCHES_AHEAD).max(n_threads);
        let shared = Arc::new(Shared {
            index,
            data: data.clone(),
            transforms: transforms.clone(),
            state: Mutex::new(State {
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
                .name("runner-decode".to_owned())
                .spawn(move || worker.work());
            match spawned {
                Ok(thread) => threads.push(thread),
                // Fewer threads do the same work.
                Err(_) if !threads.is_empty() => break,
                Err(error) => {
                    let fact = format!("no thread for decoding images could be started: {error}");
                    spawn_error = Some(Error::Data(fact));
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
        let Shared {
            items,
            index,
            transforms,
            ..
        } = &*self.shared;
        let image_indices = items[self.n_given..self.n_given + n].to_vec();
        let targets = image_indices
            .iter()
            .map(|&image| index.images[image].class)
            .collect();
        let mut pixels = Vec::with_capacity(n * n_values(transforms));
        for item in self.n_given..self.n_given + n {
            pixels.extend_from_slice(&self.shared.take(item)?);
        }
        self.n_given += n;
        Ok(HostBatch {
            pixels,
            targets,
            image_indices,
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
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Decodes items until there are none, or until it is told to stop.
    fn work(&self) {
        while let Some(item) = self.start_item() {
            let decoded = catch_unwind(AssertUnwindSafe(|| self.decode(item)));
            let decoded = decoded.unwrap_or_else(|_| {
                let file = self
                    .index
                    .root
                    .join(&self.index.images[self.items[item]].file);
                Err(Error::Data(format!(
                    "{}: preparing this image failed",
                    file.display()
                )))
            });
            self.lock().done.insert(item, decoded);
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

    fn decode(&self, item: usize) -> Result<Vec<f32>> {
        let entry = &self.index.images[self.items[item]];
        let mut pixels = vec![0.0; n_values(&self.transforms)];
        transform::load(
            &self.index.root,
            entry,
            &self.data,
            &self.transforms,
            &mut pixels,
        )?;
        Ok(pixels)
    }

    /// Waits for one item, and makes room for another.
    fn take(&self, item: usize) -> Result<Vec<f32>> {
        let mut state = self.lock();
        loop {
            if let Some(decoded) = state.done.remove(&item) {
                state.limit += 1;
                self.has_room.notify_one();
                return decoded;
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

    /// Nothing panics while it holds the lock, so the state is whole even if it is called poisoned.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Values of one preprocessed image.
fn n_values(transforms: &Transforms) -> usize {
    3 * transforms.resize.height * transforms.resize.width
}

#[cfg(test)]
mod tests;

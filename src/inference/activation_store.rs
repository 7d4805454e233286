//! The activation cache for predictions: files whose bytes were seen before, in training or by an earlier prediction, skip decoding
//! and the frozen layers. The number of files is not known in advance, so room is made as the cache grows.

use std::{cell::Cell, path::PathBuf, sync::Arc};

use super::open::TrainedModel;
use crate::{
    cache::{self, ItemKey, Store, Trust},
    config::experiment::Precision,
    console::Console,
    error::{Kind, Result},
    train::activations,
};

/// Room is made for this many bytes at a time: making it lists the whole cache.
const BYTES_AT_ONCE: u64 = 256 << 20;

pub(crate) struct ActivationStore {
    store: Arc<Store>,
    dir: PathBuf,
    trust: Trust,
    max_bytes: u64,
    bytes_per_item: u64,
    /// The bytes that there is room for; `None` if nothing more is stored.
    room: Cell<Option<u64>>,
}

impl ActivationStore {
    /// Opens the entry of the model's frozen layers. Returns the reason if their activations cannot be cached.
    pub(crate) fn open(model: &TrainedModel) -> Result<std::result::Result<Self, String>> {
        let (experiment, predictor) = (&model.experiment, &model.predictor);
        let prefix = predictor.prefix();
        if prefix.n_steps == 0 {
            return Ok(Err(prefix.end.clone()));
        }
        let is_narrow = experiment.cache.precision == Precision::F16;
        if is_narrow && activations::rounding(experiment, prefix).is_none() {
            let reason =
                "`cache.precision = \"f16\"` would round activations, which training did not";
            return Ok(Err(reason.to_owned()));
        }
        let Some(dir) = activations::dir(experiment) else {
            return Ok(Err(
                "there is no cache directory; set `cache.dir`".to_owned()
            ));
        };
        let recipe = predictor.recipe(experiment);
        let trust = activations::trust(experiment);
        Ok(Ok(Self {
            store: Arc::new(Store::open(&dir, &recipe, trust)?),
            dir,
            trust,
            max_bytes: experiment.cache.max_bytes(),
            bytes_per_item: recipe.bytes_per_item()?,
            room: Cell::new(Some(0)),
        }))
    }

    pub(crate) fn shared(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Stores activations, one row per key, as long as there is room. A full disk or cache only ends the storing, with a note.
    pub(crate) fn put(&self, keys: &[ItemKey], values: &[f32], console: &Console) -> Result<()> {
        let rows = keys
            .iter()
            .copied()
            .zip(values.chunks_exact(self.store.n_values()));
        let rows: Vec<_> = rows
            // Values that 16 bits cannot hold are computed again each time.
            .filter(|(_, values)| self.store.can_hold(values))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let n_bytes = self.bytes_per_item * rows.len() as u64;
        let stored = self.reserve(n_bytes).and_then(|has_room| {
            if has_room {
                self.store.put_many(&rows)?;
            }
            Ok(has_room)
        });
        let problem = match stored {
            Ok(true) => return Ok(()),
            Ok(false) if self.room.get().is_none() => return Ok(()),
            Ok(false) => "it is full".to_owned(),
            Err(error) if error.kind() == Kind::Io => error.to_string(),
            Err(error) => return Err(error),
        };
        self.room.set(None);
        console.note(&format!("cache: no more activations are stored: {problem}"));
        Ok(())
    }

    /// Takes room for `n_bytes`, after making some if there is none left; `false` if there is none.
    fn reserve(&self, n_bytes: u64) -> Result<bool> {
        let Some(room) = self.room.get() else {
            return Ok(false);
        };
        if room >= n_bytes {
            self.room.set(Some(room - n_bytes));
            return Ok(true);
        }
        let key = self.store.key();
        // Where the larger amount does not fit, a few more images may.
        for wanted in [n_bytes.max(BYTES_AT_ONCE), n_bytes] {
            let made = cache::make_room(&self.dir, self.max_bytes, wanted, &key, self.trust)?;
            if made.fits {
                self.room.set(Some(wanted - n_bytes));
                return Ok(true);
            }
        }
        Ok(false)
    }
}

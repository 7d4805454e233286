//! What the trained layers see of the images: the activations of the frozen layers before them, kept where they can be
//! kept, computed batch by batch where not. Whether they are kept changes no result.

use std::{cell::OnceCell, path::Path, sync::Arc, sync::atomic::Ordering, time::Instant};

use burn::module::Module as _;

use super::Setup;
use crate::{
    cache::{self, Found, ItemKey, Store},
    caching,
    config::experiment::CacheMode,
    data::{
        index::DatasetIndex,
        loader::{HostBatch, Loader},
        source::{Item, Photos, Source},
        split::Part,
    },
    device,
    error::{Error, Result},
    model::{front::Front, vgg::Vgg},
    plan::PlannedPhase,
    prefix::Prefix,
    table::bytes,
};
use std::num::NonZeroUsize;

/// Images that go through the frozen layers together when the cache is filled: whatever the training batch is.
const FILL_BATCH: NonZeroUsize = NonZeroUsize::new(16).expect("it is not 0");

pub(crate) struct Inputs<'a> {
    setup: &'a Setup<'a>,
    /// Layers of the model that are behind the images already.
    pub(crate) n_done: usize,
    /// Of one image.
    pub(crate) shape: Vec<usize>,
    /// Those layers, and no others: a copy of a parameter that is trained would make each step copy it.
    frozen: Vgg,
    front: OnceCell<Front>,
    store: Option<Arc<Store>>,
}

impl<'a> Inputs<'a> {
    /// Fills the cache with what a phase needs, where it can be cached; `None` if stopped meanwhile.
    pub(crate) fn of_phase(
        setup: &'a Setup<'a>,
        planned: &PlannedPhase,
        phase: usize,
        model: &Vgg,
    ) -> Result<Option<Self>> {
        let prefix = &planned.prefix;
        let mut inputs = Self::new(setup, prefix, model);
        let outcome = match caching::obstacle(setup.experiment, prefix) {
            Some(reason) => Filled::Not(reason),
            None => inputs.fill(prefix, &items_of_phase(setup, planned, phase))?,
        };
        match outcome {
            Filled::Stopped => return Ok(None),
            Filled::Whole(store) => inputs.store = Some(store),
            Filled::Not(reason) => {
                not_cached(setup, planned, &reason)?;
                if !device::is_cpu(&setup.device) {
                    // Burn records nothing of frozen layers, and there they are as fast inside the model.
                    inputs = Self::of_pixels(setup, model);
                }
            }
        }
        Ok(Some(inputs))
    }

    /// For a model that is not trained at all.
    pub(crate) fn of_evaluation(setup: &'a Setup<'a>, model: &Vgg) -> Self {
        if !device::is_cpu(&setup.device) {
            return Self::of_pixels(setup, model);
        }
        let (arch, size) = (
            setup.experiment.model.arch,
            setup.experiment.transforms.resize,
        );
        let n_layers = arch.features().len();
        let prefix = Prefix {
            n_layers,
            name: "features".to_owned(),
            shape: arch.shape_after(n_layers, size.height, size.width),
            end: String::new(),
        };
        Self::new(setup, &prefix, model)
    }

    fn of_pixels(setup: &'a Setup<'a>, model: &Vgg) -> Self {
        let size = setup.experiment.transforms.resize;
        let prefix = Prefix {
            n_layers: 0,
            name: String::new(),
            shape: vec![3, size.height, size.width],
            end: String::new(),
        };
        Self::new(setup, &prefix, model)
    }

    fn new(setup: &'a Setup<'a>, prefix: &Prefix, model: &Vgg) -> Self {
        Self {
            setup,
            n_done: prefix.n_layers,
            shape: prefix.shape.clone(),
            frozen: model.front(prefix.n_layers).valid(),
            front: OnceCell::new(),
            store: None,
        }
    }

    /// Batches of `items` in order, as the layer behind the frozen ones takes them.
    pub(crate) fn batches(&self, items: Vec<Item>) -> Batches<'_> {
        let setup = self.setup;
        let data = &setup.experiment.data;
        let source: Arc<dyn Source> = match &self.store {
            Some(store) => Arc::new(Stored {
                index: Arc::clone(&setup.index),
                store: Arc::clone(store),
            }),
            None => photos(setup),
        };
        let index = Arc::clone(&setup.index);
        Batches {
            inputs: self,
            loader: Loader::new(index, source, items, data.batch_size, data.workers),
            waiting_seconds: 0.0,
            frozen_seconds: 0.0,
        }
    }

    fn front(&self) -> &Front {
        self.front.get_or_init(|| {
            let size = self.setup.experiment.transforms.resize;
            Front::new(self.frozen.clone(), self.n_done, size, &self.setup.device)
        })
    }

    /// Makes all `items` be there.
    fn fill(&mut self, prefix: &Prefix, items: &[Item]) -> Result<Filled> {
        let (experiment, console) = (self.setup.experiment, self.setup.console);
        let Some(dir) = caching::dir(experiment) else {
            return Ok(Filled::Not(
                "there is no directory for it (set cache.dir)".to_owned(),
            ));
        };
        let backend = device::backend(experiment.device);
        let recipe = caching::recipe(experiment, prefix, &self.frozen.state(), &backend);
        let keys: Vec<ItemKey> = items
            .iter()
            .map(|item| caching::item_key(&self.setup.index.images[item.image], item.view))
            .collect();
        let place = dir.display().to_string();
        let store = match room_for(experiment, &dir, &recipe, &keys) {
            Ok(Ok(store)) => Arc::new(store),
            Ok(Err(reason)) => return Ok(Filled::Not(reason)),
            Err(error) => return Ok(Filled::Not(error.to_string())),
        };
        let missing = store.missing(&keys);
        let (n_items, n_missing) = (items.len(), missing.len());
        let there = match n_missing {
            0 => format!("all {n_items} images are there"),
            _ => format!(
                "{} of {n_items} images are there, {n_missing} are computed now",
                n_items - n_missing
            ),
        };
        console.note(&format!("cache: {}: {there}, in {place}", prefix.name));
        if missing.is_empty() {
            return Ok(Filled::Whole(store));
        }
        console.evaluation_starts("filling cache", missing.len());
        let filled = self.compute(&store, items, &keys, missing);
        console.evaluation_ends();
        // Its buffers and transformed weights are not needed again.
        self.front = OnceCell::new();
        match filled {
            Ok(true) => Ok(Filled::Whole(store)),
            Ok(false) => Ok(Filled::Stopped),
            // A full disk must not end a run that can do without.
            Err(error @ Error::Io { .. }) => Ok(Filled::Not(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Computes and stores what is missing; `false` if stopped meanwhile. What another process stores at the same time is
    /// left to it.
    fn compute(
        &self,
        store: &Store,
        items: &[Item],
        keys: &[ItemKey],
        mut missing: Vec<usize>,
    ) -> Result<bool> {
        // Processes that start together begin at different places and meet.
        let n_missing = missing.len();
        missing.rotate_left(std::process::id() as usize * 7919 % n_missing);
        let wanted = missing.iter().map(|at| items[*at]).collect();
        let (setup, n_values) = (self.setup, self.shape.iter().product::<usize>());
        let index = Arc::clone(&setup.index);
        let workers = setup.experiment.data.workers;
        let loader = Loader::new(index, photos(setup), wanted, FILL_BATCH, workers);
        let n_pixels = photos(setup).n_values();
        let mut at = missing.iter();
        let mut n_done = 0;
        for batch in loader {
            if setup.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let batch = batch?;
            store.refresh()?;
            let mut pixels = Vec::with_capacity(batch.values.len());
            let mut new = Vec::new();
            for image in batch.values.chunks_exact(n_pixels) {
                let key = keys[*at.next().expect("the loader gives what it was asked for")];
                if !store.contains(&key) {
                    pixels.extend_from_slice(image);
                    new.push(key);
                }
            }
            n_done += batch.items.len();
            if !new.is_empty() {
                let values = self.front().run(pixels);
                let rows: Vec<(ItemKey, &[f32])> =
                    new.into_iter().zip(values.chunks_exact(n_values)).collect();
                store.put_many(&rows)?;
            }
            setup.console.evaluated(n_done);
        }
        Ok(true)
    }

    /// Computes rows again that the cache had and lost.
    fn repair(&self, batch: &mut HostBatch, store: &Store) -> Result<()> {
        let n_values = self.shape.iter().product::<usize>();
        let photos = photos(self.setup);
        for row in std::mem::take(&mut batch.missing) {
            let item = &batch.items[row];
            let mut pixels = vec![0.0; photos.n_values()];
            photos.load(item, &mut pixels)?;
            let mut values = self.front().run(pixels);
            // As it would be read back.
            caching::precision(self.setup.experiment).round(&mut values);
            let key = caching::item_key(&self.setup.index.images[item.image], item.view);
            let image = &self.setup.index.images[item.image].file;
            self.setup.console.note(&format!(
                "cache: {image} could not be read and is computed again"
            ));
            // The numbers are here; that they cannot be kept is no reason to stop.
            let _ = store.put(&key, &values);
            batch.values[row * n_values..(row + 1) * n_values].copy_from_slice(&values);
        }
        Ok(())
    }
}

enum Filled {
    Whole(Arc<Store>),
    /// Why not.
    Not(String),
    Stopped,
}

/// The entry, with room for what it lacks; or why there is none.
fn room_for(
    experiment: &crate::config::experiment::Experiment,
    dir: &Path,
    recipe: &cache::Recipe,
    keys: &[ItemKey],
) -> Result<std::result::Result<Store, String>> {
    let store = Store::open(dir, recipe)?;
    let n_bytes = recipe.bytes_per_item()? * store.missing(keys).len() as u64;
    let limit = experiment.cache.max_bytes();
    let room = cache::make_room(dir, limit, n_bytes, &store.key())?;
    if room.fits {
        return Ok(Ok(store));
    }
    Ok(Err(format!(
        "{} more would exceed cache.max_gib = {} or the {} that are free in {}",
        bytes(n_bytes),
        experiment.cache.max_gib,
        bytes(room.free_bytes.unwrap_or_default()),
        dir.display()
    )))
}

/// Says so, which is an error where the experiment insists.
fn not_cached(setup: &Setup, planned: &PlannedPhase, reason: &str) -> Result<()> {
    let phase = &planned.phase.name;
    match setup.experiment.cache.mode {
        CacheMode::Require => Err(caching::refused(phase, reason)),
        CacheMode::Auto => {
            setup.console.note(&format!(
                "cache: nothing is kept in phase `{phase}`: {reason}"
            ));
            Ok(())
        }
        CacheMode::Off => Ok(()),
    }
}

/// All views of images that a phase will ask for.
fn items_of_phase(setup: &Setup, planned: &PlannedPhase, phase: usize) -> Vec<Item> {
    let n_draws = caching::n_draws(setup.experiment, planned);
    let train = setup.split.images(Part::Train);
    let valid = setup.split.images(Part::Valid);
    let drawn = (0..n_draws).flat_map(|epoch| train.iter().map(move |image| (epoch, *image)));
    drawn
        .map(|(epoch, image)| setup.training_item(phase, epoch, image))
        .chain(valid.into_iter().map(Item::whole))
        .collect()
}

fn photos(setup: &Setup) -> Arc<dyn Source> {
    Arc::new(Photos {
        index: Arc::clone(&setup.index),
        data: setup.experiment.data.clone(),
        transforms: setup.experiment.transforms.clone(),
    })
}

/// Reads activations.
struct Stored {
    index: Arc<DatasetIndex>,
    store: Arc<Store>,
}

impl Source for Stored {
    fn n_values(&self) -> usize {
        self.store.n_values()
    }

    fn load(&self, item: &Item, out: &mut [f32]) -> Result<bool> {
        let key = caching::item_key(&self.index.images[item.image], item.view);
        Ok(self.store.get(&key, out)? == Found::Sound)
    }
}

/// An iterator over batches of activations, which knows where its time went.
pub(crate) struct Batches<'a> {
    inputs: &'a Inputs<'a>,
    loader: Loader,
    pub(crate) waiting_seconds: f64,
    pub(crate) frozen_seconds: f64,
}

impl Batches<'_> {
    fn finish(&mut self, mut batch: HostBatch) -> Result<HostBatch> {
        let started = Instant::now();
        match &self.inputs.store {
            Some(store) => self.inputs.repair(&mut batch, store)?,
            None if self.inputs.n_done > 0 => {
                batch.values = self.inputs.front().run(batch.values);
            }
            None => {}
        }
        self.frozen_seconds += started.elapsed().as_secs_f64();
        Ok(batch)
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<HostBatch>;

    fn next(&mut self) -> Option<Result<HostBatch>> {
        let asked = Instant::now();
        let batch = self.loader.next();
        self.waiting_seconds += asked.elapsed().as_secs_f64();
        batch.map(|batch| batch.and_then(|batch| self.finish(batch)))
    }
}

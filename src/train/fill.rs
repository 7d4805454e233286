//! Filling the activation cache: the frozen layers run once for each image that is not cached yet.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Session,
    inputs::{LazyFront, photos},
};
use crate::{
    cache::{self, ItemKey, Recipe, Store},
    config::experiment::Experiment,
    data::{loader::Loader, source::Item},
    device,
    error::{Kind, Result},
    model::network::Network,
    plan::prefix::Prefix,
    text::table::bytes,
    train::activations,
};

/// Images that go through the frozen layers together, whatever the training batch size is. 16 keep a CPU busy in little memory;
/// a GPU needs more.
pub(crate) const CPU_BATCH: NonZeroUsize = NonZeroUsize::new(16).expect("it is not 0");
pub(super) const GPU_BATCH: NonZeroUsize = NonZeroUsize::new(64).expect("it is not 0");

/// The outcome of filling.
pub(super) enum Filled {
    Whole(Arc<Store>),
    /// Nothing is cached, for this reason.
    Not(String),
    Stopped,
}

/// Makes sure that the activations of all `items` are cached.
pub(super) fn fill(
    setup: &Session,
    front: &LazyFront,
    prefix: &Prefix,
    items: &[Item],
) -> Result<Filled> {
    let (experiment, console) = (setup.experiment, setup.console);
    let Some(dir) = activations::dir(experiment) else {
        return Ok(Filled::Not(
            "there is no cache directory; set `cache.dir`".to_owned(),
        ));
    };
    let recipe = recipe_of(experiment, prefix, &front.layers);
    let keys: Vec<ItemKey> = items
        .iter()
        .map(|item| activations::item_key(&setup.index.images[item.image], item.view))
        .collect();
    let place = dir.display().to_string();
    let store = match room_for(setup, &dir, &recipe, &keys) {
        Ok(Ok(store)) => Arc::new(store),
        Ok(Err(reason)) => return Ok(Filled::Not(reason)),
        Err(error) => return Ok(Filled::Not(error.to_string())),
    };
    let missing = store.missing(&keys);
    let (n_items, n_missing) = (items.len(), missing.len());
    let there = match n_missing {
        0 => format!("all {n_items} images are cached"),
        _ => format!(
            "{} of {n_items} images are cached, computing the remaining {n_missing}",
            n_items - n_missing
        ),
    };
    console.note(&format!("cache: {}: {there} in {place}", prefix.name));
    if missing.is_empty() {
        return Ok(Filled::Whole(store));
    }
    console.evaluation_starts("filling cache", missing.len());
    let filled = compute(setup, front, &store, (items, &keys), missing);
    console.evaluation_ends();
    match filled {
        Ok(true) => Ok(Filled::Whole(store)),
        Ok(false) => Ok(Filled::Stopped),
        // A full disk must not end a run that works without the cache.
        Err(error) if error.kind() == Kind::Io => Ok(Filled::Not(error.to_string())),
        Err(error) => Err(error),
    }
}

/// The recipe of the activations that `front`, the layers of the prefix, computes on the device of the experiment.
pub(super) fn recipe_of(experiment: &Experiment, prefix: &Prefix, front: &Network) -> Recipe {
    let backend = device::backend(experiment.device);
    let mut parameters: Vec<_> = front.parameters().collect();
    parameters.sort_unstable_by(|a, b| a.path().cmp(b.path()));
    let parameters = parameters.iter().map(|it| (it.path(), it));
    activations::recipe(experiment, prefix, parameters, &backend)
}

/// Computes and stores the missing activations; `false` if the run was stopped meanwhile. Activations that another process has
/// stored by then are not computed again.
fn compute(
    setup: &Session,
    front: &LazyFront,
    store: &Store,
    (items, keys): (&[Item], &[ItemKey]),
    mut missing: Vec<usize>,
) -> Result<bool> {
    // Processes that start together begin at different images, so that they share the work instead of all doing the same.
    let n_missing = missing.len();
    missing.rotate_left(std::process::id() as usize * 7919 % n_missing);
    let wanted = missing.iter().map(|at| items[*at]).collect();
    let n_values = store.n_values();
    let index = Arc::clone(&setup.index);
    let workers = setup.experiment.data.workers;
    let batch_size = if device::is_cpu(&setup.device) {
        CPU_BATCH
    } else {
        GPU_BATCH
    };
    let loader = Loader::new(index, photos(setup), wanted, batch_size, workers);
    let n_pixels = photos(setup).n_values();
    let mut at = missing.iter();
    let (mut n_done, mut n_too_large) = (0, 0);
    for batch in loader {
        if setup.stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let batch = batch?;
        store.refresh()?;
        let mut pixels = Vec::with_capacity(batch.values.len());
        let mut new = Vec::new();
        for image in batch.values.chunks_exact(n_pixels) {
            let key = keys[*at
                .next()
                .expect("the loader returns one item for each that was requested")];
            if !store.contains(&key) {
                pixels.extend_from_slice(image);
                new.push(key);
            }
        }
        n_done += batch.items.len();
        if !new.is_empty() {
            let values = front.get().run(pixels);
            assert_eq!(values.len(), new.len() * n_values, "one row per image");
            let rows = new.into_iter().zip(values.chunks_exact(n_values));
            let (rows, too_large): (Vec<_>, Vec<_>) =
                rows.partition(|(_, values)| store.can_hold(values));
            n_too_large += too_large.len();
            store.put_many(&rows)?;
        }
        setup.console.evaluated(n_done);
    }
    if n_too_large > 0 {
        setup.console.note(&format!(
            "cache: the activations of {n_too_large} images exceed what 16 bits can hold and are recomputed in each epoch; \
             set `cache.precision = \"f32\"` to cache them"
        ));
    }
    Ok(true)
}

/// The cache entry, with room for what it lacks, or the reason why there is no room.
fn room_for(
    setup: &Session,
    dir: &Path,
    recipe: &Recipe,
    keys: &[ItemKey],
) -> Result<std::result::Result<Store, String>> {
    let experiment = setup.experiment;
    let trust = activations::trust(experiment);
    let store = Store::open(dir, recipe, trust)?;
    let n_bytes = recipe.bytes_per_item()? * store.missing(keys).len() as u64;
    let limit = experiment.cache.max_bytes();
    let room = cache::make_room(dir, limit, n_bytes, &store.key(), trust)?;
    if !room.evicted.is_empty() {
        let n_freed = room.evicted.iter().map(|entry| entry.bytes).sum();
        setup.console.note(&format!(
            "cache: evicted {} ({}), least recently used first",
            match room.evicted.len() {
                1 => "1 entry".to_owned(),
                n => format!("{n} entries"),
            },
            bytes(n_freed)
        ));
    }
    if room.fits {
        return Ok(Ok(store));
    }
    Ok(Err(format!(
        "{} more would exceed `cache.max_gib = {}` or the {} that are free in {}",
        bytes(n_bytes),
        experiment.cache.max_gib,
        bytes(room.free_bytes.unwrap_or_default()),
        dir.display()
    )))
}

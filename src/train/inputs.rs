//! The inputs of the trained layers: activations of the frozen layers before them, read from the cache or computed batch by
//! batch. Whether they are cached changes no result.

use std::{cell::OnceCell, sync::Arc, time::Instant};

use burn::{module::Module as _, tensor::Device};

use super::{
    Session,
    fill::{self, Filled},
};
use crate::{
    cache::{ActivationPrecision, Lookup, Store},
    config::experiment::CacheMode,
    data::{
        index::DatasetIndex,
        loader::{HostBatch, Loader},
        source::{ImageSource, Item, Photos},
    },
    device,
    error::Result,
    model::{front::Front, network::Network},
    plan::{PlannedPhase, prefix::Prefix},
    train::activations,
};

pub(crate) struct Inputs<'a> {
    setup: &'a Session<'a>,
    /// The number of steps that have been applied to the images already.
    pub(crate) n_done: usize,
    /// The shape of the input for one image.
    pub(crate) shape: Vec<usize>,
    front: LazyFront,
    store: Option<Arc<Store>>,
    /// How activations that do not come from the store are rounded, so that they equal cached ones.
    rounding: Option<ActivationPrecision>,
}

impl<'a> Inputs<'a> {
    /// Fills the cache with the activations that a phase needs, if they can be cached. Returns `None` if the run was stopped
    /// meanwhile.
    pub(crate) fn of_phase(
        setup: &'a Session<'a>,
        planned: &PlannedPhase,
        phase: usize,
        model: &Network,
    ) -> Result<Option<Self>> {
        let prefix = &planned.prefix;
        let mut inputs = Self::new(setup, prefix, model);
        inputs.rounding = activations::rounding(setup.experiment, prefix);
        let outcome = if let Some(reason) = activations::obstacle(setup.experiment, prefix) {
            Filled::Not(reason)
        } else {
            let items = activations::items_of_phase(setup.experiment, planned, phase, setup.split);
            let filled = fill::fill(setup, &inputs.front, prefix, &items)?;
            // Its buffers and transformed weights take memory, and a filled cache needs them only for repairs.
            inputs.front.release();
            filled
        };
        match outcome {
            Filled::Stopped => return Ok(None),
            Filled::Whole(store) => inputs.store = Some(store),
            Filled::Not(reason) => {
                not_cached(setup, planned, &reason)?;
                if !device::is_cpu(&setup.device) && inputs.rounding.is_none() {
                    // On other devices frozen layers run as fast inside the model, and autodiff records nothing for them.
                    inputs = Self::of_pixels(setup, model);
                }
            }
        }
        Ok(Some(inputs))
    }

    /// The inputs of a model that is evaluated outside training: on the CPU the features run as a frozen prefix.
    pub(crate) fn of_evaluation(setup: &'a Session<'a>, model: &Network) -> Self {
        if !device::is_cpu(&setup.device) {
            return Self::of_pixels(setup, model);
        }
        let prefix = Prefix::of_steps(model.paper(), model.paper().backbone(), String::new());
        Self::new(setup, &prefix, model)
    }

    fn of_pixels(setup: &'a Session<'a>, model: &Network) -> Self {
        let prefix = Prefix::of_steps(model.paper(), 0, String::new());
        Self::new(setup, &prefix, model)
    }

    fn new(setup: &'a Session<'a>, prefix: &Prefix, model: &Network) -> Self {
        Self {
            setup,
            n_done: prefix.n_steps,
            shape: prefix.shape.clone(),
            front: LazyFront {
                layers: model.front(prefix.n_steps).valid(),
                device: setup.device.clone(),
                made: OnceCell::new(),
            },
            store: None,
            rounding: None,
        }
    }

    /// Batches of `items` in order, as the first layer after the frozen ones takes them.
    pub(crate) fn batches(&self, items: Vec<Item>) -> Batches<'_> {
        let setup = self.setup;
        let data = &setup.experiment.data;
        let source: Arc<dyn ImageSource> = match &self.store {
            Some(store) => Arc::new(CachedActivations {
                index: Arc::clone(&setup.index),
                store: Arc::clone(store),
            }),
            None => photos(setup),
        };
        let index = Arc::clone(&setup.index);
        Batches {
            inputs: self,
            loader: Loader::new(index, source, items, data.batch_size, data.workers),
            peeked: None,
            waiting_seconds: 0.0,
            frozen_seconds: 0.0,
        }
    }

    /// Computes the rows that are missing in the cache: lost after it was filled, or too large for its precision.
    fn repair(&self, batch: &mut HostBatch, store: &Store) -> Result<()> {
        let n_values = self.shape.iter().product::<usize>();
        let photos = photos(self.setup);
        for row in std::mem::take(&mut batch.missing) {
            let item = &batch.items[row];
            let mut pixels = vec![0.0; photos.n_values()];
            photos.load(item, &mut pixels)?;
            let mut values = self.front.get().run(pixels);
            // Values that 16 bits cannot hold were never stored, because rounding would make them infinite.
            if store.can_hold(&values) {
                // Rounded as if read back from the cache, so that the result is the same.
                activations::precision(self.setup.experiment).round(&mut values);
                let image = &self.setup.index.images[item.image];
                self.setup.console.note(&format!(
                    "cache: recomputing `{}`, whose cached activations could not be read",
                    image.file
                ));
                // The values are known now; failing to cache them again is no reason to stop the run.
                let _ = store.put(&activations::item_key(image, item.view), &values);
            }
            batch.values[row * n_values..(row + 1) * n_values].copy_from_slice(&values);
        }
        Ok(())
    }
}

/// The frozen layers, prepared when they are first needed.
pub(super) struct LazyFront {
    /// The frozen layers alone: a second reference to a trained parameter would make each step copy it.
    pub(super) layers: Network,
    device: Device,
    made: OnceCell<Front>,
}

impl LazyFront {
    pub(super) fn get(&self) -> &Front {
        self.made
            .get_or_init(|| Front::new(self.layers.clone(), &self.device))
    }

    fn release(&mut self) {
        self.made = OnceCell::new();
    }
}

/// Notes that nothing is cached; with `cache.mode = "require"` that is an error.
fn not_cached(setup: &Session, planned: &PlannedPhase, reason: &str) -> Result<()> {
    let phase = &planned.phase.name;
    match setup.experiment.cache.mode {
        CacheMode::Require => Err(activations::refused(phase, reason)),
        CacheMode::Auto => {
            setup.console.note(&format!(
                "cache: nothing is cached in phase `{phase}`: {reason}"
            ));
            Ok(())
        }
        CacheMode::Off => Ok(()),
    }
}

pub(super) fn photos(setup: &Session) -> Arc<dyn ImageSource> {
    Arc::new(Photos {
        index: Arc::clone(&setup.index),
        data: setup.experiment.data.clone(),
        transforms: setup.experiment.transforms.clone(),
    })
}

/// Reads activations from the cache.
struct CachedActivations {
    index: Arc<DatasetIndex>,
    store: Arc<Store>,
}

impl ImageSource for CachedActivations {
    fn n_values(&self) -> usize {
        self.store.n_values()
    }

    fn load(&self, item: &Item, out: &mut [f32]) -> Result<bool> {
        let key = activations::item_key(&self.index.images[item.image], item.view);
        Ok(self.store.get(&key, out)? == Lookup::Sound)
    }
}

/// An iterator over batches of activations that also measures where its time goes.
pub(crate) struct Batches<'a> {
    inputs: &'a Inputs<'a>,
    loader: Loader,
    /// A batch that has been looked at and not taken yet.
    peeked: Option<Result<HostBatch>>,
    pub(crate) waiting_seconds: f64,
    pub(crate) frozen_seconds: f64,
}

impl Batches<'_> {
    /// The values of the next batch; `None` if there is none, or if it cannot be had, which `next` reports.
    pub(crate) fn peek(&mut self) -> Option<&[f32]> {
        self.peeked = self.next();
        let batch = self.peeked.as_ref()?.as_ref().ok()?;
        Some(&batch.values)
    }

    fn finish(&mut self, mut batch: HostBatch) -> Result<HostBatch> {
        let started = Instant::now();
        match &self.inputs.store {
            Some(store) => self.inputs.repair(&mut batch, store)?,
            None if self.inputs.n_done > 0 => {
                batch.values = self.inputs.front.get().run(batch.values);
                if let Some(precision) = self.inputs.rounding {
                    let n_values = self.inputs.shape.iter().product::<usize>();
                    for values in batch.values.chunks_exact_mut(n_values) {
                        if precision.can_hold(values) {
                            precision.round(values);
                        }
                    }
                }
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
        if self.peeked.is_some() {
            return self.peeked.take();
        }
        let asked = Instant::now();
        let batch = self.loader.next();
        self.waiting_seconds += asked.elapsed().as_secs_f64();
        batch.map(|batch| batch.and_then(|batch| self.finish(batch)))
    }
}

//! The activation cache in the output of `runner plan`: what each phase caches, where, how large that is and how much of it
//! is cached already. Reads; writes nothing.

use serde::Serialize;

use super::prepare::{self, Prepared};
use crate::{
    cache::{self, Store},
    device,
    error::Result,
    model::state::StateDict,
    plan::PlannedPhase,
    text::table::bytes,
    train::activations,
};

/// What one phase caches.
#[derive(Debug, Serialize)]
pub(super) struct CachePlan {
    phase: String,
    /// The layers whose activations are cached; `None` if nothing is cached.
    prefix: Option<String>,
    /// Why nothing is cached.
    reason: Option<String>,
    images: usize,
    bytes: u64,
    /// The images that are cached already; unknown if an earlier phase trains these layers.
    stored: Option<usize>,
    folder: Option<String>,
}

pub(super) fn of(prepared: &Prepared) -> Result<Vec<CachePlan>> {
    let mut state = None;
    let phases = prepared.plan.phases.iter().enumerate();
    phases
        .map(|(index, planned)| of_phase(prepared, index, planned, &mut state))
        .collect()
}

fn of_phase(
    prepared: &Prepared,
    index: usize,
    planned: &PlannedPhase,
    state: &mut Option<StateDict>,
) -> Result<CachePlan> {
    let experiment = &prepared.loaded.experiment;
    let (prefix, phase) = (&planned.prefix, &planned.phase.name);
    let mut plan = CachePlan {
        phase: phase.clone(),
        prefix: None,
        reason: None,
        images: 0,
        bytes: 0,
        stored: None,
        folder: None,
    };
    if let Some(reason) = activations::obstacle(experiment, prefix) {
        plan.reason = Some(reason);
        return Ok(plan);
    }
    let items = activations::items_of_phase(experiment, planned, index, &prepared.split);
    plan.prefix = Some(prefix.name.clone());
    plan.images = items.len();
    plan.bytes = activations::n_bytes(experiment, prefix, plan.images);
    let dir = activations::dir(experiment);
    let is_changed_before = prepared.plan.phases[..index].iter().any(|before| {
        let paper = &prepared.plan.paper;
        before
            .trainable
            .iter()
            .any(|path| prefix.holds(path, paper))
    });
    let (Some(dir), false) = (dir, is_changed_before) else {
        return Ok(plan);
    };
    let state = match state {
        Some(state) => state,
        None => state.insert(prepare::initial(prepared)?.state.complete()),
    };
    let paper = &prepared.plan.paper;
    let held = state.iter().filter(|(path, _)| prefix.holds(path, paper));
    let held = held.map(|(path, tensor)| (path.as_str(), tensor));
    let backend = device::backend(experiment.device);
    let recipe = activations::recipe(experiment, prefix, held, &backend);
    let trust = activations::trust(experiment);
    if let Some(reason) = cache::obstacle(&dir, &recipe, trust) {
        plan.prefix = None;
        plan.reason = Some(reason);
        return Ok(plan);
    }
    plan.folder = Some(dir.join(recipe.key().folder_name()).display().to_string());
    let images = &prepared.index.images;
    let keys: Vec<_> = items
        .iter()
        .map(|item| activations::item_key(&images[item.image], item.view))
        .collect();
    let n_missing = match Store::peek(&dir, &recipe, trust)? {
        Some(store) => store.missing(&keys).len(),
        None => keys.len(),
    };
    plan.stored = Some(keys.len() - n_missing);
    Ok(plan)
}

impl CachePlan {
    /// Whether a run would have no activations left to compute.
    pub(super) fn is_full(&self) -> bool {
        self.reason.is_some() || self.stored == Some(self.images)
    }

    /// `head: features and pooling of 800 images, 77 MiB; 640 cached in ..`
    pub(super) fn text(&self) -> String {
        let (phase, images) = (&self.phase, self.images);
        let Some(prefix) = &self.prefix else {
            let reason = self.reason.as_deref().unwrap_or_default();
            return format!("{phase}: not cached: {reason}");
        };
        let stored = match self.stored {
            Some(0) => "none cached yet".to_owned(),
            Some(stored) if stored == images => "all cached".to_owned(),
            Some(stored) => format!("{stored} cached"),
            None => "computed after the earlier phases have trained".to_owned(),
        };
        let place = match &self.folder {
            Some(folder) => format!(" in {folder}"),
            None => String::new(),
        };
        format!(
            "{phase}: {prefix} of {images} images, {}; {stored}{place}",
            bytes(self.bytes)
        )
    }
}

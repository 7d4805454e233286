//! How large the files of checkpoints will be. Pure; knows the same layout as `base`, `write` and `tensors`.

use std::collections::HashSet;

use crate::{
    model::{paper::TensorSpec, tensor_file},
    plan::{Plan, PlannedPhase},
    train::optimizer::moment_names,
};

/// The sizes of a run's checkpoint files in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointSizes {
    /// `base.safetensors`; 0 if the first phase trains everything.
    pub(crate) base: u64,
    /// Those of the checkpoints that each phase writes.
    pub(crate) phases: Vec<PhaseSizes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PhaseSizes {
    pub(crate) model: u64,
    pub(crate) optimizer: u64,
}

/// The sizes that follow from what each phase trains.
pub(crate) fn sizes(plan: &Plan) -> CheckpointSizes {
    let specs = &plan.paper.tensors;
    // `is_in_base` and `holds`, as sets: a sweep asks for thousands of trials.
    let in_base: HashSet<&str> = plan.phases.first().map(frozen).unwrap_or_default();
    let (mut trained, mut with_states) = (HashSet::new(), HashSet::new());
    let phases = plan.phases.iter().map(|planned| {
        let trainable = || planned.trainable.iter().map(String::as_str);
        trained.extend(trainable());
        if !planned.phase.keep_optimizer {
            with_states.clear();
        }
        with_states.extend(trainable());
        let held = specs.iter().filter(|spec| {
            !in_base.contains(spec.path.as_str()) || trained.contains(spec.path.as_str())
        });
        let moved = specs
            .iter()
            .filter(|spec| with_states.contains(spec.path.as_str()));
        PhaseSizes {
            model: length(held),
            optimizer: optimizer(planned, moved),
        }
    });
    let phases = phases.collect();
    let base = specs
        .iter()
        .filter(|spec| in_base.contains(spec.path.as_str()));
    CheckpointSizes {
        base: if in_base.is_empty() { 0 } else { length(base) },
        phases,
    }
}

fn frozen(planned: &PlannedPhase) -> HashSet<&str> {
    let groups = planned.groups.iter().filter(|group| !group.trainable);
    let paths = groups.flat_map(|group| &group.paths);
    paths.map(String::as_str).collect()
}

fn length<'a>(specs: impl Iterator<Item = &'a TensorSpec>) -> u64 {
    tensor_file::length(specs.map(|spec| (spec.path.clone(), spec.shape.clone())))
}

/// The length of the file that `tensors::write_optimizer` writes.
fn optimizer<'a>(planned: &PlannedPhase, specs: impl Iterator<Item = &'a TensorSpec>) -> u64 {
    let moments = moment_names(planned.phase.optimizer.kind);
    let tensors = specs.flat_map(|spec| {
        let step = (format!("{}.step", spec.path), vec![1]);
        let moments = moments.iter().map(|name| {
            let name = format!("{}.{name}", spec.path);
            (name, vec![spec.n_elements()])
        });
        moments.chain([step])
    });
    tensor_file::length(tensors)
}

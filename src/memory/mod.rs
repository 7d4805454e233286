//! Predicts how much memory a run will take before it starts: the most that is alive at any stage, and what the allocator keeps.
//! The prediction is pure; `facts`, `available` and `peak` read what it needs to know about files and the machine.

mod available;
mod facts;
mod front;
mod heap;
mod network;
mod peak;
mod script;
mod verdict;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use self::heap::{Heap, Part, Sizes};
pub(crate) use self::{
    available::{Available, available},
    facts::{Facts, Start},
    heap::Stage,
    peak::peak,
    verdict::{Verdict, judge, judge_together},
};
use crate::{
    config::experiment::{Experiment, OptimizerKind},
    model::layout::TensorSpec,
    plan::{Plan, PlannedPhase},
    text::table::bytes,
    train::optimizer::moment_names,
};

/// The program's code, its tables and the stack of one thread, measured on a run of `vgg16_slim`.
const PROGRAM: usize = 24 << 20;
/// What each further thread takes for its heap and its scratch buffers, measured on the same run.
const THREAD: usize = 6 << 20;
/// The size of one `f32` in bytes.
const FLOAT: usize = size_of::<f32>();

/// The largest amount of memory that a run will take.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The stage in which the host memory peaks.
    pub(crate) stage: Stage,
    sizes: Sizes,
    pub(crate) stages: BTreeMap<Stage, usize>,
    /// The memory on a GPU: parameters, moments, gradients and activations. A sum that was never measured.
    pub(crate) on_device: Option<usize>,
}

/// One part of the peak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Share {
    pub(crate) part: Part,
    pub(crate) bytes: usize,
}

impl Estimate {
    pub(crate) fn total(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// `parameters 512 MiB, ..`
    fn shares_text(&self) -> String {
        let shares = self.shares();
        let shares = shares
            .iter()
            .map(|share| format!("{} {}", share.part.name(), bytes(share.bytes as u64)));
        shares.collect::<Vec<_>>().join(", ")
    }

    /// The parts of the peak that are not empty.
    pub(crate) fn shares(&self) -> Vec<Share> {
        let shares = Part::ALL.iter().zip(self.sizes);
        let shares = shares.filter(|(_, bytes)| *bytes > 0);
        shares
            .map(|(part, bytes)| Share { part: *part, bytes })
            .collect()
    }
}

impl fmt::Display for Estimate {
    /// `2.8 GiB while a checkpoint is written: parameters 512 MiB, ..`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} {}: {}",
            bytes(self.total() as u64),
            self.stage.name(),
            self.shares_text()
        )
    }
}

/// Estimates a run from its start, or from its last checkpoint.
pub(crate) fn estimate(experiment: &Experiment, plan: &Plan, facts: &Facts) -> Estimate {
    let program = PROGRAM + THREAD * facts.n_threads.max(facts.n_workers);
    let mut run = script::Run {
        heap: Heap::new(program),
        experiment,
        plan,
        specs: experiment.model.arch.tensors(facts.n_classes),
        facts,
    };
    let on_device = (!facts.is_cpu).then(|| on_device(experiment, plan, &run.specs));
    if facts.is_cpu {
        run.play();
    } else {
        run.play_beside_device();
    }
    let peaks = run.heap.into_peaks();
    let total = |sizes: &Sizes| sizes.iter().sum::<usize>();
    let stages = peaks.iter().map(|(stage, sizes)| (*stage, total(sizes)));
    let stages = stages.collect();
    let highest = peaks.into_iter().max_by_key(|(_, sizes)| total(sizes));
    let (stage, sizes) = highest.unwrap_or((Stage::Loading, Sizes::default()));
    Estimate {
        stage,
        sizes,
        stages,
        on_device,
    }
}

/// The number of values that an optimizer keeps per parameter.
fn n_moments(kind: OptimizerKind) -> usize {
    moment_names(kind).len()
}

/// The parameters, moments, gradients and kept activations of the phase that needs most. Other uses of GPU memory are unknown,
/// because nothing was measured there.
fn on_device(experiment: &Experiment, plan: &Plan, specs: &[TensorSpec]) -> usize {
    let parameters: usize = specs.iter().map(TensorSpec::n_elements).sum();
    let of_phase = |planned: &PlannedPhase| {
        let trainable = planned.n_trainable_params;
        let per_parameter = 1 + n_moments(planned.phase.optimizer.kind);
        let activations = activations_on_device(experiment, planned);
        (parameters + trainable * per_parameter + activations) * FLOAT
    };
    plan.phases.iter().map(of_phase).max().unwrap_or(0)
}

/// The largest number of values that are alive during a step: the input and output of a frozen layer, or every output from
/// the first trained layer on.
fn activations_on_device(experiment: &Experiment, planned: &PlannedPhase) -> usize {
    let (arch, size) = (experiment.model.arch, experiment.transforms.size());
    let outputs = (1..=arch.features().len() + 1).map(|n_layers| {
        let shape = arch.shape_after(n_layers, size.height, size.width);
        shape.iter().product::<usize>()
    });
    let outputs: Vec<usize> = outputs.collect();
    let first_trained = planned.prefix.n_layers.min(outputs.len());
    let (frozen, trained) = outputs.split_at(first_trained);
    let frozen = frozen.windows(2).map(|pair| pair[0] + pair[1]).max();
    // Every output is kept for the backward pass, and the largest has a gradient of the same size.
    let kept = trained.iter().sum::<usize>() + trained.iter().max().copied().unwrap_or(0);
    frozen.unwrap_or(0).max(kept) * experiment.data.batch_size.get()
}

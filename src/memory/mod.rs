//! How much memory a run will take, decided before it starts: the most that is alive at any stage of it, with what the
//! allocator keeps. Pure; what it must know of the disk and of the machine comes in `Facts` and `Available`.

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

/// Measured on a run of `vgg16_slim`: the program's code, its tables and the stack of one thread.
const PROGRAM: usize = 24 << 20;
/// Measured beside it: what each further thread has of its own, its heap and its scratch.
const THREAD: usize = 6 << 20;
/// Bytes of one `f32`.
const FLOAT: usize = size_of::<f32>();

/// The most memory of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// Of the host, which on the CPU is all there is.
    pub(crate) stage: Stage,
    sizes: Sizes,
    pub(crate) stages: BTreeMap<Stage, usize>,
    /// On a GPU: parameters, moments, gradients and activations, added up without having been measured.
    pub(crate) on_device: Option<usize>,
}

/// One line of the sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Share {
    pub(crate) part: Part,
    pub(crate) bytes: usize,
}

impl Estimate {
    pub(crate) fn total(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// What the peak is made of, without what is nothing.
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
            "{} {}: ",
            bytes(self.total() as u64),
            self.stage.name()
        )?;
        for (index, share) in self.shares().iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(
                out,
                "{comma}{} {}",
                share.part.name(),
                bytes(share.bytes as u64)
            )?;
        }
        Ok(())
    }
}

/// The estimate of a run from its start, or from its last checkpoint.
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

/// Numbers that an optimizer keeps of each parameter.
fn n_moments(kind: OptimizerKind) -> usize {
    moment_names(kind).len()
}

/// Parameters, moments, gradients and what the backward pass keeps, of the phase that needs most. What else lies on a
/// GPU is not known: nothing was measured there.
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

/// Values alive at the widest moment of a step: a frozen layer's input and output, every output from the first
/// trained layer on.
fn activations_on_device(experiment: &Experiment, planned: &PlannedPhase) -> usize {
    let (arch, size) = (experiment.model.arch, experiment.transforms.resize);
    let outputs = (1..=arch.features().len() + 1).map(|n_layers| {
        let shape = arch.shape_after(n_layers, size.height, size.width);
        shape.iter().product::<usize>()
    });
    let outputs: Vec<usize> = outputs.collect();
    let first_trained = planned.prefix.n_layers.min(outputs.len());
    let (frozen, trained) = outputs.split_at(first_trained);
    let frozen = frozen.windows(2).map(|pair| pair[0] + pair[1]).max();
    // Kept for the backward pass, with a gradient of the same size for the largest.
    let kept = trained.iter().sum::<usize>() + trained.iter().max().copied().unwrap_or(0);
    frozen.unwrap_or(0).max(kept) * experiment.data.batch_size.get()
}

//! Predicts how much memory a run will take before it starts: for each stage, a sum over what is in memory at once. The prediction is
//! pure; `facts`, `available` and `peak` read what it needs to know about files and the machine.

mod available;
mod facts;
mod peak;
mod stages;
mod steps;
mod verdict;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

pub(crate) use self::{
    available::{Available, available},
    facts::{Facts, Start},
    peak::peak,
    verdict::{Verdict, judge, judge_together},
};
use crate::{
    config::experiment::{Experiment, OptimizerKind},
    plan::Plan,
    text::table::bytes,
    train::optimizer::moment_names,
};

/// What memory is used for. The names are in the output of `plan --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Code, threads and tables: what exists before the first image.
    Program,
    /// Photos while they are decoded, and those loaded ahead.
    Images,
    Parameters,
    /// The optimizer's moments.
    Optimizer,
    Gradients,
    Activations,
    /// Prepared filters, and the buffers of the kernels.
    Kernels,
    /// Copies of parameters while they are read, transposed or written, and that of the best model so far.
    Copies,
    /// Freed blocks that the allocator keeps for reuse.
    Freed,
}

impl Part {
    const ALL: [(Self, &str); 9] = [
        (Self::Program, "program"),
        (Self::Images, "images"),
        (Self::Parameters, "parameters"),
        (Self::Optimizer, "optimizer"),
        (Self::Gradients, "gradients"),
        (Self::Activations, "activations"),
        (Self::Kernels, "filters and buffers"),
        (Self::Copies, "copies of parameters"),
        (Self::Freed, "kept for reuse"),
    ];
}

/// The bytes that each `Part` takes.
type Sizes = [usize; Part::ALL.len()];

/// A stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    Loading,
    Building,
    Filling,
    Training,
    Validating,
    Saving,
    Drawing,
    Testing,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Loading => "while the parameters are read",
            Self::Building => "while the model is built",
            Self::Filling => "while the cache is filled",
            Self::Training => "in a training step",
            Self::Validating => "while validating",
            Self::Saving => "while a checkpoint is written",
            Self::Drawing => "while the photos of predictions.png are drawn",
            Self::Testing => "while the best checkpoint is tested",
        }
    }
}

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
        let shares = shares.iter().map(|share| {
            let (_, name) = Part::ALL[share.part as usize];
            format!("{name} {}", bytes(share.bytes as u64))
        });
        shares.collect::<Vec<_>>().join(", ")
    }

    /// The parts of the peak that are not empty.
    pub(crate) fn shares(&self) -> Vec<Share> {
        let shares = Part::ALL.iter().zip(self.sizes);
        let shares = shares.filter(|(_, bytes)| *bytes > 0);
        shares
            .map(|((part, _), bytes)| Share { part: *part, bytes })
            .collect()
    }
}

impl fmt::Display for Estimate {
    /// `1.8 GiB in a training step: parameters 512 MiB, ..`
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
    let peaks = stages::peaks(experiment, plan, facts);
    let total = |sizes: &Sizes| sizes.iter().sum::<usize>();
    let stages = peaks.iter().map(|(stage, sizes)| (*stage, total(sizes)));
    let stages = stages.collect();
    let highest = peaks.into_iter().max_by_key(|(_, sizes)| total(sizes));
    let (stage, sizes) = highest.unwrap_or((Stage::Loading, Sizes::default()));
    let on_device = plan.phases.iter();
    let on_device = on_device.map(|planned| stages::on_device(experiment, plan, planned));
    Estimate {
        stage,
        sizes,
        stages,
        on_device: on_device.max().filter(|_| !facts.is_cpu),
    }
}

/// The number of values that an optimizer keeps per parameter.
fn n_moments(kind: OptimizerKind) -> usize {
    moment_names(kind).len()
}

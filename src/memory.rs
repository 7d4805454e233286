//! How much memory a run will take, from the plan alone.

use std::fmt;

use crate::{
    config::experiment::{Experiment, OptimizerKind},
    model::layout::{Arch, TensorSpec},
    plan::Plan,
    table::bytes,
};

/// Bytes, of the phase that needs most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) parameters: usize,
    pub(crate) gradients: usize,
    pub(crate) moments: usize,
    pub(crate) activations: usize,
}

impl Memory {
    /// The larger of a step and of writing a checkpoint, which copies the parameters.
    pub(crate) fn total(&self) -> usize {
        let kept = self.parameters + self.moments;
        kept + self.parameters.max(self.gradients + self.activations)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}: parameters {} and optimizer {}; for a step gradients {} and activations {}, \
             for a checkpoint a copy of the parameters",
            bytes(self.total() as u64),
            bytes(self.parameters as u64),
            bytes(self.moments as u64),
            bytes(self.gradients as u64),
            bytes(self.activations as u64)
        )
    }
}

/// Bytes of one `f32`.
const FLOAT: usize = size_of::<f32>();

/// `is_cpu` says that the CPU trains, which multiplies out the gradients of fully connected layers piece by piece.
pub(crate) fn estimate(
    experiment: &Experiment,
    plan: &Plan,
    n_classes: usize,
    is_cpu: bool,
) -> Memory {
    let specs = experiment.model.arch.tensors(n_classes);
    let training = &experiment.training;
    let is_whole = !is_cpu || training.accumulate.get() > 1 || training.clip_grad_norm.is_some();
    let has_gradient = |spec: &&TensorSpec| is_whole || spec.shape.len() != 2;
    let parameters = specs.iter().map(TensorSpec::n_elements).sum::<usize>() * FLOAT;
    let phases = plan.phases.iter().map(|planned| {
        let trainable = planned.n_trainable_params * FLOAT;
        let first_trained = planned
            .trainable
            .iter()
            .filter_map(|path| feature_index(path))
            .min();
        Memory {
            parameters,
            gradients: specs
                .iter()
                .filter(|spec| planned.trainable.contains(&spec.path))
                .filter(has_gradient)
                .map(TensorSpec::n_elements)
                .sum::<usize>()
                * FLOAT,
            moments: trainable * n_moments(planned.phase.optimizer.kind),
            activations: activations(experiment, first_trained) * FLOAT,
        }
    });
    phases.max_by_key(Memory::total).unwrap_or_default()
}

fn n_moments(kind: OptimizerKind) -> usize {
    match kind {
        OptimizerKind::Adam { .. } | OptimizerKind::AdamW { .. } => 2,
        OptimizerKind::Sgd { momentum, .. } => usize::from(momentum > 0.0),
        OptimizerKind::RmsProp {
            momentum, centered, ..
        } => 1 + usize::from(momentum > 0.0) + usize::from(centered),
    }
}

fn feature_index(path: &str) -> Option<usize> {
    path.strip_prefix("features.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Values alive at the widest moment of a step: a frozen layer's input and output, every output from the first
/// trained layer on.
fn activations(experiment: &Experiment, first_trained: Option<usize>) -> usize {
    let outputs = feature_outputs(
        experiment.model.arch,
        experiment.transforms.resize.height,
        experiment.transforms.resize.width,
    );
    let first_trained = first_trained.unwrap_or(outputs.len());
    let frozen = outputs[..first_trained.min(outputs.len())]
        .windows(2)
        .map(|pair| pair[0] + pair[1])
        .max()
        .unwrap_or(0);
    // Kept for the backward pass, with a gradient of the same size for the largest.
    let trained: usize = outputs[first_trained.min(outputs.len())..].iter().sum();
    let largest = outputs[first_trained.min(outputs.len())..]
        .iter()
        .max()
        .copied()
        .unwrap_or(0);
    frozen.max(trained + largest) * experiment.data.batch_size.get()
}

/// Values that each layer of `features`, and the pooling, gives for one image.
fn feature_outputs(arch: Arch, height: usize, width: usize) -> Vec<usize> {
    let n_layers = arch.features().len() + 1;
    (1..=n_layers)
        .map(|n_layers| arch.shape_after(n_layers, height, width).iter().product())
        .collect()
}

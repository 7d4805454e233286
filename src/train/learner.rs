//! The learner of a phase: the model with some parameters frozen, the optimizer, and a learning rate for each parameter
//! group.

use std::collections::BTreeMap;

use burn::{
    module::Module as _, optim::GradientsAccumulator, tensor::Device, train::TrainStep as _,
};

use super::{
    gradients::clip_grad_norm,
    objective::{Batch, BatchResult},
    optimizer::{Optimizer, States, StepGradients},
};
use crate::{
    config::experiment::{Experiment, FrozenBatchNorm},
    device::is_cpu,
    model::{
        linear::{Ahead, Factors, with_ahead, with_factors},
        network::Network,
    },
    plan::PlannedPhase,
};

pub(crate) struct Learner {
    model: Network,
    optimizer: Optimizer,
    accumulated: GradientsAccumulator<Network>,
    /// Gradients kept as two factors, by parameter. Possible only if nothing needs the whole gradient: neither clipping by its
    /// norm nor a sum over several batches.
    factored: BTreeMap<usize, Factors>,
    may_factor: bool,
    /// A part of the next forward pass.
    ahead: Option<Ahead>,
    clip_grad_norm: Option<f64>,
    /// The index of each parameter's group, by the parameter's position in the state dict.
    groups: BTreeMap<usize, usize>,
}

impl Learner {
    /// Continues with the model of the phase before; the optimizer is fresh if `states` is empty.
    pub(crate) fn new(
        experiment: &Experiment,
        planned: &PlannedPhase,
        model: Network,
        n_classes: usize,
        states: States,
    ) -> Self {
        let specs = experiment.model.arch.tensors(n_classes);
        let frozen_batch_norm_trains = experiment.model.frozen_batch_norm == FrozenBatchNorm::Train;
        let training = &experiment.training;
        let groups = specs.iter().enumerate().filter_map(|(index, spec)| {
            let holds =
                |group: &crate::plan::Group| group.trainable && group.paths.contains(&spec.path);
            Some((index, planned.groups.iter().position(holds)?))
        });
        Self {
            groups: groups.collect(),
            model: model.with_trainable(&planned.trainable, frozen_batch_norm_trains),
            optimizer: Optimizer::new(&planned.phase.optimizer, states),
            accumulated: GradientsAccumulator::new(),
            factored: BTreeMap::new(),
            ahead: None,
            may_factor: training.clip_grad_norm.is_none() && training.accumulate.get() == 1,
            clip_grad_norm: training.clip_grad_norm,
        }
    }

    /// Runs the forward and backward passes of one batch and keeps the gradients for `take_gradients`. Dropout depends on
    /// `dropout_seed` alone, so a resumed step draws the same masks.
    pub(crate) fn accumulate(
        &mut self,
        batch: Batch,
        dropout_seed: u64,
        device: &Device,
    ) -> BatchResult {
        assert!(
            self.factored.is_empty(),
            "factored gradients of several batches cannot be summed"
        );
        device.seed(dropout_seed);
        let output = if self.may_factor && is_cpu(device) {
            let ahead = self.ahead.take();
            let (output, factored) = with_factors(|| with_ahead(ahead, || self.model.step(batch)));
            self.factored = factored;
            output
        } else {
            self.model.step(batch)
        };
        self.accumulated.accumulate(&self.model, output.grads);
        output.item.read()
    }

    /// Takes the accumulated gradients; accumulation starts again from zero.
    pub(crate) fn take_gradients(&mut self) -> StepGradients {
        StepGradients {
            whole: self.accumulated.grads(),
            factored: std::mem::take(&mut self.factored),
        }
    }

    /// The weight that the inputs are multiplied with first, if `step` can do it for the next batch while it updates the weight.
    /// `n_done` steps of the network are done already.
    pub(crate) fn first_weight(&self, gradients: &StepGradients, n_done: usize) -> Option<usize> {
        let number = self.model.weight_after(n_done)?;
        gradients.factored.contains_key(&number).then_some(number)
    }

    /// Updates the trainable parameters with the learning rates of this step of the phase. `next_input` is the first weight and what
    /// it will be multiplied with.
    pub(crate) fn step(
        mut self,
        mut gradients: StepGradients,
        planned: &PlannedPhase,
        step: usize,
        next_input: Option<(usize, &[f32])>,
    ) -> Self {
        if let Some(max_norm) = self.clip_grad_norm {
            clip_grad_norm(&self.model, &mut gradients.whole, max_norm);
        }
        let rates: Vec<f64> = planned
            .groups
            .iter()
            .map(|group| planned.lr(group, step))
            .collect();
        let groups = &self.groups;
        let rate = |index| groups.get(&index).map_or(0.0, |group| rates[*group]);
        (self.model, self.ahead) = self.optimizer.step(self.model, gradients, rate, next_input);
        self
    }

    /// The model without gradients and with dropout off.
    pub(crate) fn evaluation_model(&self) -> Network {
        self.model.valid()
    }

    pub(crate) fn model(&self) -> &Network {
        &self.model
    }

    /// The model, and the state of the optimizer.
    pub(crate) fn into_parts(self) -> (Network, States) {
        (self.model, self.optimizer.into_states())
    }

    pub(crate) fn optimizer_states(&self) -> &States {
        self.optimizer.states()
    }
}

//! A phase's learner: the model with its parameters frozen or not, the optimizer, and a learning rate for each parameter
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
        linear::{Factors, with_factors},
        vgg::Vgg,
    },
    plan::PlannedPhase,
};

pub(crate) struct Learner {
    model: Vgg,
    optimizer: Optimizer,
    accumulated: GradientsAccumulator<Vgg>,
    /// Gradients that no one needs whole: neither their norm nor a sum with those of other batches is asked for.
    factored: BTreeMap<usize, Factors>,
    may_factor: bool,
    clip_grad_norm: Option<f64>,
    /// Index of the group of each parameter, by its place in the state dict.
    groups: BTreeMap<usize, usize>,
}

impl Learner {
    /// The model of the phase before goes on; the optimizer is fresh unless its state is handed over.
    pub(crate) fn new(
        experiment: &Experiment,
        planned: &PlannedPhase,
        model: Vgg,
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
            model: model.with_trainable(&planned.trainable, frozen_batch_norm_trains, &specs),
            optimizer: Optimizer::new(&planned.phase.optimizer, states),
            accumulated: GradientsAccumulator::new(),
            factored: BTreeMap::new(),
            may_factor: training.clip_grad_norm.is_none() && training.accumulate.get() == 1,
            clip_grad_norm: training.clip_grad_norm,
        }
    }

    /// Forward and backward of one batch; its gradients wait for `take_gradients`. Dropout draws from `dropout_seed` alone.
    pub(crate) fn accumulate(
        &mut self,
        batch: Batch,
        dropout_seed: u64,
        device: &Device,
    ) -> BatchResult {
        assert!(
            self.factored.is_empty(),
            "gradients of several batches are summed whole"
        );
        device.seed(dropout_seed);
        let output = if self.may_factor && is_cpu(device) {
            let (output, factored) = with_factors(|| self.model.step(batch));
            self.factored = factored;
            output
        } else {
            self.model.step(batch)
        };
        self.accumulated.accumulate(&self.model, output.grads);
        output.item.read()
    }

    /// The gradients of what has been accumulated, which starts anew.
    pub(crate) fn take_gradients(&mut self) -> StepGradients {
        StepGradients {
            whole: self.accumulated.grads(),
            factored: std::mem::take(&mut self.factored),
        }
    }

    /// Updates the trainable parameters, at the learning rates of `step` of the phase.
    pub(crate) fn step(
        mut self,
        mut gradients: StepGradients,
        planned: &PlannedPhase,
        step: usize,
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
        self.model = self.optimizer.step(self.model, gradients, |index| {
            groups.get(&index).map_or(0.0, |group| rates[*group])
        });
        self
    }

    /// The model without gradients and with dropout off.
    pub(crate) fn evaluation_model(&self) -> Vgg {
        self.model.valid()
    }

    pub(crate) fn model(&self) -> &Vgg {
        &self.model
    }

    /// The model, and what the optimizer remembers.
    pub(crate) fn into_parts(self) -> (Vgg, States) {
        (self.model, self.optimizer.into_states())
    }

    pub(crate) fn optimizer_states(&self) -> &States {
        self.optimizer.states()
    }
}

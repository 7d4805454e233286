//! A phase's learner: the model with its parameters frozen or not, Burn's `ModuleOptimizer`, and a learning rate for
//! each parameter group.

use burn::{
    lr_scheduler::{LrScheduler, LrSchedulerRecord, module_lr_scheduler::ModuleLrScheduler},
    module::{Module as _, ParamGroup},
    optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer, OptimizerRecord},
    tensor::Device,
    train::TrainStep as _,
};

use super::{
    gradients::clip_grad_norm,
    objective::{Batch, BatchResult},
    optimizer,
};
use crate::{
    config::experiment::{Experiment, FrozenBatchNorm},
    model::{
        layout::TensorSpec,
        vgg::{Vgg, param_id},
    },
    plan::PlannedPhase,
};

pub(crate) struct Learner {
    model: Vgg,
    optimizer: ModuleOptimizer,
    accumulated: GradientsAccumulator<Vgg>,
    clip_grad_norm: Option<f64>,
    specs: Vec<TensorSpec>,
}

impl Learner {
    /// The model of the phase before goes on; the optimizer is fresh unless its state is handed over.
    pub(crate) fn new(
        experiment: &Experiment,
        planned: &PlannedPhase,
        model: Vgg,
        n_classes: usize,
        optimizer_state: Option<OptimizerRecord>,
    ) -> Self {
        let specs = experiment.model.arch.tensors(n_classes);
        let frozen_batch_norm_trains = experiment.model.frozen_batch_norm == FrozenBatchNorm::Train;
        let fresh = optimizer::build(&planned.phase.optimizer);
        Self {
            model: model.with_trainable(&planned.trainable, frozen_batch_norm_trains, &specs),
            optimizer: match optimizer_state {
                Some(record) => fresh.load_record(record),
                None => fresh,
            },
            accumulated: GradientsAccumulator::new(),
            clip_grad_norm: experiment.training.clip_grad_norm,
            specs,
        }
    }

    /// Forward and backward of one batch; its gradients wait for `step`. Dropout draws from `dropout_seed` alone.
    pub(crate) fn accumulate(
        &mut self,
        batch: Batch,
        dropout_seed: u64,
        device: &Device,
    ) -> BatchResult {
        device.seed(dropout_seed);
        let output = self.model.step(batch);
        self.accumulated.accumulate(&self.model, output.grads);
        output.item.read()
    }

    /// Updates the trainable parameters with what has been accumulated, at the learning rates of `step` of the phase.
    pub(crate) fn step(mut self, planned: &PlannedPhase, step: usize) -> Self {
        let mut gradients: GradientsParams = self.accumulated.grads();
        if let Some(max_norm) = self.clip_grad_norm {
            clip_grad_norm(&self.model, &mut gradients, max_norm);
        }
        let learning_rates = self.learning_rates(planned, step).step();
        self.model = self.optimizer.step(learning_rates, self.model, gradients);
        self
    }

    fn learning_rates(&self, planned: &PlannedPhase, step: usize) -> ModuleLrScheduler {
        let mut scheduler = ModuleLrScheduler::new(Fixed(planned.base_lr(step)));
        for group in planned.groups.iter().filter(|group| group.trainable) {
            let indices = self
                .specs
                .iter()
                .enumerate()
                .filter(|(_, spec)| group.paths.contains(&spec.path));
            let ids = ParamGroup::from_ids(indices.map(|(index, _)| param_id(index)).collect());
            scheduler = scheduler.with_group(ids, Fixed(planned.lr(group, step)));
        }
        scheduler
    }

    /// The model without gradients and with dropout off.
    pub(crate) fn evaluation_model(&self) -> Vgg {
        self.model.valid()
    }

    pub(crate) fn model(&self) -> &Vgg {
        &self.model
    }

    pub(crate) fn into_model(self) -> Vgg {
        self.model
    }

    pub(crate) fn optimizer_record(&self) -> OptimizerRecord {
        self.optimizer.to_record()
    }
}

/// One rate for one step: `Plan` computes rates from the step number, so that no schedule has a state to save.
#[derive(Clone)]
struct Fixed(f64);

impl LrScheduler for Fixed {
    fn step(&mut self) -> f64 {
        self.0
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
    }

    fn load_record(&mut self, _record: LrSchedulerRecord) {}
}

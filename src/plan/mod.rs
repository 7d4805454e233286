//! What will happen: phases with their selectors expanded to exact parameters, steps and learning rates.
//! Pure; knows neither files nor tensors.

pub(crate) mod prefix;
mod schedule;

use std::fmt::Write as _;

use serde::Serialize;

use crate::{
    config::experiment::{Experiment, Phase},
    model::layout::TensorSpec,
    plan::prefix::Prefix,
};

/// Everything decided before the first step.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) phases: Vec<PlannedPhase>,
    pub(crate) n_parameters: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct PlannedPhase {
    pub(crate) phase: Phase,
    /// Exact paths, in the order of the state dict.
    pub(crate) trainable: Vec<String>,
    pub(crate) n_trainable_params: usize,
    pub(crate) groups: Vec<Group>,
    pub(crate) prefix: Prefix,
    pub(crate) steps_per_epoch: usize,
    /// Epochs of the phases before.
    pub(crate) first_epoch: usize,
}

/// Parameters that share learning rate and decay: one row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Group {
    pub(crate) phase: String,
    pub(crate) name: String,
    pub(crate) tensors: usize,
    pub(crate) parameters: usize,
    pub(crate) trainable: bool,
    /// The learning rate before the schedule's factor; 0 where frozen.
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
    #[serde(skip)]
    pub(crate) lr_factor: f64,
    #[serde(skip)]
    pub(crate) paths: Vec<String>,
}

impl Plan {
    /// `n_train` images make `ceil(n_train / batch_size)` batches, of which `accumulate` make a step.
    pub(crate) fn new(experiment: &Experiment, n_classes: usize, n_train: usize) -> Self {
        let specs = experiment.model.arch.tensors(n_classes);
        let n_batches = n_train.div_ceil(experiment.data.batch_size.get());
        let steps_per_epoch = n_batches.div_ceil(experiment.training.accumulate.get());
        let mut first_epoch = 0;
        let mut phases = Vec::new();
        for phase in &experiment.phases {
            phases.push(PlannedPhase::new(
                experiment,
                phase,
                &specs,
                steps_per_epoch,
                first_epoch,
            ));
            first_epoch += phase.epochs.get();
        }
        let n_parameters = specs
            .iter()
            .filter(|spec| !spec.is_buffer)
            .map(TensorSpec::n_elements)
            .sum();
        Self {
            phases,
            n_parameters,
        }
    }

    pub(crate) fn n_epochs(&self) -> usize {
        self.phases
            .iter()
            .map(|planned| planned.phase.epochs.get())
            .sum()
    }
}

impl PlannedPhase {
    fn new(
        experiment: &Experiment,
        phase: &Phase,
        specs: &[TensorSpec],
        steps_per_epoch: usize,
        first_epoch: usize,
    ) -> Self {
        let arch = experiment.model.arch;
        let parameters = specs.iter().filter(|spec| !spec.is_buffer);
        let (trained, frozen): (Vec<_>, Vec<_>) = parameters.partition(|spec| {
            phase
                .trainable
                .iter()
                .any(|selector| selector.matches(&spec.path, arch))
        });
        let mut groups: Vec<Group> = Vec::new();
        for spec in &trained {
            let factor = phase
                .lr_factors
                .iter()
                .rev()
                .find(|(selector, _)| selector.matches(&spec.path, arch));
            let (name, lr_factor) = match factor {
                Some((selector, factor)) => (selector.to_string(), *factor),
                None => (section(&spec.path).to_owned(), 1.0),
            };
            add(&mut groups, phase, &name, Some(lr_factor), spec);
        }
        for spec in &frozen {
            add(&mut groups, phase, section(&spec.path), None, spec);
        }
        let trainable: Vec<String> = trained.iter().map(|spec| spec.path.clone()).collect();
        Self {
            phase: phase.clone(),
            n_trainable_params: trained.iter().map(|spec| spec.n_elements()).sum(),
            prefix: Prefix::new(experiment, &trainable),
            trainable,
            groups,
            steps_per_epoch,
            first_epoch,
        }
    }

    pub(crate) fn n_steps(&self) -> usize {
        self.steps_per_epoch * self.phase.epochs.get()
    }

    /// The learning rate of `group` at a step of this phase, from 0.
    pub(crate) fn lr(&self, group: &Group, step: usize) -> f64 {
        group.lr
            * schedule::factor(
                &self.phase.schedule,
                step,
                self.steps_per_epoch,
                self.n_steps(),
            )
    }

    /// The learning rate of the first trainable group: what one number per epoch can say.
    pub(crate) fn base_lr(&self, step: usize) -> f64 {
        self.groups
            .iter()
            .find(|group| group.trainable)
            .map_or(0.0, |group| self.lr(group, step))
    }
}

/// `features` or `classifier`.
fn section(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn add(
    groups: &mut Vec<Group>,
    phase: &Phase,
    name: &str,
    lr_factor: Option<f64>,
    spec: &TensorSpec,
) {
    let trainable = lr_factor.is_some();
    let known = groups
        .iter()
        .position(|group| group.name == name && group.trainable == trainable);
    let index = known.unwrap_or_else(|| {
        groups.push(Group {
            phase: phase.name.clone(),
            name: name.to_owned(),
            tensors: 0,
            parameters: 0,
            trainable,
            lr: lr_factor.map_or(0.0, |factor| phase.optimizer.lr * factor),
            weight_decay: if trainable {
                phase.optimizer.weight_decay
            } else {
                0.0
            },
            lr_factor: lr_factor.unwrap_or(0.0),
            paths: Vec::new(),
        });
        groups.len() - 1
    });
    groups[index].tensors += 1;
    groups[index].parameters += spec.n_elements();
    groups[index].paths.push(spec.path.clone());
}

/// The table of parameter groups, as `runner plan` prints it and the log keeps it.
pub(crate) fn group_table(plan: &Plan) -> String {
    let mut text = format!(
        "{:<12} {:<16} {:>7} {:>13} {:<9} {:>8} {:>8}\n",
        "phase", "group", "tensors", "parameters", "trainable", "lr", "decay"
    );
    for group in plan.phases.iter().flat_map(|planned| &planned.groups) {
        let lr = if group.trainable {
            format!("{:.1e}", group.lr)
        } else {
            "-".to_owned()
        };
        let decay = if group.trainable {
            format!("{}", group.weight_decay)
        } else {
            "-".to_owned()
        };
        let _ = writeln!(
            text,
            "{:<12} {:<16} {:>7} {:>13} {:<9} {lr:>8} {decay:>8}",
            group.phase,
            group.name,
            group.tensors,
            with_commas(group.parameters),
            if group.trainable { "yes" } else { "frozen" },
        );
    }
    text
}

/// `7079424` as `7,079,424`.
pub(crate) fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

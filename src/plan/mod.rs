//! The plan of a run: phases with their selectors expanded to exact parameters, steps and learning rates.
//! Pure; knows neither files nor tensors.

#[cfg(test)]
mod frozen_tests;
pub(crate) mod prefix;
mod schedule;

use std::{collections::HashSet, sync::Arc};

use serde::Serialize;

use crate::{
    config::experiment::{Experiment, Phase},
    model::paper::{Paper, TensorSpec},
    plan::prefix::Prefix,
    text::table::{Align, Table},
};

/// Everything decided before the first step.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) phases: Vec<PlannedPhase>,
    pub(crate) n_parameters: usize,
    pub(crate) paper: Arc<Paper>,
}

#[derive(Clone, Debug)]
pub(crate) struct PlannedPhase {
    pub(crate) phase: Phase,
    /// The exact paths of the trainable parameters, in the order of the state dict.
    pub(crate) trainable: Vec<String>,
    pub(crate) n_trainable_params: usize,
    pub(crate) groups: Vec<Group>,
    pub(crate) prefix: Prefix,
    pub(crate) steps_per_epoch: usize,
    /// The number of epochs of all phases before this one.
    pub(crate) first_epoch: usize,
}

/// Parameters with the same learning rate and weight decay: one row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Group {
    pub(crate) phase: String,
    pub(crate) name: String,
    pub(crate) tensors: usize,
    pub(crate) parameters: usize,
    pub(crate) trainable: bool,
    /// The learning rate before the factor of the schedule; 0 if frozen.
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
    #[serde(skip)]
    pub(crate) lr_factor: f64,
    #[serde(skip)]
    pub(crate) paths: Vec<String>,
}

impl Plan {
    /// Plans all phases. `n_train` images make `ceil(n_train / batch_size)` batches, of which `accumulate` make a step.
    pub(crate) fn new(experiment: &Experiment, n_classes: usize, n_train: usize) -> Self {
        let paper = experiment.paper(n_classes);
        let n_batches = n_train.div_ceil(experiment.data.batch_size.get());
        let steps_per_epoch = n_batches.div_ceil(experiment.training.accumulate.get());
        let mut first_epoch = 0;
        let mut phases = Vec::new();
        for phase in &experiment.phases {
            phases.push(PlannedPhase::new(
                experiment,
                phase,
                &paper,
                steps_per_epoch,
                first_epoch,
            ));
            first_epoch += phase.epochs.get();
        }
        let n_parameters = paper.parameters().map(TensorSpec::n_elements).sum();
        Self {
            phases,
            n_parameters,
            paper: Arc::new(paper),
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
        paper: &Paper,
        steps_per_epoch: usize,
        first_epoch: usize,
    ) -> Self {
        let arch = experiment.model.arch;
        let selected = phase.trainable.iter();
        let selected: HashSet<String> = selected.flat_map(|it| it.paths(arch)).collect();
        let parameters = paper.parameters();
        let (trained, frozen): (Vec<_>, Vec<_>) =
            parameters.partition(|spec| selected.contains(&spec.path));
        let factors = phase.lr_factors.iter().rev();
        let factors: Vec<_> = factors
            .map(|(selector, factor)| (selector, selector.paths(arch), *factor))
            .collect();
        let mut groups: Vec<Group> = Vec::new();
        for spec in &trained {
            let factor = factors
                .iter()
                .find(|(_, paths, _)| paths.contains(&spec.path));
            let (name, lr_factor) = match factor {
                Some((selector, _, factor)) => (selector.to_string(), *factor),
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
            prefix: Prefix::new(experiment, paper, &trainable),
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

    /// The learning rate of the first trainable group, which stands for all in tables with one rate per row.
    pub(crate) fn base_lr(&self, step: usize) -> f64 {
        self.groups
            .iter()
            .find(|group| group.trainable)
            .map_or(0.0, |group| self.lr(group, step))
    }
}

/// The first word of a path: `features`, `layer4`.
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
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("phase", left),
        ("group", left),
        ("tensors", right),
        ("parameters", right),
        ("trainable", left),
        ("learning rate", right),
        ("weight decay", right),
    ]);
    for group in plan.phases.iter().flat_map(|planned| &planned.groups) {
        let if_trainable = |text: String| {
            if group.trainable {
                text
            } else {
                "-".to_owned()
            }
        };
        table.row(vec![
            group.phase.clone(),
            group.name.clone(),
            group.tensors.to_string(),
            with_commas(group.parameters),
            if group.trainable { "yes" } else { "frozen" }.to_owned(),
            if_trainable(format!("{:.1e}", group.lr)),
            if_trainable(group.weight_decay.to_string()),
        ]);
    }
    table.text()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::experiment;

    #[test]
    fn long_names_keep_the_columns_of_the_table_aligned() {
        let name = "a_phase_with_a_long_name";
        let text = format!(
            "data.root = \".\"\n[[phase]]\nname = \"{name}\"\nepochs = 1\ntrainable = [\"classifier\"]"
        );
        let table = group_table(&Plan::new(&experiment(&text), 2, 10));
        let starts = table.lines().map(|line| {
            let word = ["trainable", "yes", "frozen"];
            word.iter().find_map(|word| line.find(word))
        });
        let starts: Vec<Option<usize>> = starts.collect();
        assert_eq!(starts.len(), 3, "{table}");
        assert!(starts.iter().all(|start| *start == starts[0]), "{table}");
    }
}

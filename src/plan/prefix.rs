//! The frozen prefix of a phase: the first steps of a forward pass, up to a cut before the first one whose output for an image can
//! change between epochs. The activations there can be cached. Pure; knows neither files nor tensors.

use crate::{
    config::experiment::{Experiment, FrozenBatchNorm},
    model::paper::{Op, Paper, Step, is_in},
};

/// The frozen first steps of a forward pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The number of steps; 0 if nothing is frozen.
    pub(crate) n_steps: usize,
    /// The steps in terms of PyTorch's modules: `features[:24]`.
    pub(crate) name: String,
    /// The shape of the output for one image: `[channels, height, width]`, or `[values]` after the pooling.
    pub(crate) shape: Vec<usize>,
    /// The number of multiplications for one image.
    pub(crate) n_multiplications: usize,
    /// Why the prefix ends here: `classifier.0 is trained`.
    pub(crate) end: String,
}

impl Prefix {
    /// Finds the prefix of a phase; `trainable` has the exact paths of its trainable parameters.
    pub(crate) fn new(experiment: &Experiment, paper: &Paper, trainable: &[String]) -> Self {
        let ends = paper.steps.iter();
        let ends = ends.map(|step| why_it_changes(experiment, step, trainable));
        let (first, end) = ends
            .enumerate()
            .find_map(|(index, end)| Some((index, end?)))
            .expect("every phase trains something");
        Self::of_steps(paper, paper.cut_before(first), end)
    }

    /// The first `n_steps` steps, which end at a cut, for a reason.
    pub(crate) fn of_steps(paper: &Paper, n_steps: usize, end: String) -> Self {
        Self {
            n_steps,
            name: paper.prefix_name(n_steps),
            shape: paper.shape(n_steps).to_vec(),
            n_multiplications: paper.multiplications(n_steps),
            end,
        }
    }

    /// Whether a parameter or buffer belongs to the prefix.
    pub(crate) fn holds(&self, path: &str, paper: &Paper) -> bool {
        let step = paper.step_of(path);
        step.is_some_and(|step| step < self.n_steps)
    }
}

/// Why the output of a step for the same input can change from epoch to epoch; `None` if it cannot.
fn why_it_changes(experiment: &Experiment, step: &Step, trainable: &[String]) -> Option<String> {
    let module = &step.module;
    // Steps that are no modules of their own, such as additions, have no parameters.
    if !step.tensors.is_empty() && trainable.iter().any(|path| is_in(path, module)) {
        return Some(format!("{module} is trained"));
    }
    let model = &experiment.model;
    match step.op {
        Op::BatchNorm(_) => (model.frozen_batch_norm == FrozenBatchNorm::Train)
            .then(|| format!("{module} keeps updating its running statistics")),
        Op::Dropout => (model.dropout > 0.0).then(|| format!("the dropout of {module} is active")),
        Op::Conv(_)
        | Op::Linear
        | Op::Relu
        | Op::MaxPool(_)
        | Op::AdaptivePool { .. }
        | Op::Add
        | Op::Concat => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{plan::Plan, test_support::experiment};

    fn check(model: &str, trainable: &str, n_layers: usize, shape: &[usize], end: &str) {
        let text = format!(
            "data.root = \".\"\n[model]\n{model}\nweights = \"none\"\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [{trainable}]"
        );
        let plan = Plan::new(&experiment(&text), 2, 10);
        let prefix = &plan.phases[0].prefix;
        assert_eq!(
            (prefix.n_steps, prefix.shape.as_slice(), prefix.end.as_str()),
            (n_layers, shape, end),
            "{trainable}"
        );
    }

    #[test]
    fn the_head_leaves_all_features_and_the_pooling() {
        check(
            "",
            "\"classifier\"",
            32,
            &[25088],
            "classifier.0 is trained",
        );
    }

    #[test]
    fn the_last_block_leaves_what_is_before_it() {
        let trainable = "\"classifier\", \"features[24:]\"";
        check("", trainable, 24, &[512, 14, 14], "features.24 is trained");
    }

    #[test]
    fn nothing_is_frozen_where_all_is_trained() {
        check("", "\"all\"", 0, &[3, 224, 224], "features.0 is trained");
    }

    #[test]
    fn active_dropout_ends_the_prefix_and_inactive_dropout_does_not() {
        let last = "\"classifier[6]\"";
        check(
            "",
            last,
            34,
            &[4096],
            "the dropout of classifier.2 is active",
        );
        check(
            "dropout = 0.0",
            last,
            38,
            &[4096],
            "classifier.6 is trained",
        );
    }

    #[test]
    fn batch_norm_that_drifts_ends_the_prefix() {
        let head = "\"classifier\"";
        let drifting = "arch = \"vgg11_bn\"\nfrozen_batch_norm = \"train\"";
        let end = "features.1 keeps updating its running statistics";
        check(drifting, head, 1, &[64, 224, 224], end);
        check(
            "arch = \"vgg11_bn\"",
            head,
            30,
            &[25088],
            "classifier.0 is trained",
        );
    }
}

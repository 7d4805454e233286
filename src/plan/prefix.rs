//! The frozen prefix of a phase: the first layers, up to the first one whose output for an image can change between epochs.
//! Their activations can be cached. Pure; knows neither files nor tensors.

use crate::{
    config::experiment::{Experiment, FrozenBatchNorm},
    model::layout::{Arch, ClassifierLayer, FeatureLayer},
};

/// The frozen first layers, counted in the order of a forward pass: `features`, the pooling, `classifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The number of layers; 0 if nothing is frozen.
    pub(crate) n_layers: usize,
    /// The layers as a slice of PyTorch's modules: `features[:24]`.
    pub(crate) name: String,
    /// The shape of the output for one image: `[channels, height, width]`, or `[values]` after the pooling.
    pub(crate) shape: Vec<usize>,
    /// Why the prefix ends here: `classifier.0 is trained`.
    pub(crate) end: String,
}

impl Prefix {
    /// Finds the prefix of a phase; `trainable` has the exact paths of its trainable parameters.
    pub(crate) fn new(experiment: &Experiment, trainable: &[String]) -> Self {
        let arch = experiment.model.arch;
        let is_trained = |section: &str, index: usize| {
            let prefix = format!("{section}.{index}.");
            trainable.iter().any(|path| path.starts_with(&prefix))
        };
        let drifts = experiment.model.frozen_batch_norm == FrozenBatchNorm::Train;
        let features = arch.features();
        let feature_ends = |index: usize, layer: &FeatureLayer| match layer {
            _ if is_trained("features", index) => Some(format!("features.{index} is trained")),
            FeatureLayer::BatchNorm { .. } if drifts => Some(format!(
                "features.{index} keeps updating its running statistics"
            )),
            FeatureLayer::Conv { .. }
            | FeatureLayer::BatchNorm { .. }
            | FeatureLayer::Relu
            | FeatureLayer::MaxPool => None,
        };
        let classifier_ends = |index: usize, layer: &ClassifierLayer| match layer {
            _ if is_trained("classifier", index) => Some(format!("classifier.{index} is trained")),
            ClassifierLayer::Dropout if experiment.model.dropout > 0.0 => {
                Some(format!("the dropout of classifier.{index} is active"))
            }
            ClassifierLayer::Dropout | ClassifierLayer::Relu | ClassifierLayer::Linear { .. } => {
                None
            }
        };
        let ends = features.iter().enumerate();
        let ends = ends.map(|(index, layer)| feature_ends(index, layer));
        // The pooling has no parameters and no randomness.
        let ends = ends.chain([None]);
        // The number of classes only affects the last layer, which is never in a prefix because something is always trained.
        let classifier = arch.classifier(1);
        let ends = ends.chain(
            classifier
                .iter()
                .enumerate()
                .map(|(index, layer)| classifier_ends(index, layer)),
        );
        let (n_layers, end) = ends
            .enumerate()
            .find_map(|(index, end)| Some((index, end?)))
            .expect("every phase trains something");
        let size = experiment.transforms.size();
        let name = match n_layers.checked_sub(features.len() + 1) {
            Some(0) => "features and pooling".to_owned(),
            Some(n_classifier) => format!("features, pooling and classifier[:{n_classifier}]"),
            None => format!("features[:{n_layers}]"),
        };
        Self {
            n_layers,
            name,
            shape: arch.shape_after(n_layers, size.height, size.width),
            end,
        }
    }
}

impl Prefix {
    /// Whether a parameter or buffer belongs to the prefix.
    pub(crate) fn holds(&self, path: &str, arch: Arch) -> bool {
        let mut words = path.split('.');
        let section = words.next();
        let Some(index) = words.next().and_then(|index| index.parse::<usize>().ok()) else {
            return false;
        };
        let n_before = match section {
            Some("features") => 0,
            _ => arch.features().len() + 1,
        };
        n_before + index < self.n_layers
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
            (
                prefix.n_layers,
                prefix.shape.as_slice(),
                prefix.end.as_str()
            ),
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

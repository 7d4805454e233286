//! Weight files in every layout, weights that do not fit, and batch norm.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use burn::{
    nn::{PaddingConfig2d, conv::Conv2dConfig},
    tensor::{Distribution, Tensor, TensorData},
};

use super::{conv, families::Arch, network::Network, state, tensor_file, weights};
use crate::{
    config::experiment::{Experiment, Weights},
    plan::Plan,
    test_support::{experiment, test_device},
    train::{learner::Learner, optimizer::States},
};

fn slim(weights: &str, more: &str) -> Experiment {
    experiment(&format!(
        "data.root = \".\"\n[model]\narch = \"vgg16_slim\"\nweights = {weights:?}\n{more}\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"all\"]"
    ))
}

#[test]
fn every_layout_of_a_weight_file_reads_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights");
    let files = [
        "zip.pth",
        "legacy.pth",
        "nested.pth",
        "wrapped.pth",
        "half.pth",
        "plain.safetensors",
        "bfloat16.safetensors",
    ];
    for file in files {
        let state = state::read(&folder.join(file)).unwrap();
        let kernel = &state["features.0.weight"];
        assert_eq!(kernel.shape, [2, 3, 3, 3], "{file}");
        let expected: Vec<f32> = (0_u8..54).map(|value| f32::from(value) / 8.0).collect();
        assert_eq!(kernel.values, expected, "{file}");
        assert_eq!(
            state.len(),
            2,
            "{file}: what is not floating point is left out"
        );
    }
}

/// A complete `vgg16_slim` for two classes, changed and written to a file.
fn file_with(change: impl FnOnce(&mut state::StateDict)) -> tempfile::TempDir {
    let experiment = slim("none", "");
    let mut state = weights::load(&experiment.model, 2, 1)
        .unwrap()
        .state
        .complete();
    change(&mut state);
    let folder = tempfile::tempdir().unwrap();
    tensor_file::write(
        &state,
        &BTreeMap::new(),
        &folder.path().join("w.safetensors"),
    )
    .unwrap();
    folder
}

fn load_error(folder: &tempfile::TempDir, more: &str) -> String {
    let path = folder.path().join("w.safetensors");
    let experiment = slim(path.to_str().unwrap(), more);
    weights::load(&experiment.model, 2, 1)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn weights_that_nothing_can_be_computed_with_are_refused_by_name() {
    let error_with = |name: &str, value: f32| {
        let folder = file_with(|state| state.get_mut(name).unwrap().values[7] = value);
        load_error(&folder, "")
    };
    for value in [f32::NAN, f32::NEG_INFINITY] {
        let error = error_with("features.0.weight", value);
        let named = error.contains("`features.0.weight`: 1 of ");
        let told = error.contains(" values are NaN or infinite") && error.contains("\nhelp: use");
        assert!(named && told, "{error}");
    }
    // The last layer of a file is replaced, whatever it holds.
    let last = Arch::find("vgg16_slim")
        .unwrap()
        .tensors(2)
        .pop()
        .unwrap()
        .path;
    let folder = file_with(|state| state.get_mut(&last).unwrap().values[0] = f32::NAN);
    assert_eq!(load_error(&folder, ""), "");
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once() {
    let folder = file_with(|state| {
        state.remove("features.2.bias");
        state.get_mut("classifier.0.weight").unwrap().shape = vec![3136, 512];
        let stray = state["features.0.bias"].clone();
        state.insert("features.1.bias".to_owned(), stray);
    });
    let error = load_error(&folder, "");
    assert!(error.contains("(3 problems)"), "{error}");
    for fact in [
        "`features.2.bias` is missing",
        "`classifier.0.weight` has shape [3136, 512], expected [512, 3136]",
        "`features.1.bias` is unexpected",
    ] {
        assert!(error.contains(fact), "{error}");
    }
    let error = load_error(&folder, "fresh = [\"classifier\", \"features[2]\"]");
    assert!(error.contains("(1 problem)"), "{error}");
}

#[test]
fn a_wrong_hash_is_refused() {
    let folder = file_with(|_| ());
    let error = load_error(&folder, "weights_sha256 = \"0123456789\"");
    assert!(error.contains("should begin with 0123456789"), "{error}");
    assert_eq!(load_error(&folder, ""), "");
}

#[test]
fn the_last_layer_always_starts_fresh_and_the_rest_is_the_file_s() {
    let folder = file_with(|_| ());
    let path = folder.path().join("w.safetensors");
    let experiment = slim(path.to_str().unwrap(), "");
    let loaded = weights::load(&experiment.model, 5, 1).unwrap();
    assert_eq!(loaded.fresh, ["classifier.6.weight", "classifier.6.bias"]);
    let state = loaded.state.complete();
    assert_eq!(state["classifier.6.weight"].shape, [5, 512]);
    let file = state::read(&path).unwrap();
    assert_eq!(state["classifier.3.weight"], file["classifier.3.weight"]);
}

#[test]
fn absent_weights_say_where_and_how() {
    let experiment = experiment(
        "data.root = \".\"\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"classifier\"]",
    );
    assert!(matches!(experiment.model.weights, Weights::Known(_)));
    let weights::Location::File(path) = weights::locate(&experiment.model) else {
        panic!("known weights are a file")
    };
    assert!(path.ends_with("hub/checkpoints/vgg16-397923af.pth"));
    let slim = slim("nowhere/w.pth", "");
    let error = weights::check_presence(&slim.model)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("nowhere/w.pth") && error.contains("help:"),
        "{error}"
    );
}

#[test]
fn every_architecture_gives_back_the_state_it_was_built_from() {
    for arch in ["vgg16_slim", "vgg11_bn", "resnet18", "squeezenet1_1"] {
        let text = format!(
            "data.root = \".\"\n[model]\narch = \"{arch}\"\nweights = \"none\"\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"all\"]"
        );
        let experiment = experiment(&text);
        let state = weights::load(&experiment.model, 3, 1)
            .unwrap()
            .state
            .complete();
        let paper = Arc::new(experiment.paper(3));
        let device = test_device().autodiff();
        let model = Network::from_state(paper, 0.5, state.clone(), &device);
        assert!(model.state() == state, "{arch}");
    }
}

#[test]
fn a_damaged_file_is_named() {
    let folder = file_with(|_| ());
    let path = folder.path().join("w.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(load_error(&folder, "").contains("w.safetensors"));
}

#[test]
fn batch_norm_of_a_frozen_layer_keeps_its_statistics_unless_told_to_train() {
    for (choice, expected_change) in [("eval", false), ("train", true)] {
        let text = format!(
            "data.root = \".\"\n[model]\narch = \"vgg11_bn\"\nweights = \"none\"\nfrozen_batch_norm = \"{choice}\"\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"classifier\"]"
        );
        let experiment = experiment(&text);
        let state = weights::load(&experiment.model, 2, 1)
            .unwrap()
            .state
            .complete();
        let device = test_device().autodiff();
        let model = Network::from_state(Arc::new(experiment.paper(2)), 0.0, state.clone(), &device);
        let planned = &Plan::new(&experiment, 2, 2).phases[0];
        let learner = Learner::new(&experiment, planned, model, 2, States::new());
        let values: Vec<f32> = (0..2 * 3 * 32 * 32)
            .map(|value| (value as f32).sin())
            .collect();
        let input = Tensor::from_data(TensorData::new(values, [2, 3, 32, 32]), &device);
        learner.model().forward_steps(0..2, input.clone());
        let after = learner.model().state();
        assert_eq!(
            after["features.1.running_var"] != state["features.1.running_var"],
            expected_change,
            "{choice}"
        );
        assert_eq!(after["features.1.weight"], state["features.1.weight"]);
        if expected_change {
            // PyTorch: 0.9 of the old, 0.1 of the batch's unbiased variance.
            let outputs = convolved(&state, input);
            let expected = 0.9 + 0.1 * unbiased_variance(&outputs);
            let actual = after["features.1.running_var"].values[0];
            assert!(
                (actual - expected).abs() < 1e-5,
                "{actual}, expected {expected}"
            );
        }
    }
}

/// The first channel that the first convolution gives.
fn convolved(state: &state::StateDict, input: Tensor<4>) -> Vec<f32> {
    let kernel = &state["features.0.weight"];
    let weight = Tensor::<4>::from_data(
        TensorData::new(kernel.values.clone(), kernel.shape.clone()),
        &input.device(),
    );
    let options = burn::tensor::ops::ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let output = burn::tensor::module::conv2d(input, weight, None, options);
    output.narrow(1, 0, 1).into_data().try_into_vec().unwrap()
}

fn unbiased_variance(values: &[f32]) -> f32 {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f32>()
        / (values.len() - 1) as f32
}

/// Norm of the difference over the norm.
fn distance<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) -> f32 {
    let norm = |tensor: Tensor<D>| tensor.square().sum().sqrt().into_scalar::<f32>();
    norm(actual - expected.clone()) / norm(expected)
}

#[test]
fn convolutions_of_our_own_have_the_gradients_of_burn_s() {
    let device = test_device().autodiff();
    for [n, inputs, outputs, side] in [[2, 512, 512, 14], [1, 256, 512, 7], [3, 5, 8, 9]] {
        let config = Conv2dConfig::new([inputs, outputs], [3, 3]);
        let layer = config
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(&device);
        let random = |channels| {
            let values =
                Tensor::<4>::random([n, channels, side, side], Distribution::Default, &device);
            values.require_grad()
        };
        let (input, factor) = (random(inputs), random(outputs).detach());
        let gradients = |output: Tensor<4>| {
            let mut gradients = (output * factor.clone()).sum().backward();
            let bias = layer.bias.as_ref().unwrap().val();
            (
                layer.weight.val().grad_remove(&mut gradients).unwrap(),
                bias.grad_remove(&mut gradients).unwrap(),
                input.grad_remove(&mut gradients).unwrap(),
            )
        };
        let ours = gradients(conv::forward(&layer, input.clone()));
        let burns = gradients(layer.forward(input.clone()));
        let distances = [
            distance(ours.0, burns.0),
            distance(ours.1, burns.1),
            distance(ours.2, burns.2),
        ];
        assert!(
            distances.iter().all(|it| *it < 1e-5),
            "{inputs} -> {outputs}: {distances:?}"
        );
    }
}

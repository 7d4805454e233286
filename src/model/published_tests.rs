//! Weight files as they are published: half precision, counters of batch norm, and SqueezeNet's own.

use std::{collections::HashMap, path::Path};

use half::f16;
use safetensors::{Dtype, serialize_to_file, tensor::TensorView};

use super::{families::Arch, state, weights};
use crate::{
    config::experiment::Experiment,
    test_support::{experiment, shared},
};

fn experiment_with(arch: &str, weights: &str) -> Experiment {
    experiment(&format!(
        "data.root = \".\"\n[model]\narch = {arch:?}\nweights = {weights:?}\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"all\"]"
    ))
}

#[test]
fn a_resnet_in_half_precision_is_read_without_its_counters() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights");
    let state = state::read(&folder.join("resnet_half.pth")).unwrap();
    let names: Vec<&str> = state.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "bn1.bias",
            "bn1.running_mean",
            "bn1.running_var",
            "bn1.weight",
            "conv1.weight"
        ]
    );
    assert_eq!(state["conv1.weight"].shape, [2, 3, 7, 7]);
    let expected: Vec<f32> = (0_u16..294).map(|value| f32::from(value) / 8.0).collect();
    assert_eq!(state["conv1.weight"].values, expected);
    // The ends of the range of half precision.
    assert_eq!(state["bn1.running_var"].values, [2_f32.powi(-14), 65504.0]);
    assert_eq!(state["bn1.running_mean"].values, [-2.0, 3.0]);
}

#[test]
fn a_whole_network_in_half_precision_becomes_single_precision() {
    let arch = Arch::find("resnet18").unwrap();
    let fresh = weights::load(&experiment_with("resnet18", "none").model, 2, 1).unwrap();
    let fresh = fresh.state.complete();
    let bytes: HashMap<&str, Vec<u8>> = fresh
        .iter()
        .map(|(path, tensor)| {
            let halves = tensor.values.iter().map(|value| f16::from_f32(*value));
            (path.as_str(), halves.flat_map(f16::to_le_bytes).collect())
        })
        .collect();
    let counter = 7_i64.to_le_bytes();
    let mut views: Vec<(String, TensorView<'_>)> = fresh
        .iter()
        .map(|(path, tensor)| {
            let bytes = &bytes[path.as_str()];
            let view = TensorView::new(Dtype::F16, tensor.shape.clone(), bytes).unwrap();
            (path.clone(), view)
        })
        .collect();
    for spec in arch.tensors(2) {
        if let Some(norm) = spec.path.strip_suffix(".running_var") {
            let view = TensorView::new(Dtype::I64, Vec::new(), &counter).unwrap();
            views.push((format!("{norm}.num_batches_tracked"), view));
        }
    }
    assert_eq!(views.len(), 122, "as in torchvision's file");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    serialize_to_file(views, None, &path).unwrap();
    let experiment = experiment_with("resnet18", path.to_str().unwrap());
    let loaded = weights::load(&experiment.model, 3, 1).unwrap();
    assert_eq!(loaded.fresh, ["fc.weight", "fc.bias"]);
    let state = loaded.state.complete();
    assert_eq!(state.len(), fresh.len());
    let rounded = |path: &str| -> Vec<f32> {
        let values = fresh[path].values.iter();
        values.map(|value| f16::from_f32(*value).to_f32()).collect()
    };
    for (path, tensor) in &state {
        if !path.starts_with("fc.") {
            assert!(tensor.values == rounded(path), "{path}");
        }
    }
    assert_ne!(
        rounded("conv1.weight"),
        fresh["conv1.weight"].values,
        "half precision rounds"
    );
}

#[test]
fn the_trained_squeezenet_fits_its_architecture() {
    let name = "the_trained_squeezenet_fits_its_architecture";
    let Some(path) = shared(name, "weights/squeezenet1_1_imagenet.pth") else {
        return;
    };
    let experiment = experiment_with("squeezenet1_1", path.to_str().unwrap());
    let loaded = weights::load(&experiment.model, 2, 1).unwrap();
    assert_eq!(loaded.fresh, ["classifier.1.weight", "classifier.1.bias"]);
    let state = loaded.state.complete();
    let file = super::state::read(&path).unwrap();
    assert_eq!((state.len(), file.len()), (52, 52));
    for (path, tensor) in file {
        if !path.starts_with("classifier.") {
            assert!(state[&path] == tensor, "{path}");
        }
    }
    assert_eq!(state["classifier.1.weight"].shape, [2, 512, 1, 1]);
}

#[test]
fn a_published_file_must_have_the_whole_hash_that_is_known_of_it() {
    let published = experiment_with("resnet50", "imagenet1k_v2");
    let path = Path::new("weights.pth");
    let sha256 = "11ad3fa600000000000000000000000000000000000000000000000000000000";
    let error = weights::check_hash(&published.model, path, sha256).unwrap_err();
    let expected = "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca";
    assert!(error.to_string().contains(expected), "{error}");
    assert!(weights::check_hash(&published.model, path, expected).is_ok());
    // Of others, the name has the beginning.
    let published = experiment_with("resnet101", "imagenet1k_v2");
    let sha256 = format!("cd907fc2{}", &sha256[8..]);
    assert!(weights::check_hash(&published.model, path, &sha256).is_ok());
    assert!(weights::check_hash(&published.model, path, expected).is_err());
}

//! Real jobs: photographs and ImageNet weights, where the shared data is there.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::program::{column, read_toml, shared};

/// Trains the last layers of pretrained weights with `configs/head_only.toml` and these settings; the folder keeps the run.
fn trained(weights: &Path, photos: &Path, settings: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/head_only.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    command.arg(config).env("XDG_CACHE_HOME", folder.path());
    for (key, path) in [
        ("data.root", photos),
        ("model.weights", weights),
        ("runs_dir", &folder.path().join("runs")),
    ] {
        command.args(["--set", &format!("{key}={}", path.display())]);
    }
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let run = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    (folder, run)
}

fn best_accuracy(run: &Path) -> f64 {
    let accuracies = column(run, "valid_accuracy").into_iter();
    let accuracies = accuracies.map(|text| text.parse().unwrap());
    accuracies.fold(0.0, f64::max)
}

/// Takes a minute: 640 photos train for one epoch, which must do what three are allowed.
#[test]
fn the_head_of_vgg16_learns_cats_and_dogs() {
    let name = "the_head_of_vgg16_learns_cats_and_dogs";
    let Some((weights, shared)) = shared(name, "weights/vgg16_imagenet_features.pth") else {
        return;
    };
    let settings = ["model.fresh=[\"classifier\"]", "phase.head.epochs=1"];
    let (_folder, run) = trained(&weights, &shared.join("pets"), &settings);
    assert_eq!(
        read_toml(&run.join("manifest.toml"))["n_train"].as_integer(),
        Some(640)
    );
    let accuracy = best_accuracy(&run);
    assert!(accuracy >= 0.95, "{accuracy}");
}

#[test]
fn the_head_of_squeezenet_learns_cats_and_dogs_and_ants_and_bees() {
    let name = "the_head_of_squeezenet_learns_cats_and_dogs_and_ants_and_bees";
    let Some((weights, shared)) = shared(name, "weights/squeezenet1_1_imagenet.pth") else {
        return;
    };
    for (photos, at_least) in [("pets", 0.93), ("hymenoptera", 0.78)] {
        let settings = [
            "model.arch=squeezenet1_1",
            "phase.head.trainable=[\"head\"]",
            "phase.head.epochs=3",
        ];
        let (_folder, run) = trained(&weights, &shared.join(photos), &settings);
        let accuracy = best_accuracy(&run);
        assert!(accuracy >= at_least, "{photos}: {accuracy}");
    }
}

//! The real job: photographs and VGG16's `ImageNet` features, where the shared data is there.

use std::{path::PathBuf, process::Command};

use crate::program::{column, read_toml, shared};

/// Takes minutes: 640 photos train for one epoch, which must do what three are allowed.
#[test]
fn the_head_of_vgg16_learns_cats_and_dogs() {
    let name = "the_head_of_vgg16_learns_cats_and_dogs";
    let Some((weights, shared)) = shared(name, "weights/vgg16_imagenet_features.pth") else {
        return;
    };
    let runs = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let set = |key: &str, value: &str| ["--set".to_owned(), format!("{key}={value}")];
    let output = Command::new(env!("CARGO_BIN_EXE_runner"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/configs/head_only.toml"
        ))
        .args(set("data.root", shared.join("pets").to_str().unwrap()))
        .args(set("model.weights", weights.to_str().unwrap()))
        .args(set("model.fresh", "[\"classifier\"]"))
        .args(set("phase.head.epochs", "1"))
        .args(set("runs_dir", runs.path().to_str().unwrap()))
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let run = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    assert_eq!(
        read_toml(&run.join("manifest.toml"))["n_train"].as_integer(),
        Some(640)
    );
    let accuracy: f64 = column(&run, "valid_accuracy")[0].parse().unwrap();
    assert!(accuracy >= 0.95, "{accuracy}");
}

//! The real job: photographs and VGG16's `ImageNet` features, where the shared data is there.

use std::{env, path::PathBuf, process::Command};

use crate::program::{column, read_toml};

/// Takes minutes: 640 photos train for one epoch, which must do what three are allowed.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn the_head_of_vgg16_learns_cats_and_dogs() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
    let shared =
        env::var_os("RUNNER_TEST_SHARED_DATA").map_or_else(|| default.into(), PathBuf::from);
    let weights = shared.join("weights/vgg16_imagenet_features.pth");
    if !weights.is_file() {
        eprintln!(
            "the_head_of_vgg16_learns_cats_and_dogs: skipped: {} is absent",
            weights.display()
        );
        return;
    }
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

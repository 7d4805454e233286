//! Images that are cropped rather than squashed, from training to the export.

use std::fs;

use serde_json::{Value, json};

use crate::program::{Case, metrics, read, read_toml};

const CROP: [&str; 6] = [
    "--set",
    "transforms.shorter=40",
    "--set",
    "transforms.crop=32",
    "--set",
    "transforms.interpolation=bicubic",
];

fn last_line(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn a_crop_is_used_and_recorded_from_training_to_the_export() {
    let case = Case::new("");
    let squashed = case.train(&[]);
    let run = case.train(&CROP);
    // The frozen layers saw other images, so that nothing in the cache fits.
    assert!(read(&run.join("run.log")).contains("0 of 20 images are cached"));
    assert_ne!(metrics(&squashed), metrics(&run));

    let resolved = read_toml(&run.join("resolved.toml"));
    let transforms = resolved["transforms"].as_table().unwrap();
    assert_eq!(transforms["shorter"].as_integer(), Some(40));
    assert_eq!(transforms["crop"].as_integer(), Some(32));
    assert_eq!(transforms["interpolation"].as_str(), Some("bicubic"));
    assert!(!transforms.contains_key("resize"));

    let run_name = run.to_str().unwrap();
    let loss = |more: &[&str]| {
        let words = ["--json", "evaluate", run_name];
        last_line(&case.ok(&[&words, more].concat()))["loss"]
            .as_f64()
            .unwrap()
    };
    let summary = read_toml(&run.join("summary.toml"));
    assert_eq!(Some(loss(&[])), summary["best"]["valid_loss"].as_float());
    let recorded = loss(&[]);
    for other in [
        ["--set", "transforms.resize=[32, 32]"],
        ["--set", "transforms.shorter=32"],
        ["--set", "transforms.interpolation=bilinear"],
    ] {
        let changed = loss(&other);
        assert!((changed - recorded).abs() > 1e-9, "{other:?}: {changed}");
    }

    case.ok(&["export", run_name, "model.safetensors"]);
    let bytes = fs::read(case.path("model.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    for (key, value) in [
        (
            "resize",
            "shorter side to 40, center crop to input_size, bicubic, antialiased",
        ),
        ("shorter", "40"),
        ("interpolation", "bicubic"),
        ("input_size", "[32,32]"),
    ] {
        assert_eq!(metadata[key], value, "{key}");
    }
}

#[test]
fn plan_and_check_show_the_transforms() {
    let case = Case::new("");
    let crops = ["--set", "augment.crop_scale=[0.5, 1.0]"];
    let with = |command: &str, sets: &[&str]| {
        let words = [command, "small.toml"];
        case.ok(&[&words, sets].concat())
    };
    let line = "resize the shorter side to 40, center crop 32 x 32, bicubic";
    let plan = with("plan", &CROP);
    assert!(plan.contains(&format!("\ntransforms  {line}\n")), "{plan}");
    let plan = with("plan", &[CROP.as_slice(), &crops].concat());
    let random = "; training images: random crops resized to 32 x 32";
    assert!(plan.contains(&format!("{line}{random}\n")), "{plan}");
    let check = with("check", &CROP);
    assert!(check.contains(&format!("transforms: {line};")), "{check}");

    let fields =
        last_line(&case.ok(&[&["--json", "plan", "small.toml"], CROP.as_slice()].concat()));
    let expected = json!({"input_size": [32, 32], "shorter": 40, "interpolation": "bicubic"});
    assert_eq!(fields["transforms"], expected);
}

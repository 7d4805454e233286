//! What a run is said to take, what it takes, and that it is refused where that cannot be had.

use std::{fs, path::Path};

use crate::{
    program::{Case, edit_sealed, read, read_toml, shared},
    voice::Transcript,
};

const MIB: f64 = (1 << 20) as f64;

/// What `plan` predicts, in mebibytes.
fn predicted(case: &Case, args: &[&str]) -> f64 {
    let plan = case.json(&[&["plan"], args].concat());
    plan["memory_bytes"].as_f64().unwrap() / MIB
}

fn check_ratio(predicted: f64, run: &Path) {
    let summary = read_toml(&run.join("summary.toml"));
    let measured = summary["peak_memory_bytes"].as_integer().unwrap() as f64 / MIB;
    let ratio = predicted / measured;
    assert!(
        (0.8..1.25).contains(&ratio),
        "{predicted:.0} MiB were predicted, {measured:.0} taken"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_small_run_takes_what_was_predicted() {
    let case = Case::new("");
    let more = "threads=2 data.batch_size=16 transforms.resize=[128,128] phase.features24.trainable=[\"all\"]";
    let sets: Vec<&str> = more.split(' ').flat_map(|set| ["--set", set]).collect();
    let run = case.train(&sets);
    let predicted = predicted(&case, &[&["small.toml"], &sets[..]].concat());
    check_ratio(predicted, &run);
    let manifest = read_toml(&run.join("manifest.toml"));
    assert!(manifest["predicted_memory_bytes"].as_integer().unwrap() > 0);
}

/// VGG16 itself, on a few photos; a minute.
#[cfg(target_os = "linux")]
#[test]
fn the_head_of_vgg16_takes_what_was_predicted() {
    let name = "the_head_of_vgg16_takes_what_was_predicted";
    let Some((weights, shared)) = shared(name, "weights/vgg16_imagenet_features.pth") else {
        return;
    };
    let case = Case::new("");
    case.photographs(&shared, 16);
    let text = format!(
        "threads = 2\ndata.root = \"photos\"\n[model]\nfresh = [\"classifier\"]\nweights = {weights:?}\n\
         [[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n"
    );
    fs::write(case.path("head.toml"), text).unwrap();
    let predicted = predicted(&case, &["head.toml"]);
    assert!(predicted > 1400.0, "{predicted}");
    let run = case.path(&case.ok(&["head.toml"]));
    check_ratio(predicted, &run);
}

/// In KiB of address space.
#[cfg(target_os = "linux")]
const LIMIT: &str = "-v 1150000";

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_fit_is_refused_before_anything_is_written() {
    let case = Case::new("");
    let large = [
        "--set",
        "model.arch=vgg16",
        "--set",
        "model.weights=none",
        "--set",
        "threads=1",
    ];
    let predicted = predicted(&case, &[&["small.toml"], &large[..]].concat());
    // Parameters, two moments and a copy of the best model have 1.8 GiB.
    assert!((1850.0..2400.0).contains(&predicted), "{predicted}");
    let mut transcript = Transcript::new(&case);
    for command in ["train", "check"] {
        let args = [&[command, "small.toml"], &large[..]].concat();
        let output = case.run_limited(LIMIT, &args);
        transcript.output(&format!("runner {command} small.toml"), &output);
    }
    transcript.is("memory/too_large");
    assert!(!case.path("runs").exists());
    // Neither is a plan, and neither is who insists.
    let args = [&["plan", "small.toml"], &large[..]].concat();
    assert!(case.run_limited(LIMIT, &args).status.success());
    let args = [
        &["check", "small.toml", "--set", "memory=ignore"],
        &large[..],
    ]
    .concat();
    assert!(case.run_limited(LIMIT, &args).status.success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_cannot_go_on_here_is_left_as_it_is() {
    let case = Case::new("");
    let run = case.train(&["--set", "threads=1"]);
    // As if it had been stopped, on a machine with more memory.
    fs::remove_file(run.join("summary.toml")).unwrap();
    let resolved = read(&run.join("resolved.toml"));
    edit_sealed(&run.join("resolved.toml"), |text| {
        let large = text.replace("resize = [\n    32,\n    32,\n]", "resize = [3200, 3200]");
        large.replace("resize = [32, 32]", "resize = [3200, 3200]")
    });
    assert_ne!(resolved, read(&run.join("resolved.toml")));
    let status = read(&run.join("status.toml"));
    let output = case.run_limited(LIMIT, &["resume", run.to_str().unwrap()]);
    Transcript::new(&case)
        .output("runner resume RUN", &output)
        .is("memory/too_large_to_resume");
    assert_eq!(read(&run.join("status.toml")), status);
}

#[cfg(target_os = "linux")]
#[test]
fn a_sweep_with_one_trial_that_cannot_fit_starts_none() {
    let case = Case::new("");
    let sweep = "base = \"small.toml\"\n[set]\nmodel.weights = \"none\"\nthreads = 1\n\
        [axes]\nmodel.arch = [\"vgg16_slim\", \"vgg16\"]\n";
    fs::write(case.path("archs.toml"), sweep).unwrap();
    let output = case.run_limited(LIMIT, &["sweep", "archs.toml"]);
    Transcript::new(&case)
        .output("runner sweep archs.toml", &output)
        .is("memory/a_trial_too_large");
    assert!(!case.path("runs").exists());
}

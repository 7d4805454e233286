//! What a run is said to take, what it takes, and that it is refused where that cannot be had.

use std::{fs, path::Path};

use crate::program::{Case, edit_sealed, read, read_toml, shared};

const MIB: f64 = (1 << 20) as f64;

/// What `plan` predicts, in mebibytes.
fn predicted(case: &Case, args: &[&str]) -> f64 {
    let answer = case.ok(&[&["plan", "--json"], args].concat());
    let plan: serde_json::Value = serde_json::from_str(answer.lines().last().unwrap()).unwrap();
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
    let shown = case.ok(&["show", run.to_str().unwrap()]);
    let line = shown.lines().find(|line| line.starts_with("memory"));
    assert!(
        line.is_some_and(|line| line.contains("MiB (predicted ")),
        "{shown}"
    );
    assert!(read(&run.join("run.log")).contains("MiB peak memory"));
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

/// Runs the program with so many KiB of address space; exit code and stderr.
#[cfg(target_os = "linux")]
fn with_limit(case: &Case, kib: usize, args: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -v {kib} && exec \"$@\""),
            "sh",
            env!("CARGO_BIN_EXE_runner"),
        ])
        .args(args)
        .env("XDG_CACHE_HOME", case.path("cache"))
        .current_dir(case.path(""))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr)
}

const LIMIT: usize = 1_150_000;

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
    for command in ["train", "check"] {
        let args = [&[command, "small.toml"], &large[..]].concat();
        let (code, stderr) = with_limit(&case, LIMIT, &args);
        assert_eq!(code, Some(1), "{command}: {stderr}");
        for words in [
            "not enough memory: the run needs about 1.",
            " are available (`ulimit -v`)\n  --> small.toml\n  program ",
            "help: use `--set ",
            "`--set optimizer.kind=sgd`",
            "`--set memory=ignore`",
        ] {
            assert!(stderr.contains(words), "{command}: {words}: {stderr}");
        }
    }
    assert!(!case.path("runs").exists());
    // Neither is a plan, and neither is who insists.
    let args = [&["plan", "small.toml"], &large[..]].concat();
    assert_eq!(with_limit(&case, LIMIT, &args).0, Some(0));
    let args = [
        &["check", "small.toml", "--set", "memory=ignore"],
        &large[..],
    ]
    .concat();
    assert_eq!(with_limit(&case, LIMIT, &args).0, Some(0));
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
    let (code, stderr) = with_limit(&case, LIMIT, &["resume", run.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{stderr}");
    for words in [
        "not enough memory: the run needs about",
        "resolved.toml",
        "`memory = \"ignore\"` in that file",
    ] {
        assert!(stderr.contains(words), "{stderr}");
    }
    assert_eq!(read(&run.join("status.toml")), status);
}

#[cfg(target_os = "linux")]
#[test]
fn a_sweep_with_one_trial_that_cannot_fit_starts_none() {
    let case = Case::new("");
    let sweep = "base = \"small.toml\"\n[set]\nmodel.weights = \"none\"\nthreads = 1\n\
        [axes]\nmodel.arch = [\"vgg16_slim\", \"vgg16\"]\n";
    fs::write(case.path("archs.toml"), sweep).unwrap();
    let (code, stderr) = with_limit(&case, LIMIT, &["sweep", "archs.toml"]);
    assert_eq!(code, Some(3), "{stderr}");
    for words in ["the run needs about 1.", "in trial 2 (arch=vgg16)"] {
        assert!(stderr.contains(words), "{stderr}");
    }
    assert!(!case.path("runs").exists());
}

//! What commands say beside their answers: caveats, warnings, and what became of damaged or failed runs.

use std::fs;

use super::Transcript;
use crate::{
    program::{Case, read},
    runs::text,
};

#[test]
fn the_caveats_of_a_comparison() {
    let case = Case::new("");
    case.train(&[]);
    case.train(&["--set", "name=child", "--set", "init_from=latest:small"]);
    let leaks = [
        "name=leaks",
        "init_from=latest:small",
        "allow_other_split=true",
        "split.valid=0.5",
    ];
    let sets: Vec<&str> = leaks.iter().flat_map(|set| ["--set", *set]).collect();
    case.train(&sets);
    case.train(&[
        "--set",
        "name=other",
        "--set",
        "split.valid=0.5",
        "--set",
        "model.weights=none",
    ]);
    fs::remove_file(case.path("data/Cat/0.jpg")).unwrap();
    case.train(&["--set", "name=fewer"]);
    Transcript::new(&case)
        .run(&["compare", "latest:small", "latest:child"])
        .run(&["compare", "latest:small", "latest:leaks"])
        .run(&["compare", "latest:small", "latest:other"])
        .run(&["compare", "latest:small", "latest:fewer"])
        .is("compare_caveats");
}

#[test]
fn runs_that_failed_or_were_killed() {
    let case = Case::new("");
    let killed = case.train(&["--set", "name=killed"]);
    let status = read(&killed.join("status.toml")).replace("finished", "running");
    fs::write(killed.join("status.toml"), status).unwrap();
    fs::remove_file(killed.join("summary.toml")).unwrap();
    case.fails(
        1,
        &[
            "small.toml",
            "--set",
            "name=failed",
            "--set",
            "phase.head.lr=1e30",
        ],
    );
    Transcript::new(&case)
        .run(&["list"])
        .run(&["show", "latest:failed"])
        .run(&["resume", "latest:killed"])
        .is("killed_and_failed_runs");
}

#[test]
fn a_damaged_checkpoint_is_left_for_the_one_before() {
    let case = Case::new("");
    let run = case.train(&[]);
    fs::remove_file(run.join("summary.toml")).unwrap();
    fs::write(run.join("checkpoints/last/model.safetensors"), "damaged").unwrap();
    let mut transcript = Transcript::new(&case);
    transcript.run(&["resume", text(&run)]);
    fs::remove_file(run.join("summary.toml")).unwrap();
    for checkpoint in ["last", "previous-last"] {
        let model = run
            .join("checkpoints")
            .join(checkpoint)
            .join("model.safetensors");
        fs::write(model, "damaged").unwrap();
    }
    transcript
        .run(&["resume", text(&run)])
        .is("damaged_checkpoints");
}

#[test]
fn doubtful_settings_are_warned_of() {
    let case = Case::new("");
    Transcript::new(&case)
        .run(&["check", "small.toml", "--set", "data.batch_size=64"])
        .run(&["check", "small.toml", "--set", "split.valid=0.05"])
        .is("warnings");
}

#[test]
fn a_sweep_with_a_trial_that_fails() {
    let case = Case::new("");
    let rates = "base = \"small.toml\"\n[axes]\nphase.head.lr = [1e-3, 1e30]\n";
    fs::write(case.path("rates.toml"), rates).unwrap();
    Transcript::new(&case)
        .fails(&["sweep", "rates.toml"])
        .run(&["sweep", "rates.toml", "--dry-run"])
        .is("sweep_with_a_failure");
}

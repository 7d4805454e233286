//! What commands answer when all is well.

use std::fs;

use super::Transcript;
use crate::{program::Case, sweep::RATES};

#[test]
fn the_data_and_the_plan_of_an_experiment() {
    let case = Case::new("");
    Transcript::new(&case)
        .run(&["check", "small.toml"])
        .run(&["plan", "small.toml"])
        .run(&["config", "small.toml"])
        .run(&[
            "config",
            "small.toml",
            "--origin",
            "--set",
            "optimizer.lr=1e-2",
        ])
        .is("check_plan_config");
}

#[test]
fn a_run_from_training_to_removal() {
    let case = Case::new("");
    let split = ["--set", "split.test=0.2"];
    let mut transcript = Transcript::new(&case);
    transcript.run(&[&["small.toml"], &split[..]].concat());
    transcript.run(
        &[
            &[
                "small.toml",
                "--set",
                "name=other",
                "--set",
                "phase.head.lr=1e-2",
            ],
            &split[..],
        ]
        .concat(),
    );
    transcript.is("train");
    let mut transcript = Transcript::new(&case);
    transcript
        .run(&["list"])
        .run(&["show", "latest:small"])
        .is("list_show");
    Transcript::new(&case)
        .run(&["compare", "latest:small", "latest:other"])
        .run(&["compare", "latest:small", "latest:other", "--markdown"])
        .is("compare");
    Transcript::new(&case)
        .run(&["evaluate", "latest:small"])
        .run(&[
            "evaluate",
            "latest:small",
            "--checkpoint",
            "last",
            "--split",
            "test",
        ])
        .is("evaluate");
    Transcript::new(&case)
        .run(&[
            "resume",
            "latest:small",
            "--set",
            "phase.features24.epochs=3",
        ])
        .is("resume");
    Transcript::new(&case)
        .run(&["export", "latest:small", "model.safetensors"])
        .run(&["verify", "latest:small"])
        .run(&["slim", "latest:other"])
        .run(&["list"])
        .run(&["cache"])
        .run(&["cache", "list"])
        .run(&["cache", "verify"])
        .run(&["cache", "prune", "--all", "--dry-run"])
        .run(&["cache", "prune", "--all"])
        .run(&["rm", "latest:other", "--yes"])
        .is("export_verify_slim_cache_rm");
}

#[test]
fn a_sweep_and_its_leaderboard() {
    let case = Case::new("");
    fs::write(
        case.path("rates.toml"),
        RATES.replace("launcher.max_parallel = 2", "launcher.max_parallel = 1"),
    )
    .unwrap();
    Transcript::new(&case)
        .run(&["sweep", "rates.toml", "--dry-run"])
        .run(&["sweep", "rates.toml"])
        .run(&["sweep", "rates.toml"])
        .is("sweep");
}

#[test]
fn what_a_newcomer_types_first() {
    let case = Case::empty();
    Transcript::new(&case)
        .run(&["sample-data", "data", "--per-class", "20"])
        .run(&["init", "mine", "--root", "data"])
        .run(&["check", "mine/experiment.toml"])
        .run(&["fetch"])
        .run(&["--version"])
        .is("sample_data_init_fetch");
}

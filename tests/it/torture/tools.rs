//! Kills of commands that write beside runs: what they leave is whole, or in nobody's way.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::events::{Dice, Ended, run_for};
use crate::program::{Case, read};

/// Kills a command over and over; after each kill `check` looks at what it left.
fn kill(case: &Case, args: &[&str], n_kills: u64, dice: &mut Dice, check: &dyn Fn(bool)) {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    for _ in 0..n_kills {
        let delay = Duration::from_secs_f64(dice.roll() * 0.06);
        check(run_for(case, &args, delay) == Ended::Done);
    }
}

#[test]
fn an_export_that_is_killed_leaves_no_half_and_can_be_done_again() {
    let n_kills = number("RUNNER_TORTURE", 10);
    let case = Case::new("");
    let run = case.train(&[]);
    let run = run.to_str().unwrap();
    case.ok(&["export", run, "whole.safetensors"]);
    let whole = fs::read(case.path("whole.safetensors")).unwrap();
    let path = case.path("out/model.safetensors");
    fs::create_dir(case.path("out")).unwrap();
    let mut dice = Dice(number("RUNNER_TORTURE_SEED", 1));
    kill(
        &case,
        &["export", run, "out/model.safetensors"],
        n_kills,
        &mut dice,
        &|is_done| {
            // Absent or whole, and never in the way of the next one.
            assert!(path.exists() || !is_done);
            if path.exists() {
                assert!(fs::read(&path).unwrap() == whole);
                fs::remove_file(&path).unwrap();
            }
        },
    );
    case.ok(&["export", run, "out/model.safetensors"]);
    assert!(fs::read(&path).unwrap() == whole);
}

#[test]
fn a_prune_that_is_killed_leaves_a_cache_that_is_sound() {
    let n_kills = number("RUNNER_TORTURE", 10).div_ceil(5);
    let case = Case::new("[cache]\ndir = \"activations\"\n");
    let whole = case.train(&[]);
    let prune = ["cache", "prune", "--all", "--dir", "activations"];
    let mut dice = Dice(number("RUNNER_TORTURE_SEED", 1));
    let foreign = case.path("activations/0123456789abcdef");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("notes.txt"), "mine").unwrap();
    kill(&case, &prune, n_kills, &mut dice, &|_| {
        case.ok(&["cache", "verify", "--dir", "activations"]);
        let run = case.train(&[]);
        for file in ["steps.csv", "predictions.csv"] {
            assert_eq!(read(&run.join(file)), read(&whole.join(file)));
        }
    });
    case.ok(&prune);
    assert_eq!(read(&foreign.join("notes.txt")), "mine");
    let entries = fs::read_dir(case.path("activations")).unwrap();
    let names = entries.map(|entry| entry.unwrap().path());
    let entries: Vec<_> = names
        .filter(|path| path.join("about.toml").exists())
        .collect();
    assert_eq!(entries, Vec::<&Path>::new());
}

/// Whether a run was stopped by a loss, gradients or parameters that are not finite: by its words, as its exit code is that of
/// any failed training.
pub(super) fn is_of_numbers(stderr: &str) -> bool {
    ["finite", "the loss is NaN", "the loss is inf"]
        .iter()
        .any(|words| stderr.contains(words))
}

/// A number from the environment.
pub(super) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("it is a number"))
}

/// The run directories of the case, by name.
pub(super) fn runs(case: &Case) -> Vec<PathBuf> {
    let entries = fs::read_dir(case.path("runs")).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

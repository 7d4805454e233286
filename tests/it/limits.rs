//! What bounds a sweep: the disk, the attempts of a trial, the GPUs, and the user who cancels it.

use std::{
    fs,
    process::{Child, Stdio},
};

use crate::{
    program::{Case, column, metrics, read_toml, weights},
    sweep::{RATES, case_with, leaderboard, trials, wait_until},
};

const SWEEP: &[&str] = &["sweep", "rates.toml"];

fn states(case: &Case) -> Vec<String> {
    let rows = leaderboard(case).into_iter();
    rows.map(|row| row[2].clone()).collect()
}

fn start(case: &Case) -> Child {
    let mut command = case.command(SWEEP);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn have_begun(case: &Case) -> bool {
    let runs = trials(case);
    runs.len() == 2 && runs.iter().all(|run| run.join("metrics.csv").is_file())
}

#[test]
fn no_trial_starts_for_which_the_disk_has_no_room_left() {
    let one_by_one = RATES.replace("launcher.max_parallel = 2", "max_gib = 0.1");
    let case = case_with(&one_by_one);
    case.says("limits/no_room", SWEEP);
    assert_eq!(states(&case), ["finished", "waiting"]);
    let first = trials(&case);
    assert_eq!(first.len(), 1);
    let raised = one_by_one.replace("max_gib = 0.1", "max_gib = 1.5");
    fs::write(case.path("rates.toml"), raised).unwrap();
    case.ok(SWEEP);
    assert_eq!(states(&case), ["finished", "finished"]);
    assert!(trials(&case).contains(&first[0]));
}

#[test]
fn a_task_looks_for_room_itself() {
    let case = case_with(&RATES.replace("launcher.max_parallel = 2", "max_gib = 0.1"));
    case.ok(&["sweep", "rates.toml", "--emit", "out"]);
    case.ok(&["trial", "out/trials/rates-lr_1e-3"]);
    let output = case.says(
        "limits/no_room_for_a_task",
        &["trial", "out/trials/rates-lr_0.01"],
    );
    assert_eq!(output.status.code(), Some(1));
    // It has not failed: it has not been tried.
    let states = case.ok(&["sweep", "rates.toml", "--status"]);
    assert!(states.contains("1 finished, 1 waiting"), "{states}");
}

#[test]
fn a_trial_is_tried_as_often_as_the_sweep_says() {
    let case = case_with(&RATES.replace("1e-3", "1e30").replace(
        "launcher.max_parallel = 2",
        "launcher = { max_parallel = 2, max_attempts = 3 }",
    ));
    // Each call tries it anew.
    for _ in 0..2 {
        case.fails(1, SWEEP);
        let failure = case.path("runs/sweep-rates/trials/rates-lr_1e30/failure.toml");
        assert_eq!(read_toml(&failure)["attempts"].as_integer(), Some(3));
    }
    assert_eq!(states(&case), ["finished", "failed"]);
    assert_eq!(trials(&case).len(), 2);
}

#[test]
fn a_sweep_that_was_never_started_has_no_state() {
    let case = case_with(RATES);
    for option in ["--status", "--watch", "--cancel"] {
        let stderr = case.fails(2, &[SWEEP, &[option]].concat());
        assert!(stderr.contains("the sweep has not been started"));
    }
    assert!(!case.path("runs").exists());
}

#[test]
fn a_finished_sweep_is_not_watched_for_ever() {
    let case = case_with(RATES);
    case.ok(SWEEP);
    case.says("limits/status", &["sweep", "rates.toml", "--status"]);
    let watched = case.ok(&["sweep", "rates.toml", "--watch"]);
    assert!(watched.contains("2 trials: 2 finished"), "{watched}");
}

#[test]
fn a_sweep_of_the_version_before_is_gone_on_with() {
    let case = case_with(RATES);
    let answer = case.ok(SWEEP);
    let runs = trials(&case);
    let dir = case.path("runs/sweep-rates");
    for run in &runs {
        let name = read_toml(&run.join("manifest.toml"))["name"].clone();
        let folder = dir.join("trials").join(name.as_str().unwrap());
        fs::copy(
            folder.join("experiment.toml"),
            folder.with_extension("toml"),
        )
        .unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
    fs::remove_file(dir.join("trials.csv")).unwrap();
    fs::remove_file(dir.join("search.toml")).unwrap();
    assert_eq!((case.ok(SWEEP), trials(&case)), (answer, runs));
    case.ok(&["rm", "--yes", "runs/sweep-rates"]);
    assert!(!dir.exists());
}

#[test]
fn a_cancelled_sweep_stops_and_is_resumed_to_the_same_bytes() {
    let case = case_with(&format!("{RATES}[set]\nphase.head.epochs = 60\n"));
    let mut sweep = start(&case);
    wait_until("both trials have begun", || have_begun(&case));
    case.says("limits/cancel", &["sweep", "rates.toml", "--cancel"]);
    assert_eq!(sweep.wait().unwrap().code(), Some(130));
    let runs = trials(&case);
    for run in &runs {
        let status = read_toml(&run.join("status.toml"));
        assert_eq!(status["state"].as_str(), Some("interrupted"));
        assert!(column(run, "epoch").len() < 62);
    }
    // Nobody starts one meanwhile.
    case.ok(&["trial", "runs/sweep-rates/trials/rates-lr_0.01"]);
    let status = read_toml(&runs[0].join("status.toml"));
    assert_eq!(status["state"].as_str(), Some("interrupted"));
    case.ok(SWEEP);
    assert_eq!(trials(&case), runs);
    let direct = case.train(&[
        "--set",
        "phase.head.epochs=60",
        "--set",
        "phase.head.lr=1e-2",
    ]);
    assert_eq!(metrics(&runs[0]), metrics(&direct), "{runs:?}");
    assert_eq!(weights(&runs[0], "last"), weights(&direct, "last"));
}

#[test]
fn trials_that_outlive_their_sweep_are_cancelled_too() {
    let case = case_with(&format!("{RATES}[set]\nphase.head.epochs = 6000\n"));
    let mut sweep = start(&case);
    wait_until("both trials have begun", || have_begun(&case));
    sweep.kill().unwrap();
    sweep.wait().unwrap();
    case.ok(&["sweep", "rates.toml", "--cancel"]);
    let watched = case.ok(&["sweep", "rates.toml", "--watch"]);
    assert!(watched.contains("2 trials: 2 interrupted"), "{watched}");
}

#[cfg(target_os = "linux")]
#[test]
fn each_trial_has_a_gpu_of_its_own() {
    let case = case_with(&format!(
        "{}[set]\nphase.head.epochs = 6000\n",
        RATES.replace("launcher.max_parallel = 2", "launcher.gpus = [3, 5]")
    ));
    let mut sweep = start(&case);
    wait_until("both trials have begun", || have_begun(&case));
    let gpu = |run: &std::path::PathBuf| {
        let process = read_toml(&run.join("claim.toml"))["process"].clone();
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap();
        let environment = String::from_utf8(environment).unwrap();
        let mut entries = environment.split('\0');
        let entry = entries.find_map(|it| it.strip_prefix("CUDA_VISIBLE_DEVICES="));
        entry.unwrap().to_owned()
    };
    let mut gpus: Vec<String> = trials(&case).iter().map(gpu).collect();
    gpus.sort_unstable();
    assert_eq!(gpus, ["3", "5"]);
    case.ok(&["sweep", "rates.toml", "--cancel"]);
    assert_eq!(sweep.wait().unwrap().code(), Some(130));
}

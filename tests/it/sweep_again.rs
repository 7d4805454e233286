//! What a sweep makes of what an earlier call left, and of what others do meanwhile: nothing is lost, nothing done twice.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    program::{Case, edit_manifest, read_toml},
    sweep::{RATES, case_with, leaderboard, trials, wait_until},
};

const DIR: &str = "runs/sweep-rates";

/// As a run that was stopped in its last epoch.
fn unfinish(run: &Path, state: &str) {
    let mut status = read_toml(&run.join("status.toml"));
    status.insert("state".to_owned(), state.into());
    fs::write(run.join("status.toml"), status.to_string()).unwrap();
    fs::remove_file(run.join("summary.toml")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs::copy(&path, place).unwrap();
        }
    }
}

fn start(case: &Case) -> Child {
    let mut command = case.command(&["sweep", "rates.toml", "--quiet"]);
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_trial_that_cannot_be_gone_on_with_has_failed_and_says_why() {
    let case = case_with(RATES);
    case.ok(&["sweep", "rates.toml"]);
    let run = &trials(&case)[0];
    unfinish(run, "interrupted");
    for split in ["split.csv", "checkpoints/recipe/split.csv"] {
        fs::remove_file(run.join(split)).unwrap();
    }
    case.fails(1, &["sweep", "rates.toml"]);
    let rows = leaderboard(&case);
    let failed = rows.iter().find(|row| row[2] == "failed");
    let reason = failed.and_then(|row| row.last());
    assert!(
        reason.is_some_and(|it| it.contains("split.csv")),
        "{rows:?}"
    );
}

#[test]
fn a_trial_whose_run_is_removed_while_it_waits_begins_anew() {
    let case = case_with(&format!(
        "{}[set]\nphase.head.epochs = 60\n",
        RATES.replace("launcher.max_parallel = 2", "launcher.max_parallel = 1")
    ));
    case.ok(&["sweep", "rates.toml", "--parallel", "2"]);
    let find = |name: &str| {
        let runs = trials(&case);
        runs.into_iter()
            .find(|run| run.to_string_lossy().ends_with(name))
    };
    let (first, second) = (find("lr_1e-3").unwrap(), find("lr_0.01").unwrap());
    fs::remove_dir_all(&first).unwrap();
    unfinish(&second, "interrupted");
    let mut sweep = start(&case);
    wait_until("the first trial has begun", || find("lr_1e-3").is_some());
    fs::remove_dir_all(&second).unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(0));
    assert_ne!(find("lr_0.01"), Some(second));
}

#[test]
fn a_trial_whose_process_has_no_run_yet_is_not_started_twice() {
    let case = case_with(RATES);
    case.ok(&["sweep", "rates.toml"]);
    for run in trials(&case) {
        fs::remove_dir_all(run).unwrap();
    }
    // As the process holds it that outlived its sweep.
    let log = File::open(case.path(DIR).join("logs/rates-lr_1e-3.log")).unwrap();
    log.lock().unwrap();
    let mut sweep = start(&case);
    thread::sleep(Duration::from_secs(1));
    let names = trials(&case);
    assert!(
        !names
            .iter()
            .any(|run| run.to_string_lossy().ends_with("lr_1e-3")),
        "{names:?}"
    );
    drop(log);
    assert_eq!(sweep.wait().unwrap().code(), Some(0));
    assert_eq!(trials(&case).len(), 2);
}

#[test]
fn a_finished_run_counts_though_another_of_its_trial_was_begun_later() {
    let case = case_with(RATES);
    let answer = case.ok(&["sweep", "rates.toml"]);
    let run = &trials(&case)[0];
    let twin = run.with_file_name("29991231-235959-rates-twin");
    copy(run, &twin);
    unfinish(&twin, "interrupted");
    edit_manifest(&twin, |text| text.replace("started = \"2", "started = \"3"));
    assert_eq!(case.ok(&["sweep", "rates.toml"]), answer);
    assert_eq!(
        read_toml(&twin.join("status.toml"))["state"].as_str(),
        Some("interrupted")
    );
}

#[test]
fn a_trial_that_another_host_left_without_a_word_is_gone_on_with() {
    let case = case_with(RATES);
    case.ok(&["sweep", "rates.toml"]);
    let run = &trials(&case)[0];
    unfinish(run, "running");
    let claim = "host = \"faraway\"\nmachine = \"another\"\nprocess = 77\nprocess_started = 1\ntoken = \"theirs\"\n\
        command = \"runner\"\nsince = \"2026-11-23T10:15:02+00:00\"\nbeat = 3\n";
    fs::write(run.join("claim.toml"), claim).unwrap();
    let runs = case.json(&["list"])["runs"].clone();
    let mut states = runs.as_array().unwrap().iter().map(|run| &run["state"]);
    assert!(states.any(|state| state == "running"), "{runs}");
    fs::remove_dir_all(case.path(DIR).join("logs")).unwrap();
    let mut sweep = start(&case);
    wait_until("its own process waits to see", || {
        let logs = fs::read_dir(case.path(DIR).join("logs"));
        logs.is_ok_and(|logs| logs.count() == 1)
    });
    // Sooner than the silence of two beats.
    thread::sleep(Duration::from_secs(1));
    fs::remove_file(run.join("claim.toml")).unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(0));
    assert!(leaderboard(&case).iter().all(|row| row[2] == "finished"));
}

#[cfg(target_os = "linux")]
#[test]
fn trials_run_the_program_that_checked_them_though_it_is_built_anew() {
    let case = case_with(&RATES.replace("launcher.max_parallel = 2", "launcher.max_parallel = 1"));
    let program = case.path("runner");
    fs::copy(env!("CARGO_BIN_EXE_runner"), &program).unwrap();
    let mut sweep = Command::new(&program)
        .args(["sweep", "rates.toml", "--quiet"])
        .env("XDG_CACHE_HOME", case.path("cache"))
        .current_dir(case.path(""))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the first trial has begun", || !trials(&case).is_empty());
    fs::remove_file(&program).unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(0));
    assert_eq!(trials(&case).len(), 2);
}

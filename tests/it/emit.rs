//! `runner sweep FILE --emit DIR`: the trials as folders and commands that any scheduler runs, and what the sweep makes of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
};

use crate::{
    asha::{HALVING, at_rung, check_exact},
    program::{Case, metrics, read, read_toml, weights},
    sweep::{RATES, case_with, trials, wait_until},
};

/// The commands of `tasks.tsv`.
fn tasks(case: &Case, dir: &str) -> Vec<String> {
    let text = read(&case.path(dir).join("tasks.tsv"));
    let rows: Vec<&str> = text.lines().collect();
    let commands = rows.iter().enumerate().map(|(at, row)| {
        let (number, command) = row.split_once('\t').unwrap();
        assert_eq!(number, (at + 1).to_string());
        command.to_owned()
    });
    commands.collect()
}

/// A command as a scheduler runs it: by a shell, with `runner` in its path.
fn shell(case: &Case, command: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_runner"));
    let mut path = program.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env("PATH", path)
        .env("XDG_CACHE_HOME", case.path("cache"))
        .current_dir(case.path(""));
    shell
}

fn run_task(case: &Case, command: &str) {
    let output = shell(case, command).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {stderr}");
}

fn start(case: &Case, command: &str) -> Child {
    let mut shell = shell(case, &format!("exec {command}"));
    shell.stderr(Stdio::null()).spawn().unwrap()
}

fn runs_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut runs: Vec<PathBuf> = paths
        .filter(|path| path.join("manifest.toml").is_file())
        .collect();
    runs.sort();
    runs
}

fn states(case: &Case, args: &[&str]) -> Vec<String> {
    let answer = case.json(&[&["sweep", "rates.toml"], args].concat());
    let trials = answer["trials"].as_array().unwrap().iter();
    trials
        .map(|trial| trial["state"].as_str().unwrap().to_owned())
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

#[test]
fn tasks_run_in_any_shell_and_the_sweep_knows_their_results() {
    let case = case_with(RATES);
    case.says("emit/tasks", &["sweep", "rates.toml", "--emit", "out"]);
    assert_eq!(states(&case, &["--status"]), ["waiting", "waiting"]);
    let tasks = tasks(&case, "out");
    run_task(&case, &tasks[0]);
    let before = states(&case, &["--status"]);
    assert_eq!(before, ["finished", "waiting"]);
    // Only the rest.
    case.ok(&["sweep", "rates.toml"]);
    assert_eq!(
        (runs_in(&case.path("out")).len(), trials(&case).len()),
        (1, 1)
    );
    assert_eq!(states(&case, &["--status"]), ["finished", "finished"]);
    let direct = case.train(&["--set", "phase.head.lr=1e-3"]);
    let run = &runs_in(&case.path("out"))[0];
    assert_eq!(metrics(run), metrics(&direct));
    assert_eq!(weights(run, "last"), weights(&direct, "last"));
    // A task that is run again finds nothing to do.
    run_task(&case, &tasks[0]);
    assert_eq!(runs_in(&case.path("out")).len(), 1);
}

#[test]
fn a_folder_with_other_files_is_left_alone() {
    let case = case_with(RATES);
    case.says("emit/not_empty", &["sweep", "rates.toml", "--emit", "data"]);
    assert!(!case.path("data/trials").exists() && !case.path("runs").exists());
    for _ in 0..2 {
        case.ok(&["sweep", "rates.toml", "--emit", "out"]);
    }
}

#[test]
fn a_task_that_was_stopped_is_resumed_by_the_sweep() {
    let case = case_with(&format!(
        "{}[set]\nphase.features24.epochs = 60\n",
        RATES.replace("1e-3, ", "")
    ));
    case.ok(&["sweep", "rates.toml", "--emit", "out"]);
    let mut task = start(&case, &tasks(&case, "out")[0]);
    let out = case.path("out");
    wait_until("the task has an epoch", || {
        runs_in(&out)
            .iter()
            .any(|run| run.join("metrics.csv").is_file())
    });
    let id = task.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    assert_eq!(task.wait().unwrap().code(), Some(130));
    assert_eq!(states(&case, &["--status"]), ["interrupted"]);
    case.ok(&["sweep", "rates.toml"]);
    // Where it is: a second run would have begun anew.
    assert_eq!((runs_in(&out).len(), trials(&case).len()), (1, 0));
    let status = read_toml(&runs_in(&out)[0].join("status.toml"));
    assert_eq!(status["state"].as_str(), Some("finished"));
}

#[test]
fn a_folder_runs_alone_and_the_whole_runs_elsewhere() {
    let case = case_with(RATES);
    case.ok(&["sweep", "rates.toml", "--emit", "out"]);
    copy(&case.path("out/trials/rates-lr_0.01"), &case.path("alone"));
    case.ok(&["trial", "alone"]);
    let alone = runs_in(&case.path("alone"));
    assert_eq!((alone.len(), runs_in(&case.path("out")).len()), (1, 0));
    fs::rename(case.path("out"), case.path("moved")).unwrap();
    for command in tasks(&case, "moved") {
        run_task(&case, &command.replace("/out/", "/moved/"));
    }
    let moved = runs_in(&case.path("moved"));
    assert_eq!(moved.len(), 2);
    let twin = moved
        .iter()
        .find(|run| run.to_string_lossy().ends_with("lr_0.01"));
    assert_eq!(weights(twin.unwrap(), "last"), weights(&alone[0], "last"));
    // Brought back with its run, it is done.
    let home = case.path("moved/trials/rates-lr_0.01");
    fs::remove_dir_all(twin.unwrap()).unwrap();
    copy(&alone[0], &home.join(alone[0].file_name().unwrap()));
    case.ok(&["trial", "moved/trials/rates-lr_0.01"]);
    assert_eq!(runs_in(&case.path("moved")).len(), 1);
}

#[test]
fn tasks_of_which_three_run_at_once_promote_what_a_sweep_would() {
    let case = case_with(HALVING);
    case.ok(&["sweep", "rates.toml", "--emit", "out"]);
    let waiting = Mutex::new(tasks(&case, "out"));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some(command) = waiting.lock().unwrap().pop() else {
                        return;
                    };
                    run_task(&case, &command);
                }
            });
        }
    });
    let out = case.path("out");
    let runs = runs_in(&out);
    assert_eq!(runs.len(), 9);
    let arrived = [1, 3, 9].map(|epochs| at_rung(&out, epochs, ".toml").len());
    let promoted = [1, 3].map(|epochs| at_rung(&out, epochs, ".promoted").len());
    assert_eq!(arrived, [9, promoted[0], promoted[1]]);
    assert!(promoted[0] >= 3 && promoted[1] >= 1, "{promoted:?}");
    let states = states(&case, &["--status"]);
    let count = |state| states.iter().filter(|it| *it == state).count();
    assert_eq!(
        (count("finished"), count("stopped")),
        (arrived[2], 9 - arrived[2])
    );
    let finished = runs.iter().filter(|run| run.join("summary.toml").is_file());
    for run in finished {
        check_exact(&case, "out", run);
    }
    // A sweep of the same file has nothing left.
    case.ok(&["sweep", "rates.toml"]);
    assert_eq!((runs_in(&out), trials(&case).len()), (runs, 0));
}

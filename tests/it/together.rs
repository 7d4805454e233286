//! Processes at the same time: one works in a run directory, the others are told who; a cache is for all.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cache::{n_cached, n_verified},
    program::{Case, metrics, read, read_toml, weights},
    voice::{Transcript, check, errors},
};

/// A run of many epochs, so that it can be met at work.
fn long_case() -> Case {
    let case = Case::new("");
    let text = read(&case.path("small.toml")).replace("epochs = 2", "epochs = 60");
    fs::write(case.path("small.toml"), text).unwrap();
    case
}

fn start(case: &Case, args: &[&str]) -> Child {
    let mut command = case.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    // The shell's own `kill`: the program of that name is not everywhere.
    let kill = format!("kill -{name} {}", child.id());
    let status = Command::new("sh").args(["-c", &kill]).status();
    assert!(status.unwrap().success());
}

/// Starts the experiment and holds it still after its second epoch; its run directory.
fn suspended(case: &Case) -> (Child, PathBuf) {
    let mut child = start(case, &["small.toml"]);
    let run = loop {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        thread::sleep(Duration::from_millis(2));
        let entries = fs::read_dir(case.path("runs")).into_iter().flatten();
        let run = entries.map(|entry| entry.unwrap().path()).next();
        let n_lines = |run: &PathBuf| {
            let text = fs::read_to_string(run.join("metrics.csv"));
            text.unwrap_or_default().lines().count()
        };
        if let Some(run) = run.filter(|run| n_lines(run) > 2) {
            break run;
        }
    };
    signal(&child, "STOP");
    (child, run)
}

fn words(run: &Path) -> [&str; 2] {
    ["resume", run.to_str().unwrap()]
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every file below but the log, with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else if !path.ends_with("run.log") {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

/// `claim.toml` of a process elsewhere, made from one of this machine.
fn foreign(claim: &str, beat: usize) -> String {
    let mut table: toml::Table = claim.parse().unwrap();
    table.insert("host".to_owned(), "faraway".into());
    table.insert("process".to_owned(), 77.into());
    table.insert("token".to_owned(), "theirs".into());
    table.insert("beat".to_owned(), (beat as i64).into());
    table.to_string()
}

fn check_equal(run: &Path, whole: &Path) {
    assert_eq!(metrics(run), metrics(whole));
    assert_eq!(read(&run.join("steps.csv")), read(&whole.join("steps.csv")));
    assert!(weights(run, "last") == weights(whole, "last"));
    assert!(!run.join("claim.toml").exists());
}

#[test]
fn of_two_that_resume_a_run_the_second_is_told_who_has_it() {
    let case = long_case();
    let (mut killed, run) = suspended(&case);
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Nobody is asked to wait for a process that has died.
    let started = Instant::now();
    let first = start(&case, &words(&run));
    let claim = loop {
        let text = fs::read_to_string(run.join("claim.toml")).unwrap_or_default();
        let claim: toml::Table = text.parse().unwrap_or_default();
        if claim.get("process").and_then(toml::Value::as_integer) == Some(i64::from(first.id())) {
            break claim;
        }
        assert!(started.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(2));
    };
    signal(&first, "STOP");
    let error = case.fails(1, &words(&run));
    // The host and the number of the process.
    let host = claim["host"].as_str().unwrap();
    assert!(
        error.contains(&format!("{host}, process {}", first.id())),
        "{error}"
    );
    assert_eq!(case.json(&["list"])["runs"][0]["state"], "running");
    signal(&first, "CONT");
    let output = first.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(!said.contains("checking whether"), "{said}");
    check_equal(&run, &case.train(&[]));
}

#[test]
fn a_run_that_another_host_works_on_is_left_alone() {
    let case = long_case();
    let (mut killed, run) = suspended(&case);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let path = run.join("claim.toml");
    let ours = read(&path);
    fs::write(&path, foreign(&ours, 1)).unwrap();
    let before = content(&run);
    let waiting = start(&case, &words(&run));
    thread::sleep(Duration::from_secs(2));
    assert!(content(&run) == before, "it did not wait");
    assert_eq!(case.json(&["list"])["runs"][0]["state"], "running");
    case.fails(2, &["rm", "--yes", run.to_str().unwrap()]);
    fs::write(&path, foreign(&ours, 2)).unwrap();
    let output = waiting.wait_with_output().unwrap();
    Transcript::new(&case)
        .output("runner resume RUN", &output)
        .is("together/another_host_goes_on");
    assert_eq!(read(&path), foreign(&ours, 2));
}

#[test]
fn a_run_that_another_host_finishes_is_not_done_again() {
    let case = long_case();
    let (mut killed, run) = suspended(&case);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let path = run.join("claim.toml");
    fs::write(&path, foreign(&read(&path), 1)).unwrap();
    let waiting = start(&case, &words(&run));
    thread::sleep(Duration::from_secs(2));
    let end = "epoch = 1\nphase = \"head\"\nvalid_loss = 1.0\nvalid_accuracy = 0.5\n";
    let summary = format!(
        "format = 1\nname = \"small\"\nepochs = 1\nsteps = 1\nstopped_early = []\nimages = 1\nrejected = 0\n\
         seconds = 1.0\nbottleneck = \"\"\n[best]\n{end}[last]\n{end}"
    );
    fs::write(run.join("summary.toml"), summary).unwrap();
    let status = read(&run.join("status.toml")).replace("\"running\"", "\"finished\"");
    fs::write(run.join("status.toml"), status).unwrap();
    // Before the claim goes: from then on the waiting one may take its own for a moment.
    let mut before = content(&run);
    before.remove(&path);
    fs::remove_file(&path).unwrap();
    let output = waiting.wait_with_output().unwrap();
    Transcript::new(&case)
        .output("runner resume RUN", &output)
        .is("together/another_host_finishes");
    assert!(content(&run) == before);
}

#[test]
fn a_run_that_was_taken_over_while_its_process_slept_is_not_written_to() {
    let case = long_case();
    let (child, run) = suspended(&case);
    let path = run.join("claim.toml");
    // As one who takes over does it: another file under the name.
    let theirs = foreign(&read(&path), 0);
    fs::write(run.join("new.toml"), &theirs).unwrap();
    fs::rename(run.join("new.toml"), &path).unwrap();
    let before = content(&run);
    signal(&child, "CONT");
    let output = child.wait_with_output().unwrap();
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    check("together/taken_over", &errors(&error));
    let after = content(&run);
    let changed: Vec<&PathBuf> = after
        .keys()
        .filter(|path| after.get(*path) != before.get(*path))
        .collect();
    assert!(
        changed.is_empty() && after.len() == before.len(),
        "{changed:?}"
    );
    assert_eq!(
        read_toml(&run.join("status.toml"))["state"].as_str(),
        Some("running")
    );
}

#[test]
fn four_at_once_share_a_cache_and_the_memory_of_the_scan() {
    let case = Case::new("");
    let children = [(); 4].map(|()| start(&case, &["small.toml"]));
    let runs = children.map(|child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        case.path(String::from_utf8(output.stdout).unwrap().trim())
    });
    let alone = case.train(&["--set", "cache.mode=off"]);
    for run in &runs {
        check_equal(run, &alone);
        assert_eq!(
            read(&run.join("predictions.csv")),
            read(&alone.join("predictions.csv"))
        );
    }
    // All that they kept can be read again.
    assert_eq!(n_verified(&case), [(20, 0); 2]);
    assert_eq!(n_cached(&case), [20; 2]);
}

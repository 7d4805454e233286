//! Many runs: listed, shown and removed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::program::{Case, edit_manifest, read};

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Two runs that differ in one rate.
pub(crate) fn two_runs(case: &Case) -> (PathBuf, PathBuf) {
    let first = case.train(&[]);
    let second = case.train(&["--set", "name=other", "--set", "phase.head.lr=1e-2"]);
    (first, second)
}

pub(crate) fn json(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.lines().last().unwrap()).unwrap()
}

fn run_names(list: &str) -> Vec<String> {
    let name = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    list.lines().skip(1).map(name).collect()
}

#[test]
fn list_filters_sorts_and_knows_a_killed_run() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    let status = read(&second.join("status.toml")).replace("finished", "running");
    fs::write(second.join("status.toml"), status).unwrap();
    fs::remove_file(second.join("summary.toml")).unwrap();
    let id = |run: &Path| run.file_name().unwrap().to_str().unwrap().to_owned();
    let list = case.ok(&["list"]);
    assert_eq!(run_names(&list), [id(&first), id(&second)]);
    assert!(list.contains("killed"), "{list}");
    assert_eq!(
        run_names(&case.ok(&["list", "--name", "oth"])),
        [id(&second)]
    );
    let runs = json(&case.ok(&["list", "--sort", "loss", "--json"]));
    let losses: Vec<f64> = runs["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["valid_loss"].as_f64().unwrap())
        .collect();
    assert!(losses.len() == 2 && losses[0] <= losses[1], "{losses:?}");
    assert!(
        case.fails(2, &["list", "--runs-dir", "nowhere"])
            .contains("nowhere")
    );
}

#[test]
fn show_puts_a_run_on_a_page() {
    let case = Case::new("");
    let run = case.train(&["--set", "split.test=0.2"]);
    let shown = case.ok(&["show", "latest:small"]);
    for words in [
        "finished",
        "split.test=0.2",
        "features24",
        "best",
        "precision",
        "[[phase]]",
        "test        accuracy",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let answer = json(&case.ok(&["show", text(&run), "--json"]));
    assert_eq!(answer["epochs"].as_array().unwrap().len(), 4);
}

#[test]
fn rm_removes_what_nobody_needs() {
    let case = Case::new("");
    let parent = case.train(&[]);
    let child = read(&case.path("small.toml")).replace(
        "name = \"small\"",
        "name = \"child\"\ninit_from = \"latest:small\"",
    );
    fs::write(case.path("child.toml"), child).unwrap();
    let child = case.path(&case.ok(&["child.toml"]));
    let error = case.fails(2, &["rm", "--yes", text(&parent)]);
    assert!(error.contains("was started from it"), "{error}");
    let error = case.fails(2, &["rm", text(&child)]);
    assert!(error.contains("--yes"), "{error}");
    let log = File::open(child.join("run.log")).unwrap();
    log.lock().unwrap();
    let error = case.fails(2, &["rm", "--yes", text(&child)]);
    assert!(error.contains("in progress"), "{error}");
    drop(log);
    assert!(parent.is_dir() && child.is_dir());
    case.ok(&["rm", "--yes", text(&parent), text(&child)]);
    assert_eq!(fs::read_dir(case.path("runs")).unwrap().count(), 0);
}

#[test]
fn rm_takes_no_folder_of_runs_and_no_empty_name() {
    let case = Case::new("");
    let run = case.train(&[]);
    for folder in [".", "runs", "./runs/", "runs/.."] {
        let error = case.fails(2, &["rm", "--yes", folder]);
        assert!(error.contains("a folder with 1 run"), "{folder}: {error}");
    }
    let error = case.fails(2, &["rm", "--yes", ""]);
    assert!(error.contains("the name of a run is empty"), "{error}");
    assert!(run.is_dir());
    case.ok(&["rm", "--yes", "runs/*"]);
    assert!(!run.exists());
}

#[cfg(unix)]
#[test]
fn rm_follows_no_link_out_of_the_folder() {
    let case = Case::new("");
    let run = case.train(&[]);
    fs::rename(case.path("runs"), case.path("archive")).unwrap();
    fs::create_dir(case.path("runs")).unwrap();
    let run = case.path("archive").join(run.file_name().unwrap());
    std::os::unix::fs::symlink(&run, case.path("runs/link")).unwrap();
    fs::write(case.path("archive/sweep.toml"), "").unwrap();
    std::os::unix::fs::symlink(case.path("archive"), case.path("runs/sweep")).unwrap();
    for word in ["link", "runs/link/", "runs/link", "runs/sweep", "runs/*"] {
        let error = case.fails(2, &["rm", "--yes", word]);
        assert!(error.contains("through a link"), "{word}: {error}");
    }
    assert!(run.join("manifest.toml").is_file());
    // The folder of runs itself may be one.
    fs::remove_file(case.path("runs/link")).unwrap();
    fs::remove_file(case.path("runs/sweep")).unwrap();
    fs::remove_dir(case.path("runs")).unwrap();
    std::os::unix::fs::symlink(case.path("archive"), case.path("runs")).unwrap();
    case.ok(&["rm", "--yes", run.file_name().unwrap().to_str().unwrap()]);
    assert!(!run.exists());
}

#[test]
fn rm_of_a_sweeps_runs_leaves_what_it_cannot_read_or_did_not_write() {
    let case = Case::new("");
    let sweep = case.path("runs/sweep-lr");
    let in_sweep = ["--set", "runs_dir=runs/sweep-lr"];
    let (first, second) = (case.train(&in_sweep), case.train(&in_sweep));
    fs::write(sweep.join("sweep.toml"), "").unwrap();
    fs::write(sweep.join("leaderboard.csv"), "").unwrap();
    fs::write(sweep.join("notes.txt"), "mine").unwrap();
    fs::create_dir(sweep.join("logs")).unwrap();
    fs::write(sweep.join("logs/1.log"), "").unwrap();
    fs::write(sweep.join("logs/thoughts.md"), "mine").unwrap();
    let manifest = second.join("manifest.toml");
    edit_manifest(&second, |text| text.replace("format = 1", "format = 9"));
    let said = case.run(&["rm", "--yes", "runs/sweep-lr"]);
    assert!(
        String::from_utf8_lossy(&said.stderr).contains("skipped: "),
        "{said:?}"
    );
    assert!(!first.exists() && manifest.is_file() && sweep.join("sweep.toml").is_file());
    edit_manifest(&second, |text| text.replace("format = 9", "format = 1"));
    case.ok(&["rm", "--yes", "sweep-lr"]);
    let rest = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(rest(&sweep), ["logs", "notes.txt"]);
    assert_eq!(rest(&sweep.join("logs")), ["thoughts.md"]);
    // Nor are a sweep file and logs elsewhere those of a sweep.
    let run = case.train(&["--set", "runs_dir=project"]);
    let project = case.path("project");
    fs::write(project.join("sweep.toml"), "base = \"small.toml\"").unwrap();
    fs::create_dir(project.join("logs")).unwrap();
    fs::write(project.join("logs/1.log"), "mine").unwrap();
    case.ok(&["rm", "--yes", text(&run)]);
    assert_eq!(rest(&project), ["logs", "sweep.toml"]);
    assert_eq!(rest(&project.join("logs")), ["1.log"]);
}

#[test]
fn rm_in_the_folder_of_runs_knows_who_needs_them() {
    let case = Case::new("");
    let parent = case.train(&["--set", "runs_dir=runs/sweep-lr"]);
    let other = case.train(&["--set", "runs_dir=runs/sweep-lr"]);
    fs::write(case.path("runs/sweep-lr/sweep.toml"), "").unwrap();
    let from = format!("init_from={}", text(&parent));
    case.train(&["--set", "name=child", "--set", &from]);
    let rm = |folder: &str, words: &[&str]| {
        let mut command = case.command(&[&["rm", "--yes"], words].concat());
        command.current_dir(case.path(folder)).output().unwrap()
    };
    let name = |run: &Path| run.file_name().unwrap().to_str().unwrap().to_owned();
    let places = [
        ("runs/sweep-lr", name(&parent)),
        ("runs", format!("sweep-lr/{}", name(&parent))),
        (text(&parent), ".".to_owned()),
        ("data", format!("../runs/sweep-lr/{}", name(&parent))),
    ];
    for (folder, word) in places {
        let said = rm(folder, &[&word]);
        let error = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(error.contains("was started from it"), "{folder}: {error}");
        assert!(parent.is_dir());
    }
    // A sweep keeps its files for the trials that are left.
    let said = rm("runs/sweep-lr", &[&name(&other)]);
    assert!(said.status.success(), "{said:?}");
    assert!(!other.exists() && case.path("runs/sweep-lr/sweep.toml").is_file());
    // Two names of one sweep.
    case.ok(&["rm", "--yes", "latest:child"]);
    let other = case.train(&["--set", "runs_dir=runs/sweep-lr"]);
    let by_name = format!("runs/sweep-lr/{}", name(&other));
    case.ok(&["rm", "--yes", text(&parent), &by_name]);
    assert!(!case.path("runs/sweep-lr").exists());
}

#[test]
fn a_run_that_cannot_be_read_is_not_called_none() {
    let case = Case::new("");
    edit_manifest(&case.train(&[]), |text| {
        text.replace("format = 1", "format = 9")
    });
    for word in ["runs", "runs/*", "*"] {
        let said = case.run(&["show", word]);
        let error = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(error.contains("format"), "{word}: {error}");
        assert!(!error.contains("no run directory"), "{word}: {error}");
    }
}

/// Names that are no UTF-8 come from a folder, not from the command line.
#[cfg(target_os = "linux")]
#[test]
fn a_name_of_other_letters_is_no_panic() {
    use std::os::unix::ffi::OsStrExt as _;
    let case = Case::new("");
    let run = case.train(&[]);
    let name = std::ffi::OsStr::from_bytes(b"r\xff");
    fs::rename(&run, case.path("runs").join(name)).unwrap();
    assert_eq!(
        json(&case.ok(&["show", "runs", "--json"]))["run"],
        "runs/r\u{fffd}"
    );
    assert_eq!(
        json(&case.ok(&["evaluate", "runs", "--json"]))["run"],
        "runs/r\u{fffd}"
    );
    fs::write(case.path("runs/sweep.toml"), "").unwrap();
    let removed = json(&case.ok(&["rm", "runs", "--yes", "--json"]));
    assert_eq!(removed["runs"][0], "runs/r\u{fffd}");
    for command in [
        &["init"][..],
        &["sample-data", "--json", "--per-class", "1"],
        &["cache", "list", "--json", "--dir"],
    ] {
        let folder = [command[0].as_bytes(), name.as_bytes()].concat();
        let folder = std::ffi::OsStr::from_bytes(&folder);
        let made = case.command(command).arg(folder).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
}

#[test]
fn rm_knows_the_child_of_a_run_that_was_moved_with_it() {
    let case = Case::new("");
    let parent = case.train(&[]);
    case.train(&["--set", "name=child", "--set", "init_from=latest:small"]);
    fs::rename(case.path("runs"), case.path("moved")).unwrap();
    let parent = case.path("moved").join(parent.file_name().unwrap());
    let error = case.fails(2, &["rm", "--yes", text(&parent)]);
    assert!(error.contains("was started from it"), "{error}");
}

#[test]
fn list_says_what_it_leaves_out_and_how_large_runs_are() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    edit_manifest(&second, |text| text.replace("format = 1", "format = 9"));
    let output = case.run(&["list"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("has format 9"),
        "{output:?}"
    );
    let runs = json(&case.ok(&["list", "--json"]));
    let size: u64 = ["metrics.csv", "checkpoints/base.safetensors"]
        .map(|file| fs::metadata(first.join(file)).unwrap().len())
        .iter()
        .sum();
    assert!(runs["runs"][0]["bytes"].as_u64().unwrap() > size, "{runs}");
}

#[test]
fn names_of_others_do_not_steer_the_terminal() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    edit_manifest(&second, |text| {
        text.replace("\"Cat\"", r#""Ca\u001B[31mt""#)
    });
    for command in [
        ["show", text(&second)].as_slice(),
        &["compare", text(&first), text(&second)],
    ] {
        let shown = case.ok(command);
        assert!(
            shown.contains("Ca\\u{1b}[31mt") && !shown.contains('\u{1b}'),
            "{shown}"
        );
    }
}

#[test]
fn a_run_in_progress_cannot_be_resumed_beside_it() {
    let case = Case::new("");
    let run = case.train(&[]);
    fs::remove_file(run.join("summary.toml")).unwrap();
    let log = File::open(run.join("run.log")).unwrap();
    log.lock().unwrap();
    let error = case.fails(1, &["resume", text(&run)]);
    assert!(error.contains("is in progress"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_is_lost_on_a_full_disk_is_an_error() {
    let case = Case::new("");
    case.train(&[]);
    for args in [
        &["list"][..],
        &["list", "--csv"],
        &["list", "--json"],
        &["fetch", "--quiet"],
        &["schema"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = case.command(args).stdout(full).output().unwrap();
        let error = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() == Some(1), "{args:?}: {error}");
        assert!(
            error.contains("stdout") && !error.contains("help:"),
            "{args:?}: {error}"
        );
        // Who has seen enough loses nothing.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = case.command(args).stdout(writer).output().unwrap();
        assert!(said.status.success(), "{args:?}: {said:?}");
    }
}

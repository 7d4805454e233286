//! Many runs: listed, shown and removed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{
    program::{Case, edit_manifest, read},
    voice::Transcript,
};

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
    let listed = case.json(&["list"])["runs"].clone();
    assert_eq!(listed[0]["state"], "finished");
    assert_eq!(listed[1]["state"], "killed");
    assert_eq!(
        run_names(&case.ok(&["list", "--name", "oth"])),
        [id(&second)]
    );
    let runs = case.json(&["list", "--sort", "loss"]);
    let losses: Vec<f64> = runs["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["valid_loss"].as_f64().unwrap())
        .collect();
    assert!(losses.len() == 2 && losses[0] <= losses[1], "{losses:?}");
    case.fails(2, &["list", "--runs-dir", "nowhere"]);
}

#[test]
fn show_has_each_epoch() {
    let case = Case::new("");
    case.train(&["--set", "split.test=0.2"]);
    let answer = case.json(&["show", "latest:small"]);
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
    let mut transcript = Transcript::new(&case);
    transcript
        .fails(&["rm", "--yes", text(&parent)])
        .fails(&["rm", text(&child)]);
    let log = File::open(child.join("run.log")).unwrap();
    log.lock().unwrap();
    transcript
        .fails(&["rm", "--yes", text(&child)])
        .is("runs/rm_of_what_is_needed");
    drop(log);
    assert!(parent.is_dir() && child.is_dir());
    case.ok(&["rm", "--yes", text(&parent), text(&child)]);
    assert_eq!(fs::read_dir(case.path("runs")).unwrap().count(), 0);
}

#[test]
fn rm_takes_no_folder_of_runs_and_no_empty_name() {
    let case = Case::new("");
    let run = case.train(&[]);
    let mut transcript = Transcript::new(&case);
    for folder in [".", "runs", "./runs/", "runs/..", ""] {
        transcript.fails(&["rm", "--yes", folder]);
    }
    transcript.is("runs/rm_of_folders");
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
    let mut transcript = Transcript::new(&case);
    for word in ["link", "runs/link/", "runs/link", "runs/sweep", "runs/*"] {
        transcript.fails(&["rm", "--yes", word]);
    }
    transcript.is("runs/rm_through_links");
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
    let first = case.train(&in_sweep);
    let second = case.train(&[&in_sweep[..], &["--set", "name=other"]].concat());
    fs::write(sweep.join("sweep.toml"), "").unwrap();
    fs::write(sweep.join("leaderboard.csv"), "").unwrap();
    fs::write(sweep.join("notes.txt"), "mine").unwrap();
    fs::create_dir(sweep.join("logs")).unwrap();
    fs::write(sweep.join("logs/1.log"), "").unwrap();
    fs::write(sweep.join("logs/thoughts.md"), "mine").unwrap();
    let manifest = second.join("manifest.toml");
    edit_manifest(&second, |text| text.replace("format = 1", "format = 9"));
    case.says("runs/rm_of_a_sweep", &["rm", "--yes", "runs/sweep-lr"]);
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
    let in_sweep = ["--set", "runs_dir=runs/sweep-lr", "--set", "name=other"];
    let other = case.train(&in_sweep);
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
    let mut transcript = Transcript::new(&case);
    for (folder, word) in places {
        let command = format!("cd {folder} && runner rm --yes {word}");
        transcript.output(&command, &rm(folder, &[&word]));
        assert!(parent.is_dir());
    }
    transcript.is("runs/rm_in_a_folder");
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
    let mut transcript = Transcript::new(&case);
    for word in ["runs", "runs/*", "*"] {
        transcript.fails(&["show", word]);
    }
    transcript.is("runs/show_of_a_newer_format");
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
    assert_eq!(case.json(&["show", "runs"])["run"], "runs/r\u{fffd}");
    assert_eq!(case.json(&["evaluate", "runs"])["run"], "runs/r\u{fffd}");
    fs::write(case.path("runs/sweep.toml"), "").unwrap();
    let removed = case.json(&["rm", "runs", "--yes"]);
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
    case.says("runs/rm_of_a_moved_parent", &["rm", "--yes", text(&parent)]);
}

#[test]
fn list_says_what_it_leaves_out_and_how_large_runs_are() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    edit_manifest(&second, |text| text.replace("format = 1", "format = 9"));
    case.says("runs/list_with_a_newer_format", &["list"]);
    let runs = case.json(&["list"]);
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
    case.says("runs/resume_of_a_run_in_progress", &["resume", text(&run)]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_is_lost_on_a_full_disk_is_an_error() {
    let case = Case::new("");
    case.train(&[]);
    let mut transcript = Transcript::new(&case);
    for args in [
        &["list"][..],
        &["list", "--csv"],
        &["list", "--json"],
        &["fetch", "--quiet"],
        &["schema"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = case.command(args).stdout(full).output().unwrap();
        transcript.output(&format!("runner {} > /dev/full", args.join(" ")), &said);
        // Who has seen enough loses nothing.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = case.command(args).stdout(writer).output().unwrap();
        assert!(said.status.success(), "{args:?}: {said:?}");
    }
    transcript.is("runs/a_full_disk");
}

//! Damage to any one file of a run: it is noticed before training, and costs nothing that the other files can make again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    program::{Case, metrics, read, read_toml},
    resume::check_equal,
    runs::json,
    voice::Transcript,
};

/// Another bit in the middle, in a file of its own: others may share it by a hard link.
pub(crate) fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The first half, in a file of its own.
fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 3] = [("flipped", flip_a_bit), ("cut", cut), ("removed", remove)];

/// All files of a run, relative to it.
pub(crate) fn files(run: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![run.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(run).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// A copy whose hard links are links again: damage to one name must reach the others as it would in the run itself.
pub(crate) fn copy(run: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let status = std::process::Command::new("cp")
        .args(["-a", "--"])
        .args([run, to])
        .status()
        .unwrap();
    assert!(status.success());
}

/// What is no result: who wrote when, and what becomes of it.
const SPOKEN: [&str; 2] = ["run.log", "status.toml"];

#[test]
fn a_stopped_run_bears_damage_to_any_one_file() {
    let case = Case::new("");
    let whole = case.train(&[]);
    let stopped = case.path("stopped");
    copy(&whole, &stopped);
    fs::remove_file(stopped.join("summary.toml")).unwrap();
    let run = case.path("runs/run");
    for (number, file) in files(&stopped).iter().enumerate() {
        // Each file in one way; all three take turns.
        let (how, damage) = DAMAGES[number % DAMAGES.len()];
        copy(&stopped, &run);
        damage(&run.join(file));
        let name = file.display();
        let output = case.run(&["resume", "runs/run"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {how}: {stderr}");
        if file == Path::new("steps.csv") {
            assert!(stderr.contains("steps.csv"), "{stderr}");
            assert!(stderr.contains(" of its 16 rows "), "{stderr}");
            assert_eq!(metrics(&run), metrics(&whole));
            continue;
        }
        check_equal(&run, &whole);
        case.ok(&["verify", "runs/run"]);
    }
}

#[test]
fn damage_to_a_finished_run_is_named_and_mended() {
    let case = Case::new("[split]\nvalid = 0.25\ntest = 0.25\n");
    let text = read(&case.path("small.toml")).replace("split = { valid = 0.25 }\n", "");
    fs::write(case.path("small.toml"), text).unwrap();
    let whole = case.train(&[]);
    case.ok(&["verify", whole.to_str().unwrap()]);
    let (run, name) = (case.path("runs/run"), "runs/run");
    for (number, file) in files(&whole).iter().enumerate() {
        if SPOKEN.iter().any(|spoken| file == Path::new(spoken)) {
            continue;
        }
        copy(&whole, &run);
        let (how, damage) = DAMAGES[number % DAMAGES.len()];
        damage(&run.join(file));
        let shown = file.display().to_string();
        if file != Path::new("summary.toml") {
            let output = case.run(&["verify", name, "--json"]);
            let stdout = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(1), "{shown} {how}: {stdout}");
            let verified = stdout.lines().find(|line| line.contains("\"verified\""));
            let files = json(verified.unwrap())["files"].clone();
            let files = files.as_array().unwrap();
            let state = files.iter().find(|it| it["file"] == *shown).unwrap();
            assert_ne!(state["state"], "sound", "{shown} {how}: {stdout}");
        }
        let output = case.run(&["resume", name]);
        // The recipe is restored from its copy, after which there is nothing left to do.
        let is_of_recipe = case.run(&["verify", name]).status.success() && !output.status.success();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() || is_of_recipe && output.status.code() == Some(2),
            "{shown} {how}: {stderr}"
        );
        case.ok(&["verify", name]);
        if file != Path::new("steps.csv") {
            check_equal(&run, &whole);
        }
    }
}

#[test]
fn damaged_tables_are_told_by_whoever_shows_their_numbers() {
    let case = Case::new("");
    let whole = case.train(&[]);
    let run = case.path("runs/damaged");
    let before = case.json(&["list"])["runs"][0].clone();
    copy(&whole, &run);
    // Another number, and a table that is one all the same.
    let path = run.join("metrics.csv");
    let text = read(&path);
    let (header, first) = text.split_once('\n').unwrap();
    fs::write(
        &path,
        format!("{header}\n{}", first.replacen("0.", "9.", 2)),
    )
    .unwrap();
    let runs = case.json(&["list"])["runs"].clone();
    let runs = runs.as_array().unwrap();
    let listed = runs.iter().find(|it| it["run"] == "damaged").unwrap();
    assert_eq!(listed["damaged"], true);
    // The numbers are those of the checkpoint.
    for key in ["epochs", "best_epoch", "valid_accuracy", "valid_loss"] {
        assert_eq!(listed[key], before[key], "{key}");
    }
    let name = whole.file_name().unwrap().to_str().unwrap();
    let mut transcript = Transcript::new(&case);
    transcript.run(&["list", "--name", "small"]);
    transcript.run(&["show", "runs/damaged"]);
    let path = run.join("predictions.csv");
    fs::write(&path, read(&path).replacen("Cat", "Dog", 1)).unwrap();
    transcript
        .run(&["compare", name, "damaged"])
        .is("damage/tables");
    case.ok(&["resume", "runs/damaged"]);
    case.ok(&["verify", "runs/damaged"]);
}

#[test]
fn a_run_whose_process_died_behind_its_summary_is_finished() {
    let case = Case::new("");
    let run = case.train(&[]);
    let status = run.join("status.toml");
    let text = read(&status).replace("\"finished\"", "\"running\"");
    fs::write(&status, text).unwrap();
    assert_eq!(case.json(&["list"])["runs"][0]["state"], "finished");
    let name = run.to_str().unwrap();
    assert_eq!(case.ok(&["resume", name]), name);
    assert_eq!(read_toml(&status)["state"].as_str(), Some("finished"));
    case.fails(2, &["resume", name]);
}

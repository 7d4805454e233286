//! Many runs: listed, shown, compared and removed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::program::{Case, read, read_toml};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Two runs that differ in one rate.
fn two_runs(case: &Case) -> (PathBuf, PathBuf) {
    let first = case.train(&[]);
    let second = case.train(&["--set", "name=other", "--set", "phase.head.lr=1e-2"]);
    (first, second)
}

fn json(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.lines().last().unwrap()).unwrap()
}

fn run_names(list: &str) -> Vec<String> {
    let name = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    list.lines().skip(1).map(name).collect()
}

#[test]
fn compare_tells_scores_the_one_difference_and_each_photo() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    let shown = case.ok(&["compare", text(&first), "latest:other", "-o", "curves.png"]);
    for words in [
        "A  ",
        "B  ",
        "finished",
        "4/4",
        "phase.head.lr  1e-3  0.01",
        "validation accuracy",
        "A - B",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("careful"), "{shown}");
    assert!(
        fs::read(case.path("curves.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    let answer = json(&case.ok(&["compare", "--json", text(&first), text(&second)]));
    assert_eq!(
        answer["differences"].as_array().unwrap().len(),
        1,
        "{answer}"
    );
    assert_eq!(answer["differences"][0]["key"], "phase.head.lr");
    let pair = &answer["pairs"][0];
    let counts =
        ["both_right", "only_a", "only_b", "both_wrong"].map(|key| pair[key].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), 5);
    let right = |run: &Path| {
        let rows = read(&run.join("predictions.csv"));
        let is_right = |row: &&str| row.split(',').nth(1) == row.split(',').nth(2);
        rows.lines().skip(1).filter(is_right).count() as u64
    };
    assert_eq!(
        (counts[0] + counts[1], counts[0] + counts[2]),
        (right(&first), right(&second))
    );
    let matched = json(&case.ok(&["compare", "--json", "runs/*"]));
    assert_eq!(matched["runs"].as_array().unwrap().len(), 2);
    let table = case.ok(&["compare", "--csv", text(&first), text(&second)]);
    let summary = read_toml(&second.join("summary.toml"));
    let accuracy = summary["best"]["valid_accuracy"]
        .as_float()
        .unwrap()
        .to_string();
    assert!(table.lines().nth(2).unwrap().contains(&accuracy), "{table}");
    assert!(
        case.ok(&["compare", "--markdown", "runs"])
            .contains("| phase.head.lr | 1e-3 | 0.01 |")
    );
}

#[test]
fn compare_warns_of_another_split_and_of_other_weights() {
    let case = Case::new("");
    let first = case.train(&[]);
    let second = case.train(&["--set", "split.valid=0.5", "--set", "model.weights=none"]);
    let shown = case.ok(&["compare", text(&first), text(&second)]);
    for words in [
        "split: B has 10 train and 10 valid images",
        "weights: B began with none",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("data:"), "{shown}");
}

#[test]
fn compare_reads_runs_in_progress_failed_ones_and_bare_copies() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    // What another machine sent: no checkpoints, no pictures.
    let copy = case.path("copied");
    fs::create_dir(&copy).unwrap();
    for file in [
        "manifest.toml",
        "resolved.toml",
        "metrics.csv",
        "predictions.csv",
    ] {
        fs::copy(first.join(file), copy.join(file)).unwrap();
    }
    // A row is being written, and the process is alive.
    let rows = read(&second.join("metrics.csv"));
    fs::write(second.join("metrics.csv"), &rows[..rows.len() - 9]).unwrap();
    fs::remove_file(second.join("summary.toml")).unwrap();
    let log = File::open(second.join("run.log")).unwrap();
    log.lock().unwrap();
    case.fails(
        1,
        &[
            "small.toml",
            "--set",
            "phase.head.lr=1e30",
            "--set",
            "name=failed",
        ],
    );
    let mut runs = fs::read_dir(case.path("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let failed = runs.find(|run| text(run).ends_with("-failed")).unwrap();
    let shown = case.ok(&["compare", "copied", text(&second), text(&failed)]);
    let states: Vec<Vec<&str>> = shown
        .lines()
        .skip(1)
        .take(3)
        .map(|line| line.split_whitespace().skip(2).take(2).collect())
        .collect();
    assert_eq!(
        states,
        [["finished", "4/4"], ["running", "3/4"], ["failed", "0/4"]]
    );
    assert!(shown.contains("C failed: the loss is"), "{shown}");
}

#[test]
fn compare_says_what_it_cannot_find() {
    let case = Case::new("");
    let run = case.train(&[]);
    assert!(
        case.fails(2, &["compare", text(&run)])
            .contains("two runs or more")
    );
    assert!(
        case.fails(2, &["compare", text(&run), "latest:nobody"])
            .contains("`nobody`")
    );
    assert!(
        case.fails(2, &["compare", text(&run), "runs/x*"])
            .contains("no run directory matches")
    );
    let mut nearly = run.file_name().unwrap().to_str().unwrap().to_owned();
    nearly.pop();
    assert!(
        case.fails(2, &["compare", text(&run), &nearly])
            .contains("did you mean")
    );
    assert!(
        case.fails(1, &["compare", text(&run), "data"])
            .contains("is no run directory")
    );
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
    assert!(error.contains("began with it"), "{error}");
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
fn a_run_in_progress_cannot_be_resumed_beside_it() {
    let case = Case::new("");
    let run = case.train(&[]);
    fs::remove_file(run.join("summary.toml")).unwrap();
    let log = File::open(run.join("run.log")).unwrap();
    log.lock().unwrap();
    let error = case.fails(1, &["resume", text(&run)]);
    assert!(error.contains("is in progress"), "{error}");
}

//! Runs held against each other.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::{
    program::{Case, make_bare, read, read_toml},
    runs::{json, text, two_runs},
};

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
    assert!(!shown.contains("caveats"), "{shown}");
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
        "split: of the 10 validation images of B, 5 are also validation images of A",
        "weights: B started with none",
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
fn compare_takes_copies_that_are_a_table_or_two() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    for (folder, file) in [("scores", "metrics.csv"), ("answers", "predictions.csv")] {
        fs::create_dir(case.path(folder)).unwrap();
        fs::copy(second.join(file), case.path(folder).join(file)).unwrap();
    }
    let answer = json(&case.ok(&["compare", "--json", text(&first), "scores", "answers"]));
    let accuracy = |at: usize| answer["runs"][at]["best_valid_accuracy"].as_f64();
    assert!(
        accuracy(1).is_some() && accuracy(1) == accuracy(2),
        "{answer}"
    );
    assert_eq!(answer["runs"][1]["state"], "unknown");
    assert_eq!(answer["pairs"].as_array().unwrap().len(), 1, "{answer}");
    // What did not come along is no difference, but said.
    assert_eq!(
        answer["differences"].as_array().unwrap().len(),
        0,
        "{answer}"
    );
    let caution = &answer["cautions"][0];
    assert!(
        caution
            .as_str()
            .unwrap()
            .starts_with("B and C: no manifest.toml"),
        "{answer}"
    );
    assert!(case.ok(&["show", "scores"]).contains("no checkpoints"));
    for command in [["rm", "--yes", "scores"].as_slice(), &["resume", "scores"]] {
        assert!(case.fails(1, command).contains("is not a run directory"));
    }
    assert!(case.path("scores/metrics.csv").is_file());
}

#[test]
fn compare_draws_a_run_after_the_one_it_goes_on_from() {
    let case = Case::new("");
    let parent = case.train(&[]);
    let epoch = read_toml(&parent.join("summary.toml"))["best"]["epoch"].clone();
    let child = case.train(&["--set", "name=child", "--set", "init_from=latest:small"]);
    let shown = case.ok(&["compare", text(&parent), text(&child)]);
    for words in [
        format!("weights: B started from A, epoch {epoch}"),
        format!("validation loss (B continues A after epoch {epoch})"),
    ] {
        assert!(shown.contains(&words), "{words}: {shown}");
    }
    // Where the parent is not compared there is nothing to continue.
    let alone = case.ok(&[
        "compare",
        text(&child),
        text(&case.train(&["--set", "seed=1"])),
    ]);
    assert!(!alone.contains("continues"), "{alone}");
}

#[test]
fn compare_warns_where_a_run_validates_what_its_parent_trained_on() {
    let case = Case::new("");
    let parent = case.train(&[]);
    let sets = [
        "init_from=latest:small",
        "allow_other_split=true",
        "split.valid=0.5",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    let child = case.train(&sets);
    let (parent, child) = (text(&parent), text(&child));
    let shown = case.ok(&["compare", parent, child]);
    assert!(shown.contains("leak: B validates "), "{shown}");
    assert!(
        case.ok(&["compare", child, parent])
            .contains("leak: A validates ")
    );
}

#[test]
fn compare_tells_what_is_other_about_the_images() {
    let case = Case::new("");
    let first = case.train(&[]);
    // The same images elsewhere, read by more hands, are the same.
    fs::rename(case.path("data"), case.path("moved")).unwrap();
    let moved = [
        "--set",
        "data.root=moved",
        "--set",
        "data.workers=1",
        "--set",
        "cache.mode=off",
    ];
    let second = case.train(&moved);
    let shown = case.ok(&["compare", text(&first), text(&second)]);
    assert!(!shown.contains("caveats"), "{shown}");
    fs::remove_file(case.path("moved/Cat/0.jpg")).unwrap();
    let third = case.train(&moved);
    let shown = case.ok(&["compare", text(&first), text(&second), text(&third)]);
    let words =
        "data: 0 of the 19 images of C are not in A, and 1 of the 20 images of A are not in C";
    assert!(shown.contains(words), "{shown}");
    fs::copy(case.path("moved/Cat/1.jpg"), case.path("moved/Cat/0.jpg")).unwrap();
    let fourth = case.train(&moved);
    let shown = case.ok(&["compare", text(&first), text(&fourth)]);
    assert!(
        shown.contains("data: the 20 files of B have the same names as those of A"),
        "{shown}"
    );
    assert!(!shown.contains("split:"), "{shown}");
}

#[test]
fn compare_says_where_the_photos_are_of_another_epoch() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    make_bare(&second);
    let path = second.join("predictions.csv");
    let wrong: String = read(&path)
        .lines()
        .map(|line| {
            line.replace(",Cat,Cat,", ",Cat,Dog,")
                .replace(",Dog,Dog,", ",Dog,Cat,")
                + "\n"
        })
        .collect();
    fs::write(&path, wrong).unwrap();
    let shown = case.ok(&["compare", text(&first), text(&second)]);
    assert!(
        shown.contains("predictions: not from the best epoch"),
        "{shown}"
    );
    assert!(shown.contains("B (0.00 % for "), "{shown}");
}

#[test]
fn compare_says_where_epochs_are_lost() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    make_bare(&second);
    let whole = read(&second.join("metrics.csv"));
    let rows: Vec<&str> = whole.split_inclusive('\n').collect();
    let garbled = [rows[0], rows[1], "2,head,what\n", rows[3], rows[4]].concat();
    for damaged in [&garbled, &whole[..whole.len() - 9]] {
        fs::write(second.join("metrics.csv"), damaged).unwrap();
        let shown = case.ok(&["compare", text(&first), text(&second)]);
        assert!(shown.contains("B: metrics.csv is damaged"), "{shown}");
    }
}

#[test]
fn compare_writes_pictures_as_png_alone() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    fs::write(case.path("notes.txt"), "mine").unwrap();
    let error = case.fails(
        2,
        &["compare", text(&first), text(&second), "-o", "notes.txt"],
    );
    assert!(error.contains("use `notes.png`"), "{error}");
    assert_eq!(read(&case.path("notes.txt")), "mine");
}

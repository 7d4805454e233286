//! Runs held against each other.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::{
    program::{Case, make_bare, read, read_toml},
    runs::{text, two_runs},
    voice::Transcript,
};

/// The caveats of a comparison.
fn caveats(case: &Case, runs: &[&Path]) -> Vec<String> {
    let runs: Vec<&str> = runs.iter().map(|run| text(run)).collect();
    let answer = case.json(&[&["compare"], &runs[..]].concat());
    let caveats = answer["cautions"].as_array().unwrap().iter();
    caveats.map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// What the caveats are about.
fn subjects(case: &Case, runs: &[&Path]) -> Vec<String> {
    let subject = |caveat: String| caveat.split(':').next().unwrap().to_owned();
    caveats(case, runs).into_iter().map(subject).collect()
}

#[test]
fn compare_tells_scores_the_one_difference_and_each_photo() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    case.ok(&["compare", text(&first), "latest:other", "-o", "curves.png"]);
    assert!(
        fs::read(case.path("curves.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    let answer = case.json(&["compare", text(&first), text(&second)]);
    assert_eq!(answer["cautions"].as_array().unwrap().len(), 0, "{answer}");
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
    let matched = case.json(&["compare", "runs/*"]);
    assert_eq!(matched["runs"].as_array().unwrap().len(), 2);
    let table = case.ok(&["compare", "--csv", text(&first), text(&second)]);
    let summary = read_toml(&second.join("summary.toml"));
    let accuracy = summary["best"]["valid_accuracy"].as_float();
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let columns = rows.headers().unwrap().clone();
    let at = columns.iter().position(|it| it == "best_valid_accuracy");
    let row = rows.records().nth(1).unwrap().unwrap();
    assert_eq!(row[at.unwrap()].parse().ok(), accuracy, "{table}");
}

#[test]
fn compare_warns_of_another_split_and_of_other_weights() {
    let case = Case::new("");
    let first = case.train(&[]);
    let second = case.train(&["--set", "split.valid=0.5", "--set", "model.weights=none"]);
    assert_eq!(subjects(&case, &[&first, &second]), ["split", "weights"]);
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
    let runs = ["compare", "copied", text(&second), text(&failed)];
    let answer = case.json(&runs);
    let states: Vec<_> = answer["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            (
                run["state"].as_str().unwrap(),
                run["epochs"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(states, [("finished", 4), ("running", 3), ("failed", 0)]);
    case.says("compare/running_and_failed", &runs);
}

#[test]
fn compare_takes_copies_that_are_a_table_or_two() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    for (folder, file) in [("scores", "metrics.csv"), ("answers", "predictions.csv")] {
        fs::create_dir(case.path(folder)).unwrap();
        fs::copy(second.join(file), case.path(folder).join(file)).unwrap();
    }
    let answer = case.json(&["compare", text(&first), "scores", "answers"]);
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
    Transcript::new(&case)
        .run(&["compare", text(&first), "scores", "answers"])
        .run(&["show", "scores"])
        .fails(&["rm", "--yes", "scores"])
        .fails(&["resume", "scores"])
        .is("compare/copies");
    assert!(case.path("scores/metrics.csv").is_file());
}

#[test]
fn compare_draws_a_run_after_the_one_it_goes_on_from() {
    let case = Case::new("");
    let parent = case.train(&[]);
    let epoch = read_toml(&parent.join("summary.toml"))["best"]["epoch"].clone();
    let child = case.train(&["--set", "name=child", "--set", "init_from=latest:small"]);
    let said = [format!("weights: B started from A, epoch {epoch}")];
    assert_eq!(caveats(&case, &[&parent, &child]), said);
    // Where the parent is not compared there is nothing to continue.
    let other = case.train(&["--set", "name=other", "--set", "seed=1"]);
    case.says(
        "compare/without_the_parent",
        &["compare", text(&child), text(&other)],
    );
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
    let child = case.train(&[&sets[..], &["--set", "name=child"]].concat());
    assert_eq!(
        subjects(&case, &[&parent, &child]),
        ["split", "weights", "leak"]
    );
    // The order of the runs tells which letter leaks.
    case.says(
        "compare/a_leak_of_the_first",
        &["compare", text(&child), text(&parent)],
    );
}

#[test]
fn compare_tells_what_is_other_about_the_images() {
    let case = Case::new("");
    let first = case.train(&[]);
    // The same images elsewhere, read by more hands, are the same.
    fs::rename(case.path("data"), case.path("moved")).unwrap();
    let train = |name: &str| {
        let name = format!("name={name}");
        let sets = ["data.root=moved", "data.workers=1", "cache.mode=off", &name];
        case.train(&sets.map(|set| ["--set", set]).concat())
    };
    let second = train("moved");
    assert_eq!(caveats(&case, &[&first, &second]), [""; 0]);
    fs::remove_file(case.path("moved/Cat/0.jpg")).unwrap();
    let third = train("fewer");
    let three = ["compare", text(&first), text(&second), text(&third)];
    fs::copy(case.path("moved/Cat/1.jpg"), case.path("moved/Cat/0.jpg")).unwrap();
    let fourth = train("copied");
    assert_eq!(subjects(&case, &[&first, &fourth]), ["data"]);
    Transcript::new(&case)
        .run(&three)
        .run(&["compare", text(&first), text(&fourth)])
        .is("compare/other_images");
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
    let said = caveats(&case, &[&first, &second]);
    assert!(said[0].contains(" B (0.00 % for "), "{said:?}");
    case.says(
        "compare/predictions_of_another_epoch",
        &["compare", text(&first), text(&second)],
    );
}

#[test]
fn compare_says_where_epochs_are_lost() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    make_bare(&second);
    let whole = read(&second.join("metrics.csv"));
    let rows: Vec<&str> = whole.split_inclusive('\n').collect();
    let garbled = [rows[0], rows[1], "2,head,what\n", rows[3], rows[4]].concat();
    let mut transcript = Transcript::new(&case);
    for damaged in [&garbled, &whole[..whole.len() - 9]] {
        fs::write(second.join("metrics.csv"), damaged).unwrap();
        transcript.run(&["compare", text(&first), text(&second)]);
    }
    transcript.is("compare/lost_epochs");
}

#[test]
fn compare_writes_pictures_as_png_alone() {
    let case = Case::new("");
    let (first, second) = two_runs(&case);
    fs::write(case.path("notes.txt"), "mine").unwrap();
    let into_notes = ["compare", text(&first), text(&second), "-o", "notes.txt"];
    case.says("compare/into_a_text_file", &into_notes);
    assert_eq!(read(&case.path("notes.txt")), "mine");
}

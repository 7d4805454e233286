//! `runner predict`: the same answers as in training, for any files in any order, whole or resumed.

mod files;
mod outputs;

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
};

use crate::{
    program::{Case, read},
    runs::text,
};

/// A table of CSV as rows of cells, the header first, read as other programs would.
fn table(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(bytes);
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        row.iter().map(str::to_owned).collect()
    });
    rows.collect()
}

/// The cells of a column, without its name.
fn column(table: &[Vec<String>], name: &str) -> Vec<String> {
    let at = table[0].iter().position(|cell| cell == name);
    let at = at.unwrap_or_else(|| panic!("{name} is not in {:?}", table[0]));
    table[1..].iter().map(|row| row[at].clone()).collect()
}

/// Predicts; the table, and the exit code.
fn predict(case: &Case, args: &[&str]) -> (Vec<Vec<String>>, Option<i32>) {
    let output = case.run(&[&["predict"], args].concat());
    let table = table(&output.stdout);
    assert!(
        !table.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (table, output.status.code())
}

/// Runs a command with this text on stdin.
fn with_stdin(case: &Case, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = case.command(args);
    command.stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read it.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// Every digit of `predictions.csv` comes again, whatever the batches, the order and the cache.
fn check_bits(case: &Case, run: &Path, more: &[&str]) {
    let expected = table(&fs::read(run.join("predictions.csv")).unwrap());
    let files: Vec<String> = column(&expected, "file");
    let files: Vec<String> = files.iter().map(|file| format!("data/{file}")).collect();
    let args: Vec<&str> = [text(run), "--top", "2"]
        .into_iter()
        .chain(more.iter().copied())
        .chain(files.iter().rev().map(String::as_str))
        .collect();
    let (mut actual, code) = predict(case, &args);
    assert_eq!(code, Some(0));
    actual[1..].reverse();
    assert_eq!(column(&actual, "file"), files);
    for (ours, theirs) in [
        ("class", "predicted"),
        ("true_class", "class"),
        ("probability", "probability"),
        ("loss", "loss"),
    ] {
        let (ours, theirs) = (column(&actual, ours), column(&expected, theirs));
        assert_eq!(ours, theirs, "{more:?}");
    }
    let (second, probabilities) = (column(&actual, "class_2"), column(&actual, "probability_2"));
    for (row, (class, probability)) in second.iter().zip(probabilities).enumerate() {
        let of_class = column(&expected, &format!("probability_{class}"));
        assert_eq!(probability, of_class[row], "{row}");
    }
}

#[test]
fn the_validation_images_get_the_bits_of_training() {
    let case = Case::new("");
    // The best epoch is in the phase that trains the last convolutions, or in the one that trains the head alone.
    let run = case.train(&[]);
    check_bits(&case, &run, &[]);
    check_bits(&case, &run, &["--cache"]);
    check_bits(&case, &run, &["--set", "threads=1"]);
    let head = case.train(&["--set", "phase.features24.lr=10"]);
    check_bits(&case, &head, &[]);
    check_bits(&case, &head, &["--cache"]);
    // Rounded as in training, though nothing is cached; with other preprocessing.
    let rounded = [
        "--set",
        "cache.precision=f16",
        "--set",
        "transforms.interpolation=bicubic",
    ];
    let rounded = case.train(&rounded);
    check_bits(&case, &rounded, &[]);
    check_bits(&case, &rounded, &["--cache"]);
}

#[test]
fn a_run_needs_neither_its_images_nor_its_place() {
    let case = Case::new("");
    let run = case.train(&[]);
    let (before, _) = predict(&case, &[text(&run), "data"]);
    fs::rename(case.path("data"), case.path("elsewhere")).unwrap();
    fs::rename(&run, case.path("copied")).unwrap();
    let (after, code) = predict(&case, &["copied", "elsewhere"]);
    assert_eq!((after.len(), code), (21, Some(0)));
    for name in ["class", "probability", "true_class", "correct", "loss"] {
        assert_eq!(column(&before, name), column(&after, name), "{name}");
    }
}

#[test]
fn the_last_checkpoint_is_another_model() {
    let case = Case::new("");
    let run = case.train(&["--set", "phase.features24.lr=1e-2"]);
    let probabilities = |checkpoint| {
        let args = [text(&run), "data", "--checkpoint", checkpoint];
        column(&predict(&case, &args).0, "probability")
    };
    let scores = case.json(&["evaluate", text(&run), "--checkpoint", "last"]);
    let (last, code) = predict(&case, &[text(&run), "data", "--checkpoint", "last"]);
    assert_eq!(code, Some(0));
    // The mean loss of the validation images is that of the table.
    let split = read(&run.join("split.csv"));
    let is_valid = |file: &str| {
        let file = file.strip_prefix("data/").unwrap();
        let row = split
            .lines()
            .find(|row| row.starts_with(&format!("{file},")));
        row.unwrap().ends_with(",valid")
    };
    let files = column(&last, "file");
    let losses = column(&last, "loss");
    let losses: Vec<f64> = files
        .iter()
        .zip(losses)
        .filter(|(file, _)| is_valid(file))
        .map(|(_, loss)| loss.parse().unwrap())
        .collect();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!((mean - scores["loss"].as_f64().unwrap()).abs() < 1e-6);
    if case.json(&["evaluate", text(&run)])["epoch"] != scores["epoch"] {
        assert_ne!(probabilities("best"), probabilities("last"));
    }
}

#[test]
fn what_was_trained_cannot_be_changed() {
    let case = Case::new("");
    let run = case.train(&[]);
    for (number, set) in ["transforms.resize=[64,64]", "data.exif_orientation=true"]
        .iter()
        .enumerate()
    {
        let snapshot = format!("predict/refused_{number}");
        case.says(&snapshot, &["predict", text(&run), "data", "--set", set]);
    }
}

#[test]
fn photos_in_the_cache_are_not_computed_again() {
    let case = Case::new("");
    let run = case.train(&[]);
    let n_items = || -> u64 {
        let entries = case.json(&["cache", "list"]);
        let entries = entries["entries"].as_array().unwrap().clone();
        entries
            .iter()
            .map(|it| it["images"].as_u64().unwrap())
            .sum()
    };
    let of_training = n_items();
    case.ok(&["predict", text(&run), "data", "--cache"]);
    assert_eq!(n_items(), of_training, "all images were known");
    case.ok(&[
        "sample-data",
        "new",
        "--per-class",
        "3",
        "--seed",
        "9",
        "--no-broken",
    ]);
    let (computed, _) = predict(&case, &[text(&run), "new", "data", "--cache"]);
    assert_eq!(n_items(), of_training + 6);
    let (cached, _) = predict(&case, &[text(&run), "new", "data", "--cache"]);
    let (plain, _) = predict(&case, &[text(&run), "new", "data"]);
    assert_eq!(cached, computed);
    assert_eq!(cached, plain);
}

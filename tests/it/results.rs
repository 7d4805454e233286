//! What a run says of its predictions: scores by class, tables and pictures.

use std::fs;

use crate::{
    program::{Case, read, read_toml},
    runs::text,
};

#[test]
fn a_class_without_a_validation_image_has_no_scores() {
    let case = Case::new("");
    let whole = case.train(&[]);
    // Every dog trains.
    let split = read(&whole.join("split.csv")).replace(",Dog,valid", ",Dog,train");
    fs::write(case.path("split.csv"), split).unwrap();
    let by_file = "split = { method = \"file\", file = \"split.csv\" }";
    let experiment = read(&case.path("small.toml")).replace("split = { valid = 0.25 }", by_file);
    fs::write(case.path("by_file.toml"), experiment).unwrap();
    case.says("results/a_class_without_images", &["check", "by_file.toml"]);
    let run = case.path(&case.ok(&["by_file.toml"]));
    let summary = read_toml(&run.join("summary.toml"));
    let dog = summary["class"].as_array().unwrap()[1].as_table().unwrap();
    assert_eq!(dog["images"].as_integer(), Some(0));
    assert!(!dog.contains_key("recall"), "{dog:?}");
    let cat = &summary["class"][0];
    let average = &summary["macro_average"];
    assert_eq!(average["recall"], cat["recall"]);
    let shown = case.ok(&["show", text(&run)]);
    let row = shown.lines().find(|line| line.starts_with("Dog ")).unwrap();
    assert!(row.contains(" -"), "{row}");
    let shown = case.json(&["show", text(&run)]);
    assert!(shown["summary"]["class"][1].get("recall").is_none());
}

#[test]
fn predictions_have_the_probabilities_of_all_classes() {
    let case = Case::new("");
    let run = case.train(&["--set", "split.test=0.2"]);
    let rows = read(&run.join("predictions.csv"));
    let mut rows = rows.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    assert_eq!(header[5..], ["split", "probability_Cat", "probability_Dog"]);
    let (mut n_valid, mut n_test) = (0, 0);
    for row in rows {
        let number = |at: usize| row[at].parse::<f64>().unwrap();
        let (cat, dog) = (number(6), number(7));
        assert!((cat + dog - 1.0).abs() < 1e-15, "{row:?}");
        assert_eq!(row[2], if dog > cat { "Dog" } else { "Cat" });
        assert!((number(3) - cat.max(dog)).abs() < 1e-300);
        let of_truth = if row[1] == "Dog" { dog } else { cat };
        assert!((number(4) + of_truth.ln()).abs() < 1e-5, "{row:?}");
        n_valid += usize::from(row[5] == "valid");
        n_test += usize::from(row[5] == "test");
    }
    assert_eq!((n_valid, n_test), (5, 4));
    case.ok(&["verify", text(&run)]);
}

#[test]
fn the_test_part_is_scored_by_class_like_the_validation_part() {
    let case = Case::new("");
    let run = case.train(&["--set", "split.test=0.2"]);
    let n_images = |name: &str| {
        let table = read(&run.join(name));
        let cells = table.lines().skip(1).flat_map(|row| row.split(',').skip(1));
        cells
            .map(|cell| cell.parse::<usize>().unwrap())
            .sum::<usize>()
    };
    assert_eq!(
        [n_images("confusion.csv"), n_images("confusion_test.csv")],
        [5, 4]
    );
    assert!(run.join("confusion_test.png").is_file());
    let summary = read_toml(&run.join("summary.toml"));
    let scores = case.json(&["evaluate", text(&run), "--split", "test"]);
    for (class, name) in ["Cat", "Dog"].iter().enumerate() {
        let of_run = &summary["test"]["class"][class];
        assert_eq!(of_run["name"].as_str(), Some(*name));
        let recall = of_run.get("recall").and_then(toml::Value::as_float);
        assert_eq!(scores["class"][class]["recall"].as_f64(), recall);
    }
    case.ok(&["verify", text(&run)]);
}

#[test]
fn mistakes_have_a_picture_unless_there_are_none() {
    let case = Case::new("");
    let run = case.train(&[]);
    let is_wrong = |row: &str| {
        let cells: Vec<&str> = row.split(',').collect();
        cells[1] != cells[2]
    };
    let rows = read(&run.join("predictions.csv"));
    let n_wrong = rows.lines().skip(1).filter(|row| is_wrong(row)).count();
    assert_eq!(run.join("mistakes.png").is_file(), n_wrong > 0);
    // What may not be true any more goes when the run goes on.
    fs::write(run.join("mistakes.png"), "old").unwrap();
    case.ok(&["resume", text(&run), "--set", "phase.features24.epochs=3"]);
    let picture = fs::read(run.join("mistakes.png")).unwrap_or_default();
    assert!(picture != b"old");
    case.ok(&["verify", text(&run)]);
}

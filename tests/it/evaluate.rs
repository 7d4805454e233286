//! `runner evaluate` on the run's own images and on others, in all its forms of output.

use std::{fs, path::Path};

use serde_json::Value;

use crate::program::{Case, read, read_toml};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Copies the images of one part of a run's split to `folder`, each to the folder of its class.
fn copy_part(case: &Case, run: &Path, part: &str, folder: &str) -> usize {
    let table = read(&run.join("split.csv"));
    let rows = table.lines().skip(1).map(|row| row.split(',').collect());
    let rows: Vec<Vec<&str>> = rows.collect();
    let chosen: Vec<&Vec<&str>> = rows.iter().filter(|row| row[2] == part).collect();
    for row in &chosen {
        let to = case.path(folder).join(row[0]);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(case.path("data").join(row[0]), to).unwrap();
    }
    chosen.len()
}

/// The rows of a table below its header, as cells.
fn rows(csv: &str) -> Vec<Vec<String>> {
    let lines = csv.lines().skip(1);
    let cells = |line: &str| line.split(',').map(str::to_owned).collect();
    lines.map(cells).collect()
}

#[test]
fn the_own_split_gives_the_recorded_scores_to_the_last_bit() {
    let case = Case::new("");
    let run = case.train(&["--set", "split.test=0.2"]);
    let summary = read_toml(&run.join("summary.toml"));
    for (part, recorded) in [
        ("valid", &summary),
        ("test", summary["test"].as_table().unwrap()),
    ] {
        let answer = case.json(&["evaluate", text(&run), "--split", part]);
        assert_eq!(
            (&answer["split"], &answer["folder"]),
            (&part.into(), &Value::Null)
        );
        let accuracy = match part {
            "valid" => &summary["best"]["valid_accuracy"],
            _ => &recorded["accuracy"],
        };
        let evaluation = &answer["evaluation"];
        assert_eq!(
            evaluation["accuracy"]["value"].as_f64(),
            accuracy.as_float()
        );
        assert_eq!(answer["accuracy"].as_f64(), accuracy.as_float());
        let loss = answer["loss"].as_f64().unwrap();
        let log_loss = evaluation["log_loss"]["value"].as_f64().unwrap();
        assert!((loss - log_loss).abs() < 1e-5, "{loss} {log_loss}");
        for score in ["precision", "recall", "f1"] {
            let get = |table: &toml::Value| table.get(score).and_then(toml::Value::as_float);
            let average = &evaluation["macro_average"][score]["value"];
            assert_eq!(average.as_f64(), get(&recorded["macro_average"]), "{score}");
            for class in 0..2 {
                let found = &evaluation["class"][class][score]["value"];
                assert_eq!(found.as_f64(), get(&recorded["class"][class]), "{score}");
            }
        }
    }
}

#[test]
fn copies_of_the_validation_images_give_the_scores_of_the_validation_images() {
    let case = Case::new("");
    let run = case.train(&[]);
    let n = copy_part(&case, &run, "valid", "copies");
    let own = case.json(&["evaluate", text(&run)]);
    let other = case.json(&["evaluate", text(&run), "copies"]);
    for field in [
        "images",
        "loss",
        "accuracy",
        "class",
        "confusion",
        "evaluation",
        "operating_point",
    ] {
        assert_eq!(own[field], other[field], "{field}");
    }
    assert_eq!(
        (&other["folder"], &other["split"]),
        (&"copies".into(), &Value::Null)
    );
    assert_eq!(
        (&other["trained_on"], &other["validated_on"]),
        (&0.into(), &n.into())
    );
    assert_eq!(own["trained_on"], Value::Null);

    let n_trained = copy_part(&case, &run, "train", "copies");
    let output = case.run(&["evaluate", text(&run), "copies"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let warning = format!(
        "warning: the run was trained on {n_trained} of {} images and chose its best epoch by {n}",
        n + n_trained
    );
    assert!(stderr.contains(&warning), "{stderr}");

    // Without the images of the run nobody knows; the scores are the same.
    fs::rename(case.path("data"), case.path("moved")).unwrap();
    let alone = case.json(&["evaluate", text(&run), "copies"]);
    assert_eq!(alone["images"], n + n_trained);
    assert_eq!(alone["trained_on"], Value::Null);
    let moved = ["--set", "data.root=moved"];
    let found = case.json(&[&["evaluate", text(&run), "copies"], &moved[..]].concat());
    assert_eq!(found["trained_on"], n_trained);
    assert_eq!(found["evaluation"], alone["evaluation"]);
}

#[test]
fn classes_of_another_folder_go_by_name_and_may_be_missing() {
    let case = Case::new("");
    let run = case.train(&[]);
    case.ok(&[
        "sample-data",
        "new",
        "--per-class",
        "4",
        "--seed",
        "9",
        "--no-broken",
    ]);
    let both = case.json(&["evaluate", text(&run), "new"]);
    fs::remove_dir_all(case.path("new/Cat")).unwrap();
    fs::write(case.path("new/notes.txt"), "beside the classes").unwrap();
    fs::create_dir(case.path("new/empty")).unwrap();
    let dogs = case.json(&["evaluate", text(&run), "new"]);
    // The folder of dogs is the first one now, but the second class.
    assert_eq!(dogs["confusion"][0], serde_json::json!([0, 0]));
    assert_eq!(dogs["confusion"][1], both["confusion"][1]);
    assert_eq!(dogs["class"][0]["name"], "Cat");
    assert_eq!(dogs["class"][0].get("recall"), None);
    let evaluation = &dogs["evaluation"];
    assert_eq!(evaluation["majority_class"], "Dog");
    assert_eq!(
        evaluation["class"][1]["recall"],
        both["evaluation"]["class"][1]["recall"]
    );
    assert_eq!(evaluation["macro_average"]["roc_auc"], Value::Null);
    let output = case.path("out");
    case.ok(&["evaluate", text(&run), "new", "-o", text(&output)]);
    assert!(!output.join("roc.png").exists());
    assert!(output.join("confusion.png").is_file());
    case.says(
        "evaluate/a_folder_of_one_class",
        &["evaluate", "latest:small", "new"],
    );
}

#[test]
fn folders_that_are_no_classes_are_an_error_that_lists_both() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    fs::rename(case.path("data/Dog"), case.path("data/dog")).unwrap();
    case.says(
        "evaluate/an_unknown_class",
        &["evaluate", "latest:small", "data"],
    );
    fs::create_dir_all(case.path("parts/train")).unwrap();
    fs::rename(case.path("data"), case.path("parts/val")).unwrap();
    fs::rename(case.path("parts/val/dog"), case.path("parts/train/Dog")).unwrap();
    case.says(
        "evaluate/a_folder_of_parts",
        &["evaluate", "latest:small", "parts"],
    );
    fs::create_dir(case.path("none")).unwrap();
    let none = case.fails(3, &["evaluate", run, "none"]);
    assert!(
        none.contains("classes of the model: `Cat`, `Dog`"),
        "{none}"
    );
    let absent = case.fails(3, &["evaluate", run, "absent"]);
    assert!(absent.contains("`absent` does not exist"), "{absent}");
    fs::create_dir_all(case.path("broken/Cat")).unwrap();
    fs::write(case.path("broken/Cat/a.jpg"), "not a photo").unwrap();
    let broken = case.fails(3, &["evaluate", run, "broken"]);
    assert!(broken.contains("no readable images"), "{broken}");
    case.fails(2, &["evaluate", run, "parts", "--split", "test"]);
}

#[test]
fn the_positive_class_and_its_threshold_can_be_chosen() {
    let case = Case::new("");
    let run = case.train(&[]);
    let point = |args: &[&str]| {
        let answer = case.json(&[&["evaluate", text(&run)], args].concat());
        answer["operating_point"].clone()
    };
    let default = point(&[]);
    assert_eq!(
        (&default["positive"], &default["threshold"]),
        (&"Dog".into(), &0.5.into())
    );
    let all = point(&["--threshold", "0"]);
    assert_eq!(all["sensitivity"]["value"], 1.0);
    assert_eq!(all["specificity"]["value"], 0.0);
    assert_eq!(all["negative_predictive_value"], Value::Null);
    let cats = point(&["--positive", "Cat", "--threshold", "0.3"]);
    let dogs = point(&["--threshold", "0.7"]);
    // A cat from 0.3 on is no dog up to 0.7.
    assert_eq!(cats["sensitivity"], dogs["specificity"]);
    let shown = case.ok(&[
        "evaluate",
        text(&run),
        "--positive",
        "Cat",
        "--threshold",
        "0.3",
    ]);
    assert!(shown.contains("`Cat` from probability 0.3 on"), "{shown}");
    case.says(
        "evaluate/an_unknown_positive",
        &["evaluate", "latest:small", "--positive", "Horse"],
    );
    for threshold in ["1.5", "-0.1", "NaN"] {
        case.fails(2, &["evaluate", text(&run), "--threshold", threshold]);
    }
}

#[test]
fn tables_and_plots_are_written_to_a_folder_of_their_own() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    let answer = case.json(&["evaluate", run, "-o", "out/new"]);
    let file = |name: &str| case.path("out/new").join(name);
    let images = answer["images"].as_u64().unwrap() as usize;
    assert_eq!(rows(&read(&file("predictions.csv"))).len(), images);
    let split = read(&Path::new(run).join("predictions.csv"));
    assert_eq!(read(&file("predictions.csv")), split);
    let confusion = read(&Path::new(run).join("confusion.csv"));
    assert_eq!(read(&file("confusion.csv")), confusion);
    assert_eq!(rows(&read(&file("classes.csv"))).len(), 2);
    let bins = rows(&read(&file("calibration.csv")));
    assert_eq!(bins.len(), 15);
    let in_bins: usize = bins
        .iter()
        .map(|row| row[2].parse::<usize>().unwrap())
        .sum();
    assert_eq!(in_bins, images);
    let last = rows(&read(&file("thresholds.csv"))).pop().unwrap();
    // From the lowest probability on, all are positive.
    assert_eq!((last[5].as_str(), last[6].as_str()), ("1.0", "0.0"));
    assert!(read(&file("confused.csv")).starts_with("class,predicted,images,share\n"));
    for name in [
        "roc.png",
        "precision_recall.png",
        "calibration.png",
        "confusion.png",
    ] {
        assert!(
            fs::read(file(name)).unwrap().starts_with(b"\x89PNG"),
            "{name}"
        );
    }
    let json: Value = serde_json::from_str(&read(&file("evaluation.json"))).unwrap();
    assert_eq!(json["evaluation"], answer["evaluation"]);

    // Another evaluation replaces it; the files of a run, or of anybody else, are not replaced.
    case.ok(&["evaluate", run, "-o", "out/new", "--checkpoint", "last"]);
    let json: Value = serde_json::from_str(&read(&file("evaluation.json"))).unwrap();
    assert_eq!(json["checkpoint"], "last");
    for folder in [run, "data", "out/new/roc.png"] {
        case.fails(
            if folder.ends_with("png") { 1 } else { 2 },
            &["evaluate", run, "-o", folder],
        );
    }
    case.ok(&["verify", run]);
}

#[test]
fn every_score_is_a_row_of_the_csv() {
    let case = Case::new("");
    let run = case.train(&[]);
    let csv = case.ok(&["evaluate", text(&run), "--csv"]);
    assert!(
        csv.starts_with("score,average,class,threshold,value,low,high,interval\n"),
        "{csv}"
    );
    let rows = rows(&csv);
    assert!(rows.iter().all(|row| row.len() == 8));
    let answer = case.json(&["evaluate", text(&run)]);
    let value = |score: &str, average: &str, class: &str| {
        let mut rows = rows.iter();
        let row = rows
            .find(|row| row[..3] == [score, average, class])
            .unwrap();
        row[4].parse::<f64>().ok()
    };
    assert_eq!(value("accuracy", "", ""), answer["accuracy"].as_f64());
    assert_eq!(value("loss", "", ""), answer["loss"].as_f64());
    let evaluation = &answer["evaluation"];
    let f1 = &evaluation["macro_average"]["f1"]["value"];
    assert_eq!(value("f1", "macro", ""), f1.as_f64());
    let recall = &evaluation["class"][1]["recall"]["value"];
    assert_eq!(value("recall", "", "Dog"), recall.as_f64());
    assert_eq!(value("sensitivity", "", "Dog"), recall.as_f64());
}

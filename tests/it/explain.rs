//! Where a network looked.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    program::{Case, png_size, read},
    voice::Transcript,
};

/// The rows of a CSV file by the first column, as cells by name.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = read(path);
    let mut lines = text.lines().map(|line| line.split(','));
    let names: Vec<&str> = lines.next().unwrap().collect();
    let row = |cells: std::str::Split<'_, char>| {
        let cells = names.iter().map(|name| (*name).to_owned()).zip(cells);
        cells.map(|(name, cell)| (name, cell.to_owned())).collect()
    };
    lines.map(row).collect()
}

#[test]
fn maps_are_drawn_for_the_predicted_and_the_true_class() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run_name = run.to_str().unwrap();
    case.ok(&["explain", run_name, "data", "-o", "maps"]);
    let found = rows(&case.path("maps/explanations.csv"));
    let files: Vec<&String> = found.iter().map(|row| &row["file"]).collect();
    let mut photos = files.clone();
    photos.dedup();
    assert_eq!(photos.len(), 20);
    for row in &found {
        // A second map shows the true class of a wrong prediction.
        let is_second = row["class"] != row["predicted"];
        assert!(!is_second || row["class"] == row["true_class"], "{row:?}");
        let picture = case.path("maps").join(&row["picture"]);
        assert_eq!(png_size(&picture), (32, 32), "{row:?}");
        let probability: f64 = row["probability"].parse().unwrap();
        assert!((0.0..=1.0).contains(&probability));
    }
    let n_wrong = found.iter().filter(|row| row["class"] != row["predicted"]);
    assert_eq!(found.len(), 20 + n_wrong.count());
    // Photos of the same name in two folders do not overwrite each other.
    let pictures: std::collections::BTreeSet<&String> =
        found.iter().map(|row| &row["picture"]).collect();
    assert_eq!(pictures.len(), found.len());

    // The probabilities are those of the run.
    let recorded = rows(&run.join("predictions.csv"));
    for row in &recorded {
        let name = format!("data/{}", row["file"]);
        let ours = found.iter().find(|it| it["file"] == name).unwrap();
        assert_eq!(ours["predicted"], row["predicted"]);
        let [ours, theirs] = [ours, row].map(|it| it["probability"].parse::<f64>().unwrap());
        assert!((ours - theirs).abs() < 1e-4, "{name}: {ours} {theirs}");
    }
}

#[test]
fn a_class_and_a_method_can_be_chosen() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run_name = run.to_str().unwrap();
    let photo = fs::read_dir(case.path("data/Cat")).unwrap().next();
    let photo = photo.unwrap().unwrap().path();
    let photo = photo.to_str().unwrap();
    let map = |folder: &str, more: &[&str]| {
        let words = ["explain", run_name, photo, "-o", folder, "--class", "Dog"];
        case.ok(&[&words, more].concat());
        let found = rows(&case.path(folder).join("explanations.csv"));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0]["class"].as_str(), found[0]["true_class"].as_str()),
            ("Dog", "Cat")
        );
        fs::read(case.path(folder).join(&found[0]["picture"])).unwrap()
    };
    let grad = map("grad", &[]);
    assert_eq!(map("again", &["--method", "grad-cam"]), grad);
    assert_ne!(map("layer", &["--method", "layer-cam"]), grad);
}

#[test]
fn what_cannot_be_explained_is_said() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run_name = run.to_str().unwrap();
    fs::create_dir(case.path("few")).unwrap();
    let photo = fs::read_dir(case.path("data/Cat")).unwrap().next();
    fs::copy(photo.unwrap().unwrap().path(), case.path("few/a.jpg")).unwrap();
    fs::write(case.path("few/b.jpg"), "no photo").unwrap();
    Transcript::new(&case)
        .fails(&["explain", run_name, "few", "-o", "maps"])
        .fails(&["explain", run_name, "missing.jpg", "-o", "maps"])
        .fails(&["explain", run_name, "few", "-o", "maps", "--class", "Dgo"])
        .fails(&[
            "explain",
            run_name,
            "few",
            "-o",
            "maps",
            "--set",
            "transforms.resize=[64, 64]",
        ])
        .fails(&["explain", run_name, "few"])
        .is("errors_of_explain");
    // What could be explained is there all the same.
    assert_eq!(rows(&case.path("maps/explanations.csv")).len(), 1);
    fs::create_dir(case.path("nothing")).unwrap();
    case.fails(2, &["explain", run_name, "nothing", "-o", "none"]);
}

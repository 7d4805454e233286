//! `docs/files.md` names every file that runs and sweeps leave, and every column in its place.

use std::{fs, path::Path};

use crate::program::{Case, read};

const DOCS: &str = include_str!("../../docs/files.md");

/// What the first column of the table below a heading names in backticks.
fn columns(file: &str) -> Option<Vec<&'static str>> {
    let (_, section) = DOCS.split_once(&format!("\n### `{file}`\n"))?;
    let section = section.split("\n#").next()?;
    let names = section.lines().filter_map(|line| {
        let cell = line.strip_prefix("| `")?;
        Some(cell.split('`').next().unwrap())
    });
    Some(names.collect())
}

/// Each file of `folder` is named, and each table has the columns that are said, but for those in `more`.
fn check(folder: &Path, more: &[&str]) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // The runs below a sweep are folders with names of their own.
        if entry.path().join("manifest.toml").is_file() {
            continue;
        }
        let is_folder = entry.path().is_dir();
        let shown = if is_folder {
            format!("`{name}/`")
        } else {
            format!("`{name}`")
        };
        assert!(DOCS.contains(&shown), "{shown} is not in docs/files.md");
        let is_table = entry.path().extension().is_some_and(|it| it == "csv");
        if is_table && !name.starts_with("confusion") {
            let text = read(&entry.path());
            let header = text.lines().next().unwrap().split(',');
            let header: Vec<&str> = header.filter(|column| !more.contains(column)).collect();
            assert_eq!(Some(header), columns(&name), "{name}");
        }
    }
}

#[test]
fn every_file_and_column_is_documented() {
    let case = Case::new("");
    let rates = "base = \"small.toml\"\n[axes]\nphase.head.lr = [1e-3]\n";
    fs::write(case.path("rates.toml"), rates).unwrap();
    // Training on needs the optimizer.
    let small = fs::read_to_string(case.path("small.toml")).unwrap();
    let kept = format!("{small}\n[checkpoints]\nkeep = \"all\"\n");
    fs::write(case.path("small.toml"), kept).unwrap();
    case.ok(&["sweep", "rates.toml"]);
    let sweep = case.path("runs/sweep-rates");
    check(&sweep, &["phase.head.lr"]);
    let trials = case.ok(&["list", "--runs-dir", "runs/sweep-rates", "--csv"]);
    let trial = trials.lines().nth(1).unwrap().split(',').next().unwrap();
    case.ok(&[
        "resume",
        &format!("runs/sweep-rates/{trial}"),
        "--set",
        "phase.features24.epochs=3",
    ]);
    assert!(sweep.join(trial).join("changes.csv").is_file());
    let more = ["probability_Cat", "probability_Dog"];
    check(&sweep.join(trial), &more);
    let run = format!("runs/sweep-rates/{trial}");
    case.ok(&["evaluate", &run, "-o", "evaluation"]);
    check(&case.path("evaluation"), &more);
}

/// The programs are tested as files.
#[test]
fn the_guide_to_using_a_model_shows_the_programs_as_they_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let guide = fs::read_to_string(docs.join("use.md")).unwrap();
    for program in ["predict_onnx.py", "predict_torchvision.py"] {
        let text = fs::read_to_string(docs.join("examples").join(program)).unwrap();
        assert!(guide.contains(text.trim_end()), "{program}");
    }
}

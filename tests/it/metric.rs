//! The metrics that a run can be judged by, beside loss and accuracy.

use std::{fs, path::Path};

use crate::program::{Case, column, read, read_toml};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The best epoch by a column of `metrics.csv`, then by loss, then the first.
fn best_by(run: &Path, name: &str) -> usize {
    let numbers = |name: &str| -> Vec<f64> {
        let cells = column(run, name).into_iter();
        cells.map(|cell| cell.parse().unwrap()).collect()
    };
    let (values, losses) = (numbers(name), numbers("valid_loss"));
    let epochs = 0..values.len();
    let key = |epoch: usize| (-values[epoch], losses[epoch]);
    1 + epochs
        .min_by(|a, b| key(*a).partial_cmp(&key(*b)).unwrap())
        .unwrap()
}

fn header(run: &Path) -> String {
    read(&run.join("metrics.csv"))
        .lines()
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn a_run_can_be_judged_by_macro_f1_or_auc_and_resumes() {
    let case = Case::new("");
    let plain = case.train(&[]);
    assert!(header(&plain).ends_with("frozen_seconds,valid_seconds"));
    for (metric, score) in [("valid_macro_f1", "f1"), ("valid_auc", "roc_auc")] {
        let choice = format!("training.metric={metric}");
        let run = case.train(&["--set", &choice]);
        assert!(
            header(&run).ends_with(&format!("valid_seconds,{metric}")),
            "{metric}"
        );
        case.ok(&["resume", text(&run), "--set", "phase.features24.epochs=3"]);
        assert_eq!(column(&run, metric).len(), 5);
        assert_eq!(
            column(&run, "train_loss")[..4],
            column(&plain, "train_loss")[..]
        );
        let summary = read_toml(&run.join("summary.toml"));
        let best = summary["best"]["epoch"].as_integer().unwrap() as usize;
        assert_eq!(best, best_by(&run, metric), "{metric}");
        let recorded: f64 = column(&run, metric)[best - 1].parse().unwrap();
        assert_eq!(summary["best"][metric].as_float(), Some(recorded));
        let answer = case.json(&["evaluate", text(&run)]);
        assert_eq!(answer["epoch"], best);
        let value = &answer["evaluation"]["macro_average"][score]["value"];
        assert_eq!(value.as_f64(), Some(recorded), "{metric}");
        if metric == "valid_macro_f1" {
            assert_eq!(summary["macro_average"]["f1"].as_float(), Some(recorded));
        }
        let listed = case.json(&["list"]);
        let listed = listed["runs"].as_array().unwrap();
        assert!(
            listed.iter().any(|row| row[metric] == recorded),
            "{listed:?}"
        );
        case.fails(
            2,
            &["resume", text(&run), "--set", "training.metric=valid_loss"],
        );
        case.ok(&["verify", text(&run)]);
    }
    let compared = case.ok(&["compare", "runs"]);
    assert!(
        compared.contains("macro F1 ") && compared.contains("AUC "),
        "{compared}"
    );
    let listed = case.ok(&["list"]);
    assert!(
        listed.lines().next().unwrap().ends_with("metric"),
        "{listed}"
    );
}

#[test]
fn a_sweep_ranks_by_the_metric_of_its_trials() {
    let case = Case::new("[training]\nmetric = \"valid_auc\"\n");
    let sweep = "base = \"small.toml\"\n[axes]\nseed = [1, 2]\n";
    fs::write(case.path("sweep.toml"), sweep).unwrap();
    let folder = case.ok(&["sweep", "sweep.toml"]);
    let folder = case.path(folder.lines().last().unwrap());
    let table = read(&folder.join("leaderboard.csv"));
    assert!(
        table.lines().next().unwrap().ends_with("reason,valid_auc"),
        "{table}"
    );
    let cells = table.lines().skip(1).map(|row| row.split(',').next_back());
    let values = cells.map(|cell| cell.unwrap().parse().unwrap());
    let values: Vec<f64> = values.collect();
    assert!(values.len() == 2 && values[0] >= values[1], "{values:?}");
}

#[test]
fn an_auc_without_images_of_two_classes_is_refused_before_training() {
    let case = Case::new("[training]\nmetric = \"valid_auc\"\n");
    // A split of its own, whose validation part has cats alone.
    fs::create_dir_all(case.path("parts/val/Cat")).unwrap();
    fs::rename(case.path("data"), case.path("parts/train")).unwrap();
    let cats = fs::read_dir(case.path("parts/train/Cat")).unwrap();
    let cat = cats.map(|cat| cat.unwrap().path()).next().unwrap();
    fs::rename(
        &cat,
        case.path("parts/val/Cat").join(cat.file_name().unwrap()),
    )
    .unwrap();
    let words = ["check", "small.toml", "--set", "data.root=parts"];
    case.says("metric/auc_of_one_class", &words);
    let f1 = ["--set", "training.metric=valid_macro_f1"];
    case.ok(&[&words[..], &f1[..]].concat());
}

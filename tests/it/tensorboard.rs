//! Event files for TensorBoard.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    program::{Case, column, read},
    python::{python_with, script},
};

const ON: [&str; 2] = ["--set", "log.tensorboard=true"];

/// The payloads of an event file without their times, and whether the file ends with a whole one.
fn events(file: &Path) -> (Vec<Vec<u8>>, bool) {
    let bytes = fs::read(file).unwrap();
    let (mut events, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((length, after)) = rest.split_first_chunk::<8>() {
        let length = u64::from_le_bytes(*length) as usize;
        let Some(payload) = after.get(4..4 + length) else {
            return (events, false);
        };
        // A tag and the time in 8 bytes.
        assert_eq!(payload[0], 0x09);
        events.push(payload[9..].to_vec());
        rest = &after[4 + length + 4..];
    }
    (events, rest.is_empty())
}

/// The only file in a folder.
fn file_in(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn numbers(run: &Path, name: &str) -> Vec<f32> {
    let cells = column(run, name).into_iter();
    cells.map(|cell| cell.parse().unwrap()).collect()
}

#[test]
fn a_resumed_run_has_the_events_of_its_tables() {
    let case = Case::new("");
    let run = case.train(&ON);
    let phases = run.join("tensorboard");
    let file = file_in(&phases.join("features24"));
    let (whole, is_whole) = events(&file);
    assert!(is_whole && whole.len() > 3);
    let config = fs::read(file_in(&phases)).unwrap();
    let config = String::from_utf8_lossy(&config).into_owned();
    assert!(config.contains("tensorboard = true"), "{config}");

    // A process that is killed while it writes leaves rows that the run repeats, and a half one.
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, [&bytes[..], &bytes[..bytes.len() - 5]].concat()).unwrap();
    // So does a phase that the run has to reach again.
    let later = phases.join("later").join(file.file_name().unwrap());
    fs::create_dir(phases.join("later")).unwrap();
    fs::copy(&file, &later).unwrap();
    let epochs = ["--set", "phase.features24.epochs=3"];
    let run_name = run.to_str().unwrap();
    case.ok(&[&["resume", run_name], &epochs[..]].concat());
    let (longer, is_whole) = events(&file);
    assert!(is_whole && longer.len() > whole.len());
    assert_eq!(longer[..whole.len()], whole);
    assert_eq!(fs::metadata(&later).unwrap().len(), 0);

    // The file that a run writes in one go, and one that is written when a run is resumed.
    let other = case.train(&[&ON[..], &epochs[..]].concat());
    let again = |run: &Path| events(&file_in(&run.join("tensorboard/features24"))).0;
    assert_eq!(again(&other), longer);
    let late = case.train(&[]);
    assert!(!late.join("tensorboard").exists());
    let late_name = late.to_str().unwrap();
    case.ok(&[&["resume", late_name], &ON[..], &epochs[..]].concat());
    assert_eq!(again(&late), longer);
}

#[test]
fn tensorboard_reads_the_rows_of_each_phase() {
    let name = "tensorboard_reads_the_rows_of_each_phase";
    let Some(python) = python_with(name, "tensorboard") else {
        return;
    };
    let case = Case::new("");
    let run = case.train(&ON);
    let text = script(
        &python,
        "tests/fixtures/tensorboard/read_events.py",
        &[&run.join("tensorboard")],
    );
    let found: Value = serde_json::from_str(&text).unwrap();
    let phases = column(&run, "phase");
    for (tag, name) in [
        ("loss/train", "train_loss"),
        ("loss/valid", "valid_loss"),
        ("accuracy/train", "train_accuracy"),
        ("accuracy/valid", "valid_accuracy"),
        ("learning_rate/epoch", "lr"),
    ] {
        let values = numbers(&run, name);
        let mut n_found = 0;
        for (epoch, (phase, value)) in phases.iter().zip(values).enumerate() {
            let points = found[phase]["scalars"][tag].as_array().unwrap();
            let point = points.iter().find(|point| point[0] == epoch + 1);
            let seen = point.unwrap()[1].as_f64().unwrap();
            assert!((seen as f32 - value).abs() <= f32::EPSILON * value.abs());
            n_found += 1;
        }
        assert!(n_found >= 2);
    }
    let mut names = phases.clone();
    names.dedup();
    let points = names
        .iter()
        .map(|phase| found[phase]["scalars"]["loss/step"].as_array().unwrap());
    let n_points: usize = points.map(Vec::len).sum();
    assert_eq!(n_points, read(&run.join("steps.csv")).lines().count() - 1);
    let text = found["."]["texts"]["config"].as_str();
    assert!(text.unwrap().contains("    tensorboard = true"), "{found}");
}

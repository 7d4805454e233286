//! What a run is said to take on the disk, what it takes, and that it is refused where that does not fit.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    faults::with_small_disk,
    program::{Case, read_toml},
    voice::{Transcript, check, errors},
};

/// How far a prediction may be off, as a fraction.
const TOLERANCE: f64 = 0.1;

const HEAD: &str = r#"
[[phase]]
name = "head"
epochs = 3
trainable = ["classifier"]
"#;

const FEATURES: &str = r#"
[[phase]]
name = "features24"
epochs = 2
trainable = ["features[24:]"]
"#;

/// A case with an experiment whose steps change nothing, so that the first epoch stays the best one.
fn case(rest: &str, phases: &str) -> Case {
    let case = Case::new("");
    let text = format!(
        "data.root = \"data\"\ndata.batch_size = 4\nsplit = {{ valid = 0.25 }}\ntransforms.resize = [32, 32]\noptimizer.lr = 1e-30\n\
         {rest}\n[model]\narch = \"vgg16_slim\"\nweights = \"drawings_v1\"\n{phases}"
    );
    fs::write(case.path("still.toml"), text).unwrap();
    case
}

/// The total length of all files, those with several names once.
fn bytes_of(folder: &Path) -> u64 {
    fn visit(folder: &Path, seen: &mut HashSet<u64>) -> u64 {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let sizes = entries.map(|entry| {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                return visit(&entry.path(), seen);
            }
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt as _;
                if !seen.insert(metadata.ino()) {
                    return 0;
                }
            }
            metadata.len()
        });
        sizes.sum()
    }
    visit(folder, &mut HashSet::new())
}

fn near(predicted: u64, real: u64, of_what: &str) {
    let ratio = predicted as f64 / real as f64;
    assert!(
        (ratio - 1.0).abs() < TOLERANCE,
        "{of_what}: {predicted} bytes were predicted, {real} taken"
    );
}

/// Trains an experiment, and compares its directory with the prediction; returns both.
fn check_run(rest: &str, phases: &str) -> (PathBuf, Case, serde_json::Value) {
    let case = case(rest, phases);
    let disk = case.json(&["plan", "still.toml"])["disk"].clone();
    let run = case.path(&case.ok(&["still.toml"]));
    let best = &read_toml(&run.join("summary.toml"))["best"]["epoch"];
    assert_eq!(
        best.as_integer(),
        Some(1),
        "the best epoch is not the first"
    );
    let real = bytes_of(&run);
    near(disk["finished"].as_u64().unwrap(), real, "the finished run");
    let least = disk["finished_at_least"].as_u64().unwrap();
    assert!(
        least as f64 <= real as f64 * (1.0 + TOLERANCE),
        "{least} {real}"
    );
    (run, case, disk)
}

const EVERY_EPOCH: &str = "training.checkpoint_every = \"1 epoch\"";

#[test]
fn a_head_takes_what_was_predicted_with_any_optimizer() {
    for optimizer in ["adam", "sgd", "lion"] {
        let rest = format!("optimizer.kind = \"{optimizer}\"\n{EVERY_EPOCH}");
        let (run, _case, disk) = check_run(&rest, HEAD);
        // A run that is stopped in its last epoch has the same files but for the plots.
        let pictures = fs::read_dir(&run).unwrap().map(|file| file.unwrap().path());
        let pictures = pictures.filter(|path| path.extension().is_some_and(|it| it == "png"));
        let pictures: u64 = pictures.map(|path| path.metadata().unwrap().len()).sum();
        let paused = bytes_of(&run) - pictures;
        near(disk["paused"].as_u64().unwrap(), paused, "the paused run");
    }
}

#[test]
fn two_phases_take_what_was_predicted() {
    let momentum = "optimizer = { kind = \"sgd\", lr = 1e-30, momentum = 0.9 }";
    let rest = EVERY_EPOCH.to_owned();
    check_run(&rest, &[HEAD, FEATURES].concat());
    // The moments of the head remain, though the second phase does not train it.
    let kept = format!("{FEATURES}keep_optimizer = true\n");
    check_run(&rest, &[HEAD, &kept].concat());
    let with_momentum = case("", HEAD);
    let text = fs::read_to_string(with_momentum.path("still.toml")).unwrap();
    let text = text.replace("optimizer.lr = 1e-30", momentum);
    fs::write(with_momentum.path("still.toml"), text).unwrap();
    let predicted = with_momentum.json(&["plan", "still.toml"])["disk"]["finished"].as_u64();
    let without = with_momentum.json(&["plan", "still.toml", "--set", "optimizer.momentum=0"]);
    assert!(predicted > without["disk"]["finished"].as_u64());
}

#[test]
fn the_best_alone_takes_what_was_predicted() {
    for optimizer in ["adam", "lion"] {
        let rest = format!("optimizer.kind = \"{optimizer}\"\ncheckpoints.keep = \"best\"");
        check_run(&rest, HEAD);
        check_run(&rest, &[HEAD, FEATURES].concat());
    }
}

#[test]
fn a_single_epoch_is_predicted_to_share_its_model() {
    let one = HEAD.replace("epochs = 3", "epochs = 1");
    let (_, _, disk) = check_run(EVERY_EPOCH, &one);
    assert_eq!(disk["finished"], disk["finished_at_least"]);
}

#[test]
fn trials_add_up_and_those_that_are_done_count_as_they_are() {
    let case = case("", HEAD);
    let sweep = "base = \"still.toml\"\n[axes]\noptimizer.lr = [1e-30, 2e-30]\n";
    fs::write(case.path("rates.toml"), sweep).unwrap();
    let dry_run = ["sweep", "rates.toml", "--dry-run"];
    let before = case.json(&dry_run)["disk"].clone();
    assert_eq!(before["taken"].as_u64(), Some(0));
    assert!(before["more"].as_u64().unwrap() > 0);
    check("disk/sweep", &case.ok(&dry_run));
    case.ok(&["sweep", "rates.toml"]);
    let after = case.json(&dry_run)["disk"].clone();
    let real = fs::read_dir(case.path("runs/sweep-rates")).unwrap();
    let real = real.map(|entry| entry.unwrap().path());
    let real = real.filter(|path| path.join("manifest.toml").is_file());
    let real: u64 = real.map(|run| bytes_of(&run)).sum();
    assert_eq!(after["finished"].as_u64(), Some(real));
    assert_eq!(after["taken"].as_u64(), Some(real));
    assert_eq!(after["more"].as_u64(), Some(0));
    near(before["finished"].as_u64().unwrap(), real, "the sweep");
    check("disk/sweep_finished", &case.ok(&dry_run));
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_fit_on_the_disk_is_refused_before_anything_is_written() {
    let case = case("", HEAD);
    let script = r#"
        mount -o remount,size=8m runs
        for command in train check; do "$runner" $command still.toml; echo "code $?"; done
        "$runner" plan still.toml > planned; echo "code $?"
        mount -o remount,size=50m runs
        "$runner" check still.toml; echo "code $?"
        echo left: $(ls runs)
    "#;
    let Some(said) = with_small_disk(&case, script) else {
        return;
    };
    let codes: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("code"))
        .collect();
    assert_eq!(codes, ["code 1", "code 1", "code 0", "code 0"], "{said}");
    assert!(said.contains("left:\n"), "{said}");
    let notes = said.lines().filter(|line| line.starts_with("the disk"));
    let notes: Vec<&str> = notes.collect();
    check(
        "disk/too_small",
        &format!("{}{}", errors(&said), notes.join("\n")),
    );
}

#[test]
fn the_plan_says_what_is_known() {
    let case = case("checkpoints.keep = \"best\"", HEAD);
    let mut transcript = Transcript::new(&case);
    transcript.run(&["plan", "still.toml"]);
    transcript.is("disk/plan");
}

//! Activations of frozen layers: kept, found again, never wrong.

use std::{fs, path::PathBuf, process::Stdio};

use crate::{
    program::{Case, column, metrics, read},
    voice::{Transcript, check},
};

const OFF: [&str; 2] = ["--set", "cache.mode=off"];

/// Epoch by epoch.
fn losses(run: &std::path::Path) -> Vec<f64> {
    let names = ["train_loss", "valid_loss"];
    let columns = names.iter().flat_map(|name| column(run, name));
    columns.map(|cell| cell.parse().unwrap()).collect()
}

fn furthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

fn log(run: &std::path::Path) -> String {
    read(&run.join("run.log"))
}

/// What a run says of its cache.
fn notes(run: &std::path::Path) -> String {
    let log = log(run);
    // A line begins with its time.
    let lines = log
        .split_inclusive('\n')
        .filter_map(|line| line.split_once("  "));
    let notes = lines.filter(|(_, note)| note.starts_with("cache: "));
    notes.map(|(_, note)| note).collect()
}

/// How many images of each phase are cached.
pub(crate) fn n_cached(case: &Case) -> Vec<u64> {
    let plan = case.json(&["plan", "small.toml"]);
    let phases = plan["cache"].as_array().unwrap().iter();
    phases.map(|it| it["stored"].as_u64().unwrap()).collect()
}

/// How many activations of each entry are sound and how many are damaged.
pub(crate) fn n_verified(case: &Case) -> Vec<(u64, u64)> {
    let answer = case.json(&["cache", "verify"]);
    let entries = answer["entries"].as_array().unwrap().iter();
    let count = |it: &serde_json::Value, key: &str| it[key].as_u64().unwrap();
    entries
        .map(|it| (count(it, "sound"), count(it, "damaged")))
        .collect()
}

fn segments(case: &Case) -> Vec<PathBuf> {
    let entries = fs::read_dir(case.path("cache/runner/activations")).unwrap();
    let files = entries.flat_map(|entry| fs::read_dir(entry.unwrap().path()).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "act"))
        .collect()
}

#[test]
fn head_and_features24_train_to_the_same_numbers_with_and_without_a_cache() {
    let case = Case::new("");
    let (cached, plain) = (case.train(&[]), case.train(&OFF));
    assert_eq!(metrics(&cached), metrics(&plain));
    assert_eq!(
        read(&cached.join("steps.csv")),
        read(&plain.join("steps.csv"))
    );
    assert!(!log(&plain).contains("cache"), "{}", log(&plain));
    let half = case.train(&["--set", "cache.precision=f16"]);
    let distance = furthest(&losses(&half), &losses(&plain));
    assert!(distance > 0.0 && distance < 0.02, "{distance}");
    // Rounded, but neither the mode nor a cache that is full changes a number.
    for set in ["cache.mode=off", "cache.max_gib=1e-9"] {
        let other = case.train(&["--set", "cache.precision=f16", "--set", set]);
        assert_eq!(
            read(&half.join("steps.csv")),
            read(&other.join("steps.csv")),
            "{set}"
        );
        assert_eq!(metrics(&half), metrics(&other), "{set}");
    }
}

#[test]
fn what_sixteen_bits_cannot_hold_is_computed_in_each_epoch() {
    let case = Case::new("");
    let large = "cache.precision=f16 transforms.normalize=custom transforms.mean=[0,0,0] \
        transforms.std=[1e-8,1e-8,1e-8]";
    let sets: Vec<&str> = large.split(' ').filter(|set| !set.is_empty()).collect();
    let sets: Vec<&str> = sets.into_iter().flat_map(|set| ["--set", set]).collect();
    let (first, again) = (case.train(&sets), case.train(&sets));
    check(
        "cache/what_sixteen_bits_cannot_hold",
        &[notes(&first), notes(&again)].join("\n"),
    );
    assert_eq!(metrics(&first), metrics(&again));
    assert!(losses(&first).iter().all(|loss| loss.is_finite()));
}

#[test]
fn a_second_run_finds_everything_and_what_has_changed_is_computed_again() {
    let case = Case::new("");
    case.train(&[]);
    let again = case.train(&["--set", "optimizer.lr=1e-4"]);
    // Another seed draws another classifier and another split: the frozen layers are the same.
    let reseeded = case.train(&["--set", "seed=7"]);
    let other = case.train(&["--set", "transforms.normalize=none"]);
    let photos = fs::read_dir(case.path("data/Cat")).unwrap();
    let photos: Vec<PathBuf> = photos.map(|photo| photo.unwrap().path()).collect();
    fs::copy(&photos[0], &photos[1]).unwrap();
    let changed = case.train(&[]);
    // Its content is that of another photo, which is there already.
    let runs = [again, reseeded, other, changed];
    check(
        "cache/what_has_changed_is_computed_again",
        &runs.map(|run| notes(&run)).join("\n"),
    );
}

#[test]
fn weights_that_a_phase_before_has_trained_are_other_weights() {
    let case = Case::new("");
    let all = ["--set", "phase.head.trainable=[\"all\"]"];
    let (cached, plain) = (case.train(&all), case.train(&[&all[..], &OFF].concat()));
    assert_eq!(metrics(&cached), metrics(&plain));
    let other = [&all[..], &["--set", "optimizer.lr=1e-2"]].concat();
    let (cached, plain) = (case.train(&other), case.train(&[&other[..], &OFF].concat()));
    assert_eq!(metrics(&cached), metrics(&plain));
}

#[test]
fn a_damaged_activation_is_computed_again() {
    let case = Case::new("");
    let sound = case.train(&[]);
    for segment in segments(&case) {
        let mut bytes = fs::read(&segment).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&segment, bytes).unwrap();
    }
    let repaired = case.train(&[]);
    assert_eq!(metrics(&repaired), metrics(&sound));
    check("cache/damaged_activations", &notes(&repaired));
    assert_eq!(n_verified(&case), [(20, 0); 2]);
}

#[test]
fn verify_strikes_out_what_is_damaged() {
    let case = Case::new("");
    case.train(&[]);
    // That of the first phase.
    let size = |path: &PathBuf| fs::metadata(path).unwrap().len();
    let segment = segments(&case).into_iter().max_by_key(size).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[10] ^= 0x40;
    fs::write(segment, bytes).unwrap();
    Transcript::new(&case)
        .run(&["cache", "verify"])
        .run(&["plan", "small.toml"])
        .is("cache/a_damaged_entry");
    assert_eq!(n_cached(&case), [19, 20]);
    case.train(&[]);
    assert_eq!(n_verified(&case), [(20, 0); 2]);
}

#[test]
fn entries_are_listed_and_pruned() {
    let case = Case::new("");
    let n_entries = || case.json(&["cache"])["entries"].as_array().unwrap().len();
    case.says("cache/empty", &["cache"]);
    case.train(&[]);
    case.ok(&["cache", "prune", "--all", "--dry-run"]);
    assert_eq!(n_entries(), 2);
    assert_eq!(
        case.ok(&["cache", "prune", "--older-than", "1"]),
        "nothing to remove"
    );
    case.ok(&["cache", "prune", "--all"]);
    assert_eq!(n_entries(), 0);
    case.fails(2, &["cache", "prune"]);
}

#[test]
fn plan_says_what_is_kept_and_why_not() {
    let case = Case::new("");
    let mut transcript = Transcript::new(&case);
    transcript.run(&["plan", "small.toml"]);
    case.train(&[]);
    transcript.run(&["plan", "small.toml"]);
    let random = ["plan", "small.toml", "--set", "augment.horizontal_flip=0.5"];
    let required = [&random[..], &["--set", "cache.mode=require"]].concat();
    let after = [
        "plan",
        "small.toml",
        "--set",
        "phase.head.trainable=[\"all\"]",
    ];
    transcript
        .run(&random)
        .fails(&required)
        .run(&after)
        .is("cache/plans");
}

#[test]
fn kept_variants_train_as_those_drawn_anew() {
    let case =
        Case::new("[augment]\nhorizontal_flip = 0.5\ncrop_scale = [0.3, 1.0]\nvariants = 2\n");
    let (cached, plain) = (case.train(&[]), case.train(&OFF));
    assert_eq!(metrics(&cached), metrics(&plain));
    // 15 training images in two variants, and 5 that measure.
    check("cache/variants", &notes(&cached));
    let whole = case.train(&[
        "--set",
        "augment.crop_scale=[1.0, 1.0]",
        "--set",
        "augment.horizontal_flip=0",
    ]);
    assert_ne!(metrics(&whole), metrics(&cached));
}

#[test]
fn a_full_cache_is_no_reason_to_stop() {
    let case = Case::new("");
    let tight = ["--set", "cache.max_gib=0.000001"];
    let run = case.train(&tight);
    check("cache/full", &notes(&run));
    assert_eq!(metrics(&run), metrics(&case.train(&OFF)));
    let required = [
        &["small.toml"],
        &tight[..],
        &["--set", "cache.mode=require", "--set", "name=required"],
    ]
    .concat();
    case.says("cache/full_but_required", &required);
}

#[test]
fn two_processes_may_fill_at_once() {
    let case = Case::new("");
    let start = || {
        let mut command = case.command(&["small.toml"]);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let both = [start(), start()];
    let runs = both.map(|child| {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        case.path(String::from_utf8(output.stdout).unwrap().trim())
    });
    assert_eq!(metrics(&runs[0]), metrics(&runs[1]));
    assert_eq!(metrics(&runs[0]), metrics(&case.train(&OFF)));
    assert_eq!(n_verified(&case), [(20, 0); 2]);
}

/// Only root can give files away.
#[cfg(unix)]
#[test]
fn the_cache_of_another_user_is_used_only_if_it_is_trusted() {
    use std::os::unix::fs::chown;
    let case = Case::new("");
    let first = case.train(&[]);
    let dir = case.path("cache/runner/activations");
    let paths = || {
        let entries: Vec<PathBuf> = fs::read_dir(&dir)
            .unwrap()
            .map(|it| it.unwrap().path())
            .collect();
        let files = entries
            .iter()
            .flat_map(|entry| fs::read_dir(entry).unwrap());
        let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        [entries, files].concat()
    };
    let before = paths();
    if before
        .iter()
        .any(|path| chown(path, Some(54_321), None).is_err())
    {
        return;
    }
    let other = case.train(&[]);
    assert_eq!(metrics(&other), metrics(&first));
    assert_eq!(paths(), before);
    let mut transcript = Transcript::new(&case);
    transcript
        .run(&["plan", "small.toml"])
        .run(&["cache", "list"])
        .run(&["small.toml", "--set", "name=without"]);
    let trusting = case.train(&["--set", "cache.trust=all"]);
    assert_eq!(metrics(&trusting), metrics(&first));
    let required = [
        "small.toml",
        "--set",
        "cache.mode=require",
        "--set",
        "name=required",
    ];
    let trusting = ["plan", "small.toml", "--set", "cache.trust=all"];
    transcript
        .run(&trusting)
        .fails(&required)
        .is("cache/of_another_user");
}

//! Activations of frozen layers: kept, found again, never wrong.

use std::{fs, path::PathBuf, process::Stdio};

use crate::program::{Case, column, metrics, read};

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
    for run in [&first, &again] {
        let log = log(run);
        assert!(log.contains("exceed what 16 bits can hold"), "{log}");
        assert!(!log.contains("could not be read"), "{log}");
    }
    assert_eq!(metrics(&first), metrics(&again));
    assert!(losses(&first).iter().all(|loss| loss.is_finite()));
}

#[test]
fn a_second_run_finds_everything_and_what_has_changed_is_computed_again() {
    let case = Case::new("");
    case.train(&[]);
    let again = case.train(&["--set", "optimizer.lr=1e-4"]);
    assert_eq!(
        log(&again).matches("all 20 images are cached").count(),
        2,
        "{}",
        log(&again)
    );
    // Another seed draws another classifier and another split: the frozen layers are the same.
    let reseeded = case.train(&["--set", "seed=7"]);
    assert_eq!(
        log(&reseeded).matches("all 20 images are cached").count(),
        2
    );
    let other = case.train(&["--set", "transforms.normalize=none"]);
    assert!(log(&other).contains("0 of 20 images are cached, computing the remaining 20"));
    let photos = fs::read_dir(case.path("data/Cat")).unwrap();
    let photos: Vec<PathBuf> = photos.map(|photo| photo.unwrap().path()).collect();
    fs::copy(&photos[0], &photos[1]).unwrap();
    let changed = case.train(&[]);
    // Its content is that of another photo, which is there already.
    assert_eq!(
        log(&changed).matches("all 20 images are cached").count(),
        2,
        "{}",
        log(&changed)
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
    let n_notes = log(&repaired)
        .matches("whose cached activations could not be read")
        .count();
    assert_eq!(n_notes, 2, "{}", log(&repaired));
    let verified = case.ok(&["cache", "verify"]);
    assert_eq!(verified.matches("20 images ok").count(), 2, "{verified}");
}

#[test]
fn verify_strikes_out_what_is_damaged() {
    let case = Case::new("");
    case.train(&[]);
    let segment = &segments(&case)[0];
    let mut bytes = fs::read(segment).unwrap();
    bytes[10] ^= 0x40;
    fs::write(segment, bytes).unwrap();
    let verified = case.ok(&["cache", "verify"]);
    assert!(verified.contains("19 images ok, 1 corrupt"), "{verified}");
    let run = case.train(&[]);
    assert!(log(&run).contains("19 of 20 images are cached, computing the remaining 1"));
}

#[test]
fn entries_are_listed_and_pruned() {
    let case = Case::new("");
    assert!(case.ok(&["cache"]).ends_with(" is empty"));
    case.train(&[]);
    let list = case.ok(&["cache", "list"]);
    assert!(
        list.contains("vgg16_slim") && list.contains("features[:24]"),
        "{list}"
    );
    let would = case.ok(&["cache", "prune", "--all", "--dry-run"]);
    assert!(would.starts_with("would remove"), "{would}");
    assert_eq!(
        case.ok(&["cache", "prune", "--older-than", "1"]),
        "nothing to remove"
    );
    assert!(case.ok(&["cache", "prune", "--all"]).starts_with("removed"));
    assert!(case.ok(&["cache"]).ends_with(" is empty"));
    case.fails(2, &["cache", "prune"]);
}

#[test]
fn plan_says_what_is_kept_and_why_not() {
    let case = Case::new("");
    let plan = case.ok(&["plan", "small.toml"]);
    assert!(
        plan.contains("head: features and pooling of 20 images, 0 MiB; none cached yet"),
        "{plan}"
    );
    case.train(&[]);
    let plan = case.ok(&["plan", "small.toml"]);
    assert!(
        plan.contains("features24: features[:24] of 20 images, 0 MiB; all cached in "),
        "{plan}"
    );
    let random = ["plan", "small.toml", "--set", "augment.horizontal_flip=0.5"];
    let plan = case.ok(&random);
    assert!(
        plan.contains("head: not cached: augmentations are redrawn every epoch"),
        "{plan}"
    );
    let required = [&random[..], &["--set", "cache.mode=require"]].concat();
    assert!(
        case.fails(2, &required)
            .contains("but `cache.mode` is `require`")
    );
    let after = [
        "plan",
        "small.toml",
        "--set",
        "phase.head.trainable=[\"all\"]",
    ];
    let plan = case.ok(&after);
    assert!(
        plan.contains("head: not cached: features.0 is trained"),
        "{plan}"
    );
    assert!(
        plan.contains("computed after the earlier phases have trained"),
        "{plan}"
    );
}

#[test]
fn kept_variants_train_as_those_drawn_anew() {
    let case =
        Case::new("[augment]\nhorizontal_flip = 0.5\ncrop_scale = [0.3, 1.0]\nvariants = 2\n");
    let (cached, plain) = (case.train(&[]), case.train(&OFF));
    assert_eq!(metrics(&cached), metrics(&plain));
    // 15 training images in two variants, and 5 that measure.
    assert!(
        log(&cached).contains("0 of 35 images are cached"),
        "{}",
        log(&cached)
    );
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
    assert!(
        log(&run).contains("would exceed `cache.max_gib"),
        "{}",
        log(&run)
    );
    assert_eq!(metrics(&run), metrics(&case.train(&OFF)));
    let required = [
        &["small.toml"],
        &tight[..],
        &["--set", "cache.mode=require"],
    ]
    .concat();
    assert!(
        case.fails(2, &required)
            .contains("would exceed `cache.max_gib")
    );
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
    let verified = case.ok(&["cache", "verify"]);
    assert_eq!(verified.matches("20 images ok").count(), 2, "{verified}");
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
    assert_eq!(log(&other).matches("belongs to another user").count(), 2);
    assert_eq!(metrics(&other), metrics(&first));
    assert_eq!(paths(), before);
    assert!(
        case.ok(&["plan", "small.toml"])
            .contains("belongs to another user")
    );
    assert!(
        case.ok(&["cache", "list"])
            .contains("belongs to user 54321")
    );
    let trusting = case.train(&["--set", "cache.trust=all"]);
    assert!(log(&trusting).contains("all 20 images are cached"));
    assert_eq!(metrics(&trusting), metrics(&first));
    let required = ["small.toml", "--set", "cache.mode=require"];
    assert!(case.fails(2, &required).contains("belongs to another user"));
}

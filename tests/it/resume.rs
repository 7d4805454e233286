//! Stopping and going on.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    damage::flip_a_bit as damage,
    program::{Case, metrics, read, read_toml, weights},
    voice::{Transcript, check},
};

/// Starts the small experiment and sends a signal a moment after it has done so many epochs; its run directory.
fn interrupted(case: &Case, signal: &str, after_epochs: usize, pause: Duration) -> PathBuf {
    let runs = || -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(case.path("runs")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let earlier = runs();
    let mut command = case.command(&["small.toml"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = loop {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it could be stopped"
        );
        thread::sleep(Duration::from_millis(2));
        let Some(run) = runs().difference(&earlier).next().cloned() else {
            continue;
        };
        let n_lines = fs::read_to_string(run.join("metrics.csv"))
            .unwrap_or_default()
            .lines()
            .count();
        if run.join("manifest.toml").exists() && n_lines.saturating_sub(1) >= after_epochs {
            break run;
        }
    };
    thread::sleep(pause);
    // The shell's own `kill`: the program of that name is not everywhere.
    let kill = format!("kill -{signal} {}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    check(
        "resume/interrupted",
        stderr.lines().last().unwrap_or_default(),
    );
    run
}

pub(crate) fn check_equal(stopped: &Path, whole: &Path) {
    assert_eq!(metrics(stopped), metrics(whole));
    assert_eq!(
        read(&stopped.join("steps.csv")),
        read(&whole.join("steps.csv"))
    );
    assert_eq!(
        read(&stopped.join("predictions.csv")),
        read(&whole.join("predictions.csv"))
    );
    for checkpoint in ["best", "last"] {
        assert!(
            weights(stopped, checkpoint) == weights(whole, checkpoint),
            "{checkpoint} differs"
        );
    }
}

#[test]
fn a_resumed_run_ends_as_one_that_never_stopped() {
    // Dropout, shuffling, warm-up and accumulation are all on.
    let case = Case::new(
        "[schedule]\nkind = \"cosine\"\nwarmup_epochs = 0.5\n[training]\naccumulate = 2\n",
    );
    let text = read(&case.path("small.toml")).replace("epochs = 2", "epochs = 6");
    fs::write(case.path("small.toml"), text).unwrap();
    let whole = case.train(&[]);
    let moments = [
        ("INT", 0, 0),
        ("USR1", 1, 7),
        ("TERM", 5, 0),
        ("HUP", 6, 11),
    ];
    for (signal, after_epochs, pause) in moments {
        let run = interrupted(&case, signal, after_epochs, Duration::from_millis(pause));
        assert_eq!(
            read_toml(&run.join("status.toml"))["state"].as_str(),
            Some("interrupted")
        );
        case.ok(&["resume", run.to_str().unwrap()]);
        check_equal(&run, &whole);
        case.fails(2, &["resume", run.to_str().unwrap()]);
    }
}

/// A finished run that lacks nothing but its end.
fn unfinished(case: &Case) -> PathBuf {
    let run = case.train(&[]);
    fs::remove_file(run.join("summary.toml")).unwrap();
    run
}

#[test]
fn resume_refuses_images_that_have_changed_and_names_them() {
    let case = Case::new("");
    let run = unfinished(&case);
    let resume = ["resume", run.to_str().unwrap()];
    let photo = case.path("data/Cat/0.jpg");
    let bytes = fs::read(&photo).unwrap();
    fs::remove_file(&photo).unwrap();
    let mut transcript = Transcript::new(&case);
    transcript.fails(&resume);
    fs::copy(case.path("data/Dog/0.jpg"), &photo).unwrap();
    transcript.fails(&resume).is("resume/changed_images");
    fs::write(&photo, bytes).unwrap();
    case.ok(&resume);
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let case = Case::new("");
    let whole = case.train(&[]);
    for file in ["model.safetensors", "optimizer.safetensors", "state.toml"] {
        let run = unfinished(&case);
        damage(&run.join("checkpoints/last").join(file));
        let output = case.run(&["resume", run.to_str().unwrap()]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {stderr}");
        assert!(stderr.contains(file), "{file}: {stderr}");
        check_equal(&run, &whole);
    }
}

#[test]
fn a_run_whose_checkpoints_are_all_damaged_begins_again() {
    let case = Case::new("");
    let (whole, run) = (case.train(&[]), unfinished(&case));
    damage(&run.join("checkpoints/last/model.safetensors"));
    damage(&run.join("checkpoints/previous-last/model.safetensors"));
    case.ok(&["resume", run.to_str().unwrap()]);
    check_equal(&run, &whole);
}

#[test]
fn a_checkpoint_is_small_and_refuses_another_base() {
    let case = Case::new("");
    let (run, other) = (
        case.train(&[]),
        case.train(&[
            "--set",
            "name=other",
            "--set",
            "phase.head.trainable=[\"all\"]",
        ]),
    );
    let base = run.join("checkpoints/base.safetensors");
    // A phase that trains everything has no base.
    assert!(!other.join("checkpoints/base.safetensors").exists());
    let n_bytes = |path: &Path| fs::metadata(path).unwrap().len();
    let all = case.path("all.safetensors");
    case.ok(&["export", run.to_str().unwrap(), all.to_str().unwrap()]);
    // The last phase trains features[24:] too.
    assert!(
        n_bytes(&base) + n_bytes(&run.join("checkpoints/last/model.safetensors"))
            < 2 * n_bytes(&all)
    );
    let sound = fs::read(&base).unwrap();
    damage(&base);
    case.says(
        "resume/a_damaged_base",
        &["export", run.to_str().unwrap(), "x.safetensors"],
    );
    // The weights still have what it held.
    fs::remove_file(run.join("summary.toml")).unwrap();
    case.ok(&["resume", run.to_str().unwrap()]);
    assert!(fs::read(&base).unwrap() == sound);
}

/// Trains until there are several epochs behind the last checkpoint, and is killed there; its run directory.
fn killed_ahead_of_its_checkpoint(case: &Case) -> PathBuf {
    let mut command = case.command(&["small.toml", "--set", "name=killed"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let run = loop {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        thread::sleep(Duration::from_millis(1));
        let entries = fs::read_dir(case.path("runs")).into_iter().flatten();
        let mut runs = entries.map(|entry| entry.unwrap().path());
        let Some(run) = runs.find(|run| run.to_string_lossy().ends_with("-killed")) else {
            continue;
        };
        let metrics = fs::read_to_string(run.join("metrics.csv")).unwrap_or_default();
        if metrics.lines().count() > 4 {
            break run;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    run
}

#[test]
fn what_is_newer_than_the_checkpoint_does_not_exist_for_a_run_that_takes_another_course() {
    let case = Case::new("[training]\nmetric = \"valid_loss\"\ncheckpoint_every = \"50 epochs\"\n");
    let text = read(&case.path("small.toml")).replacen("epochs = 2", "epochs = 1", 1);
    let text = text.replace("epochs = 2", "epochs = 12");
    fs::write(
        case.path("small.toml"),
        text.replace("lr = 1e-4", "lr = 1e-3"),
    )
    .unwrap();
    let run = killed_ahead_of_its_checkpoint(&case);
    let name = run.to_str().unwrap();
    // The better model of a later epoch was only in memory.
    let best = read_toml(&run.join("checkpoints/best/state.toml"));
    assert_eq!(best["best"]["epoch"].as_integer(), Some(1));
    // Nothing that is learnt from here on is better than what was learnt before.
    let lr = "phase.features24.lr=1e-30";
    case.ok(&[
        "resume",
        name,
        "--set",
        lr,
        "--set",
        "phase.features24.epochs=4",
    ]);
    let summary = read_toml(&run.join("summary.toml"));
    assert_eq!(summary["best"]["epoch"].as_integer(), Some(1));
    let loss = summary["best"]["valid_loss"].as_float().unwrap();
    let answer = case.ok(&["--json", "evaluate", name]);
    let answer: serde_json::Value = serde_json::from_str(answer.lines().last().unwrap()).unwrap();
    assert_eq!(answer["epoch"], 1);
    assert_eq!(answer["loss"].as_f64(), Some(loss));
    let rows = read(&run.join("predictions.csv"));
    let losses = rows
        .lines()
        .skip(1)
        .map(|row| row.split(',').nth(4).unwrap());
    let losses: Vec<f64> = losses
        .map(|loss| loss.parse::<f32>().unwrap().into())
        .collect();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!((mean - loss).abs() < 1e-9, "{mean} {loss}");
}

#[test]
fn a_finished_run_goes_on_as_one_that_was_longer_from_the_start() {
    let case = Case::new("");
    let longer = ["--set", "phase.features24.epochs=5"];
    let (whole, run) = (case.train(&longer), case.train(&[]));
    case.ok(&[&["resume", run.to_str().unwrap()], &longer[..]].concat());
    check_equal(&run, &whole);
    let changes = read(&run.join("changes.csv"));
    assert_eq!(
        changes,
        "epoch,step,key,from,to\n4,16,phase.features24.epochs,2,5\n"
    );
}

#[test]
fn what_was_trained_can_not_be_made_another() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = run.to_str().unwrap();
    let before = read(&Path::new(run).join("status.toml"));
    let sets = [
        "seed=1",
        "data.batch_size=2",
        "model.dropout=0.25",
        "split.valid=0.5",
        "phase.head.epochs=9",
        "phase.features24.epochs=1",
    ];
    // A run's own record has a rate for each phase.
    case.fails(2, &["resume", run, "--set", "optimizer.lr=1.0"]);
    let mut args = vec!["resume", run];
    args.extend(sets.iter().flat_map(|set| ["--set", set]));
    case.says("resume/what_cannot_change", &args);
    assert_eq!(read(&Path::new(run).join("status.toml")), before);
    // Who does the work may change, but there is none; also where patience ran out before the last epoch.
    case.says(
        "resume/nothing_left",
        &["resume", run, "--set", "data.workers=1"],
    );
    let stopped = case.train(&[
        "--set",
        "early_stopping.patience=1",
        "--set",
        "phase.features24.epochs=30",
    ]);
    let stopped = stopped.to_str().unwrap();
    case.fails(2, &["resume", stopped, "--set", "data.workers=1"]);
}

#[test]
fn latest_is_the_newest_run_that_can_be_resumed() {
    let case = Case::new("[training]\ncheckpoint_every = \"1 step\"\n");
    let older = case.train(&[]);
    let stopped = interrupted(&case, "TERM", 1, Duration::ZERO);
    let newest = case.train(&["--set", "seed=7"]);
    let output = case.run(&["resume", "latest:small"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let name = |run: &Path| run.file_name().unwrap().to_str().unwrap().to_owned();
    // Which steps it does depends on when it was stopped.
    let note = stderr.lines().find(|line| line.contains(&name(&newest)));
    check("resume/a_newer_run", note.unwrap_or_default());
    assert!(stopped.join("summary.toml").exists());
    check_equal(&stopped, &older);
    // Where all are finished, it is the newest.
    let error = case.fails(2, &["resume", "latest:small"]);
    assert!(error.contains(&name(&newest)), "{error}");
}

//! What may happen to a machine in the middle of a run: each time one clear error, nothing damaged, and once the cause is gone
//! the run ends as one that it never happened to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use crate::{
    program::{Case, column, read, read_toml},
    resume::check_equal,
    voice::{Transcript, check as check_words, errors},
};

/// A run that reads its photos in every epoch, and has many.
const LONG: &str = "[cache]\nmode = \"off\"\n";

fn long() -> Case {
    let case = Case::new(LONG);
    let text = read(&case.path("small.toml")).replace("epochs = 2", "epochs = 25");
    fs::write(case.path("small.toml"), text).unwrap();
    case
}

/// Starts the experiment and lets `happen` do its work after the first epoch; the run directory and the answer.
fn struck(case: &Case, happen: impl FnOnce()) -> (PathBuf, Output) {
    let mut command = case.command(&["small.toml", "--set", "name=struck"]);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = loop {
        let entries = fs::read_dir(case.path("runs")).into_iter().flatten();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        let run = paths.find(|path| path.to_string_lossy().ends_with("-struck"));
        if let Some(run) = run.filter(|run| run.join("metrics.csv").exists()) {
            break run;
        }
        thread::sleep(Duration::from_millis(1));
    };
    happen();
    (run, child.wait_with_output().unwrap())
}

/// Fails with code 3 and one error, that of the snapshot; then `mend`s it and compares with a run that nothing happened to.
fn check(case: &Case, strike: impl FnOnce(), snapshot: &str, mend: impl FnOnce()) {
    let whole = case.train(&[]);
    let (run, output) = struck(case, strike);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let error = errors(&stderr);
    check_words(snapshot, &error);
    let status = read_toml(&run.join("status.toml"));
    assert_eq!(status["state"].as_str(), Some("failed"));
    let reason = status["reason"].as_str().unwrap();
    let message = error
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("error: "));
    assert!(reason.contains(message.unwrap()), "{reason}");
    // What was done is kept up to the last step.
    let n_rows = read(&run.join("steps.csv")).lines().count() - 1;
    let state = read_toml(&run.join("checkpoints/last/state.toml"));
    assert_eq!(state["progress"]["step"].as_integer(), Some(n_rows as i64));
    mend();
    case.ok(&["resume", run.to_str().unwrap()]);
    check_equal(&run, &whole);
}

#[test]
fn the_folder_of_photos_vanishes() {
    let case = long();
    let (data, away) = (case.path("data"), case.path("away"));
    let move_to = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    check(
        &case,
        || move_to(&data, &away),
        "faults/no_folder",
        || move_to(&away, &data),
    );
}

/// `strike` gets a photo and its bytes, which are put back afterwards.
fn check_photo(strike: impl FnOnce(&Path, &[u8]), snapshot: &str) {
    let case = long();
    let path = case.path("data/Cat/0.jpg");
    let bytes = fs::read(&path).unwrap();
    let mend = || fs::write(&path, &bytes).unwrap();
    check(&case, || strike(&path, &bytes), snapshot, mend);
}

#[test]
fn a_photo_vanishes() {
    check_photo(|path, _| fs::remove_file(path).unwrap(), "faults/no_photo");
}

#[test]
fn a_photo_is_replaced_by_a_broken_one() {
    check_photo(
        |path, bytes| fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        "faults/a_broken_photo",
    );
}

/// Runs a script with a small disk mounted on `runs`, in a namespace of its own; `None` where the system refuses that.
pub(crate) fn with_small_disk(case: &Case, script: &str) -> Option<String> {
    let mount = "mkdir -p runs && mount -t tmpfs -o size=40m tmpfs runs";
    let probe = Command::new("unshare")
        .args(["-rm", "sh", "-c", mount])
        .current_dir(case.path(""))
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: no file system can be mounted here");
        }
        return None;
    }
    let runner = env!("CARGO_BIN_EXE_runner");
    let script = format!("set -u\n{mount} || exit 99\nrunner={runner}\n{script}");
    let mut shell = Command::new("unshare");
    shell
        .args(["-rm", "sh", "-c", &script])
        .current_dir(case.path(""));
    shell.env("XDG_CACHE_HOME", case.path("cache"));
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    Some(format!("{text}\n{errors}"))
}

#[test]
fn the_disk_is_full() {
    let case = Case::new("");
    let whole = case.train(&[]);
    // The head's checkpoints fit; those of the next phase do not.
    let script = r#"
        "$runner" small.toml; echo "code $?"
        run=$(ls -d runs/*); echo left: $(ls $run/checkpoints); cat $run/status.toml
        mount -o remount,size=200m runs
        "$runner" resume "$run"; echo "code $?"
        cp -r "$run" kept
    "#;
    let Some(said) = with_small_disk(&case, script) else {
        return;
    };
    assert!(
        said.contains("code 1\n") && said.contains("code 0\n"),
        "{said}"
    );
    // Even then the status is true, and no half of a checkpoint is left.
    assert!(said.contains("state = \"failed\""), "{said}");
    assert!(
        said.contains("left: base.safetensors best last recipe\n"),
        "{said}"
    );
    // Two threads write these files, and either may find the disk full.
    let words = errors(&said).replace("model.safetensors", "optimizer.safetensors");
    check_words("faults/full_disk", &words);
    check_equal(&case.path("kept"), &whole);
}

#[test]
fn the_disk_becomes_read_only() {
    let case = Case::new("");
    let script = r#"
        "$runner" small.toml; run=$(ls -d runs/*); rm $run/summary.toml
        mount -o remount,ro runs
        "$runner" resume "$run"; echo "code $?"
        "$runner" small.toml; echo "code $?"
        mount -o remount,rw runs
        "$runner" resume "$run"; echo "code $?"
    "#;
    let Some(said) = with_small_disk(&case, &format!("mount -o remount,size=200m runs\n{script}"))
    else {
        return;
    };
    assert_eq!(said.matches("code 1\n").count(), 2, "{said}");
    assert!(said.contains("code 0\n"), "{said}");
    check_words("faults/read_only_disk", &errors(&said));
}

#[test]
#[cfg(unix)]
fn a_file_that_may_not_grow_is_an_error_and_not_a_signal() {
    let case = Case::new("");
    let whole = case.train(&[]);
    // In blocks of 512 bytes: the tables fit, a checkpoint does not.
    let output = case.run_limited("-f 64", &["small.toml", "--set", "name=limited"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    check_words("faults/a_file_that_may_not_grow", &errors(&stderr));
    let runs = fs::read_dir(case.path("runs")).unwrap();
    let mut runs = runs.map(|entry| entry.unwrap().path());
    let run = runs
        .find(|run| run.to_string_lossy().ends_with("-limited"))
        .unwrap();
    let status = read_toml(&run.join("status.toml"));
    assert_eq!(status["state"].as_str(), Some("failed"));
    case.ok(&["resume", run.to_str().unwrap()]);
    check_equal(&run, &whole);
}

/// Black pictures, whose pixels are 0 after dividing by a tiny deviation; a grey one overflows.
fn with_a_poisonous_photo() -> Case {
    let case = Case::new("[training]\non_nan = \"skip\"\n");
    let poison = "transforms.normalize = \"custom\"\ntransforms.mean = [0.0, 0.0, 0.0]\ntransforms.std = [1.2e-38, 1.2e-38, 1.2e-38]\n";
    let text = read(&case.path("small.toml"))
        .replace("transforms.resize", &format!("{poison}transforms.resize"));
    fs::write(case.path("small.toml"), text).unwrap();
    let n_grey = 1;
    // All are known before the first is replaced, or the new ones may be among them.
    let mut photos: Vec<PathBuf> = ["data/Cat", "data/Dog"]
        .into_iter()
        .flat_map(|class| fs::read_dir(case.path(class)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    photos.sort();
    for (number, path) in photos.into_iter().enumerate() {
        fs::remove_file(&path).unwrap();
        let is_grey = number < n_grey;
        let mut picture = image::RgbImage::new(32, 32);
        // All are different files.
        let value = if is_grey { 250 } else { 0 };
        picture.pixels_mut().for_each(|pixel| pixel.0 = [value; 3]);
        let path = path.with_file_name(format!(
            "photo-{number}{}.png",
            if is_grey { "-grey" } else { "" }
        ));
        picture.save(path).unwrap();
    }
    case
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_names_the_photos() {
    let case = with_a_poisonous_photo();
    // The grey one is to train on.
    let split = "split.valid=0.2";
    let error = case.fails(
        1,
        &[
            "small.toml",
            "--set",
            "training.on_nan=stop",
            "--set",
            split,
        ],
    );
    // Who reads it looks for the one grey photo first.
    assert!(error.contains("-grey.png ("), "{error}");
    // The way that the message names.
    let run = case.only_run();
    case.ok(&[
        "resume",
        run.to_str().unwrap(),
        "--set",
        "training.on_nan=skip",
    ]);
    let n_epochs = column(&run, "epoch").len();
    let rows = read(&run.join("steps.csv"));
    let n_skipped = rows
        .lines()
        .filter(|row| row.contains("NaN") || row.contains("inf"))
        .count();
    assert_eq!(n_skipped, n_epochs, "{rows}");
    assert!(
        column(&run, "train_loss")
            .iter()
            .all(|loss| loss.parse::<f64>().unwrap().is_finite())
    );
    let summary = read_toml(&run.join("summary.toml"));
    assert_eq!(summary["skipped_steps"].as_integer(), Some(n_epochs as i64));
}

#[test]
fn parameters_that_ran_away_never_replace_a_checkpoint() {
    let case = Case::new("[training]\ncheckpoint_every = \"1 step\"\non_nan = \"skip\"\n");
    // The first update of the second phase is infinite in f32, from gradients that are not.
    let sets = ["optimizer.kind=rmsprop", "phase.features24.lr=1e38"];
    let sets = sets.map(|set| ["--set", set]).concat();
    case.says(
        "faults/parameters_not_finite",
        &[&["small.toml"], &sets[..]].concat(),
    );
    let run = case.only_run();
    let status = read_toml(&run.join("status.toml"));
    assert_eq!(status["state"].as_str(), Some("failed"));
    let state = read_toml(&run.join("checkpoints/last/state.toml"));
    assert_eq!(state["progress"]["step"].as_integer(), Some(8));
}

#[test]
fn a_checkpoint_whose_parameters_have_diverged_is_not_resumed_from() {
    let case = Case::new("[training]\ncheckpoint_every = \"1 step\"\n");
    // The first update of the second phase is finite, and no loss of what it leaves is.
    let mut transcript = Transcript::new(&case);
    transcript.fails(&["small.toml", "--set", "phase.features24.lr=1e25"]);
    let run = case.only_run();
    let lower = ["--set", "phase.features24.lr=1e-5"];
    let resume = [&["resume", run.to_str().unwrap()], &lower[..]].concat();
    case.ok(&resume);
    let whole = case.train(&lower);
    check_equal(&run, &whole);
    // Where not even the first checkpoint is sound, the run begins again.
    transcript
        .fails(&[
            "small.toml",
            "--set",
            "phase.head.lr=1e25",
            "--set",
            "name=head",
        ])
        .is("faults/diverged_parameters");
}

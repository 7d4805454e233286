//! Stopping and going on.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::program::{Case, metrics, read, read_toml, weights};

/// Starts the small experiment and sends SIGINT a moment after it has done so many epochs; its run directory.
fn interrupted(case: &Case, after_epochs: usize, pause: Duration) -> PathBuf {
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
    let kill = format!("kill -INT {}", child.id());
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
    assert!(stderr.contains("runner resume runs/"), "{stderr}");
    run
}

fn check_equal(stopped: &Path, whole: &Path) {
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
    for (after_epochs, pause) in [(0, 0), (1, 7), (5, 0), (6, 11)] {
        let run = interrupted(&case, after_epochs, Duration::from_millis(pause));
        assert_eq!(
            read_toml(&run.join("status.toml"))["state"].as_str(),
            Some("interrupted")
        );
        case.ok(&["resume", run.to_str().unwrap()]);
        check_equal(&run, &whole);
        let error = case.fails(2, &["resume", run.to_str().unwrap()]);
        assert!(error.contains("is finished"), "{error}");
    }
}

#[test]
fn resume_refuses_images_that_have_changed() {
    let case = Case::new("");
    let run = case.train(&[]);
    fs::remove_file(run.join("summary.toml")).unwrap();
    fs::remove_file(case.path("data/Cat/0.jpg"))
        .or_else(|_| fs::remove_file(case.path("data/Cat/0.png")))
        .unwrap();
    let error = case.fails(3, &["resume", run.to_str().unwrap()]);
    assert!(error.contains("not those that"), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_named_and_nothing_is_lost() {
    let case = Case::new("");
    let run = case.train(&[]);
    fs::remove_file(run.join("summary.toml")).unwrap();
    let model = run.join("checkpoints/last/model.safetensors");
    let mut bytes = fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&model).unwrap();
    fs::write(&model, bytes).unwrap();
    let before = metrics(&run);
    let error = case.fails(1, &["resume", run.to_str().unwrap()]);
    assert!(error.contains("is damaged"), "{error}");
    assert_eq!(metrics(&run), before);
}

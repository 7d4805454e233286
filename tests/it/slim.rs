//! Runs without what only resuming needs: what still works, what no longer does, and where a kill leaves them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    program::{Case, read, weights},
    runs::text,
    voice::Transcript,
};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

fn optimizer(run: &Path) -> PathBuf {
    run.join("checkpoints/last/optimizer.safetensors")
}

#[test]
fn a_slim_run_does_everything_but_resume() {
    let case = Case::new("");
    let run = case.train(&["--set", "training.checkpoint_every=1 epochs"]);
    let whole = [weights(&run, "best"), weights(&run, "last")];
    assert!(run.join("checkpoints/previous-last").is_dir());
    let scores = case.ok(&["evaluate", text(&run), "--checkpoint", "last"]);
    let answer = case.json(&["slim", text(&run)]);
    assert!(
        answer["freed_bytes"].as_u64().unwrap() > 100_000,
        "{answer}"
    );
    assert!(!run.join("checkpoints/previous-last").exists() && !optimizer(&run).exists());
    assert_eq!([weights(&run, "best"), weights(&run, "last")], whole);
    case.ok(&["verify", text(&run)]);
    assert_eq!(
        case.ok(&["evaluate", text(&run), "--checkpoint", "last"]),
        scores
    );
    case.ok(&["export", text(&run), "m.safetensors"]);
    assert_eq!(case.json(&["list"])["runs"][0]["slim"], true);
    case.says("slim/show", &["show", text(&run)]);
    Transcript::new(&case)
        .fails(&["resume", text(&run)])
        .fails(&["resume", text(&run), "--set", "phase.features24.epochs=3"])
        .is("slim/resume");
    let child = read(&case.path("small.toml")).replace(
        "name = \"small\"",
        "name = \"child\"\ninit_from = \"latest:small\"",
    );
    fs::write(case.path("child.toml"), child).unwrap();
    let child = case.ok(&["child.toml"]);
    case.ok(&["compare", text(&run), &child]);
    let again = case.json(&["slim", text(&run)]);
    assert_eq!(again["freed_bytes"].as_u64(), Some(0));
}

#[test]
fn runs_that_are_not_finished_stay_whole() {
    let case = Case::new("");
    let (done, other) = (case.train(&[]), case.train(&["--set", "name=other"]));
    fs::remove_file(other.join("summary.toml")).unwrap();
    let status = read(&other.join("status.toml")).replace("finished", "failed");
    fs::write(other.join("status.toml"), status).unwrap();
    Transcript::new(&case)
        .fails(&["slim", text(&done), text(&other)])
        .fails(&["slim", "runs"])
        .is("slim/unfinished");
    assert!(optimizer(&done).exists() && optimizer(&other).exists());
}

#[test]
fn a_slimming_that_is_killed_leaves_a_whole_or_a_slim_run() {
    let case = Case::new("");
    let whole = case.train(&["--set", "training.checkpoint_every=1 epochs"]);
    let slim = case.path("slim");
    copy(&whole, &slim);
    case.ok(&["slim", text(&slim)]);
    // Where the generations of `last` are after each of its steps.
    let steps = [
        ([("last", &whole), ("new-last", &slim)], false),
        ([("old-last", &whole), ("new-last", &slim)], true),
        ([("old-last", &whole), ("last", &slim)], true),
    ];
    for (at, (places, is_slim)) in steps.into_iter().enumerate() {
        let killed = case.path(&format!("killed-{at}"));
        copy(&whole, &killed);
        let folder = killed.join("checkpoints");
        fs::remove_dir_all(folder.join("last")).unwrap();
        for (name, from) in places {
            copy(&from.join("checkpoints/last"), &folder.join(name));
        }
        case.ok(&["verify", text(&killed)]);
        let shown = case.json(&["show", text(&killed)]);
        assert_eq!(shown["slim"].as_bool(), Some(is_slim), "{at}");
        case.ok(&["slim", text(&killed)]);
        case.ok(&["verify", text(&killed)]);
        assert_eq!(names(&killed), names(&slim), "{at}");
        assert!(!optimizer(&killed).exists(), "{at}");
    }
}

/// The names of what is in the checkpoints of a run.
fn names(run: &Path) -> Vec<String> {
    let folder = run.join("checkpoints");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let inner = fs::read_dir(entry.path()).into_iter().flatten();
        names.extend(inner.map(|it| format!("{name}/{}", it.unwrap().file_name().display())));
        names.push(name);
    }
    names.sort();
    names
}

#[test]
fn a_run_that_keeps_its_best_model_ends_as_one_that_was_slimmed() {
    let case = Case::new("[training]\ncheckpoint_every = \"1 epoch\"\n");
    let slim = case.train(&[]);
    case.ok(&["slim", text(&slim)]);
    let run = case.train(&["--set", "checkpoints.keep=best"]);
    assert_eq!(names(&run), names(&slim));
    for checkpoint in ["best", "last"] {
        assert!(weights(&run, checkpoint) == weights(&slim, checkpoint));
    }
    case.ok(&["verify", text(&run)]);
    let shown = case.json(&["show", text(&run)]);
    assert_eq!(shown["slim"], true);
    let longer = ["--set", "phase.features24.epochs=3"];
    case.fails(2, &["resume", text(&run)]);
    case.fails(1, &[&["resume", text(&run)], &longer[..]].concat());
    // As of a process that was killed after its last checkpoint.
    let killed = case.path("killed");
    copy(&run, &killed);
    fs::remove_file(killed.join("summary.toml")).unwrap();
    copy(
        &killed.join("checkpoints/last"),
        &killed.join("checkpoints/previous-last"),
    );
    let error = case.fails(1, &[&["resume", text(&killed)], &longer[..]].concat());
    assert!(error.contains("init_from"), "{error}");
    case.ok(&["resume", text(&killed)]);
    assert_eq!(names(&killed), names(&run));
    // And after its summary.
    let killed = case.path("killed-later");
    copy(&run, &killed);
    let status = read(&killed.join("status.toml")).replace("finished", "running");
    fs::write(killed.join("status.toml"), status).unwrap();
    let spare = killed.join("checkpoints/previous-last");
    copy(&killed.join("checkpoints/last"), &spare);
    // Even in the middle of removing the checkpoint before.
    fs::remove_file(spare.join("state.toml")).unwrap();
    case.ok(&["verify", text(&killed)]);
    case.ok(&["resume", text(&killed)]);
    assert_eq!(names(&killed), names(&run));
}

#[test]
fn what_is_kept_can_change_until_a_run_ends() {
    let case = Case::new("");
    let whole = case.train(&[]);
    let run = case.path("unfinished");
    copy(&whole, &run);
    fs::remove_file(run.join("summary.toml")).unwrap();
    case.ok(&["resume", text(&run), "--set", "checkpoints.keep=best"]);
    assert!(!optimizer(&run).exists());
    let changes = read(&run.join("changes.csv"));
    assert!(
        changes.contains("checkpoints.keep,\"\"\"all\"\"\",\"\"\"best\"\"\"\n"),
        "{changes}"
    );
    assert!(weights(&run, "best") == weights(&whole, "best"));
}

//! `runner sweep`: trials as ordinary runs, a leaderboard, and a second call that does only what is left.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use crate::{
    program::{Case, column, metrics, read, read_toml, weights},
    voice::check,
};

pub(crate) const RATES: &str =
    "base = \"small.toml\"\nlauncher.max_parallel = 2\n[axes]\nphase.head.lr = [1e-3, 1e-2]\n";

const OPTIMIZER: &str = "checkpoints/last/optimizer.safetensors";

pub(crate) fn case_with(sweep: &str) -> Case {
    let case = Case::new("");
    fs::write(case.path("rates.toml"), sweep).unwrap();
    case
}

/// The trials' run directories, by name.
pub(crate) fn trials(case: &Case) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(case.path("runs/sweep-rates")) else {
        return Vec::new();
    };
    let mut runs: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("manifest.toml").is_file())
        .collect();
    runs.sort_by_key(|run| read_toml(&run.join("manifest.toml"))["name"].to_string());
    runs
}

pub(crate) fn leaderboard(case: &Case) -> Vec<Vec<String>> {
    let text = read(&case.path("runs/sweep-rates/leaderboard.csv"));
    csv::Reader::from_reader(text.as_bytes())
        .records()
        .map(|row| row.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

/// How many epochs each trial has done, from a list of what a sweep would do.
fn epochs_of_trials(case: &Case) -> Vec<u64> {
    let list = case.json(&["sweep", "rates.toml", "--dry-run"]);
    let trials = list["trials"].as_array().unwrap().iter();
    let mut epochs: Vec<u64> = trials.map(|it| it["epochs"].as_u64().unwrap()).collect();
    epochs.sort_unstable();
    epochs
}

fn start(case: &Case) -> Child {
    case.command(&["sweep", "rates.toml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Until something is so, but not for ever.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not in time");
}

fn signal(name: &str, process: u32) {
    let status = std::process::Command::new("kill")
        .args([name, &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn n_epochs(run: &Path) -> usize {
    fs::read_to_string(run.join("metrics.csv"))
        .map_or(0, |text| text.lines().count().saturating_sub(1))
}

#[test]
fn trials_are_ordinary_runs_and_the_second_call_has_nothing_to_do() {
    let case = case_with(RATES);
    let answer = case.ok(&["sweep", "rates.toml"]);
    assert!(answer.ends_with("runs/sweep-rates"), "{answer}");
    let runs = trials(&case);
    assert_eq!(runs.len(), 2);
    // At half of the threads, with the same bytes.
    let direct = case.train(&["--set", "phase.head.lr=1e-2"]);
    let (index, _) = runs
        .iter()
        .enumerate()
        .find(|(_, run)| run.to_string_lossy().ends_with("lr_0.01"))
        .unwrap();
    assert_eq!(metrics(&runs[index]), metrics(&direct));
    assert_eq!(weights(&runs[index], "last"), weights(&direct, "last"));
    // Nobody trains them further, and the file of a trial says why they are slim.
    assert!(direct.join(OPTIMIZER).exists());
    assert!(runs.iter().all(|run| !run.join(OPTIMIZER).exists()));
    let trial = case.path("runs/sweep-rates/trials/rates-lr_0.01/experiment.toml");
    let said = "#   checkpoints.keep = \"best\" (defaults of sweeps)\n";
    assert!(read(&trial).contains(said), "{}", read(&trial));
    let rows = leaderboard(&case);
    let accuracies: Vec<f64> = rows.iter().map(|row| row[5].parse().unwrap()).collect();
    assert!(accuracies[0] >= accuracies[1], "{rows:?}");
    assert!(rows.iter().all(|row| row[2] == "finished"), "{rows:?}");
    let picture = fs::read(case.path("runs/sweep-rates/leaderboard.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    let again = case.ok(&["sweep", "rates.toml"]);
    assert_eq!((again, trials(&case)), (answer, runs));
    // One more value is one more run.
    let more = RATES.replace("1e-2]", "1e-2, 1e-4]");
    fs::write(case.path("rates.toml"), more).unwrap();
    assert_eq!(epochs_of_trials(&case), [0, 4, 4]);
    case.ok(&["sweep", "rates.toml"]);
    assert_eq!(trials(&case).len(), 3);
    let listed = case.json(&["list"])["runs"].clone();
    let listed = listed[0]["run"].as_str().unwrap();
    assert_eq!(
        Path::new(listed).parent().unwrap().file_name(),
        Some("sweep-rates".as_ref())
    );
    let lock = File::open(case.path("runs/sweep-rates/sweep.lock")).unwrap();
    lock.lock().unwrap();
    case.says(
        "sweep/rm_of_one_in_progress",
        &["rm", "--yes", "runs/sweep-rates"],
    );
    drop(lock);
    let compared = case.json(&["compare", "runs/sweep-rates"]);
    assert_eq!(compared["differences"][0]["key"], "phase.head.lr");
    case.ok(&["rm", "--yes", "runs/sweep-rates"]);
    assert!(!case.path("runs/sweep-rates").exists());
}

#[test]
fn a_bad_value_anywhere_stops_everything_before_it_starts() {
    let case = case_with(
        "base = \"small.toml\"\n[axes]\nphase.head.lr = [1e-3, -1]\nphase.tail.lr = [1]\n",
    );
    case.says("sweep/bad_values", &["sweep", "rates.toml"]);
    assert!(!case.path("runs").exists());
    fs::write(case.path("rates.toml"), RATES).unwrap();
    case.fails(3, &["sweep", "rates.toml", "--set", "data.root=nowhere"]);
    case.ok(&["sweep", "rates.toml", "--dry-run"]);
    assert!(!case.path("runs").exists());
}

#[test]
fn a_failed_trial_is_listed_with_its_reason_and_the_others_finish() {
    let case = case_with(&RATES.replace("1e-3", "1e30"));
    case.fails(1, &["sweep", "rates.toml"]);
    let rows = leaderboard(&case);
    assert_eq!(
        (rows[0][2].as_str(), rows[1][2].as_str()),
        ("finished", "failed")
    );
    let failed = &rows[1];
    let run = case
        .path("runs/sweep-rates")
        .join(&failed[failed.len() - 2]);
    let status = read_toml(&run.join("status.toml"));
    let reason = status["reason"].as_str().unwrap().lines().next().unwrap();
    assert!(failed.last().unwrap().starts_with(reason), "{rows:?}");
}

#[cfg(unix)]
#[test]
fn a_stopped_sweep_goes_on_to_the_same_bytes() {
    let case = case_with(&format!("{RATES}[set]\nphase.head.epochs = 60\n"));
    let mut sweep = start(&case);
    wait_until("both trials have an epoch", || {
        let runs = trials(&case);
        runs.len() == 2 && runs.iter().all(|run| n_epochs(run) > 0)
    });
    signal("-INT", sweep.id());
    assert_eq!(sweep.wait().unwrap().code(), Some(130));
    let runs = trials(&case);
    for run in &runs {
        assert_eq!(
            read_toml(&run.join("status.toml"))["state"].as_str(),
            Some("interrupted")
        );
        assert!(n_epochs(run) < 62);
    }
    case.ok(&["sweep", "rates.toml"]);
    assert_eq!(trials(&case), runs);
    let direct = case.train(&[
        "--set",
        "phase.head.epochs=60",
        "--set",
        "phase.head.lr=1e-2",
    ]);
    assert_eq!(metrics(&runs[0]), metrics(&direct), "{runs:?}");
    assert_eq!(weights(&runs[0], "last"), weights(&direct, "last"));
}

#[cfg(unix)]
#[test]
fn trials_that_outlive_a_killed_sweep_are_waited_for() {
    let case = case_with(&format!("{RATES}[set]\nphase.head.epochs = 60\n"));
    let mut sweep = start(&case);
    wait_until("both trials have begun", || {
        let runs = trials(&case);
        runs.len() == 2 && runs.iter().all(|run| n_epochs(run) > 0)
    });
    sweep.kill().unwrap();
    sweep.wait().unwrap();
    case.ok(&["sweep", "rates.toml"]);
    let runs = trials(&case);
    assert_eq!(runs.len(), 2);
    for run in &runs {
        assert_eq!(column(run, "epoch").len(), 62);
    }
}

#[test]
fn trials_begin_with_the_run_that_the_base_names() {
    let case = case_with(&RATES.replace("small", "child"));
    let parent = case.train(&[]);
    let child = read(&case.path("small.toml"));
    let child = child.replace(
        "name = \"small\"",
        "name = \"child\"\ninit_from = \"latest:small\"",
    );
    fs::write(case.path("child.toml"), child).unwrap();
    case.ok(&["sweep", "rates.toml"]);
    for run in trials(&case) {
        let manifest = read_toml(&run.join("manifest.toml"));
        let recorded = PathBuf::from(manifest["parent"]["run"].as_str().unwrap());
        assert_eq!(recorded.file_name(), parent.file_name());
    }
    // A newer parent makes other experiments of the same trials.
    case.train(&["--set", "seed=1"]);
    assert_eq!(epochs_of_trials(&case), [0, 0]);
    let output = case.run(&["sweep", "rates.toml"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    // Trials end in any order.
    let notes = stderr.lines().filter(|line| !line.starts_with("trial "));
    check(
        "sweep/runs_of_another_parent",
        &notes.collect::<Vec<_>>().join("\n"),
    );
    assert_eq!((leaderboard(&case).len(), trials(&case).len()), (2, 4));
}

#[test]
fn a_locked_sweep_is_left_alone() {
    let case = case_with(RATES);
    fs::create_dir_all(case.path("runs/sweep-rates")).unwrap();
    let lock = File::create(case.path("runs/sweep-rates/sweep.lock")).unwrap();
    lock.lock().unwrap();
    case.says("sweep/in_progress", &["sweep", "rates.toml"]);
}

#[test]
fn what_changes_no_result_can_vary_and_each_trial_keeps_its_own_run() {
    let case = case_with(
        "base = \"small.toml\"\nlauncher.max_parallel = 2\n[axes]\ndata.workers = [1, 2]\nthreads = [1, 2]\n",
    );
    for _ in 0..2 {
        case.ok(&["sweep", "rates.toml"]);
        let rows = leaderboard(&case);
        assert_eq!((rows.len(), trials(&case).len()), (4, 4));
        for row in rows {
            let name = format!("workers_{}-threads_{}", row[3], row[4]);
            assert!(row[row.len() - 2].ends_with(&name), "{row:?}");
        }
    }
}

#[test]
fn an_edit_of_the_base_does_not_reach_the_trials_of_a_sweep_that_runs() {
    let case = case_with(&RATES.replace("launcher.max_parallel = 2", "launcher.max_parallel = 1"));
    let mut sweep = start(&case);
    wait_until("a trial has begun", || !trials(&case).is_empty());
    let base = read(&case.path("small.toml"));
    fs::write(case.path("small.toml"), base.replace("32, 32", "64, 64")).unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(0));
    let rows = leaderboard(&case);
    assert!(rows.iter().all(|row| row[2] == "finished"), "{rows:?}");
    for run in trials(&case) {
        let resolved = read_toml(&run.join("resolved.toml"));
        assert_eq!(resolved["transforms"]["resize"][0].as_integer(), Some(32));
    }
    // What the environment said is in the trials, and not said twice.
    let mut command = case.command(&["sweep", "rates.toml"]);
    command
        .env("RUNNER_SEED", "7")
        .env("RUNNER_PHASE__HEAD__LR", "0.5");
    assert!(command.output().unwrap().status.success());
    let rates: Vec<String> = leaderboard(&case)
        .into_iter()
        .map(|row| row[3].clone())
        .collect();
    assert!(!rates.contains(&"0.5".to_owned()), "{rates:?}");
    assert_eq!(trials(&case).len(), 4);
}

#[cfg(unix)]
#[test]
fn a_killed_trial_is_a_failure_with_its_reason_and_the_others_go_on() {
    let case = case_with(&format!("{RATES}[set]\nphase.head.epochs = 60\n"));
    let mut sweep = start(&case);
    wait_until("both trials have an epoch", || {
        let runs = trials(&case);
        runs.len() == 2 && runs.iter().all(|run| n_epochs(run) > 0)
    });
    let claim = read_toml(&trials(&case)[0].join("claim.toml"));
    signal(
        "-KILL",
        claim["process"].as_integer().unwrap().try_into().unwrap(),
    );
    assert_eq!(sweep.wait().unwrap().code(), Some(1));
    let rows = leaderboard(&case);
    let reason = |state: &str| {
        rows.iter()
            .find(|row| row[2] == state)
            .map(|row| row[row.len() - 1].clone())
    };
    assert_eq!(reason("finished").as_deref(), Some(""), "{rows:?}");
    assert!(reason("failed").unwrap().contains("SIGKILL"), "{rows:?}");
    case.ok(&["sweep", "rates.toml"]);
    assert_eq!(trials(&case).len(), 2);
}

#[cfg(unix)]
#[test]
fn trials_of_a_killed_sweep_count_as_its_own_and_stop_with_it() {
    let case = case_with(&format!("{RATES}[set]\nphase.head.epochs = 600\n"));
    let mut sweep = start(&case);
    wait_until("both trials have begun", || {
        let runs = trials(&case);
        runs.len() == 2 && runs.iter().all(|run| n_epochs(run) > 0)
    });
    sweep.kill().unwrap();
    sweep.wait().unwrap();
    let mut again = case
        .command(&["sweep", "rates.toml"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the second sweep watches", || {
        let claim = fs::read_to_string(case.path("runs/sweep-rates/claim.toml"));
        let claim: toml::Table = claim.unwrap_or_default().parse().unwrap_or_default();
        claim.get("process").and_then(toml::Value::as_integer) == Some(again.id().into())
    });
    thread::sleep(Duration::from_millis(500));
    signal("-INT", again.id());
    assert_eq!(again.wait().unwrap().code(), Some(130));
    for run in trials(&case) {
        let status = read_toml(&run.join("status.toml"));
        assert_eq!(status["state"].as_str(), Some("interrupted"));
    }
}

#[test]
fn weights_that_do_not_fit_stop_all_trials_before_the_first_one_starts() {
    let base = "base = \"small.toml\"\n[axes]\n";
    let case = case_with(&format!(
        "{base}model.weights = [\"drawings_v1\", \"half.safetensors\"]\n"
    ));
    let run = case.ok(&["small.toml"]);
    case.ok(&["export", &run, "half.safetensors", "--only", "features"]);
    case.says("sweep/weights_that_do_not_fit", &["sweep", "rates.toml"]);
    assert!(!case.path("runs/sweep-rates").exists());
}

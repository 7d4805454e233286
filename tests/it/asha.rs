//! Early stopping: which trials continue, that continuing costs no exactness, and that nothing is done twice.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    program::{Case, column, metrics, read_toml, weights},
    sweep::{case_with, leaderboard, trials},
    voice::Transcript,
};

/// Nine trials of nine epochs, compared after 1 and 3.
pub(crate) const HALVING: &str = "base = \"small.toml\"\nmethod = \"random\"\nmax_trials = 9\n\
    [search]\nkind = \"asha\"\nmax_epochs = 9\n\
    [axes]\nphase.head.lr = { log_uniform = [1e-5, 1e-2] }\n";

const OPTIMIZER: &str = "checkpoints/last/optimizer.safetensors";

/// The names of the trials that have a file with this ending at a rung.
pub(crate) fn at_rung(sweep: &Path, epochs: usize, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(sweep.join("rungs").join(epochs.to_string())).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| Some(name.strip_suffix(ending)?.to_owned()))
        .collect()
}

pub(crate) fn name_of(run: &Path) -> String {
    let manifest = read_toml(&run.join("manifest.toml"));
    manifest["name"].as_str().unwrap().to_owned()
}

/// A trial as an experiment of its own, trained in one go.
pub(crate) fn direct(case: &Case, sweep: &str, trial: &str) -> PathBuf {
    let recipe = format!("{sweep}/trials/{trial}/experiment.toml");
    case.path(&case.ok(&[&recipe, "--set", "runs_dir=direct"]))
}

/// Compares a trial with the same experiment in one go, as far as it has come.
pub(crate) fn check_exact(case: &Case, sweep: &str, run: &Path) {
    let whole = direct(case, sweep, &name_of(run));
    let (ours, theirs) = (metrics(run), metrics(&whole));
    assert!(theirs.starts_with(&ours), "{ours}\nis not of\n{theirs}");
    if ours == theirs {
        assert_eq!(weights(run, "last"), weights(&whole, "last"));
        assert_eq!(weights(run, "best"), weights(&whole, "best"));
    }
}

/// The rows of the leaderboard as trial, state, number of epochs and rungs reached.
fn standings(case: &Case) -> Vec<[String; 4]> {
    let rows = leaderboard(case).into_iter();
    rows.map(|row| [&row[1], &row[2], &row[9], row.last().unwrap()].map(Clone::clone))
        .collect()
}

#[test]
fn the_best_third_continues_to_the_same_bytes_and_the_rest_stops() {
    let case = case_with(HALVING);
    case.ok(&["sweep", "rates.toml"]);
    let dir = case.path("runs/sweep-rates");
    let runs = trials(&case);
    assert_eq!(runs.len(), 9);
    let arrived = [1, 3, 9].map(|epochs| at_rung(&dir, epochs, ".toml").len());
    assert!(arrived[0] == 9 && (3..6).contains(&arrived[1]) && (1..3).contains(&arrived[2]));
    assert_eq!(at_rung(&dir, 1, ".promoted").len(), arrived[1]);
    assert_eq!(at_rung(&dir, 3, ".promoted").len(), arrived[2]);
    for (at, [trial, state, epochs, rung]) in standings(&case).iter().enumerate() {
        let wanted = match epochs.as_str() {
            "9" => ["finished", "3"],
            "3" => ["stopped", "2"],
            "1" => ["stopped", "1"],
            other => panic!("trial {trial} has {other} epochs"),
        };
        assert_eq!([state.as_str(), rung.as_str()], wanted);
        assert!(at > 0 || state == "finished", "the best one is {state}");
    }
    for run in &runs {
        assert!(!run.join(OPTIMIZER).exists(), "{}", run.display());
        let n_epochs = column(run, "epoch").len();
        if n_epochs > 1 {
            check_exact(&case, "runs/sweep-rates", run);
        }
        let phases = &read_toml(&run.join("resolved.toml"))["phase"];
        assert_eq!(phases[1]["epochs"].as_integer(), Some(7));
    }
    // All is done, and that is all that is said.
    let before: Vec<String> = runs.iter().map(|run| metrics(run)).collect();
    let output = case.run(&["sweep", "rates.toml"]);
    assert!(output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("trial "), "{stderr}");
    let after: Vec<String> = trials(&case).iter().map(|run| metrics(run)).collect();
    assert_eq!((trials(&case), after), (runs, before));
    let list = case.ok(&["sweep", "rates.toml", "--dry-run"]);
    assert!(
        list.contains("stopped at a rung") && !list.contains("resumed"),
        "{list}"
    );
}

#[test]
fn a_trial_that_was_stopped_for_good_continues_exactly_if_it_is_wanted_after_all() {
    let case = case_with(HALVING);
    case.ok(&["sweep", "rates.toml"]);
    let dir = case.path("runs/sweep-rates");
    let stopped = at_rung(&dir, 1, ".demoted");
    let runs = trials(&case);
    // Every second one and more trials.
    let more = HALVING.replace("max_trials = 9", "max_trials = 12");
    let more = more.replace("max_epochs = 9", "max_epochs = 9\neta = 2");
    fs::write(case.path("rates.toml"), more).unwrap();
    case.ok(&["sweep", "rates.toml"]);
    let all = trials(&case);
    assert_eq!(all.len(), 12);
    assert!(runs.iter().all(|run| all.contains(run)));
    let promoted = at_rung(&dir, 1, ".promoted");
    assert!(promoted.len() >= 6, "{promoted:?}");
    let returned: Vec<&PathBuf> = all
        .iter()
        .filter(|run| promoted.contains(&name_of(run)) && stopped.contains(&name_of(run)))
        .collect();
    assert!(!returned.is_empty(), "{stopped:?} {promoted:?}");
    for run in returned {
        assert!(column(run, "epoch").len() >= 2);
        check_exact(&case, "runs/sweep-rates", run);
    }
}

#[test]
fn a_trial_that_fails_makes_room_for_others() {
    let case = case_with(
        "base = \"small.toml\"\nlauncher.max_attempts = 2\n[search]\nkind = \"asha\"\nmax_epochs = 4\neta = 2\n\
         [axes]\nphase.head.lr = [1e30, 1e-4, 1e-3, 1e-2]\n",
    );
    let stderr = case.fails(1, &["sweep", "rates.toml"]);
    assert!(stderr.contains("1 of 4 trials did not finish"), "{stderr}");
    let rows = leaderboard(&case);
    let states: Vec<&str> = rows.iter().map(|row| row[2].as_str()).collect();
    // The order of a grid is random, and with it who else is promoted.
    assert_eq!((states[0], states[3]), ("finished", "failed"));
    assert!(!states[1..3].contains(&"failed"), "{states:?}");
    let dir = case.path("runs/sweep-rates");
    // One more than half, if a better one arrives later.
    let n_promoted = at_rung(&dir, 1, ".promoted").len();
    assert!((2..4).contains(&n_promoted), "{n_promoted}");
    let failure = read_toml(&dir.join("trials/rates-lr_1e30/failure.toml"));
    assert_eq!(failure["attempts"].as_integer(), Some(2));
    assert!(failure["reason"].as_str().unwrap().contains("the loss is"));
    assert_eq!(trials(&case).len(), 4);
}

#[test]
fn rungs_that_the_epochs_leave_no_room_for() {
    let case = Case::new("");
    let mut transcript = Transcript::new(&case);
    for (name, search, axes) in [
        ("all_at_the_first_rung", "min_epochs = 4", ""),
        ("too_few_for_the_phases", "max_epochs = 2", ""),
        (
            "set_twice",
            "max_epochs = 9",
            "phase.features24.epochs = [3, 4]\n",
        ),
        ("unequal", "", "phase.features24.epochs = [3, 4]\n"),
    ] {
        let text = format!(
            "base = \"small.toml\"\n[search]\nkind = \"asha\"\n{search}\n[axes]\n{axes}optimizer.kind = [\"adam\", \"sgd\"]\n"
        );
        let file = format!("{name}.toml");
        fs::write(case.path(&file), text).unwrap();
        transcript.fails(&["sweep", &file]);
    }
    transcript.is("asha/rungs_without_room");
    assert!(!case.path("runs").exists());
}

#[cfg(target_os = "linux")]
mod killed {
    use std::{
        process::{Child, Command, Stdio},
        thread,
        time::Duration,
    };

    use super::{
        BTreeSet, Case, Path, at_rung, case_with, fs, metrics, read_toml, trials, weights,
    };
    use crate::{program::read, sweep::wait_until};

    const EVERY_EPOCH: &str = "[training]\ncheckpoint_every = \"1 epoch\"\n";

    fn start(case: &Case, args: &[&str]) -> Child {
        let mut command = case.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Kills a sweep and the process of its trial.
    fn kill(sweep: &mut Child) {
        let id = sweep.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        sweep.kill().unwrap();
        sweep.wait().unwrap();
        for child in children.unwrap_or_default().split_whitespace() {
            let status = Command::new("kill").args(["-KILL", child]).output();
            assert!(status.is_ok());
        }
    }

    fn n_trained(case: &Case) -> usize {
        let logs = trials(case).into_iter().map(|run| {
            let text = read(&run.join("run.log"));
            text.lines()
                .filter(|line| line.contains("train loss"))
                .count()
        });
        logs.sum()
    }

    fn promotions(case: &Case) -> [BTreeSet<String>; 2] {
        let dir = case.path("runs/sweep-rates");
        [1, 3].map(|epochs| at_rung(&dir, epochs, ".promoted"))
    }

    #[test]
    fn a_sweep_that_is_killed_again_and_again_promotes_the_same_trials() {
        let one_by_one = super::HALVING.replace("max_trials = 9", "max_trials = 7");
        let cases = [(); 2].map(|()| {
            let case = case_with(&one_by_one);
            let small = read(&case.path("small.toml"));
            fs::write(case.path("small.toml"), small + EVERY_EPOCH).unwrap();
            case
        });
        let [calm, killed] = &cases;
        calm.ok(&["sweep", "rates.toml"]);
        // Wherever these moments fall: in the check, between two trials, in an epoch, or after the end.
        let moments = [350, 800, 500, 1200, 650, 950];
        for moment in moments {
            let mut sweep = start(killed, &["sweep", "rates.toml"]);
            thread::sleep(Duration::from_millis(moment));
            kill(&mut sweep);
        }
        killed.ok(&["sweep", "rates.toml"]);
        assert_eq!(promotions(killed), promotions(calm));
        let runs = cases.each_ref().map(trials);
        assert_eq!((runs[0].len(), runs[1].len()), (7, 7));
        for (ours, theirs) in runs[1].iter().zip(&runs[0]) {
            assert_eq!(metrics(ours), metrics(theirs));
            // A kill while a stopped trial is slimmed leaves its files as they are.
            if theirs.join("summary.toml").is_file() {
                assert_eq!(weights(ours, "last"), weights(theirs, "last"));
            }
        }
        let n_repeated = n_trained(killed) - n_trained(calm);
        assert!(n_repeated <= moments.len(), "{n_repeated} epochs again");
    }

    #[test]
    fn a_trial_that_a_process_works_on_is_left_to_it() {
        let case = case_with(&format!(
            "{}[set]\nphase.features24.epochs = 600\n",
            crate::sweep::RATES
        ));
        case.ok(&["sweep", "rates.toml", "--emit", "out"]);
        let folder = "out/trials/rates-lr_0.01";
        let mut first = start(&case, &["trial", folder]);
        let claim = case.path(folder).join("claim.toml");
        wait_until("the trial is claimed", || claim.is_file());
        let output = case.run(&["trial", folder]);
        assert_eq!(output.status.code(), Some(0));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("the trial is in progress: "), "{stderr}");
        wait_until("it has a run", || runs_in(&case.path("out")).len() == 1);
        let id = first.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert_eq!(first.wait().unwrap().code(), Some(130));
        let runs = runs_in(&case.path("out"));
        let status = read_toml(&case.path("out").join(&runs[0]).join("status.toml"));
        assert_eq!(
            (runs.len(), status["state"].as_str()),
            (1, Some("interrupted"))
        );
    }

    fn runs_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap());
        entries
            .filter(|entry| entry.path().join("status.toml").is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }
}

//! Early stopping in a cluster, where each task decides for itself, and some are cancelled at random.

use std::fs;

use super::site::{
    Plan, Site, alive, in_cluster, n_epochs, rows_of, slurm, wait_for_rest, wait_until,
};
use crate::program::{metrics, read};

const N_TRIALS: usize = 9;
const DRAWS: &str = "method = \"random\"\nmax_trials = 9\n";
const ASHA: &str = "[search]\nkind = \"asha\"\neta = 3\nmin_epochs = 1\n";

fn site() -> Site {
    let site = Site::new(&Plan {
        epochs: 7,
        ..Plan::new("1e-3")
    });
    let sweep = read(&site.case.path("rates.toml"));
    let drawn = sweep.replace("[1e-3]", "{ log_uniform = [1e-5, 1e-1] }");
    let asha = drawn.replace("[launcher]", &format!("{ASHA}[launcher]"));
    fs::write(site.case.path("rates.toml"), format!("{DRAWS}{asha}")).unwrap();
    // All trials to their ends, to compare with.
    fs::write(
        site.case.path("whole.toml"),
        format!("name = \"rates\"\n{DRAWS}{drawn}"),
    )
    .unwrap();
    site
}

/// What holds for every order in which trials reach their rungs.
fn check(site: &Site) {
    let args = [
        "sweep",
        "whole.toml",
        "--launcher",
        "local",
        "--set",
        "runs_dir=whole",
    ];
    site.case.ok(&args);
    let trials = site.trials();
    assert_eq!(trials.len(), N_TRIALS);
    let mut epochs = Vec::new();
    for trial in &trials {
        let run = site.run(trial).unwrap();
        let whole = rows_of(&site.case.path("whole/sweep-rates"), trial);
        let rows = metrics(&run);
        let rows: Vec<&str> = rows.lines().collect();
        assert_eq!(rows, whole[..rows.len()]);
        let is_finished = run.join("summary.toml").exists();
        epochs.push(n_epochs(&run));
        assert_eq!(is_finished, n_epochs(&run) == 9, "{trial}");
    }
    let n_with = |n: usize| epochs.iter().filter(|it| **it >= n).count();
    assert!(epochs.iter().all(|it| [1, 3, 9].contains(it)), "{epochs:?}");
    assert!(n_with(3) >= 3 && n_with(9) >= 1, "{epochs:?}");
    for (rung, next) in [(1, 3), (3, 9)] {
        let folder = site.dir().join(format!("rungs/{rung}"));
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let names: Vec<String> = names.collect();
        let n = |ending: &str| names.iter().filter(|it| it.ends_with(ending)).count();
        assert_eq!(
            (n(".toml"), n(".promoted")),
            (n_with(rung), n_with(next)),
            "{names:?}"
        );
    }
    for shown in site.status().values() {
        let state = if shown.epochs == 9 {
            "finished"
        } else {
            "stopped"
        };
        assert_eq!(shown.state, state, "{shown:?}");
    }
    assert_eq!(site.submit(), 0);
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn tasks_promote_trials_without_anybody_above_them() {
    in_cluster(&[], || {
        let site = site();
        assert_eq!(site.submit(), 9);
        wait_for_rest();
        check(&site);
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn tasks_that_are_cancelled_at_random_lose_no_decision() {
    in_cluster(&[], || {
        let site = site();
        assert_eq!(site.submit(), 9);
        let mut dice: usize = 1;
        for _ in 0..6 {
            dice = dice * 1_103_515_245 % 2_147_483_647;
            wait_until("a task is at work", || {
                let running = slurm("squeue", &["-h", "-r", "-t", "R", "-o", "%i"]);
                let tasks: Vec<&str> = running.lines().collect();
                if let Some(task) = tasks.get(dice % tasks.len().max(1)) {
                    slurm("scancel", &[*task]);
                }
                !tasks.is_empty() || alive().is_empty()
            });
            if alive().len() < 3 {
                wait_for_rest();
                site.submit();
            }
        }
        wait_for_rest();
        site.submit();
        wait_for_rest();
        check(&site);
    });
}

//! Trials that are stopped from outside: by a warning before the time limit, by `scancel`, by more urgent jobs, by `--cancel`.

use super::site::{
    Plan, Site, in_cluster, is_running, is_terminated, signal, slurm, wait_for_rest, wait_until,
};
use crate::program::read;

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_warned_trial_queues_itself_again_and_a_cancelled_task_does_not() {
    in_cluster(&[], || {
        let site = Site::new(&Plan::new("1e-3, 1e-2"));
        assert_eq!(site.submit(), 2);
        let trials = site.trials();
        let processes = [site.catch(&trials[0]), site.catch(&trials[1])];
        let tasks = [1, 2].map(|index| format!("{}_{index}", site.job(1)));
        // What Slurm does itself some time before the time limit.
        slurm("scancel", &["--signal=USR1", "--batch", &tasks[0]]);
        signal("CONT", processes[0]);
        slurm("scancel", &[&tasks[1]]);
        wait_until("both stop", || processes.iter().all(|it| !is_running(*it)));
        wait_for_rest();
        assert_eq!(site.states(), ["finished", "interrupted"]);
        assert_eq!(tasks.each_ref().map(|task| site.starts(task)), [2, 1]);
        assert!(read(&site.log(&tasks[0])).contains(&format!("task {}, start 2", tasks[0])));
        assert_eq!(site.submit(), 1);
        assert_eq!(site.list(2), trials[1..]);
        site.check_finished();
    });
}

/// Lets a job of a partition with a higher priority take all nodes in the middle of two trials; their states when it has ended.
fn preempt(site: &Site, mode: &str) -> Vec<String> {
    let mode = format!("PreemptMode={mode}");
    slurm(
        "scontrol",
        &["update", "PartitionName=main", &mode, "GraceTime=1"],
    );
    assert_eq!(site.submit(), 2);
    let trials = site.trials();
    let processes = [site.catch(&trials[0]), site.catch(&trials[1])];
    let urgent = [
        "--parsable",
        "-p",
        "urgent",
        "-N3",
        "--exclusive",
        "-o",
        "/dev/null",
        "--wrap",
        "true",
    ];
    slurm("sbatch", &urgent);
    for process in processes {
        wait_until("Slurm asks the trial to stop", || is_terminated(process));
        signal("CONT", process);
    }
    wait_until("both stop", || processes.iter().all(|it| !is_running(*it)));
    for trial in &trials {
        let said = read(&site.run(trial).unwrap().join("status.toml"));
        assert!(said.contains("interrupted"), "{said}");
    }
    wait_for_rest();
    site.states()
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_trial_that_gives_way_to_an_urgent_job_goes_on_after_it() {
    in_cluster(&[], || {
        let site = Site::new(&Plan::new("1e-3, 1e-2"));
        assert_eq!(preempt(&site, "REQUEUE"), ["finished"; 2]);
        for index in [1, 2] {
            assert_eq!(site.starts(&format!("{}_{index}", site.job(1))), 2);
        }
        assert_eq!(site.submit(), 0);
        site.check_finished();
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_trial_that_an_urgent_job_cancels_is_submitted_again() {
    in_cluster(&[], || {
        let site = Site::new(&Plan::new("1e-3, 1e-2"));
        assert_eq!(preempt(&site, "CANCEL"), ["interrupted"; 2]);
        assert_eq!(site.submit(), 2);
        site.check_finished();
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_cancelled_sweep_comes_to_rest_and_goes_on_when_it_is_run_again() {
    in_cluster(&[], || {
        let plan = Plan {
            launcher: "max_parallel = 2",
            ..Plan::new("1e-3, 1e-2, 1e-4")
        };
        let site = Site::new(&plan);
        assert_eq!(site.submit(), 3);
        let trials = site.trials();
        let processes = [site.catch(&trials[0]), site.catch(&trials[1])];
        // It is to be cancelled although it has been warned, too, after which trials queue themselves.
        let job = site.job(1);
        slurm(
            "scancel",
            &["--signal=USR1", "--batch", &format!("{job}_1")],
        );
        let answer = site.case.json(&["sweep", "rates.toml", "--cancel"]);
        assert_eq!(answer["jobs"], 1);
        wait_until("both stop", || processes.iter().all(|it| !is_running(*it)));
        wait_for_rest();
        assert_eq!(site.states(), ["interrupted", "interrupted", "interrupted"]);
        let ended = slurm("squeue", &["-h", "-r", "-t", "all", "-o", "%T"]);
        assert_eq!(ended.lines().collect::<Vec<_>>(), ["CANCELLED"; 3]);
        assert_eq!(
            [1, 2, 3].map(|index| site.starts(&format!("{job}_{index}"))),
            [1, 1, 0]
        );
        for trial in &trials[..2] {
            let said = read(&site.run(trial).unwrap().join("status.toml"));
            assert!(said.contains("interrupted"), "{said}");
        }
        assert_eq!(site.submit(), 3);
        site.check_finished();
    });
}

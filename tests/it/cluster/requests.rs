//! What is asked of Slurm: refused before anything is submitted, submitted once, and remembered after Slurm has forgotten it.

use std::process::Stdio;

use super::site::{Plan, Site, alive, in_cluster, slurm, wait_for_rest, wait_until};

#[test]
#[ignore = "needs a Slurm cluster"]
fn an_impossible_request_is_refused_in_the_words_of_slurm() {
    in_cluster(&[], || {
        let impossible = [
            (
                "account = \"a\"\nconstraint = \"quantum\"",
                "Invalid feature",
            ),
            (
                "gres = \"gpu:9\"",
                "Requested node configuration is not available",
            ),
            ("extra = [\"--nodelist=n9\"]", "Invalid node name"),
            ("cpus_per_task = 64", "node configuration is not available"),
        ];
        let site = Site::new(&Plan::new("1e-3, 1e-2"));
        let refuse = |words: &str| {
            let output = site.case.run(&["sweep", "rates.toml"]);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{stderr}");
            assert!(stderr.contains(words), "{words}: {stderr}");
            assert!(!site.dir().join("submissions.jsonl").exists());
            assert_eq!(alive(), [""; 0]);
        };
        for (request, words) in impossible {
            let slurm = request.to_owned();
            site.write(&Plan {
                slurm,
                ..Plan::new("1e-3, 1e-2")
            });
            refuse(words);
        }
        let sweep = std::fs::read_to_string(site.case.path("rates.toml")).unwrap();
        let sweep = sweep.replace("cpus_per_task = 64", "");
        let changed = [
            ("\"main\"", "\"nope\"", "invalid partition"),
            ("00:10:00", "02:00:00", "PartitionTimeLimit"),
        ];
        for (from, to, words) in changed {
            std::fs::write(site.case.path("rates.toml"), sweep.replace(from, to)).unwrap();
            refuse(words);
        }
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_sweep_that_is_started_twice_at_once_is_submitted_once() {
    in_cluster(&[], || {
        // Nothing starts, so that all tasks stay in the queue.
        let slurm = "extra = [\"--hold\"]".to_owned();
        let site = Site::new(&Plan {
            slurm,
            ..Plan::new("1e-3, 1e-2, 1e-4")
        });
        let start = || {
            let mut command = site.case.command(&["sweep", "rates.toml"]);
            let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
            piped.spawn().unwrap()
        };
        let both = [start(), start()].map(|child| child.wait_with_output().unwrap());
        let n_good = both.iter().filter(|it| it.status.success()).count();
        assert!(n_good > 0, "{both:?}");
        for refused in both.iter().filter(|it| !it.status.success()) {
            let stderr = String::from_utf8_lossy(&refused.stderr);
            assert!(stderr.contains("already in progress"), "{stderr}");
        }
        assert_eq!(alive().len(), 3);
        assert_eq!(site.states(), ["queued"; 3]);
        assert_eq!(site.submit(), 0);
        assert_eq!(alive().len(), 3);
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn what_slurm_has_forgotten_is_read_from_the_runs() {
    in_cluster(&[("MIN_JOB_AGE", "2")], || {
        let site = Site::new(&Plan::new("1e-3"));
        assert_eq!(site.submit(), 1);
        let trial = &site.trials()[0];
        let wait_until_forgotten = |n_tasks: usize| {
            wait_until("Slurm forgets the job", || {
                slurm("squeue", &["-h", "-r", "-t", "all"]).lines().count() == n_tasks
            });
        };
        site.catch(trial);
        slurm(
            "scancel",
            &alive().iter().map(String::as_str).collect::<Vec<_>>(),
        );
        wait_for_rest();
        wait_until_forgotten(0);
        assert_eq!(site.states(), ["interrupted"]);
        assert_eq!(site.submit(), 1);
        site.check_finished();
        wait_until_forgotten(0);
        assert_eq!(site.states(), ["finished"]);
        assert_eq!(site.submit(), 0);
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn two_submissions_share_one_limit() {
    in_cluster(&[], || {
        let plan = |rates| Plan {
            launcher: "max_parallel = 2",
            epochs: 20,
            ..Plan::new(rates)
        };
        let site = Site::new(&plan("1e-3, 1e-2, 1e-4"));
        assert_eq!(site.submit(), 3);
        site.write(&plan("1e-3, 1e-2, 1e-4, 2e-3, 2e-2, 2e-4"));
        assert_eq!(site.submit(), 3);
        let mut most = 0;
        wait_until("all tasks have ended", || {
            let running = slurm("squeue", &["-h", "-r", "-t", "R"]).lines().count();
            let trials = site.trials();
            let at_work = trials.iter().filter(|trial| site.at_work(trial).is_some());
            let n = running.max(at_work.count());
            most = most.max(n);
            assert!(n <= 2, "{n} at once");
            alive().is_empty()
        });
        assert_eq!(most, 2);
        site.check_finished();
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_held_task_of_a_finished_trial_does_not_hold_up_the_others() {
    in_cluster(&[], || {
        let plan = |rates, slurm: &str| Plan {
            launcher: "max_parallel = 1",
            epochs: 4,
            slurm: slurm.to_owned(),
            ..Plan::new(rates)
        };
        let site = Site::new(&plan("1e-3", "extra = [\"--hold\"]"));
        assert_eq!(site.submit(), 1);
        let folder = site.dir().join("trials").join(&site.trials()[0]);
        site.case.ok(&["trial", folder.to_str().unwrap()]);
        assert_eq!(site.states(), ["finished"]);
        assert_eq!(alive().len(), 1);
        site.write(&plan("1e-3, 1e-2", ""));
        assert_eq!(site.submit(), 1);
        site.check_finished();
    });
}

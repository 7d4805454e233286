//! Trials that fail by themselves, and nodes that lack what a trial needs.

use std::fs;

use super::site::{Plan, Site, in_cluster, job_in, slurm, wait_for_rest};
use crate::program::{read, read_toml};

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_trial_that_fails_says_why_and_is_the_only_one_that_is_submitted_again() {
    in_cluster(&[], || {
        let plan = Plan {
            launcher: "max_attempts = 2",
            epochs: 4,
            ..Plan::new("1e-3, 1e30, 1e-2")
        };
        let site = Site::new(&plan);
        assert_eq!(site.submit(), 3);
        let check = |task: &str| {
            wait_for_rest();
            assert_eq!(site.states(), ["finished", "failed", "finished"]);
            let reason = &site.status()[&2].reason;
            assert!(
                reason.contains("finite") || reason.contains("NaN"),
                "{reason}"
            );
            let failing = &site.trials()[1];
            let failure = site.dir().join("trials").join(failing).join("failure.toml");
            assert_eq!(read_toml(&failure)["attempts"].as_integer(), Some(2));
            // Both in one task.
            assert_eq!(site.starts(task), 1);
            assert!(site.run(failing).is_some());
        };
        let job = site.job(1);
        check(&format!("{job}_2"));
        assert_eq!(site.submit(), 1);
        assert_eq!(site.list(2), [site.trials()[1].clone()]);
        let job = site.job(2);
        check(&format!("{job}_1"));
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_missing_folder_ends_a_task_before_it_trains() {
    in_cluster(&[], || {
        let slurm_keys = "extra = [\"--hold\"]".to_owned();
        let site = Site::new(&Plan {
            slurm: slurm_keys,
            epochs: 4,
            ..Plan::new("1e-3, 1e-2")
        });
        // The working directory is another one than that of the sweep.
        let (work, away) = (site.case.path("work"), site.case.path("away"));
        fs::create_dir(&work).unwrap();
        let base = read(&site.case.path("small.toml"));
        let base = base.replace("\"data\"", "\"../data\"");
        let runs = site.case.path("runs");
        fs::write(
            work.join("small.toml"),
            format!("runs_dir = {runs:?}\n{base}"),
        )
        .unwrap();
        fs::copy(site.case.path("rates.toml"), work.join("rates.toml")).unwrap();
        let sweep = |args: &[&str]| {
            let args = [&["sweep", "rates.toml", "--json"], args].concat();
            let output = site
                .case
                .command(&args)
                .current_dir(&work)
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{stderr}");
            String::from_utf8(output.stdout).unwrap()
        };
        sweep(&[]);
        fs::rename(&work, &away).unwrap();
        slurm("scontrol", &["release", &site.job(1).to_string()]);
        wait_for_rest();
        fs::rename(&away, &work).unwrap();
        let status = sweep(&["--status"]);
        assert_eq!(
            status.matches("cannot enter the working directory").count(),
            2,
            "{status}"
        );
        assert_eq!(status.matches("\"failed\"").count(), 2, "{status}");
        for trial in site.trials() {
            assert_eq!(site.run(&trial), None);
        }
        // Without the sweep's directory, Slurm cannot write a log either.
        sweep(&[]);
        fs::rename(site.dir(), site.case.path("moved")).unwrap();
        slurm(
            "scontrol",
            &["release", &job_in(&site.case.path("moved"), 2).to_string()],
        );
        wait_for_rest();
        assert!(!site.dir().exists());
        fs::rename(site.case.path("moved"), site.dir()).unwrap();
        for trial in site.trials() {
            assert_eq!(site.run(&trial), None);
        }
        let status = sweep(&["--status"]);
        let reason = "Slurm: FAILED; the task could not write";
        assert_eq!(status.matches(reason).count(), 2, "{status}");
        sweep(&[]);
        slurm("scontrol", &["release", &site.job(3).to_string()]);
        wait_for_rest();
        let status = sweep(&["--status"]);
        assert_eq!(status.matches("\"finished\"").count(), 2, "{status}");
    });
}

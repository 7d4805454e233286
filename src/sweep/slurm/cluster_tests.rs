//! Tests on a real cluster: three nodes of 2 CPUs, 2000 MB and one GPU each, the partition `main` with a limit of one hour, and
//! no user but this one, who may administrate it.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    commands::Slurm,
    ledger::{Ledger, Recorded},
    queue::{Queue, TaskId, TaskState},
    request::check,
    script::Batch,
    settings::SlurmSettings,
    submissions::{cancel, jobs_of, settle, submit},
    tests::{batch, executable, settings},
};

/// A sweep whose trials are runs of a shell script.
struct Sweep {
    _folder: TempDir,
    batch: Batch,
    slurm: Slurm,
}

impl Sweep {
    fn new(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("it's \"5 %\" $HOME #1");
        let batch = batch(&root, settings());
        fs::create_dir_all(batch.dir.join("trials")).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(batch.dir.join("sweep.toml"), "").unwrap();
        executable(&batch.program, &format!("#!/bin/bash\n{program}\n"));
        Self {
            _folder: folder,
            batch,
            slurm: Slurm::new(),
        }
    }

    fn submit(&self, n_trials: usize) -> Vec<u64> {
        let trials: Vec<String> = (1..=n_trials).map(|it| format!("rates-{it}")).collect();
        jobs_of(&submit(&self.slurm, &self.batch, &trials).unwrap())
    }

    fn ledger(&self) -> Ledger {
        Ledger::of(&self.batch.dir)
    }

    fn wait(&self, jobs: &[u64], is_reached: impl Fn(&Queue) -> bool) {
        let started = Instant::now();
        loop {
            let queue = self.slurm.queue(jobs).unwrap();
            if is_reached(&queue) {
                return;
            }
            let seconds = started.elapsed().as_secs();
            assert!(seconds < 60, "{queue:?}\n{}", self.logs());
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn log(&self, job: u64, index: usize) -> String {
        fs::read_to_string(self.ledger().log_of(TaskId { job, index })).unwrap_or_default()
    }

    fn logs(&self) -> String {
        let entries = fs::read_dir(self.batch.dir.join("logs")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let texts = paths.map(|path| fs::read_to_string(path).unwrap());
        texts.collect::<Vec<_>>().join("\n")
    }

    fn says(&self, change: impl Fn(&mut SlurmSettings)) -> String {
        let mut batch = self.batch.clone();
        change(&mut batch.settings);
        assert_eq!(batch.settings.problems(), []);
        match check(&self.slurm, &batch) {
            Ok(None) => "possible".to_owned(),
            Ok(Some(doubt)) => format!("doubt: {doubt}"),
            Err(error) => error.to_string(),
        }
    }
}

fn has_ended(queue: &Queue, job: u64, n_tasks: usize, expected: &str) -> bool {
    (1..=n_tasks).all(|index| {
        let state = queue.state(TaskId { job, index });
        state == Some(&TaskState::Ended(expected.to_owned()))
    })
}

fn scontrol(args: &[&str]) {
    assert!(
        Command::new("scontrol")
            .args(args)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn every_trial_runs_once_in_its_folder() {
    // A signal that is ignored is a bit in `SigIgn`; bit 9 is that of SIGUSR1.
    let sweep = Sweep::new(
        "grep SigIgn /proc/self/status; echo \"$1 $2 in $PWD, job $SLURM_JOB_ID, $RAYON_NUM_THREADS\"; echo x >>\"${2##*/}\"",
    );
    let [job] = sweep.submit(8)[..] else {
        panic!("one array");
    };
    sweep.wait(&[job], |queue| has_ended(queue, job, 8, "COMPLETED"));
    for index in 1..=8 {
        let written = fs::read_to_string(sweep.batch.cwd.join(format!("rates-{index}")));
        assert_eq!(written.unwrap(), "x\n");
    }
    let log = sweep.log(job, 3);
    assert!(
        log.contains(&format!("task {job}_3, start 1, node ")),
        "{log}"
    );
    let trial = sweep.batch.dir.join("trials/rates-3");
    let words = format!("trial {} in {}", trial.display(), sweep.batch.cwd.display());
    assert!(log.contains(&words), "{log}");
    let mask = log.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    assert_eq!(mask >> 9 & 1, 1, "{log}");
    assert_eq!(
        sweep.ledger().tasks().unwrap()["rates-3"],
        [TaskId { job, index: 3 }]
    );
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_request_that_no_node_meets_is_refused_in_the_words_of_slurm() {
    let sweep = Sweep::new("true");
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(sweep.says(|_| ()), "possible");
    assert_eq!(sweep.says(|it| it.time = text("60")), "possible");
    let say = |words: &str, change: &dyn Fn(&mut SlurmSettings)| {
        let said = sweep.says(change);
        assert!(said.contains(words), "{said}");
        assert!(!said.starts_with("doubt"), "{said}");
    };
    say("invalid partition specified: nope", &|it| {
        it.partition = text("nope");
    });
    say("Requested node configuration is not available", &|it| {
        it.gres = text("gpu:3");
    });
    say("Invalid generic resource (gres) specification", &|it| {
        it.gres = text("tpu:1");
    });
    say("Requested node configuration is not available", &|it| {
        it.mem = text("100G");
    });
    say("Requested node configuration is not available", &|it| {
        it.cpus_per_task = Some(100);
    });
    say("Invalid feature specification", &|it| {
        it.constraint = text("fast");
    });
    say("Invalid node name specified", &|it| {
        it.extra = vec!["--exclude=n99".to_owned()];
    });
    say("unrecognized option '--bogus'", &|it| {
        it.extra = vec!["--bogus".to_owned()];
    });
    say(
        "in partition main is 1:00:00, but the trials ask for 1:01:00",
        &|it| it.time = text("61"),
    );
    say("in partition urgent is 1:00:00", &|it| {
        (it.partition, it.time) = (text("urgent"), text("1-00"));
    });

    scontrol(&["update", "nodename=n[1-3]", "state=drain", "reason=test"]);
    let said = sweep.says(|_| ());
    scontrol(&["update", "nodename=n[1-3]", "state=resume"]);
    assert!(said.starts_with("doubt: "), "{said}");
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_cancelled_sweep_ends_and_can_be_submitted_again() {
    let sweep = Sweep::new("[ -e \"$2-go\" ] || exec sleep 1000");
    let [job] = sweep.submit(8)[..] else {
        panic!("one array");
    };
    let is_running = |queue: &Queue, index| matches!(queue.state(TaskId { job, index }), Some(TaskState::Running { node }) if !node.is_empty());
    sweep.wait(&[job], |queue| {
        is_running(queue, 1) && queue.alive().any(|it| it == TaskId { job, index: 8 })
    });
    assert_eq!(cancel(&sweep.slurm, &sweep.ledger()).unwrap(), [job]);
    assert!(sweep.ledger().cancel_file().exists());
    sweep.wait(&[job], |queue| has_ended(queue, job, 8, "CANCELLED"));
    // Repeated, and with a job that never was.
    cancel(&sweep.slurm, &sweep.ledger()).unwrap();
    sweep.slurm.cancel(&[987_654]).unwrap();

    fs::write(sweep.batch.dir.join("trials/rates-1-go"), "").unwrap();
    let [again] = sweep.submit(1)[..] else {
        panic!("one array");
    };
    sweep.wait(&[again], |queue| has_ended(queue, again, 1, "COMPLETED"));
    assert!(!sweep.ledger().cancel_file().exists());
    let queue = sweep.slurm.queue(&[987_654, again]).unwrap();
    assert_eq!(
        queue.state(TaskId {
            job: 987_654,
            index: 1
        }),
        None
    );
    assert!(has_ended(&queue, again, 1, "COMPLETED"));
    assert_eq!(sweep.slurm.queue(&[987_654]).unwrap(), Queue::default());
    let tasks = sweep.ledger().tasks().unwrap();
    assert_eq!(tasks["rates-1"].len(), 2);
    assert_eq!(tasks["rates-1"][0].job, again);
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn jobs_whose_id_was_not_written_down_are_found_by_their_name() {
    let sweep = Sweep::new("exec sleep 1000");
    let [job] = sweep.submit(2)[..] else {
        panic!("one array");
    };
    let path: PathBuf = sweep.ledger().jsonl();
    let text = fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    fs::write(&path, format!("{first}\n{{\"event\":\"subm")).unwrap();
    assert_eq!(sweep.ledger().read().unwrap()[0].outcome, Recorded::Unclear);
    settle(&sweep.slurm, &sweep.ledger()).unwrap();
    assert_eq!(
        sweep.ledger().read().unwrap()[0].outcome,
        Recorded::Job(job)
    );
    assert_eq!(sweep.slurm.job_named("rates-9-00000000").unwrap(), None);
    cancel(&sweep.slurm, &sweep.ledger()).unwrap();
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn more_trials_than_an_array_holds_run_in_several_within_the_limit() {
    let mut sweep = Sweep::new("exec sleep 1000");
    assert_eq!(sweep.slurm.max_array_size().unwrap(), 1001);
    sweep.batch.max_parallel = Some(2);
    let jobs = sweep.submit(1001);
    let [first, second] = jobs[..] else {
        panic!("two arrays");
    };
    let is_waiting = |queue: &Queue, job, index, expected: &str| matches!(queue.state(TaskId { job, index }), Some(TaskState::Pending { reason }) if reason == expected);
    sweep.wait(&jobs, |queue| {
        is_waiting(queue, first, 1000, "JobArrayTaskLimit")
            && is_waiting(queue, second, 1, "Dependency")
    });
    let queue = sweep.slurm.queue(&jobs).unwrap();
    assert_eq!(queue.alive().count(), 1001);
    cancel(&sweep.slurm, &sweep.ledger()).unwrap();
    sweep.wait(&jobs, |queue| queue.alive().count() == 0);
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_task_without_its_working_directory_fails_and_says_so() {
    let mut sweep = Sweep::new("true");
    sweep.batch.cwd = PathBuf::from("/no/such folder");
    let [job] = sweep.submit(1)[..] else {
        panic!("one array");
    };
    sweep.wait(&[job], |queue| has_ended(queue, job, 1, "FAILED"));
    let log = sweep.log(job, 1);
    assert!(
        log.contains("error: cannot enter the working directory /no/such folder"),
        "{log}"
    );
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_requeued_task_starts_again_under_its_name() {
    let sweep = Sweep::new("[ -n \"$SLURM_RESTART_COUNT\" ] || exec sleep 1000");
    let [job] = sweep.submit(1)[..] else {
        panic!("one array");
    };
    let task = TaskId { job, index: 1 };
    sweep.wait(&[job], |queue| {
        matches!(queue.state(task), Some(TaskState::Running { .. }))
    });
    sweep.slurm.requeue(&task.to_string()).unwrap();
    sweep.slurm.requeue(&task.to_string()).unwrap();
    sweep.wait(&[job], |queue| has_ended(queue, job, 1, "COMPLETED"));
    let log = sweep.log(job, 1);
    assert!(
        log.contains("start 1, ") && log.contains("start 2, "),
        "{log}"
    );
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn without_its_controller_slurm_says_that_it_does_not_answer() {
    let sweep = Sweep::new("true");
    let signal = |name: &str| {
        let number = fs::read_to_string("/etc/slurm/slurmctld.pid").unwrap();
        let sent = Command::new("kill").args([name, number.trim()]).status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    let slurm = Slurm::new().with_patience(Duration::from_secs(2));
    let error = slurm.queue(&[1]).unwrap_err().to_string();
    signal("-CONT");
    assert!(
        error.starts_with("Slurm does not answer: `squeue` took too long"),
        "{error}"
    );
    assert_eq!(sweep.slurm.queue(&[987_654]).unwrap(), Queue::default());
}

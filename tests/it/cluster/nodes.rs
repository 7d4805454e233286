//! Nodes and controllers that go away: the daemons are killed with SIGKILL, as a power cut does it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use super::site::{
    Plan, Site, alive, in_cluster, is_running, n_epochs, owner, parent, pid_in, signal, slurm,
    wait_until,
};
use crate::program::read;

/// A trial per node.
fn spread(rates: &'static str) -> Plan {
    Plan {
        slurm: "cpus_per_task = 2".to_owned(),
        ..Plan::new(rates)
    }
}

fn node_of(task: &str) -> String {
    slurm("squeue", &["-h", "-r", "-j", task, "-o", "%N"])
        .trim()
        .to_owned()
}

fn kill_daemon(node: &str) {
    signal("KILL", pid_in(&format!("/etc/slurm/slurmd.{node}.pid")));
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_trial_whose_node_dies_goes_on_at_another() {
    in_cluster(&[], || {
        let site = Site::new(&spread("1e-3, 1e-2"));
        assert_eq!(site.submit(), 2);
        let (trials, task) = (site.trials(), format!("{}_1", site.job(1)));
        let process = site.catch(&trials[0]);
        let node = node_of(&task);
        let step = parent(process);
        kill_daemon(&node);
        signal("KILL", step);
        signal("KILL", process);
        wait_until("it starts again", || site.starts(&task) == 2);
        assert_ne!(node_of(&task), node);
        site.check_finished();
        assert_eq!(site.starts(&format!("{}_2", site.job(1))), 1);
    });
}

/// Every file of a run with what it has, except those that name the owner.
fn content(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![run.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !["claim.toml", "run.lock", "run.log"].contains(&name.as_str()) {
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    files
}

/// A trial that is stopped in the middle while Slurm loses sight of its node and starts it on another one.
struct TwoStarts {
    site: Site,
    trial: String,
    task: String,
    node: String,
    older: u32,
}

impl TwoStarts {
    /// `has_locks` tells whether the two nodes see each other's locks, which not every network file system has.
    fn new(has_locks: bool) -> Self {
        let site = Site::new(&spread("1e-3"));
        assert_eq!(site.submit(), 1);
        let (trial, task) = (site.trials().remove(0), format!("{}_1", site.job(1)));
        let older = site.catch(&trial);
        let node = node_of(&task);
        if !has_locks {
            // The next start makes other ones.
            fs::remove_file(site.dir().join("trials").join(&trial).join("trial.lock")).unwrap();
            fs::remove_file(site.run(&trial).unwrap().join("run.log")).unwrap();
        }
        // Nothing ends the processes of the node.
        kill_daemon(&node);
        wait_until("the next start takes the trial over", || {
            let now = site.at_work(&trial);
            now.is_some_and(|it| it.restarts == 1 && it.process != older)
        });
        assert!(is_running(older));
        Self {
            site,
            trial,
            task,
            node,
            older,
        }
    }

    fn check(&self) {
        self.site.check_finished();
        assert_eq!(self.site.starts(&self.task), 2);
        // Back in service, the node finds nothing to do.
        slurm("slurmd", &["-N", &self.node]);
        wait_until("the node is back", || {
            slurm("sinfo", &["-h", "-N", "-n", &self.node, "-o", "%T"]).contains("idle")
        });
        assert_eq!(self.site.states(), ["finished"]);
    }
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn the_next_start_of_a_trial_waits_until_an_earlier_one_gives_way() {
    in_cluster(&[], || {
        let starts = TwoStarts::new(true);
        let newer = starts.site.at_work(&starts.trial).unwrap().process;
        signal("CONT", starts.older);
        // It still owns the run, and saves what it has done.
        wait_until("the older one gives way", || !is_running(starts.older));
        let said = read(&starts.site.run(&starts.trial).unwrap().join("status.toml"));
        assert!(said.contains("interrupted") || is_running(newer), "{said}");
        let log = read(&starts.site.log(&starts.task));
        assert!(log.contains("waiting until it gives way"), "{log}");
        starts.check();
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn an_earlier_start_that_wakes_up_late_writes_nothing_more() {
    in_cluster(&[], || {
        let starts = TwoStarts::new(false);
        let run = starts.site.run(&starts.trial).unwrap();
        wait_until("the next start takes the run over", || {
            owner(&run).is_some_and(|it| it.restarts == 1)
        });
        let newer = owner(&run).unwrap().process;
        signal("STOP", newer);
        let before = content(&run);
        signal("CONT", starts.older);
        wait_until("the older one gives way", || !is_running(starts.older));
        let after = content(&run);
        let changed = after
            .iter()
            .filter(|(path, bytes)| before.get(*path) != Some(bytes));
        let changed: Vec<&PathBuf> = changed.map(|(path, _)| path).collect();
        assert!(changed.is_empty(), "the older one has written {changed:?}");
        assert_eq!(after.len(), before.len());
        let log = read(&starts.site.log(&starts.task));
        assert!(log.contains("was taken over by"), "{log}");
        signal("CONT", newer);
        starts.check();
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn trials_go_on_without_a_controller() {
    in_cluster(&[], || {
        let site = Site::new(&Plan {
            launcher: "max_parallel = 1",
            ..Plan::new("1e-3, 1e-2")
        });
        assert_eq!(site.submit(), 2);
        let (trial, other) = (&site.trials()[0], &site.trials()[1]);
        let process = site.catch(trial);
        signal("KILL", pid_in("/etc/slurm/slurmctld.pid"));
        let asked = Instant::now();
        let output = site.case.run(&["sweep", "rates.toml", "--status"]);
        assert!(
            asked.elapsed() < Duration::from_mins(1),
            "{:?}",
            asked.elapsed()
        );
        let said = String::from_utf8(output.stderr).unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(
            said.contains("the states are those of the run directories"),
            "{said}"
        );
        assert!(shown.contains("running"), "{shown}");
        // Nobody knows more of the other one.
        assert!(shown.contains("Slurm does not answer"), "{shown}");
        assert!(!site.case.run(&["sweep", "rates.toml"]).status.success());
        // It ends while nobody looks.
        signal("CONT", process);
        wait_until("the trial ends", || {
            site.run(trial).unwrap().join("summary.toml").exists() && !is_running(process)
        });
        assert_eq!(site.run(other).map_or(0, |run| n_epochs(&run)), 0);
        assert!(Command::new("slurmctld").status().unwrap().success());
        wait_until("the controller answers", || {
            Command::new("squeue")
                .arg("-h")
                .output()
                .unwrap()
                .status
                .success()
        });
        // A controller that is killed may forget what it had just been told: that a task has started, and what is held then, or
        // that there is another task.
        wait_until("nothing more happens by itself", || {
            let waiting = slurm("squeue", &["-h", "-r", "-t", "PD", "-o", "%r"]);
            let n_held = waiting.lines().filter(|why| why.contains("held")).count();
            alive().len() == n_held
        });
        match site.states().as_slice() {
            [first, second] if first == "finished" && second == "finished" => {
                assert_eq!(site.submit(), 0);
            }
            _ => {
                assert_eq!(site.submit(), 1);
                assert_eq!(site.list(2), std::slice::from_ref(other));
            }
        }
        site.check_finished();
    });
}

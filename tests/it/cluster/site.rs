//! A sweep in a Slurm that the test has for itself.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    program::{Case, SMALL, metrics, read},
    resume::check_equal,
};

/// Set in the process that runs inside the cluster.
const INSIDE: &str = "RUNNER_TEST_INSIDE_CLUSTER";
/// How long anything may take that is waited for. Long, because other work may take the processors.
const PATIENCE: Duration = Duration::from_mins(4);

/// Runs a test in a cluster of its own, which ends with it. `env` goes to the script that starts the cluster.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(super) fn in_cluster<F: Fn()>(env: &[(&str, &str)], test: F) {
    if env::var_os(INSIDE).is_some() {
        test();
        return;
    }
    let name = std::any::type_name::<F>();
    let name = name.trim_start_matches("it::");
    let name = name.trim_end_matches("::{{closure}}");
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/slurm/with-slurm.sh");
    let script = env::var_os("RUNNER_TEST_SLURM").map_or_else(|| default.into(), PathBuf::from);
    if !script.is_file() {
        eprintln!("SKIPPED: {name}: {} is absent", script.display());
        return;
    }
    if fs::metadata("/proc/self").map_or(1, |it| it.uid()) != 0 {
        eprintln!("SKIPPED: {name}: only root can start a cluster");
        return;
    }
    let output = Command::new(script)
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // A test that is not found by its name would pass, too.
    let is_run = said.contains("test result: ok. 1 passed");
    assert!(output.status.success() && is_run, "{name}:\n{said}");
}

/// What differs between the sweeps of tests.
pub(super) struct Plan {
    /// Of the second phase; the first has two.
    pub(super) epochs: usize,
    /// The learning rates of the trials.
    pub(super) rates: &'static str,
    /// Lines of `[launcher]`.
    pub(super) launcher: &'static str,
    /// Lines of `[launcher.slurm]`.
    pub(super) slurm: String,
}

impl Plan {
    pub(super) fn new(rates: &'static str) -> Self {
        Self {
            epochs: 36,
            rates,
            launcher: "",
            slurm: "cpus_per_task = 1".to_owned(),
        }
    }
}

/// A trial as `--status` shows it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) state: String,
    pub(super) reason: String,
    pub(super) epochs: u64,
}

/// A process as its claim names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AtWork {
    pub(super) process: u32,
    pub(super) restarts: i64,
}

pub(super) struct Site {
    pub(super) case: Case,
}

impl Site {
    pub(super) fn new(plan: &Plan) -> Self {
        let case = Case::new("");
        let site = Self { case };
        site.write(plan);
        site
    }

    pub(super) fn write(&self, plan: &Plan) {
        let epochs = format!("epochs = {}\ntrainable = [\"classifier\", \"f", plan.epochs);
        let base = SMALL.replace("epochs = 2\ntrainable = [\"classifier\", \"f", &epochs);
        fs::write(self.case.path("small.toml"), base).unwrap();
        let sweep = format!(
            "base = \"small.toml\"\n[launcher]\nkind = \"slurm\"\n{}\n[launcher.slurm]\n\
             partition = \"main\"\ntime = \"00:10:00\"\nwarn_s = 60\n{}\n[axes]\nphase.head.lr = [{}]\n",
            plan.launcher, plan.slurm, plan.rates
        );
        fs::write(self.case.path("rates.toml"), sweep).unwrap();
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.case.path("runs/sweep-rates")
    }

    /// Runs the sweep; the number of trials that it submitted.
    pub(super) fn submit(&self) -> u64 {
        self.case.json(&["sweep", "rates.toml"])["submitted"]
            .as_u64()
            .unwrap()
    }

    /// The job of a submission.
    pub(super) fn job(&self, submission: u64) -> u64 {
        job_in(&self.dir(), submission)
    }

    /// The names of the trials of a submission.
    pub(super) fn list(&self, submission: usize) -> Vec<String> {
        let text = read(&self.dir().join(format!("submissions/{submission}.txt")));
        text.lines().map(str::to_owned).collect()
    }

    /// The trials by number.
    pub(super) fn status(&self) -> BTreeMap<u64, Shown> {
        let answer = self.case.json(&["sweep", "rates.toml", "--status"]);
        let trial = |it: &Value| {
            let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
            let shown = Shown {
                state: text("state"),
                reason: text("reason"),
                epochs: it["epochs"].as_u64().unwrap(),
            };
            (it["trial"].as_u64().unwrap(), shown)
        };
        answer["trials"]
            .as_array()
            .unwrap()
            .iter()
            .map(trial)
            .collect()
    }

    pub(super) fn states(&self) -> Vec<String> {
        self.status().into_values().map(|it| it.state).collect()
    }

    /// Waits for the rest, and compares every trial with the same sweep on this machine alone.
    pub(super) fn check_finished(&self) {
        wait_for_rest();
        let status = self.status();
        let is_finished = |it: &Shown| it.state == "finished";
        assert!(status.values().all(is_finished), "{status:#?}");
        self.case.ok(&[
            "sweep",
            "rates.toml",
            "--launcher",
            "local",
            "--set",
            "runs_dir=whole",
        ]);
        for trial in self.trials() {
            let whole = only_run(&self.case.path("whole/sweep-rates"), &trial);
            check_equal(&self.run(&trial).unwrap(), &whole);
        }
    }

    /// The names of the trials in order.
    pub(super) fn trials(&self) -> Vec<String> {
        let table = read(&self.dir().join("trials.csv"));
        let rows = table.lines().skip(1);
        rows.map(|row| row.split(',').nth(1).unwrap().to_owned())
            .collect()
    }

    /// The run of a trial, which has no more than one.
    pub(super) fn run(&self, trial: &str) -> Option<PathBuf> {
        let mut runs = runs_of(&self.dir(), trial);
        assert!(runs.len() < 2, "{trial} was begun anew: {runs:?}");
        runs.pop()
    }

    /// The process that works on a trial.
    pub(super) fn at_work(&self, trial: &str) -> Option<AtWork> {
        owner(&self.dir().join("trials").join(trial))
    }

    /// Stops the process of a trial in the middle of its run, which has the time of the world from then on.
    pub(super) fn catch(&self, trial: &str) -> u32 {
        wait_until("the trial is in the middle of its run", || {
            let run = self.run(trial);
            run.is_some_and(|run| n_epochs(&run) >= 4)
        });
        let process = self.at_work(trial).expect("it ended too soon").process;
        signal("STOP", process);
        process
    }

    /// How often Slurm has started a task.
    pub(super) fn starts(&self, task: &str) -> usize {
        let log = fs::read_to_string(self.log(task)).unwrap_or_default();
        log.matches(&format!("task {task}, start ")).count()
    }

    pub(super) fn log(&self, task: &str) -> PathBuf {
        self.dir().join(format!("logs/{task}.log"))
    }
}

/// Shows what happened if the test fails.
#[expect(clippy::print_stderr, reason = "read by who looks for the failure")]
impl Drop for Site {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let show = "squeue -r -t all; tail -n +1 runs/sweep-rates/logs/* runs/sweep-rates/submissions* | tail -n 100; \
                    tail -n 25 /etc/slurm/log/slurmctld.log";
        let shell = Command::new("sh")
            .args(["-c", show])
            .current_dir(self.case.path(""))
            .output();
        if let Ok(output) = shell {
            eprintln!("{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// The tasks that run or wait, as Slurm names them.
pub(super) fn alive() -> Vec<String> {
    let states = "PD,R,CG,S,CF,RQ,RH";
    let text = slurm("squeue", &["-h", "-r", "-t", states, "-o", "%i %P"]);
    let of_sweeps = text.lines().filter(|line| line.ends_with(" main"));
    of_sweeps
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

/// The process that owns a directory.
pub(super) fn owner(dir: &Path) -> Option<AtWork> {
    let text = fs::read_to_string(dir.join("claim.toml")).ok()?;
    let claim: toml::Table = text.parse().ok()?;
    let number = |key: &str| claim.get(key)?.as_integer();
    Some(AtWork {
        process: number("process")?.try_into().ok()?,
        restarts: number("restarts")?,
    })
}

/// Until nothing of the sweep runs or waits in the queue.
pub(super) fn wait_for_rest() {
    wait_until("no task is alive", || alive().is_empty());
}

pub(super) fn job_in(dir: &Path, submission: u64) -> u64 {
    let text = read(&dir.join("submissions.jsonl"));
    let entries = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut jobs =
        entries.filter(|it| it["submission"] == submission && it["event"] == "submitted");
    jobs.next().unwrap()["job"].as_u64().unwrap()
}

fn runs_of(dir: &Path, trial: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_its = |path: &PathBuf| path.to_string_lossy().ends_with(&format!("-{trial}"));
    paths.filter(is_its).collect()
}

fn only_run(dir: &Path, trial: &str) -> PathBuf {
    let mut runs = runs_of(dir, trial);
    assert_eq!(runs.len(), 1, "{trial}");
    runs.remove(0)
}

pub(super) fn n_epochs(run: &Path) -> usize {
    let text = fs::read_to_string(run.join("metrics.csv")).unwrap_or_default();
    text.lines().count().saturating_sub(1)
}

/// The rows of the epochs of a run of a sweep elsewhere.
pub(super) fn rows_of(dir: &Path, trial: &str) -> Vec<String> {
    let text = metrics(&only_run(dir, trial));
    text.lines().map(str::to_owned).collect()
}

pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command of Slurm that must succeed; its stdout.
pub(super) fn slurm(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn signal(name: &str, process: u32) {
    let kill = format!("kill -{name} {process}");
    let status = Command::new("sh").args(["-c", &kill]).status();
    assert!(status.unwrap().success(), "{kill}");
}

/// A line of `/proc/PROCESS/status`; empty if there is no such process any more.
fn proc_status(process: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_default().trim().to_owned()
}

pub(super) fn is_running(process: u32) -> bool {
    let state = proc_status(process, "State");
    !state.is_empty() && !state.starts_with('Z')
}

pub(super) fn parent(process: u32) -> u32 {
    proc_status(process, "PPid").parse().unwrap()
}

/// Whether a stopped process will get SIGTERM when it continues, or is no longer stopped.
pub(super) fn is_terminated(process: u32) -> bool {
    const SIGTERM: u64 = 1 << 14;
    let pending = u64::from_str_radix(&proc_status(process, "ShdPnd"), 16).unwrap_or(0);
    pending & SIGTERM != 0 || !proc_status(process, "State").starts_with('T')
}

pub(super) fn pid_in(file: &str) -> u32 {
    read(Path::new(file)).trim().parse().unwrap()
}

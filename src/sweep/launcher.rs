//! Starts and stops the processes of trials: the only boundary between a sweep and the machines that do the work. Results are
//! read from the run directories, not from here.

use std::{
    collections::HashMap,
    fs::{OpenOptions, TryLockError},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    claim::Worker,
    config::overrides,
    error::{Error, Result},
    rundir::RunDir,
    system::process_group::own_group,
};

/// How long a sweep waits for a locked log. A job of an earlier sweep has a run directory once it has read the images, so a log
/// that is locked for longer is locked by a process that does not work on the trial.
const PATIENCE: Duration = Duration::from_mins(30);

/// How often a sweep looks whether a job has ended, so that the next trial starts at once.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A command of this program that runs a trial. Its arguments are complete: it reads no settings from the environment.
pub(crate) struct Job {
    /// The index of the trial.
    pub(crate) trial: usize,
    pub(crate) args: Vec<String>,
    /// The file that the stderr of the command goes to.
    pub(crate) log: PathBuf,
}

/// A job that has ended.
pub(crate) struct Ended {
    pub(crate) trial: usize,
    /// Whether it ended neither finished nor stopped on request.
    pub(crate) has_failed: bool,
    /// How its process was killed; empty if it was not.
    pub(crate) how: String,
}

pub(crate) trait Launcher {
    fn n_at_once(&self) -> usize;
    /// Whether another job can start now.
    fn has_room(&self) -> bool;
    /// Starts a job. Returns `false` if a job of an earlier sweep is still working on the trial; its run will appear.
    fn start(&mut self, job: Job) -> Result<bool>;
    /// Takes over a run that is already in progress, as a killed sweep leaves them. Returns `false` if it is on another host.
    fn adopt(&mut self, trial: usize, run: &RunDir) -> bool;
    /// Whether one of these jobs works on the run: with early stopping, a job continues the runs of other trials, too.
    fn works_on(&self, run: &RunDir) -> bool;
    /// The jobs that have ended since the last call.
    fn ended(&mut self) -> Result<Vec<Ended>>;
    /// Waits until a job ends, or for some time.
    fn wait(&mut self, at_most: Duration);
    /// Asks all jobs to stop at a point where they can be resumed.
    fn stop(&mut self);
    /// Kills all jobs.
    fn kill(&mut self);
}

/// Child processes of this one, which share its machine's threads.
pub(crate) struct Local {
    program: PathBuf,
    n_at_once: usize,
    /// The numbers of GPUs, each with the trial that uses it; a number is listed as often as trials may share the GPU.
    gpus: Vec<(usize, Option<usize>)>,
    jobs: Vec<(usize, Process)>,
    /// Logs that jobs of an earlier sweep seem to hold, with the time at which that was first seen.
    locked_since: HashMap<PathBuf, Instant>,
}

enum Process {
    Child(Child),
    /// A process that an earlier sweep started.
    Adopted(Worker),
}

impl Local {
    /// `gpus` are the numbers of the GPUs that trials are spread over; none to leave the choice to the trials.
    pub(crate) fn new(n_at_once: usize, gpus: &[usize]) -> Result<Self> {
        let program = std::env::current_exe().map_err(Error::io("find", "this program"))?;
        Ok(Self {
            program,
            n_at_once,
            gpus: gpus
                .iter()
                .cycle()
                .take(n_at_once)
                .map(|gpu| (*gpu, None))
                .collect(),
            jobs: Vec::new(),
            locked_since: HashMap::new(),
        })
    }

    /// Fails if another process has held the lock on a log for too long.
    fn wait_for(&mut self, log: &Path) -> Result<()> {
        let since = self.locked_since.entry(log.to_owned());
        if since.or_insert_with(Instant::now).elapsed() < PATIENCE {
            return Ok(());
        }
        let message = format!(
            "another process has locked the log of a trial for {} minutes without starting its run",
            PATIENCE.as_secs() / 60
        );
        Err(Error::run(log, message)
            .help("end that process (`lsof` shows it), then run the sweep again"))
    }

    fn n_threads_each(&self) -> usize {
        let n_cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (n_cores / self.n_at_once).max(1)
    }
}

impl Launcher for Local {
    fn n_at_once(&self) -> usize {
        self.n_at_once
    }

    fn has_room(&self) -> bool {
        self.jobs.len() < self.n_at_once
    }

    fn start(&mut self, job: Job) -> Result<bool> {
        let log = OpenOptions::new().create(true).append(true).open(&job.log);
        let log = log.map_err(Error::io("open", &job.log))?;
        // The child inherits the lock with its stderr and holds it for as long as it lives, so that a later sweep sees that
        // this one's job is still at work even after this process was killed.
        if matches!(log.try_lock(), Err(TryLockError::WouldBlock)) {
            return self.wait_for(&job.log).map(|()| false);
        }
        self.locked_since.remove(&job.log);
        log.set_len(0).map_err(Error::io("write", &job.log))?;
        let mut command = same_program(&self.program);
        command
            .arg("--quiet")
            .args(&job.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // Not the setting `threads`, which would change the experiment. A value that the user set is kept.
        if std::env::var_os("RAYON_NUM_THREADS").is_none() {
            command.env("RAYON_NUM_THREADS", self.n_threads_each().to_string());
        }
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(overrides::is_key) {
                command.env_remove(name);
            }
        }
        let gpu = self.gpus.iter_mut().find(|(_, user)| user.is_none());
        if let Some((number, user)) = gpu {
            command.env("CUDA_VISIBLE_DEVICES", number.to_string());
            *user = Some(job.trial);
        }
        // Ctrl-C reaches the sweep alone, which passes it on once: a second signal would make the trial quit at once and lose its
        // current step.
        own_group(&mut command);
        let child = command.spawn().map_err(Error::io("start", &self.program))?;
        self.jobs.push((job.trial, Process::Child(child)));
        Ok(true)
    }

    fn adopt(&mut self, trial: usize, run: &RunDir) -> bool {
        let worker = run.worker();
        self.jobs
            .extend(worker.map(|worker| (trial, Process::Adopted(worker))));
        worker.is_some()
    }

    fn works_on(&self, run: &RunDir) -> bool {
        let worker = run.worker().map(|worker| worker.process);
        let mut jobs = self.jobs.iter();
        worker.is_some() && jobs.any(|(_, process)| worker == Some(process.id()))
    }

    fn ended(&mut self) -> Result<Vec<Ended>> {
        let mut ended = Vec::new();
        let mut open = Vec::new();
        for (trial, mut process) in self.jobs.drain(..) {
            let end = match &mut process {
                Process::Child(child) => child
                    .try_wait()
                    .map_err(Error::io("wait for", &self.program))?
                    .map(|status| (has_failed(status), how_it_ended(status))),
                Process::Adopted(worker) => (!worker.is_alive()).then(|| (false, String::new())),
            };
            match end {
                Some((has_failed, how)) => {
                    for (_, user) in &mut self.gpus {
                        user.take_if(|user| *user == trial);
                    }
                    ended.push(Ended {
                        trial,
                        has_failed,
                        how,
                    });
                }
                None => open.push((trial, process)),
            }
        }
        self.jobs = open;
        Ok(ended)
    }

    fn wait(&mut self, at_most: Duration) {
        let started = Instant::now();
        while let Some(left) = at_most.checked_sub(started.elapsed())
            && !self.jobs.iter_mut().any(|(_, process)| process.has_ended())
        {
            thread::sleep(LOOK_EVERY.min(left));
        }
    }

    fn stop(&mut self) {
        for (_, process) in &mut self.jobs {
            process.terminate();
        }
    }

    fn kill(&mut self) {
        for (_, process) in &mut self.jobs {
            process.kill();
        }
    }
}

/// A sweep that fails must not leave jobs behind that nobody watches.
impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Trials run the same program that validated them, even if the file was replaced by another build meanwhile.
#[cfg(target_os = "linux")]
fn same_program(program: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(program);
    command
}

#[cfg(not(target_os = "linux"))]
fn same_program(program: &Path) -> Command {
    Command::new(program)
}

fn has_failed(status: ExitStatus) -> bool {
    // 130 is the exit code of `Error::interrupted()`.
    !status.success() && status.code() != Some(130)
}

#[cfg(unix)]
fn how_it_ended(status: ExitStatus) -> String {
    use nix::sys::signal::Signal;
    use std::os::unix::process::ExitStatusExt as _;
    match status.signal().map(|it| (it, Signal::try_from(it))) {
        None => String::new(),
        Some((_, Ok(Signal::SIGKILL))) => {
            "its process was killed by SIGKILL, possibly because the system ran out of memory"
                .to_owned()
        }
        Some((_, Ok(signal))) => format!("its process was killed by {signal}"),
        Some((number, Err(_))) => format!("its process was killed by signal {number}"),
    }
}

#[cfg(not(unix))]
fn how_it_ended(_status: ExitStatus) -> String {
    String::new()
}

impl Process {
    fn id(&self) -> u32 {
        match self {
            Self::Child(child) => child.id(),
            Self::Adopted(worker) => worker.process,
        }
    }

    /// Whether `Launcher::ended` has something to say about it.
    fn has_ended(&mut self) -> bool {
        match self {
            Self::Child(child) => !matches!(child.try_wait(), Ok(None)),
            Self::Adopted(worker) => !worker.is_alive(),
        }
    }
}

#[cfg(unix)]
impl Process {
    fn terminate(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
    }

    fn kill(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGKILL);
    }

    /// Sends a signal. A child that has ended cannot be mistaken for another process, because its id is not reused before this
    /// process has waited for it; an adopted one is checked first.
    fn signal(&self, signal: nix::sys::signal::Signal) {
        let number = match self {
            Self::Child(child) => child.id(),
            Self::Adopted(worker) if worker.is_alive() => worker.process,
            Self::Adopted(_) => return,
        };
        if let Ok(number) = i32::try_from(number) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(number), signal);
        }
    }
}

/// Without signals a job can only be killed; its run can be resumed from its last checkpoint.
#[cfg(not(unix))]
impl Process {
    fn terminate(&mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        if let Self::Child(child) = self {
            // Fails only if the child has ended.
            let _ = child.kill();
        }
    }
}

//! Where trials run: the one boundary between a sweep and the machines that do the work. Knows commands to start and to
//! stop; what comes of them is read from their run directories.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use crate::error::{Error, Result};

/// A command of this program, to be run for a trial.
pub(crate) struct Job {
    /// Position among the trials.
    pub(crate) trial: usize,
    pub(crate) args: Vec<String>,
    /// Takes what the command says to stderr.
    pub(crate) log: PathBuf,
}

pub(crate) trait Launcher {
    fn n_at_once(&self) -> usize;
    /// Whether another job can start now.
    fn has_room(&self) -> bool;
    fn start(&mut self, job: Job) -> Result<()>;
    /// The trials whose jobs have ended since the last call.
    fn ended(&mut self) -> Result<Vec<usize>>;
    /// Asks all jobs to end where they can be resumed.
    fn stop(&mut self);
    /// Ends all jobs at once.
    fn kill(&mut self);
}

/// Child processes of this one, which share its machine's threads.
pub(crate) struct Local {
    program: PathBuf,
    n_at_once: usize,
    children: Vec<(usize, Child)>,
}

impl Local {
    pub(crate) fn new(n_at_once: usize) -> Result<Self> {
        let program = std::env::current_exe().map_err(Error::io("finding", "this program"))?;
        Ok(Self {
            program,
            n_at_once,
            children: Vec::new(),
        })
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
        self.children.len() < self.n_at_once
    }

    fn start(&mut self, job: Job) -> Result<()> {
        let log = File::create(&job.log).map_err(Error::io("creating", &job.log))?;
        let mut command = Command::new(&self.program);
        command
            .arg("--quiet")
            .args(&job.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // Not the key `threads`, which would make another experiment of it. What the user set counts.
        if std::env::var_os("RAYON_NUM_THREADS").is_none() {
            command.env("RAYON_NUM_THREADS", self.n_threads_each().to_string());
        }
        own_group(&mut command);
        let child = command
            .spawn()
            .map_err(Error::io("starting", &self.program))?;
        self.children.push((job.trial, child));
        Ok(())
    }

    fn ended(&mut self) -> Result<Vec<usize>> {
        let mut ended = Vec::new();
        for (trial, child) in &mut self.children {
            let status = child.try_wait();
            if status
                .map_err(Error::io("waiting for", &self.program))?
                .is_some()
            {
                ended.push(*trial);
            }
        }
        self.children.retain(|(trial, _)| !ended.contains(trial));
        Ok(ended)
    }

    fn stop(&mut self) {
        for (_, child) in &mut self.children {
            terminate(child);
        }
    }

    fn kill(&mut self) {
        for (_, child) in &mut self.children {
            // Fails only where the child has ended.
            let _ = child.kill();
        }
    }
}

/// A sweep that fails leaves no work behind that nobody watches.
impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A Ctrl-C reaches the sweep alone, which passes it on once; a second one in a trial would lose its step.
#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_command: &mut Command) {}

#[cfg(unix)]
fn terminate(child: &Child) {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    // Fails only where the child has ended.
    let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
}

/// There is no gentler way; the run can be resumed from its last checkpoint.
#[cfg(not(unix))]
fn terminate(child: &mut Child) {
    let _ = child.kill();
}

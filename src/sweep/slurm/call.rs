//! Runs a command of Slurm with a time-out, and reads what it says about a failure.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, Write as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::commands::Slurm;
use crate::{
    config::overrides,
    error::{Error, Result},
    system::process_group::own_group,
};

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Failures after which the controller may have taken the jobs: the connection broke while it worked on the request.
const UNCLEAR: [&str; 6] = [
    "timed out",
    "Zero Bytes",
    "Unexpected message",
    "receive failure",
    "send/recv",
    "receive operation",
];

/// What begins the lines of Slurm's commands, before the words that matter.
const NOISE: [&str; 12] = [
    "sbatch: ",
    "squeue: ",
    "scancel: ",
    "scontrol: ",
    "sinfo: ",
    "error: ",
    "fatal: ",
    "allocation failure: ",
    "Batch job submission failed: ",
    "slurm_load_jobs error: ",
    "slurm_load_ctl_conf error: ",
    "slurm_load_partitions error: ",
];

/// What a command printed.
pub(super) struct Reply {
    /// `None` if it was killed because it took too long.
    pub(super) status: Option<ExitStatus>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Slurm {
    /// Runs a command. Its stdin, stdout and stderr are files, so that it cannot block on a pipe.
    pub(super) fn call(
        &self,
        program: &str,
        args: &[String],
        stdin: &str,
        patience: Duration,
    ) -> Result<Reply> {
        let path = match &self.folder {
            Some(folder) => folder.join(program),
            None => PathBuf::from(program),
        };
        let file = || tempfile::tempfile().map_err(Error::io("create", std::env::temp_dir()));
        let (mut input, mut output, mut errors) = (file()?, file()?, file()?);
        input
            .write_all(stdin.as_bytes())
            .and_then(|()| input.rewind())
            .map_err(Error::io("write", std::env::temp_dir()))?;
        let clone = |file: &File| file.try_clone().map_err(Error::io("use", "a file"));
        let mut command = Command::new(path);
        command
            .args(args)
            .stdin(input)
            .stdout(Stdio::from(clone(&output)?))
            .stderr(Stdio::from(clone(&errors)?))
            .env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| is_misleading(name, stdin)) {
                command.env_remove(name);
            }
        }
        // Ctrl-C must not end `sbatch` while the controller takes its jobs.
        own_group(&mut command);
        let mut child = command.spawn().map_err(|cause| absent(program, cause))?;
        let patience = self.patience.unwrap_or(patience);
        let status = wait(&mut child, patience).map_err(Error::io("wait for", program))?;
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            file.rewind()
                .and_then(|()| file.read_to_end(&mut bytes))
                .map_err(Error::io("read", std::env::temp_dir()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Reply {
            status,
            stdout: read(&mut output)?,
            stderr: read(&mut errors)?,
        })
    }
}

impl Reply {
    /// Fails if the command did.
    pub(super) fn check(&self, program: &str, message: &str) -> Result<()> {
        self.failure(program, message).map_or(Ok(()), Err)
    }

    pub(super) fn failure(&self, program: &str, message: &str) -> Option<Error> {
        let Some(status) = self.status else {
            let error = Error::slurm(format!("Slurm does not answer: `{program}` took too long"))
                .help("try again later; jobs that are in the queue or running are not affected");
            return Some(error);
        };
        if status.success() {
            return None;
        }
        let mut lines = words(&self.stderr);
        if lines.is_empty() {
            lines = vec![format!("`{program}` ended with {status}")];
        }
        let is_down = lines
            .iter()
            .any(|line| line.contains("Unable to contact slurm controller"));
        let error = Error::slurm(message).facts(lines);
        Some(if is_down {
            error.help("try again later; jobs that are in the queue or running are not affected")
        } else {
            error
        })
    }

    /// Whether a failed submission may have reached the controller.
    pub(super) fn is_unclear(&self) -> bool {
        let was_killed = self.status.is_none_or(|status| status.code().is_none());
        was_killed || UNCLEAR.iter().any(|words| self.stderr.contains(words))
    }

    /// The job id that `sbatch --parsable` prints, with the cluster after a semicolon. A site's wrapper may print other lines.
    pub(super) fn job(&self) -> Option<u64> {
        let mut lines = self.stdout.lines().rev();
        lines.find_map(|line| line.trim().split(';').next()?.parse().ok())
    }
}

/// The lines that a command printed about a failure, without the names of programs and functions.
pub(super) fn words(stderr: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in stderr.lines() {
        let mut line = line.trim();
        while let Some(rest) = NOISE.iter().find_map(|noise| line.strip_prefix(noise)) {
            line = rest.trim_start();
        }
        let is_useful = !line.is_empty() && !line.ends_with("--help\" for more information");
        if is_useful && lines.iter().all(|known| known != line) {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// Whether a variable would change what a command does. Those of `sbatch` override the options in a script, those of `squeue` and
/// `scancel` narrow the jobs, and those of this program would reach the trials.
pub(super) fn is_misleading(variable: &str, script: &str) -> bool {
    // In a job that submits others, this is the number of its own restarts.
    if variable == "SLURM_RESTART_COUNT"
        || overrides::is_key(variable)
        || variable.starts_with("SQUEUE_")
        || variable.starts_with("SCANCEL_")
        || variable.starts_with("SINFO_")
    {
        return true;
    }
    let Some(name) = variable.strip_prefix("SBATCH_") else {
        return false;
    };
    let option = match name {
        "ARRAY_INX" => "array".to_owned(),
        "TIMELIMIT" => "time".to_owned(),
        "MEM_PER_NODE" => "mem".to_owned(),
        "NO_REQUEUE" => "requeue".to_owned(),
        "WAIT" | "TEST_ONLY" => return true,
        _ => name.to_ascii_lowercase().replace('_', "-"),
    };
    let is_set = |line: &str| {
        let set = line
            .strip_prefix("#SBATCH --")
            .and_then(|it| it.strip_prefix(option.as_str()));
        set.is_some_and(|rest| !rest.starts_with(|it: char| it.is_alphanumeric() || it == '-'))
    };
    script.lines().any(is_set)
}

fn absent(program: &str, cause: io::Error) -> Error {
    if cause.kind() != ErrorKind::NotFound {
        return Error::io("start", program)(cause);
    }
    Error::slurm(format!("command not found: `{program}`")).help(
        "use a machine of the cluster with Slurm's commands, or `--launcher local` to run the trials on this one",
    )
}

/// Waits until the child ends; kills it and returns `None` if it takes longer than `patience`.
fn wait(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > patience {
            kill(child);
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Kills a command with what it has started: some sites have a wrapper for `sbatch`.
#[cfg(unix)]
fn kill(child: &mut Child) {
    use nix::{
        sys::signal::{Signal, killpg},
        unistd::Pid,
    };
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.kill();
}

#[cfg(not(unix))]
fn kill(child: &mut Child) {
    let _ = child.kill();
}

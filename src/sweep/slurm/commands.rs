//! Calls Slurm's commands. Each has a time-out, because they wait for a controller that may be down, and speaks English, because
//! its words are recognised.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, Write as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    config::overrides,
    error::{Error, Result},
};

/// How long a command may take that asks or asks for something small. Without a controller, `squeue` gives up after 10 seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long `sbatch` may take, which waits for a busy controller.
const SUBMIT_PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How many jobs are named in one call, so that no command line is too long.
pub(super) const JOBS_PER_CALL: usize = 100;

const UNKNOWN_JOB: &str = "Invalid job id specified";

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

/// Slurm's commands on this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slurm {
    /// The folder of the commands; `None` for those on the search path.
    folder: Option<PathBuf>,
    patience: Option<Duration>,
}

/// The outcome of `sbatch`.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The id of the new job.
    Taken(u64),
    /// Nothing was submitted.
    Refused(Error),
    /// The jobs may have been submitted or not.
    Unclear(Error),
}

/// What a command printed.
pub(super) struct Reply {
    /// `None` if it was killed because it took too long.
    status: Option<ExitStatus>,
    pub(super) stdout: String,
    stderr: String,
}

impl Slurm {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Commands in a folder.
    #[cfg(test)]
    pub(super) fn in_folder(folder: &std::path::Path) -> Self {
        Self {
            folder: Some(folder.to_owned()),
            patience: None,
        }
    }

    #[cfg(test)]
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// Submits a batch script.
    pub(crate) fn submit(&self, script: &str) -> Outcome {
        let args = ["--parsable".to_owned()];
        let reply = match self.call("sbatch", &args, script, SUBMIT_PATIENCE) {
            Ok(reply) => reply,
            Err(error) => return Outcome::Refused(error),
        };
        let failed = reply.failure("sbatch", "Slurm refused the jobs");
        match (failed, reply.job()) {
            (None, Some(job)) => Outcome::Taken(job),
            (None, None) => Outcome::Unclear(
                Error::slurm("`sbatch` printed no job id")
                    .facts(words(&reply.stdout))
                    .facts(words(&reply.stderr)),
            ),
            (Some(error), _) if reply.is_unclear() => Outcome::Unclear(error),
            (Some(error), _) => Outcome::Refused(error),
        }
    }

    /// Asks Slurm whether it would take a batch script.
    ///
    /// # Errors
    /// In Slurm's words why not.
    pub(super) fn try_out(&self, script: &str) -> Result<()> {
        let args = ["--test-only".to_owned()];
        self.call("sbatch", &args, script, SUBMIT_PATIENCE)?
            .check("sbatch", "Slurm refuses the jobs")
    }

    /// What `squeue` prints with these options, each task of an array in its own line of the form `TASK|STATE|REASON|NODE|NAME`.
    pub(super) fn squeue(&self, options: &[String]) -> Result<String> {
        let args = ["-h", "-r", "-t", "all", "-o", "%i|%T|%r|%N|%j"].map(str::to_owned);
        let args = [&args, options].concat();
        let reply = self.call("squeue", &args, "", PATIENCE)?;
        // The queue forgets jobs some minutes after their end.
        if reply.status.is_some() && reply.stderr.contains(UNKNOWN_JOB) {
            return Ok(reply.stdout);
        }
        reply.check("squeue", "cannot read Slurm's queue")?;
        Ok(reply.stdout)
    }

    /// Cancels jobs with all their tasks. Jobs that have ended are ignored.
    pub(crate) fn cancel(&self, jobs: &[u64]) -> Result<()> {
        for jobs in jobs.chunks(JOBS_PER_CALL) {
            let ids: Vec<String> = jobs.iter().map(u64::to_string).collect();
            let reply = self.call("scancel", &ids, "", PATIENCE)?;
            let is_old = |line: &String| {
                line.contains(UNKNOWN_JOB) || line.contains("already completing or completed")
            };
            let has_answered = reply.status.is_some();
            if has_answered && !reply.stderr.is_empty() && words(&reply.stderr).iter().all(is_old) {
                continue;
            }
            reply.check("scancel", "cannot cancel the jobs")?;
        }
        Ok(())
    }

    /// Makes a job wait for its next start, which ends its process. A job that waits already is left alone.
    ///
    /// `job` is the value of `SLURM_JOB_ID`, or the id of a task such as `14_3`.
    pub(crate) fn requeue(&self, job: &str) -> Result<()> {
        let args = ["requeue".to_owned(), job.to_owned()];
        let reply = self.call("scontrol", &args, "", PATIENCE)?;
        if reply.status.is_some() && reply.stderr.contains("Job is pending execution") {
            return Ok(());
        }
        reply.check("scontrol", "cannot requeue the job")
    }

    /// The limit on the indexes of arrays: each must be below it.
    pub(crate) fn max_array_size(&self) -> Result<usize> {
        let config = self.scontrol(&["show", "config"])?;
        let size = config.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == "MaxArraySize").then(|| value.trim().parse().ok())?
        });
        let size = size.unwrap_or(0);
        if size < 2 {
            return Err(Error::slurm("Slurm does not allow job arrays here")
                .fact("MaxArraySize in `scontrol show config` is missing or below 2")
                .help("ask the administrators of the cluster to raise it"));
        }
        Ok(size)
    }

    pub(super) fn scontrol(&self, args: &[&str]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|word| (*word).to_owned()).collect();
        let reply = self.call("scontrol", &args, "", PATIENCE)?;
        reply.check("scontrol", "cannot read Slurm's configuration")?;
        Ok(reply.stdout)
    }

    /// The states of the nodes of some partitions, all if there are none, in a word each.
    pub(super) fn node_states(&self, partitions: &str) -> Result<Vec<String>> {
        let mut args: Vec<String> = ["-h", "-o", "%T"].map(str::to_owned).to_vec();
        if !partitions.is_empty() {
            args.push(format!("--partition={partitions}"));
        }
        let reply = self.call("sinfo", &args, "", PATIENCE)?;
        reply.check("sinfo", "cannot read the state of Slurm's nodes")?;
        Ok(reply.stdout.split_whitespace().map(str::to_owned).collect())
    }

    /// Runs a command. Its stdin, stdout and stderr are files, so that it cannot block on a pipe.
    fn call(
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
    fn check(&self, program: &str, message: &str) -> Result<()> {
        self.failure(program, message).map_or(Ok(()), Err)
    }

    fn failure(&self, program: &str, message: &str) -> Option<Error> {
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
    fn is_unclear(&self) -> bool {
        let was_killed = self.status.is_none_or(|status| status.code().is_none());
        was_killed || UNCLEAR.iter().any(|words| self.stderr.contains(words))
    }

    /// The job id that `sbatch --parsable` prints, with the cluster after a semicolon. A site's wrapper may print other lines.
    fn job(&self) -> Option<u64> {
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
fn is_misleading(variable: &str, script: &str) -> bool {
    if overrides::is_key(variable)
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

/// Puts a command into its own process group, so that Ctrl-C does not end `sbatch` while the controller takes its jobs.
#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_command: &mut Command) {}

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

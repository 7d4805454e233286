//! Calls Slurm's commands. Each has a time-out, because they wait for a controller that may be down, and speaks English, because
//! its words are recognised.

use std::{path::PathBuf, time::Duration};

use super::call::words;
use crate::error::{Error, Result};

/// How long a command may take that asks or asks for something small. Without a controller, `squeue` gives up after 10 seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long `sbatch` may take, which waits for a busy controller.
const SUBMIT_PATIENCE: Duration = Duration::from_mins(1);
/// How many jobs are named in one call, so that no command line is too long.
pub(super) const JOBS_PER_CALL: usize = 100;

const UNKNOWN_JOB: &str = "Invalid job id specified";

/// Slurm's commands on this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slurm {
    /// The folder of the commands; `None` for those on the search path.
    pub(super) folder: Option<PathBuf>,
    /// In place of the time-outs.
    pub(super) patience: Option<Duration>,
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

    /// Fails if the shell cannot parse a batch script, as after a quote in a line of setup that is not closed.
    pub(super) fn check_syntax(&self, script: &str) -> Result<()> {
        let reply = self.call("bash", &["-n".to_owned()], script, PATIENCE)?;
        reply.check("bash", "the shell cannot parse the batch script")
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

    /// Cancels jobs with all their tasks, or single tasks. Those that have ended are ignored.
    pub(crate) fn cancel(&self, jobs: &[impl ToString]) -> Result<()> {
        for jobs in jobs.chunks(JOBS_PER_CALL) {
            let ids: Vec<String> = jobs.iter().map(ToString::to_string).collect();
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
}

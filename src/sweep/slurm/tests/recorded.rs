//! Submissions, with scripts in the place of Slurm's commands.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;

use super::{batch, executable, settings};
use crate::{
    error::Kind,
    sweep::slurm::{
        commands::Slurm,
        ledger::{Ledger, Recorded},
        queue::TaskId,
        script::Batch,
        submissions::{cancel, settle, submit, this_job},
    },
};

const CONFIG: &str = "echo 'MaxArraySize            = 3'";
const NOTHING: &str = "exit 0";

struct Site {
    folder: TempDir,
}

impl Site {
    /// A site whose `sbatch` and `squeue` are these lines of shell.
    fn new(sbatch: &str, squeue: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder };
        site.command(
            "sbatch",
            &format!("cat >\"$D/script-$(ls \"$D\" | wc -l)\"\n{sbatch}"),
        );
        site.command("squeue", squeue);
        site.command("scontrol", CONFIG);
        site.command("scancel", "echo \"$@\" >>\"$D/cancelled\"");
        site
    }

    fn command(&self, name: &str, lines: &str) {
        let folder = self.folder.path().display();
        executable(
            &self.folder.path().join(name),
            &format!("#!/bin/sh\nD='{folder}'\n{lines}\n"),
        );
    }

    fn slurm(&self) -> Slurm {
        Slurm::in_folder(self.folder.path())
    }

    fn batch(&self) -> Batch {
        batch(self.folder.path(), settings())
    }

    fn ledger(&self) -> Ledger {
        Ledger::of(&self.batch().dir)
    }

    fn outcomes(&self) -> Vec<Recorded> {
        let submissions = self.ledger().read().unwrap();
        submissions.iter().map(|it| it.outcome).collect()
    }

    fn n_scripts(&self) -> usize {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("script-")).count()
    }

    fn cut_ledger(&self, n_bytes: usize) -> PathBuf {
        let path = self.ledger().jsonl();
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - n_bytes]).unwrap();
        path
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// An `sbatch` that counts its jobs from 11.
const COUNTS: &str = "echo $((10 + $(ls \"$D\" | grep -c script-)))";

#[test]
fn trials_are_cut_into_arrays_and_the_newest_task_of_a_trial_comes_first() {
    let site = Site::new(COUNTS, NOTHING);
    let submitted = submit(&site.slurm(), &site.batch(), &names(&["a", "b", "c"])).unwrap();
    assert_eq!(submitted.len(), 2);
    submit(&site.slurm(), &site.batch(), &names(&["c"])).unwrap();
    let jobs = [11, 12, 13].map(Recorded::Job);
    assert_eq!(site.outcomes(), jobs);
    let tasks = site.ledger().tasks().unwrap();
    let task = |job, index| TaskId { job, index };
    assert_eq!(tasks["b"], [task(11, 2)]);
    assert_eq!(tasks["c"], [task(13, 1), task(12, 1)]);
    assert!(
        submit(&site.slurm(), &site.batch(), &[])
            .unwrap()
            .is_empty()
    );
    assert_eq!(site.n_scripts(), 3);
}

#[test]
fn a_refusal_is_in_the_words_of_slurm_and_leaves_nothing_behind() {
    let refusal =
        "echo 'sbatch: error: Batch job submission failed: Invalid qos specification' >&2; exit 1";
    let site = Site::new(refusal, NOTHING);
    let error = submit(&site.slurm(), &site.batch(), &names(&["a"])).unwrap_err();
    assert_eq!(error.kind(), Kind::Slurm);
    assert_eq!(
        error.to_string(),
        "Slurm refused the jobs\n  Invalid qos specification"
    );
    assert_eq!(site.outcomes(), [Recorded::Refused]);
    assert!(site.ledger().tasks().unwrap().is_empty());
}

#[test]
fn jobs_that_slurm_may_have_taken_are_found_by_name_before_others_are_submitted() {
    let unclear = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1";
    let site = Site::new(unclear, "echo 'squeue: error: busy' >&2; exit 1");
    let error = submit(&site.slurm(), &site.batch(), &names(&["a"])).unwrap_err();
    let help = "help: run the same command again";
    assert!(error.to_string().contains(help), "{error}");
    assert_eq!(site.outcomes(), [Recorded::Unclear]);

    // As long as Slurm does not answer, nothing is submitted.
    submit(&site.slurm(), &site.batch(), &names(&["a"])).unwrap_err();
    assert_eq!(site.n_scripts(), 1);

    let name = site.ledger().read().unwrap()[0].job_name.clone();
    site.command(
        "squeue",
        &format!("echo '77_1|RUNNING|None|n1|another'; echo '78_1|RUNNING|None|n1|{name}'"),
    );
    settle(&site.slurm(), &site.ledger()).unwrap();
    assert_eq!(site.outcomes(), [Recorded::Job(78)]);
    assert_eq!(
        site.ledger().tasks().unwrap()["a"],
        [TaskId { job: 78, index: 1 }]
    );
}

#[test]
fn jobs_found_at_once_after_an_unclear_answer_count_as_submitted() {
    let unclear = "kill -9 $$";
    let site = Site::new(
        unclear,
        "echo \"78_1|PENDING|None||$(cat \"$D\"/script-* | sed -n 's/.*--job-name=//p')\"",
    );
    let submitted = submit(&site.slurm(), &site.batch(), &names(&["a"])).unwrap();
    assert_eq!(submitted[0].outcome, Recorded::Job(78));
}

#[test]
fn a_ledger_that_ends_in_half_a_line_is_continued() {
    let site = Site::new(COUNTS, NOTHING);
    submit(&site.slurm(), &site.batch(), &names(&["a"])).unwrap();
    site.cut_ledger(9);
    assert_eq!(site.outcomes(), [Recorded::Unclear]);
    // Slurm knows no such job.
    submit(&site.slurm(), &site.batch(), &names(&["a"])).unwrap();
    assert_eq!(site.outcomes(), [Recorded::Refused, Recorded::Job(12)]);
}

#[test]
fn a_limit_on_trials_at_once_holds_across_arrays() {
    let site = Site::new(COUNTS, NOTHING);
    let mut batch = site.batch();
    batch.max_parallel = Some(2);
    let script = |at: usize| {
        let mut scripts: Vec<_> = fs::read_dir(site.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("script-"))
            .collect();
        scripts.sort_by_key(|path| path.to_string_lossy().len());
        scripts.sort_by_key(|path| {
            let name = path.to_string_lossy().into_owned();
            name.rsplit('-').next().unwrap().parse::<usize>().unwrap()
        });
        fs::read_to_string(&scripts[at]).unwrap()
    };
    submit(&site.slurm(), &batch, &names(&["a", "b", "c"])).unwrap();
    assert!(script(0).contains("#SBATCH --array=1-2%2\n"));
    assert!(!script(0).contains("--dependency"));
    assert!(script(1).contains("#SBATCH --dependency=afterany:11\n"));
    // One task is left, so that one more may run.
    site.command(
        "squeue",
        "echo '12_1|RUNNING|None|n1|x'; echo '11_1|FAILED|None|n1|x'",
    );
    submit(&site.slurm(), &batch, &names(&["a"])).unwrap();
    assert!(script(2).contains("#SBATCH --array=1-1%1\n"));
    site.command(
        "squeue",
        "echo '12_1|RUNNING|None|n1|x'; echo '13_1|PENDING|None|n1|x'",
    );
    submit(&site.slurm(), &batch, &names(&["d"])).unwrap();
    assert!(script(3).contains("#SBATCH --array=1-1%2\n"));
    assert!(script(3).contains("#SBATCH --dependency=afterany:12:13\n"));
}

#[test]
fn a_cancelled_sweep_cannot_requeue_trials_until_it_is_submitted_again() {
    let site = Site::new(COUNTS, NOTHING);
    submit(&site.slurm(), &site.batch(), &names(&["a", "b", "c"])).unwrap();
    let cancelled = site.folder.path().join("cancelled");
    let look = format!(
        "[ -f '{}' ] && echo \"$@\" >>\"$D/cancelled\"",
        site.ledger().cancel_file().display()
    );
    site.command("scancel", &look);
    assert_eq!(cancel(&site.slurm(), &site.ledger()).unwrap(), [11, 12]);
    assert_eq!(fs::read_to_string(cancelled).unwrap(), "11 12\n");
    submit(&site.slurm(), &site.batch(), &names(&["a"])).unwrap();
    assert!(!site.ledger().cancel_file().exists());
}

#[test]
fn slurm_that_is_missing_or_does_not_answer_is_an_error() {
    let site = Site::new(COUNTS, "sleep 1000 & wait");
    let slurm = site.slurm().with_patience(Duration::from_millis(50));
    let error = slurm.queue(&[1]).unwrap_err().to_string();
    let words = "Slurm does not answer: `squeue` took too long";
    assert!(error.starts_with(words), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = Slurm::in_folder(empty.path()).max_array_size().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("command not found: `scontrol`"),
        "{error}"
    );
}

#[test]
fn jobs_that_slurm_has_forgotten_are_not_in_the_queue() {
    let forgotten = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1";
    let site = Site::new(COUNTS, forgotten);
    let queue = site.slurm().queue(&[999]).unwrap();
    assert_eq!(queue.state(TaskId { job: 999, index: 1 }), None);
}

#[test]
fn a_task_that_waits_already_counts_as_requeued() {
    let site = Site::new(COUNTS, NOTHING);
    site.command(
        "scontrol",
        "echo \"$2: Job is pending execution\" >&2; exit 1",
    );
    site.slurm().requeue("14_3").unwrap();
    site.command(
        "scontrol",
        "echo 'Invalid job id specified for job 999' >&2; exit 1",
    );
    let error = site.slurm().requeue("999").unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot requeue the job\n  Invalid job id specified for job 999"
    );
}

#[test]
fn only_a_task_of_the_sweep_can_requeue_itself() {
    let site = Site::new(COUNTS, NOTHING);
    submit(&site.slurm(), &site.batch(), &names(&["a"])).unwrap();
    let own = site.ledger().read().unwrap()[0].job_name.clone();
    let job_under = |name: &str| {
        this_job(&site.ledger(), |variable| match variable {
            "SLURM_JOB_ID" => Some("17".to_owned()),
            "SLURM_JOB_NAME" => Some(name.to_owned()),
            _ => None,
        })
    };
    assert_eq!(job_under(&own).unwrap(), Some("17".to_owned()));
    assert_eq!(job_under("bash").unwrap(), None);
    assert_eq!(this_job(&site.ledger(), |_| None).unwrap(), None);
}

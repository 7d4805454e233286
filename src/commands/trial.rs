//! `runner trial FOLDER`: runs one trial of a sweep, as a scheduler starts it on any machine. Starts the trial's run or resumes it,
//! whichever it takes; with early stopping, runs it to its rung and then continues the trials that are promoted.

use std::{ffi::OsString, fs, path::PathBuf};

use super::{prepare::ExperimentRequest, resume::resume, train::train};
use crate::{
    claim::{Claim, ClaimAnswer, Stop as _},
    commands::context::Context,
    config,
    console::Console,
    error::{Error, Result},
    rundir::RunDir,
    runs::{RunState, RunView},
    sweep::{
        directory::{self, SweepDir},
        record::{SweepRecord, TrialRecord},
        room,
        rungs::Rungs,
        slurm::{commands::Slurm, ledger::Ledger, submissions},
        trial_dir::TrialDir,
    },
    system::{stop, successor},
    train::checkpoint,
};

#[derive(Debug, clap::Args)]
pub(crate) struct TrialArgs {
    /// Folder of the trial, for example runs/sweep-lr/trials/lr-lr_0.001
    pub(crate) folder: PathBuf,
}

/// How often a trial is started that reaches its time limit without a step. One that first fills the activation cache needs some.
const MOST_STARTS_IN_VAIN: usize = 20;

/// A trial, with the sweep that it belongs to.
struct Work {
    dir: TrialDir,
    name: String,
    /// The sweep's directory and what it says; `None` for a folder that was copied elsewhere.
    sweep: Option<(SweepDir, SweepRecord)>,
}

pub(crate) fn run(args: &TrialArgs, cx: &Context) -> Result<()> {
    let stop = stop::on_signals();
    let work = Work::open(&args.folder)?;
    if work.is_cancelled() {
        cx.console.note("the sweep was cancelled");
        return Ok(());
    }
    work.dir.create()?;
    let claim = match Claim::take(work.dir.place(), stop, &cx.console)? {
        ClaimAnswer::Ours(claim) => claim,
        ClaimAnswer::Theirs(who) => {
            let place = args.folder.display();
            cx.console
                .note(&format!("{place}: the trial is in progress: {who}"));
            return Ok(());
        }
    };
    let outcome = work.attempt(cx);
    let wants_again = match &outcome {
        Ok(None) => {
            work.dir.forget_failure();
            false
        }
        // Others would not have room either.
        Ok(Some(shortage)) => {
            drop(claim);
            work.slim_demoted(&cx.console);
            return Err(Error::training("the trial did not start")
                .at(&args.folder)
                .fact(shortage)
                .help(room::HELP));
        }
        Err(error) if error.is_interrupted() => {
            work.requeue(&cx.console);
            return outcome.map(|_| ());
        }
        Err(error) => {
            claim.ensure_ours()?;
            work.note_failure(error)?
        }
    };
    // The next command claims for itself.
    drop(claim);
    work.slim_demoted(&cx.console);
    let outcome = outcome.map(|_| ());
    if stop.is_set() {
        work.requeue(&cx.console);
        return outcome.and(Err(Error::interrupted()));
    }
    let next = if wants_again {
        Some(args.folder.clone())
    } else {
        work.next()?
    };
    let Some(next) = next.filter(|_| !work.is_cancelled()) else {
        return outcome;
    };
    if let Err(error) = &outcome {
        cx.console.note(&error.to_string());
    }
    Err(successor::become_with(&with_folder(args, next)))
}

/// The arguments of this process with another folder.
fn with_folder(args: &TrialArgs, folder: PathBuf) -> Vec<OsString> {
    let own = args.folder.as_os_str();
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if let Some(word) = words.iter_mut().rev().find(|word| *word == own) {
        *word = folder.into();
    }
    words
}

impl Work {
    fn open(folder: &std::path::Path) -> Result<Self> {
        let dir = TrialDir::open(folder)?;
        let sweep = match dir.sweep() {
            Some(sweep) => Some((sweep.clone(), SweepRecord::read(&sweep)?)),
            None => None,
        };
        let name = dir.name();
        Ok(Self { dir, name, sweep })
    }

    fn is_cancelled(&self) -> bool {
        let sweep = self.sweep.as_ref();
        sweep.is_some_and(|(dir, _)| dir.cancelled().exists())
    }

    /// The trial in its sweep.
    fn record(&self) -> Result<Option<&TrialRecord>> {
        let Some((dir, sweep)) = &self.sweep else {
            return Ok(None);
        };
        let record = sweep.trials.iter().find(|trial| trial.name == self.name);
        let missing = || {
            Error::usage(format!("the sweep has no trial `{}`", self.name))
                .at(dir.trials_csv())
                .help("run `runner sweep` again, which writes the trials that there are now")
        };
        record.map(Some).ok_or_else(missing)
    }

    fn rungs(&self) -> Option<Rungs<'_>> {
        let (dir, sweep) = self.sweep.as_ref()?;
        Rungs::of(dir, sweep)
    }

    /// Runs the trial up to its rung, or to its end. Returns why it may not, if the sweep takes as much of the disk as it may.
    fn attempt(&self, cx: &Context) -> Result<Option<String>> {
        let record = self.record()?;
        let rungs = self.rungs();
        let climb = rungs.as_ref().zip(record);
        let until = climb.and_then(|(rungs, record)| rungs.target(record).1);
        let before = self.find_run(record)?;
        let is_there = before.as_ref().is_some_and(|run| {
            let is_at_rung = until.is_some_and(|epochs| run.rows.len() >= epochs);
            run.state == RunState::Finished || is_at_rung
        });
        if !is_there {
            let record = self.sweep.as_ref().zip(record);
            let shortage = record.and_then(|((dir, sweep), it)| room::shortage(dir, sweep, it));
            if shortage.is_some() {
                return Ok(shortage);
            }
            match before {
                Some(run) => resume(run.path(), &[], until, cx)?,
                None => train(&self.request()?, until, cx)?,
            };
        }
        if let Some((rungs, record)) = climb
            && let Some(run) = self.find_run(Some(record))?
        {
            rungs.arrive(record, &run)?;
        }
        Ok(None)
    }

    fn request(&self) -> Result<ExperimentRequest> {
        let place = self.runs_dir();
        let place = toml::Value::from(config::path_text(&place)?);
        Ok(ExperimentRequest {
            file: self.dir.experiment_toml(),
            // The sweep may have been moved since the file was written.
            sets: vec![format!("runs_dir={place}")],
            // The trial was checked as it is in the file, and must not depend on where it runs.
            env: Vec::new(),
        })
    }

    /// The folder of the trial's run.
    fn runs_dir(&self) -> PathBuf {
        match &self.sweep {
            Some((dir, _)) => dir.path().to_owned(),
            None => self.dir.path().to_owned(),
        }
    }

    /// The run of the trial: a finished one, or else the newest.
    fn find_run(&self, record: Option<&TrialRecord>) -> Result<Option<RunView>> {
        let folder = self.runs_dir();
        if let Some(name) = self.dir.other_run()
            && let Ok(run) = RunDir::open(&folder.join(name))
        {
            return RunView::read(run).map(Some);
        }
        let axes = self
            .sweep
            .as_ref()
            .map_or(&[][..], |(_, it)| &it.search.axes);
        let is_its = |run: &RunView| {
            let key = |it: &TrialRecord| {
                let identity = directory::identity(&run.resolved, axes);
                directory::key(&identity, &run.manifest.data_sha256) == it.key
            };
            run.manifest.name == self.name && record.is_none_or(key)
        };
        let entries = fs::read_dir(&folder).map_err(Error::io("read", &folder))?;
        // The folder may have been elsewhere and come back, with the run in it.
        let own = fs::read_dir(self.dir.path()).map_err(Error::io("read", self.dir.path()))?;
        let paths = entries.chain(own).filter_map(|it| Some(it.ok()?.path()));
        // The name of a run is that of its experiment after the time.
        let named = paths.filter(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().contains(&self.name)
        });
        let runs = named.filter_map(|path| RunView::read(RunDir::open(&path).ok()?).ok());
        Ok(runs
            .filter(is_its)
            .max_by_key(|run| (run.state == RunState::Finished, run.id())))
    }

    /// Lets the scheduler start this job again, if it has warned that the time is up. Not after other signals: a job that is
    /// cancelled would bring itself back.
    fn requeue(&self, console: &Console) {
        let Some((dir, _)) = self.sweep.as_ref().filter(|_| stop::is_warned()) else {
            return;
        };
        let outcome = match self.dir.note_warning(self.progress()) {
            Ok(n_starts) if n_starts > MOST_STARTS_IN_VAIN => {
                console.note(&format!(
                    "{n_starts} starts ended at the time limit without a step in between; give the trials more time"
                ));
                return;
            }
            Ok(_) => submissions::requeue_this(&Slurm::new(), &Ledger::of(dir.path())),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            console.note(&format!("{error}; run the sweep again to resume the trial"));
        }
    }

    /// The step that the last checkpoint of the trial is from.
    fn progress(&self) -> usize {
        let run = self.record().and_then(|record| self.find_run(record));
        let run = run.ok().flatten();
        run.and_then(|run| checkpoint::progress(&run.dir))
            .map_or(0, |progress| progress.step)
    }

    /// Records that the trial failed; returns whether it is to be tried again.
    fn note_failure(&self, error: &Error) -> Result<bool> {
        let attempts = self.dir.note_failure(error.to_string())?;
        let most = self
            .sweep
            .as_ref()
            .map_or(1, |(_, it)| it.search.max_attempts);
        if attempts < most {
            return Ok(true);
        }
        if let (Some(rungs), Some(record)) = (self.rungs(), self.record()?) {
            rungs.fail(record, error.to_string())?;
        }
        Ok(false)
    }

    /// Removes the optimizer states of trials that will not continue, which are most of what they take on the disk.
    fn slim_demoted(&self, console: &Console) {
        // They are damaged, or somebody else's. That is no failure of this trial.
        if let Err(error) = self.try_slim_demoted(console) {
            console.note(&format!("cannot remove an optimizer state: {error}"));
        }
    }

    fn try_slim_demoted(&self, console: &Console) -> Result<()> {
        let Some((rungs, (dir, sweep))) = self.rungs().zip(self.sweep.as_ref()) else {
            return Ok(());
        };
        for trial in rungs.demote()? {
            let record = &sweep.trials[trial];
            let other = Self::open(dir.trial(&record.name).path())?;
            let Some(run) = other.find_run(Some(record))? else {
                continue;
            };
            // A run that somebody else has resumed is theirs.
            if !run.is_slim
                && let Ok(_claim) = run.dir.claim(stop::on_signals(), console)
            {
                checkpoint::slim(&run.dir)?;
            }
        }
        Ok(())
    }

    /// The folder of a trial that was promoted and left, or else of a new one, or of one whose promotion is due and ours from now on.
    fn next(&self) -> Result<Option<PathBuf>> {
        let Some((rungs, (dir, sweep))) = self.rungs().zip(self.sweep.as_ref()) else {
            return Ok(None);
        };
        let next = match rungs.orphan().or_else(|| rungs.fresh()) {
            Some(trial) => Some(trial),
            None => rungs.promote()?,
        };
        let Some(trial) = next else {
            return Ok(None);
        };
        let folder = dir.trial(&sweep.trials[trial].name);
        Ok(Some(folder.path().to_owned()))
    }
}

//! A sweep under way: starts what is missing or unfinished, watches the run directories, and keeps the leaderboard. The
//! trials' run directories say how they stand; nothing else is remembered.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use toml::Table;

use super::{
    board::{self, Standing, TrialState},
    directory::{SweepDir, identity},
    launcher::{Ended, Job, Launcher},
    live,
};
use crate::{
    config::experiment::Metric,
    console::Console,
    error::{Error, Result},
    files::write_atomic,
    records,
    rundir::RunDir,
    runs::{RunState, RunView},
};

/// How often run directories are looked at.
const PAUSE: Duration = Duration::from_millis(250);
/// A picture costs a good part of a second.
const PICTURE_EVERY: Duration = Duration::from_secs(20);

/// What it takes to start a trial, and to know its run.
pub(crate) struct Order {
    /// The whole experiment as a file: what is edited while the sweep runs changes no trial.
    pub(crate) recipe: String,
    pub(crate) recipe_toml: PathBuf,
    /// What its command says that does not get as far as a run directory.
    pub(crate) log: PathBuf,
    /// What its run's experiment must be.
    pub(crate) identity: Table,
    pub(crate) data_sha256: String,
    /// What it takes at most, as far as that is to be heeded.
    pub(crate) memory_bytes: u64,
    /// Each trial is started once by a sweep; one that fails is tried again by the next.
    pub(crate) is_started: bool,
    /// What the launcher said of the end that the trial came to, or that it could not begin.
    pub(crate) ending: String,
}

pub(crate) struct Campaign {
    pub(crate) name: String,
    pub(crate) dir: SweepDir,
    /// Full keys, and the shortest names that tell them apart.
    pub(crate) axes: Vec<String>,
    pub(crate) axis_labels: Vec<String>,
    pub(crate) metric: Metric,
    pub(crate) orders: Vec<Order>,
    /// One for each order.
    pub(crate) standings: Vec<Standing>,
    /// Runs below that are no trial's.
    pub(crate) strangers: BTreeSet<PathBuf>,
    /// The leaderboard as it was written last.
    pub(crate) written: Vec<Vec<String>>,
}

impl Campaign {
    /// Works until every trial has ended; `n_asked` counts how often the user asked to stop.
    pub(crate) fn run(
        &mut self,
        launcher: &mut dyn Launcher,
        n_asked: &AtomicUsize,
        console: &Console,
    ) -> Result<()> {
        let mut n_heeded = 0;
        let mut jobs: BTreeSet<usize> = BTreeSet::new();
        let mut drawn = Instant::now();
        // What earlier calls did is no news.
        self.judge(&jobs, None);
        loop {
            let ended = launcher.ended()?;
            self.look(&jobs);
            for Ended { trial, how } in ended {
                jobs.remove(&trial);
                if n_heeded == 0 {
                    self.orders[trial].ending = how;
                } else {
                    // One that was stopped before it had a directory has not begun.
                    self.orders[trial].is_started = self.standings[trial].run.is_some();
                }
            }
            self.judge(&jobs, Some(console));
            let n_asked = n_asked.load(Ordering::Relaxed);
            if n_asked > n_heeded {
                match n_asked {
                    1 => launcher.stop(),
                    _ => launcher.kill(),
                }
                n_heeded = n_asked;
            }
            if n_heeded == 0 {
                self.start_what_waits(launcher, &mut jobs);
            }
            console
                .board(|room| live::live(&self.standings, self.metric, launcher.n_at_once(), room));
            let is_time = drawn.elapsed() > PICTURE_EVERY;
            self.write(is_time)?;
            if is_time {
                drawn = Instant::now();
            }
            if n_heeded > 0 && jobs.is_empty() {
                return Err(Error::Interrupted);
            }
            let is_open = |state| matches!(state, TrialState::Waiting | TrialState::Running);
            if !self.standings.iter().any(|trial| is_open(trial.state)) {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
    }

    fn start_what_waits(&mut self, launcher: &mut dyn Launcher, jobs: &mut BTreeSet<usize>) {
        for (at, standing) in self.standings.iter().enumerate() {
            if let (TrialState::Running, Some(run)) = (standing.state, &standing.run)
                && !jobs.contains(&at)
                && launcher.adopt(at, &run.dir)
            {
                jobs.insert(at);
            }
        }
        for (at, (order, standing)) in self.orders.iter_mut().zip(&self.standings).enumerate() {
            if !launcher.has_room() {
                return;
            }
            if standing.state == TrialState::Waiting {
                order.is_started = true;
                // Not the end of the others.
                match start(launcher, at, order, standing) {
                    Ok(()) => _ = jobs.insert(at),
                    Err(error) => order.ending = error.to_string(),
                }
            }
        }
    }

    /// Reads the run directories again.
    pub(crate) fn look(&mut self, jobs: &BTreeSet<usize>) {
        for standing in &mut self.standings {
            if let Some(run) = standing.run.take_if(|run| run.state != RunState::Finished) {
                standing.run = RunView::read(run.dir).ok();
            }
        }
        // Reading every run below is not for every look.
        if jobs.iter().any(|at| self.standings[*at].run.is_none()) {
            self.find_runs();
        }
    }

    /// Which of the runs below is which trial's.
    pub(crate) fn find_runs(&mut self) {
        let known = |dir: &RunDir| {
            let mut runs = self.standings.iter().filter_map(|it| it.run.as_ref());
            self.strangers.contains(dir.path()) || runs.any(|run| run.path() == dir.path())
        };
        let mut dirs = self.dir.runs();
        dirs.retain(|dir| !known(dir));
        for dir in dirs {
            // One that is still being made is looked at again.
            let Ok(run) = RunView::read(dir) else {
                continue;
            };
            if run.resolved.is_empty() {
                continue;
            }
            let experiment = identity(&run.resolved, &self.axes);
            let is_its = |(order, standing): &(&Order, &mut Standing)| {
                standing.run.is_none()
                    && order.identity == experiment
                    && order.data_sha256 == run.manifest.data_sha256
            };
            let mut pairs = self.orders.iter().zip(&mut self.standings);
            match pairs.find(is_its) {
                Some((_, standing)) => standing.run = Some(run),
                None => _ = self.strangers.insert(run.path().to_owned()),
            }
        }
    }

    /// What the runs' states mean for the trials, and a word on what has changed.
    fn judge(&mut self, jobs: &BTreeSet<usize>, console: Option<&Console>) {
        for (at, (order, standing)) in self.orders.iter().zip(&mut self.standings).enumerate() {
            let state = match standing.run.as_ref().map(|run| run.state) {
                Some(RunState::Finished) => TrialState::Finished,
                Some(RunState::Running) => TrialState::Running,
                _ if jobs.contains(&at) => TrialState::Running,
                _ if !order.is_started => TrialState::Waiting,
                Some(RunState::Killed) if order.ending.is_empty() => TrialState::Interrupted,
                Some(RunState::Interrupted) => TrialState::Interrupted,
                Some(RunState::Failed | RunState::Killed) | None => TrialState::Failed,
            };
            standing.reason = match state {
                TrialState::Failed => reason(order, standing.run.as_ref()),
                TrialState::Waiting
                | TrialState::Running
                | TrialState::Finished
                | TrialState::Interrupted => String::new(),
            };
            let n_epochs = standing.run.as_ref().map_or(0, |run| run.rows.len());
            let has_news = state != standing.state || n_epochs != standing.n_epochs_told;
            (standing.state, standing.n_epochs_told) = (state, n_epochs);
            if let Some(console) = console.filter(|_| has_news) {
                let is_on_board = state == TrialState::Running;
                let (fields, text) = board::news(standing);
                console.news("trial", fields, &text, is_on_board);
            }
        }
    }

    /// The leaderboard, where it has changed, and its picture, where it is asked for.
    pub(crate) fn write(&mut self, with_picture: bool) -> Result<()> {
        let rows = board::csv_rows(&self.standings, &self.axes, self.metric);
        if rows != self.written {
            records::write_csv(&self.dir.leaderboard_csv(), &rows)?;
            self.written = rows;
        }
        if with_picture {
            let (name, labels) = (&self.name, &self.axis_labels);
            let picture = board::picture(name, labels, &self.standings, self.metric)?;
            write_atomic(&self.dir.leaderboard_png(), &picture)?;
        }
        Ok(())
    }
}

fn start(
    launcher: &mut dyn Launcher,
    trial: usize,
    order: &Order,
    standing: &Standing,
) -> Result<()> {
    let args = if let Some(run) = &standing.run {
        vec!["resume".to_owned(), run.path().display().to_string()]
    } else {
        write_atomic(&order.recipe_toml, order.recipe.as_bytes())?;
        vec!["train".to_owned(), order.recipe_toml.display().to_string()]
    };
    launcher.start(Job {
        trial,
        args,
        log: order.log.clone(),
    })
}

/// Why a trial failed. What its run says may be of an earlier try.
fn reason(order: &Order, run: Option<&RunView>) -> String {
    let kept = run.map(|run| run.reason.clone()).unwrap_or_default();
    [order.ending.clone(), last_words(&order.log), kept]
        .into_iter()
        .find(|words| !words.is_empty())
        .unwrap_or_else(|| {
            "its run is not to be found: it was removed, or the images changed".to_owned()
        })
}

/// What a process said before it ended.
fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let text = text.trim();
    text.strip_prefix("error: ").unwrap_or(text).to_owned()
}

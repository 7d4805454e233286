//! A sweep in progress: starts missing and unfinished trials, watches their run directories, and writes the leaderboard. The state
//! of a trial is always read from its run directory; nothing else is remembered.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use super::{
    launcher::{Ended, Job, Launcher},
    live, room,
    standing::TrialState,
    trial_dir::TrialDir,
    view::SweepView,
};
use crate::{
    config,
    console::Console,
    disk::files::write_unflushed,
    error::{self, Error, Result},
    runs::{RunState, RunView},
    storage::DiskEstimate,
};

/// How long to wait between two looks at the run directories, unless a trial ends.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the picture is drawn, which takes a good part of a second.
const PICTURE_EVERY: Duration = Duration::from_secs(20);

/// What is needed to start a trial and to recognise its run.
pub(crate) struct TrialOrder {
    /// The whole experiment as a file, so that edits while the sweep runs change no trial.
    pub(crate) recipe: String,
    pub(crate) dir: TrialDir,
    /// The stderr of its command, which matters if the command fails before it has a run directory.
    pub(crate) log: PathBuf,
    /// The most memory that it will take; 0 if the experiment does not check memory.
    pub(crate) memory_bytes: u64,
    /// What its run will take on the disk.
    pub(crate) disk: DiskEstimate,
    /// Whether this sweep has started it. A sweep starts each trial once; running the sweep again retries failed ones.
    pub(crate) is_started: bool,
    /// Whether it ended neither finished nor stopped on request.
    pub(crate) has_failed: bool,
    /// How the launcher says that the process ended, or why it could not start.
    pub(crate) ending: String,
}

impl TrialOrder {
    /// Writes what a process needs to run the trial, and forgets how earlier ones failed. `run` is the trial's run, if it has one.
    pub(crate) fn write(&self, run: Option<&RunView>) -> Result<()> {
        self.dir.create()?;
        self.dir.forget_failure();
        let file = self.dir.experiment_toml();
        // There may be thousands, and the next call writes those again that a power cut has emptied.
        write_unflushed(&file, self.recipe.as_bytes()).map_err(Error::io("write", &file))?;
        let Some(run) = run else {
            return self.dir.forget_run();
        };
        // An emitted sweep has its runs elsewhere.
        let is_beside = run.path().parent() == self.dir.path().ancestors().nth(2);
        if !is_beside {
            let path = std::path::absolute(run.path()).map_err(Error::io("find", run.path()))?;
            self.dir.note_run(config::path_text(&path)?)
        } else if run.manifest.name != self.dir.name() {
            self.dir.note_run(run.id())
        } else {
            self.dir.forget_run()
        }
    }
}

/// A sweep whose trials this process starts and watches.
pub(crate) struct Campaign {
    pub(crate) view: SweepView,
    /// One for each trial of the view.
    pub(crate) orders: Vec<TrialOrder>,
    /// The trials in the order in which they are to start.
    pub(crate) turns: Vec<usize>,
    /// Whether processes of an earlier sweep are at work that have no run directory yet.
    pub(crate) is_awaiting_runs: bool,
    /// Why no further trial starts, if the sweep takes as much of the disk as it may.
    pub(crate) shortage: Option<String>,
}

impl Campaign {
    /// Runs until every trial has ended; `n_asked` counts how often the user asked to stop.
    pub(crate) fn run(
        &mut self,
        launcher: &mut dyn Launcher,
        n_asked: &AtomicUsize,
        console: &Console,
    ) -> Result<()> {
        let mut n_heeded = 0;
        let mut jobs: BTreeSet<usize> = BTreeSet::new();
        let mut drawn = Instant::now();
        let mut is_first = true;
        // Not reported: this is what earlier calls did.
        self.view.look_at_rungs();
        self.judge(&jobs, None);
        self.write_what_waits()?;
        loop {
            let ended = launcher.ended()?;
            self.look(&jobs);
            for Ended {
                trial,
                has_failed,
                how,
            } in ended
            {
                jobs.remove(&trial);
                let (order, run) = (&mut self.orders[trial], &self.view.standings[trial].run);
                if n_heeded > 0 {
                    // A trial that was stopped before it had a run directory counts as not started.
                    order.is_started = run.is_some();
                } else if !is_at_work(run.as_ref()) {
                    // If the run is in progress, another process works on it, and only that one knows how it ends.
                    (order.has_failed, order.ending) = (has_failed, how);
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
                self.adopt_what_runs(launcher, &mut jobs);
                // In the order in which processes of trials choose: what was promoted, what is new, what is to be promoted.
                self.start_what_waits(launcher, &mut jobs, true);
                self.start_what_waits(launcher, &mut jobs, false);
                self.promote_what_is_left(launcher, &mut jobs, is_first)?;
                is_first = false;
            }
            console.board(|room| {
                live::live(
                    &self.view.standings,
                    self.view.metric,
                    launcher.n_at_once(),
                    room,
                )
            });
            let is_time = drawn.elapsed() > PICTURE_EVERY;
            self.view.write(is_time)?;
            if is_time {
                drawn = Instant::now();
            }
            if n_heeded > 0 && jobs.is_empty() {
                return Err(Error::interrupted());
            }
            let is_full = self.shortage.is_some();
            let is_open = |state| match state {
                TrialState::Running => true,
                TrialState::Waiting => !is_full,
                _ => false,
            };
            if jobs.is_empty() && !self.view.standings.iter().any(|trial| is_open(trial.state)) {
                self.find_shortage();
                return Ok(());
            }
            launcher.wait(PAUSE);
        }
    }

    /// Writes what processes need that go on from one trial to the next by themselves.
    fn write_what_waits(&self) -> Result<()> {
        if self.view.record.search.rungs.is_empty() {
            return Ok(());
        }
        let trials = self.orders.iter().zip(&self.view.standings);
        let waiting = trials.filter(|(_, standing)| standing.state == TrialState::Waiting);
        for (order, standing) in waiting {
            order.write(standing.run.as_ref())?;
        }
        Ok(())
    }

    /// Notes why trials are left that were promoted, if their processes found no room for them.
    fn find_shortage(&mut self) {
        let view = &self.view;
        let trials = view.record.trials.iter().zip(&view.standings);
        let mut left = trials.filter(|(_, standing)| standing.state == TrialState::Interrupted);
        if let Some((trial, _)) = left.next()
            && self.shortage.is_none()
        {
            self.shortage = room::shortage(&view.dir, &view.record, trial);
        }
    }

    /// Starts the promotions that no process of a trial made, because it was killed.
    fn promote_what_is_left(
        &mut self,
        launcher: &mut dyn Launcher,
        jobs: &mut BTreeSet<usize>,
        is_first: bool,
    ) -> Result<()> {
        while launcher.has_room() && (is_first || jobs.is_empty()) {
            let Some(at) = self.view.promote()? else {
                return Ok(());
            };
            if !self.start(launcher, at, jobs) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes over trials that an earlier sweep has started.
    fn adopt_what_runs(&mut self, launcher: &mut dyn Launcher, jobs: &mut BTreeSet<usize>) {
        for (at, standing) in self.view.standings.iter().enumerate() {
            if let (TrialState::Running, Some(run)) = (standing.state, &standing.run)
                && !jobs.contains(&at)
                && !launcher.works_on(&run.dir)
                && launcher.adopt(at, &run.dir)
            {
                jobs.insert(at);
            }
        }
        self.is_awaiting_runs = false;
    }

    /// Starts trials that wait, those that were promoted or the others.
    fn start_what_waits(
        &mut self,
        launcher: &mut dyn Launcher,
        jobs: &mut BTreeSet<usize>,
        are_promoted: bool,
    ) {
        for at in self.turns.clone() {
            if !launcher.has_room() || self.is_awaiting_runs {
                return;
            }
            if self.view.is_climbing(at) != are_promoted {
                continue;
            }
            let standing = &mut self.view.standings[at];
            let works_here = |run: &RunView| launcher.works_on(&run.dir);
            if standing.run.as_ref().is_some_and(works_here) {
                continue;
            }
            // A run that another host claims may have been left by it. `resume` waits to see whether it is alive.
            let is_elsewhere = standing.state == TrialState::Running && !jobs.contains(&at);
            let is_wanted = standing.state == TrialState::Waiting || is_elsewhere;
            if !is_wanted || self.orders[at].is_started {
                continue;
            }
            // The run may have been removed or resumed by somebody else since the last look.
            standing.run = standing.run.take().and_then(now);
            let run = standing.run.as_ref();
            let is_finished = run.is_some_and(|run| run.state == RunState::Finished);
            if is_finished || is_at_work(run) != is_elsewhere {
                continue;
            }
            if !self.start(launcher, at, jobs) {
                // The earlier job takes one of the slots.
                self.is_awaiting_runs = self.shortage.is_none();
                return;
            }
        }
    }

    /// Starts a job for a trial. Returns `false` if the launcher cannot start it yet.
    fn start(
        &mut self,
        launcher: &mut dyn Launcher,
        at: usize,
        jobs: &mut BTreeSet<usize>,
    ) -> bool {
        let view = &self.view;
        self.shortage = room::shortage(&view.dir, &view.record, &view.record.trials[at]);
        if self.shortage.is_some() {
            return false;
        }
        let run = self.view.standings[at].run.as_ref();
        let forgiven = self.view.forgive(at);
        let order = &mut self.orders[at];
        let started = forgiven.and_then(|()| order.write(run)).and_then(|()| {
            launcher.start(Job {
                trial: at,
                args: vec!["trial".to_owned(), order.dir.path().display().to_string()],
                log: order.log.clone(),
            })
        });
        match started {
            Ok(true) => {
                order.is_started = true;
                jobs.insert(at);
            }
            Ok(false) => return false,
            // One trial that cannot start must not end the others.
            Err(error) => {
                (order.is_started, order.has_failed) = (true, true);
                order.ending = error.to_string();
            }
        }
        true
    }

    /// Reads the directories of runs in progress again. Only those, because reading a thousand takes longer than a pause.
    pub(crate) fn look(&mut self, jobs: &BTreeSet<usize>) {
        self.view.look_at_rungs();
        for at in 0..self.view.standings.len() {
            let is_climbing = self.view.is_climbing(at);
            let standing = &mut self.view.standings[at];
            let is_open =
                |run: &mut RunView| is_climbing || jobs.contains(&at) || is_at_work(Some(run));
            if let Some(run) = standing.run.take_if(is_open) {
                standing.run = now(run);
                // A job may have gone on from its own trial to this one, which then failed.
                if standing
                    .run
                    .as_ref()
                    .is_some_and(|run| run.state == RunState::Failed)
                {
                    self.orders[at].has_failed |= self.orders[at].dir.failure().is_some();
                }
            }
        }
        // With early stopping, a job begins other trials, too.
        let may_begin = !self.view.record.search.rungs.is_empty() && !jobs.is_empty();
        let has_no_run = |at: &usize| self.view.standings[*at].run.is_none();
        if self.is_awaiting_runs || may_begin || jobs.iter().any(has_no_run) {
            self.view.find_runs();
        }
    }

    /// Derives the trials' states from their runs, and reports changes to the console.
    pub(crate) fn judge(&mut self, jobs: &BTreeSet<usize>, console: Option<&Console>) {
        let is_promoter_alive: Vec<bool> = (0..self.orders.len())
            .map(|at| self.view.is_climbing(at) && self.view.is_promoter_alive(at))
            .collect();
        for (at, (order, standing)) in self.orders.iter().zip(&mut self.view.standings).enumerate()
        {
            let state = match standing.run.as_ref().map(|run| run.state) {
                Some(RunState::Finished) => TrialState::Finished,
                Some(RunState::Running) => TrialState::Running,
                Some(_) if standing.is_at_rung() => match standing.climb {
                    Some(climb) if climb.is_out => TrialState::Stopped,
                    _ => TrialState::Paused,
                },
                _ if order.has_failed => TrialState::Failed,
                _ if jobs.contains(&at) || is_promoter_alive[at] => TrialState::Running,
                _ if !order.is_started => TrialState::Waiting,
                Some(RunState::Interrupted | RunState::Killed) => TrialState::Interrupted,
                Some(RunState::Failed) | None => TrialState::Failed,
            };
            if state != standing.state {
                standing.reason = if state == TrialState::Failed {
                    reason(order, standing.run.as_ref())
                } else {
                    String::new()
                };
            }
            standing.state = state;
        }
        match console {
            Some(console) => self.view.tell_news(console),
            None => self.view.hush(),
        }
    }
}

/// Reads a run again; `None` if it was removed.
fn now(run: RunView) -> Option<RunView> {
    match RunView::read(run.dir.clone()) {
        Ok(now) => now.has_manifest.then(|| now.without_experiment()),
        // A run that cannot be read at the moment is not gone.
        Err(_) => Some(run),
    }
}

fn is_at_work(run: Option<&RunView>) -> bool {
    run.is_some_and(|run| run.state == RunState::Running)
}

/// Why a trial failed. The reason in its run comes last, because it may be from an earlier attempt.
fn reason(order: &TrialOrder, run: Option<&RunView>) -> String {
    let kept = run.map(|run| run.reason.clone()).unwrap_or_default();
    [order.ending.clone(), error_in_log(&order.log), kept]
        .into_iter()
        .find(|words| !words.is_empty())
        .unwrap_or_else(|| {
            "its run was not found: it was removed, or the images have changed".to_owned()
        })
}

/// The error that a trial's process printed before it ended. Without a run directory there is no other record of it.
fn error_in_log(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    error::without_heading(text.trim()).to_owned()
}

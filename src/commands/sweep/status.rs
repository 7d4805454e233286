//! `runner sweep FILE --status`, `--watch` and `--cancel`: a sweep that other processes run. Reads the sweep's directory as it was
//! last started, not the images or the weights.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{SweepRequest, report};
use crate::{
    claim::{self, Worker},
    config,
    console::Console,
    disk::files::write_atomic,
    error::{Error, Result},
    sweep::{
        definition::{Definition, LauncherKind},
        directory::SweepDir,
        live,
        outside::Tasks,
        record::SweepRecord,
        slurm::{commands::Slurm, ledger::Ledger, submissions},
        standing::TrialState,
        validate,
        view::SweepView,
    },
    text::table::counted,
};

/// How often a sweep that is watched is looked at, on this machine and in a cluster, whose controller others use too.
const LOCAL_PAUSE: Duration = Duration::from_secs(1);
const CLUSTER_PAUSE: Duration = Duration::from_secs(15);

/// The sweep as its directory shows it now.
fn look(definition: &Definition, request: &SweepRequest, console: &Console) -> Result<SweepView> {
    let dir = started(directory(definition, request)?);
    let mut view = SweepView::open(&definition.name, dir)?;
    view.find_runs();
    judge(&mut view, console)?;
    Ok(view)
}

fn judge(view: &mut SweepView, console: &Console) -> Result<()> {
    view.look_at_rungs();
    let (tasks, silence) = Tasks::read(view)?;
    if let Some(error) = silence {
        console.note(&format!(
            "{error}; the states are those of the run directories"
        ));
    }
    view.judge_from_outside(&tasks);
    Ok(())
}

/// The sweep's directory, which the base or the command line decides.
pub(super) fn directory(definition: &Definition, request: &SweepRequest) -> Result<SweepDir> {
    let sets = validate::fixed_sets(definition, &request.sets);
    let base = config::read_trial(&definition.base, &sets, &request.env)?;
    Ok(SweepDir::new(&base.experiment.runs_dir, &definition.name))
}

/// The directory that the sweep runs in: the one it was emitted to, unless it was started here too.
fn started(dir: SweepDir) -> SweepDir {
    let emitted = dir.emitted().filter(|_| !dir.search_toml().is_file());
    emitted.unwrap_or(dir)
}

/// Writes the leaderboard. That the disk is full, or the directory another user's, must not hide how far the trials are.
fn keep(view: &mut SweepView, console: &Console) {
    if let Err(error) = view.write(true) {
        console.note(&error.to_string());
    }
}

/// Prints the leaderboard as it is now.
pub(super) fn status(
    definition: &Definition,
    request: &SweepRequest,
    console: &Console,
) -> Result<()> {
    let mut view = look(definition, request, console)?;
    keep(&mut view, console);
    report::status(&view, console);
    Ok(())
}

/// Shows the sweep until nothing runs or waits any more, or until the user stops watching.
pub(super) fn watch(
    definition: &Definition,
    request: &SweepRequest,
    n_asked: &AtomicUsize,
    console: &Console,
) -> Result<()> {
    let mut view = look(definition, request, console)?;
    let pause = match definition.launcher.kind {
        LauncherKind::Local => LOCAL_PAUSE,
        LauncherKind::Slurm => CLUSTER_PAUSE,
    };
    let n_at_once = definition.launcher.n_at_once();
    view.hush();
    loop {
        console.board(|room| live::live(&view.standings, view.metric, n_at_once, room));
        let is_open = |state| matches!(state, TrialState::Running | TrialState::Queued);
        if !view.standings.iter().any(|trial| is_open(trial.state)) {
            break;
        }
        let started = Instant::now();
        while started.elapsed() < pause && n_asked.load(Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_millis(50));
        }
        if n_asked.load(Ordering::Relaxed) > 0 {
            break;
        }
        view.read_open_runs();
        view.find_runs();
        judge(&mut view, console)?;
        view.tell_news(console);
    }
    console.board_ends();
    keep(&mut view, console);
    report::status(&view, console);
    Ok(())
}

/// Stops all trials of the sweep at a point where they can be resumed, and keeps those that wait from starting.
pub(super) fn cancel(
    definition: &Definition,
    request: &SweepRequest,
    console: &Console,
) -> Result<()> {
    let dir = started(directory(definition, request)?);
    if !dir.search_toml().is_file() {
        return Err(Error::usage("the sweep has not been started").at(dir.path()));
    }
    // Written first, so that no trial that is stopped can start or queue itself again.
    write_atomic(&dir.cancelled(), b"")?;
    let ledger = Ledger::of(dir.path());
    let n_jobs = if ledger.read()?.is_empty() {
        0
    } else {
        submissions::cancel(&Slurm::new(), &ledger)?.len()
    };
    let is_at_work = ask_to_stop(&dir)?;
    let mut text = match (n_jobs, is_at_work) {
        (0, false) => "cancelled: no trial will start until the sweep is run again".to_owned(),
        (0, true) => "cancelled: running trials stop at the next safe point".to_owned(),
        _ => format!(
            "cancelled {}; running trials save a checkpoint and stop",
            counted(n_jobs, "job")
        ),
    };
    text = format!("{text}\n{}", dir.path().display());
    let fields = serde_json::json!({ "sweep": dir.path().to_string_lossy(), "jobs": n_jobs });
    console.answer("cancelled", fields, &text);
    Ok(())
}

/// Asks the processes on this machine to stop: the sweep, which stops its trials, or else each trial, because a second request would
/// make a trial quit at once. Returns whether there is any.
fn ask_to_stop(dir: &SweepDir) -> Result<bool> {
    let mut workers: Vec<Worker> = claim::worker(&dir.place()).into_iter().collect();
    if workers.is_empty() {
        let trials = SweepRecord::read(dir)?.trials;
        let places = trials.iter().map(|trial| dir.trial(&trial.name).place());
        workers.extend(places.filter_map(|place| claim::worker(&place)));
    }
    for worker in &workers {
        worker.ask_to_stop();
    }
    Ok(!workers.is_empty())
}

//! Which run in a sweep's directory belongs to which trial.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::{
    directory::{identity, key},
    view::SweepView,
};
use crate::{
    rundir::RunDir,
    runs::{RunState, RunView},
    text::moment,
};

/// A run that may be one of a trial.
struct Candidate {
    run: RunView,
    key: String,
    started: Option<DateTime<Utc>>,
}

impl SweepView {
    /// Assigns the runs in the sweep's directory to their trials.
    pub(crate) fn find_runs(&mut self) {
        let of_trials = self.standings.iter().filter_map(|it| it.run.as_ref());
        let known: HashSet<&Path> = of_trials
            .map(RunView::path)
            .chain(self.strangers.iter().map(PathBuf::as_path))
            .collect();
        let dirs = self.dir.runs_but(&known);
        let read: Vec<Option<Candidate>> = dirs
            .into_par_iter()
            .map(|dir| candidate(dir, &self.axes))
            .collect();
        let mut candidates: Vec<Candidate> = read.into_iter().flatten().collect();
        // Finished runs come first, so that a trial is not repeated because of a later unfinished run.
        candidates.sort_by_key(|it| Reverse((it.run.state == RunState::Finished, it.started)));
        let mut without_run: HashMap<&str, Vec<usize>> = HashMap::new();
        let trials = self.record.trials.iter().zip(&self.standings).enumerate();
        // Backwards, because the last one of a list is taken first.
        for (at, (trial, standing)) in trials.rev() {
            if standing.run.is_none() {
                without_run.entry(&trial.key).or_default().push(at);
            }
        }
        for Candidate { run, key, .. } in candidates {
            match without_run.get_mut(key.as_str()).and_then(Vec::pop) {
                Some(at) => self.standings[at].run = Some(run),
                None => _ = self.strangers.insert(run.path().to_owned()),
            }
        }
    }
}

/// Reads a run. `None` if it cannot be read, or is still being created, and is looked at again later.
fn candidate(dir: RunDir, axes: &[String]) -> Option<Candidate> {
    let run = RunView::read(dir).ok()?;
    if run.resolved.is_empty() {
        return None;
    }
    Some(Candidate {
        key: key(&identity(&run.resolved, axes), &run.manifest.data_sha256),
        started: moment::parse(&run.manifest.started),
        run: run.without_experiment(),
    })
}

//! A sweep as its directory shows it: the trials and how far their runs are. Starts nothing.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::{
    board::{self, TrialStanding, TrialState},
    directory::{SweepDir, identity, key},
    record::SweepRecord,
    trials,
};
use crate::{
    config::experiment::Metric,
    disk::files::write_atomic,
    error::{Error, Result},
    rundir::records,
    runs::{RunState, RunView},
    text::moment,
};

pub(crate) struct SweepView {
    pub(crate) name: String,
    pub(crate) dir: SweepDir,
    /// The full keys of the axes; `axis_labels` are the shortest names that tell them apart.
    pub(crate) axes: Vec<String>,
    pub(crate) axis_labels: Vec<String>,
    pub(crate) metric: Metric,
    /// What the processes of trials know of the sweep.
    pub(crate) record: SweepRecord,
    /// How far each trial is, one for each trial of the record.
    pub(crate) standings: Vec<TrialStanding>,
    /// Runs in the sweep's directory that belong to no trial.
    pub(crate) strangers: BTreeSet<PathBuf>,
    /// The leaderboard as it was last written.
    written: Vec<Vec<String>>,
}

impl SweepView {
    pub(crate) fn new(name: &str, dir: SweepDir, record: SweepRecord) -> Self {
        let axes = record.search.axes.clone();
        let axis_labels = trials::labels(&axes);
        let standings = record.trials.iter().map(|trial| TrialStanding {
            number: trial.number,
            label: trial.label(&axis_labels),
            values: trial.values.clone(),
            state: TrialState::Waiting,
            reason: String::new(),
            run: None,
            n_epochs_told: 0,
            climb: None,
        });
        Self {
            name: name.to_owned(),
            standings: standings.collect(),
            metric: record.search.metric(),
            dir,
            axes,
            axis_labels,
            record,
            strangers: BTreeSet::new(),
            written: Vec::new(),
        }
    }

    /// The sweep as it was last started.
    pub(crate) fn open(name: &str, dir: SweepDir) -> Result<Self> {
        if !dir.search_toml().is_file() {
            return Err(Error::usage("the sweep has not been started")
                .at(dir.path())
                .help("start it with `runner sweep FILE`"));
        }
        let record = SweepRecord::read(&dir)?;
        Ok(Self::new(name, dir, record))
    }

    /// Assigns the runs in the sweep's directory to their trials.
    pub(crate) fn find_runs(&mut self) {
        let of_trials = self.standings.iter().filter_map(|it| it.run.as_ref());
        let known: HashSet<&Path> = of_trials
            .map(RunView::path)
            .chain(self.strangers.iter().map(PathBuf::as_path))
            .collect();
        let dirs = self.dir.runs_but(&known);
        let axes = &self.axes;
        let mut runs: Vec<(String, RunView)> = dirs
            .into_par_iter()
            .filter_map(|dir| {
                let run = RunView::read(dir).ok()?;
                // A run that is still being created is looked at again later.
                let experiment = Some(&run.resolved).filter(|it| !it.is_empty())?;
                let key = key(&identity(experiment, axes), &run.manifest.data_sha256);
                Some((key, run))
            })
            .collect();
        // Finished runs come first, so that a trial is not repeated because of a later unfinished run.
        runs.sort_by_cached_key(|(_, run)| {
            let is_finished = run.state == RunState::Finished;
            Reverse((is_finished, moment::parse(&run.manifest.started)))
        });
        let trials = self.record.trials.iter().enumerate();
        let by_key: HashMap<&str, usize> = trials.map(|(at, it)| (it.key.as_str(), at)).collect();
        for (key, run) in runs {
            let standing = by_key.get(key.as_str()).map(|at| &mut self.standings[*at]);
            match standing.filter(|standing| standing.run.is_none()) {
                Some(standing) => standing.run = Some(run),
                None => _ = self.strangers.insert(run.path().to_owned()),
            }
        }
    }

    /// Writes the leaderboard if it has changed, and its picture on request.
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

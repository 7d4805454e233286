//! A sweep as its directory shows it: the trials and how far their runs are. Starts nothing.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    board::{self, TrialStanding, TrialState},
    directory::SweepDir,
    record::SweepRecord,
    trials,
};
use crate::{
    config::experiment::Metric,
    disk::files::write_atomic,
    error::{Error, Result},
    rundir::records,
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

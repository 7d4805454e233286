//! A sweep as its directory shows it: the trials and how far their runs are. Starts nothing.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    board,
    directory::SweepDir,
    record::SweepRecord,
    standing::{TrialStanding, TrialState},
    trials,
};
use crate::{
    config::experiment::Metric,
    console::Console,
    disk::files::write_atomic,
    error::{Error, Result},
    rundir::records,
    runs::{RunState, RunView},
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
    /// Whether the leaderboard may differ from the one that was last written. Making that of thousands of trials takes a part of the time
    /// between two looks.
    has_changed: bool,
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
            told: None,
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
            has_changed: true,
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

    /// Reads the runs again that may have changed: all but the finished ones.
    pub(crate) fn read_open_runs(&mut self) {
        for standing in &mut self.standings {
            let is_open = |run: &mut RunView| run.state != RunState::Finished;
            if let Some(run) = standing.run.take_if(is_open) {
                // One that was removed is looked for again.
                standing.run = RunView::read(run.dir).ok().filter(|run| run.has_manifest);
            }
        }
    }

    /// Tells of the trials whose state has changed or which have more epochs than at the last call.
    pub(crate) fn tell_news(&mut self, console: &Console) {
        for standing in &mut self.standings {
            let n_epochs = standing.run.as_ref().map_or(0, |run| run.rows.len());
            let now = (standing.state, n_epochs);
            if standing.told != Some(now) {
                standing.told = Some(now);
                self.has_changed = true;
                let is_on_board =
                    matches!(standing.state, TrialState::Running | TrialState::Queued);
                let (fields, text) = board::news(standing);
                console.news("trial", fields, &text, is_on_board);
            }
        }
    }

    /// Marks all states as told.
    pub(crate) fn hush(&mut self) {
        self.has_changed = true;
        for standing in &mut self.standings {
            let n_epochs = standing.run.as_ref().map_or(0, |run| run.rows.len());
            standing.told = Some((standing.state, n_epochs));
        }
    }

    /// Writes the leaderboard if it has changed, and its picture on request.
    pub(crate) fn write(&mut self, with_picture: bool) -> Result<()> {
        if self.has_changed || with_picture {
            let rows = board::csv_rows(&self.standings, &self.axes, self.metric);
            if rows != self.written {
                records::write_csv(&self.dir.leaderboard_csv(), &rows)?;
                self.written = rows;
            }
            self.has_changed = false;
        }
        if with_picture {
            let (name, labels) = (&self.name, &self.axis_labels);
            let rungs = &self.record.search.rungs;
            let trials = &self.standings;
            let picture = board::picture(name, labels, trials, rungs, self.metric)?;
            write_atomic(&self.dir.leaderboard_png(), &picture)?;
        }
        Ok(())
    }
}

//! What the directory of a sweep says of it to the processes that run its trials: `search.toml` and `trials.csv`. They are written
//! by `runner sweep`, and read by `runner trial` on any machine.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use toml::Value;

use super::{asha::Ladder, directory::SweepDir, text};
use crate::{
    config::experiment::Metric,
    error::{Error, Result},
    rundir::records::{read_csv, read_toml, write_csv, write_toml},
};

/// The columns of `trials.csv` before those of the axes.
const COLUMNS: [&str; 4] = ["number", "name", "key", "bytes"];

/// `search.toml`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SearchRecord {
    /// The name of the metric that decides between trials.
    pub(crate) metric: String,
    /// How often a trial is started that fails by itself.
    pub(crate) max_attempts: usize,
    /// The most bytes that the directory may take.
    pub(crate) max_bytes: Option<u64>,
    /// The epochs after which trials are compared; none if every trial is trained to its end.
    pub(crate) rungs: Vec<usize>,
    pub(crate) eta: usize,
    /// The full keys of the axes.
    pub(crate) axes: Vec<String>,
}

/// A row of `trials.csv`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrialRecord {
    pub(crate) number: usize,
    pub(crate) name: String,
    /// What its run is recognised by, see [`super::directory::key`].
    pub(crate) key: String,
    /// What its run is expected to take on the disk while it is in progress.
    pub(crate) bytes: u64,
    /// The value of each axis.
    pub(crate) values: Vec<Value>,
}

impl TrialRecord {
    /// `lr=0.001 dropout=0.3`, with the labels of [`super::trials::labels`].
    pub(crate) fn label(&self, axis_labels: &[String]) -> String {
        let values = self.values.iter().map(text::to_cell);
        let parts = axis_labels.iter().zip(values);
        let parts: Vec<String> = parts
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        parts.join(" ")
    }
}

/// A sweep as its directory describes it.
pub(crate) struct SweepRecord {
    pub(crate) search: SearchRecord,
    pub(crate) trials: Vec<TrialRecord>,
}

impl SearchRecord {
    pub(crate) fn metric(&self) -> Metric {
        Metric::ALL
            .into_iter()
            .find(|metric| metric.name() == self.metric)
            .unwrap_or(Metric::ValidAccuracy)
    }

    /// The rungs; `None` if every trial is trained to its end.
    pub(crate) fn ladder(&self) -> Option<Ladder> {
        (!self.rungs.is_empty()).then(|| Ladder {
            rungs: self.rungs.clone(),
            eta: self.eta,
        })
    }
}

impl SweepRecord {
    pub(crate) fn read(dir: &SweepDir) -> Result<Self> {
        let rows: Vec<Vec<String>> = read_csv(&dir.trials_csv())?;
        let trials = rows.into_iter().filter_map(|row| {
            let mut cells = row.into_iter();
            Some(TrialRecord {
                number: cells.next()?.parse().ok()?,
                name: cells.next()?,
                key: cells.next()?,
                bytes: cells.next()?.parse().ok()?,
                values: cells.map(|cell| text::from_toml(&cell)).collect(),
            })
        });
        let search: SearchRecord = read_toml(&dir.search_toml())?;
        let rises = search.rungs.windows(2).all(|pair| pair[0] < pair[1]);
        if !search.rungs.is_empty() && (!rises || search.eta < 2) {
            let path = dir.search_toml();
            return Err(Error::run(path, "the file is damaged: invalid rungs")
                .help("run `runner sweep` again, which writes it anew"));
        }
        Ok(Self {
            search,
            trials: trials.collect(),
        })
    }

    pub(crate) fn write(&self, dir: &SweepDir) -> Result<()> {
        let header = COLUMNS.iter().map(|name| (*name).to_owned());
        let header = header.chain(self.search.axes.iter().cloned()).collect();
        let rows = self.trials.iter().map(|trial| {
            let mut row = vec![
                trial.number.to_string(),
                trial.name.clone(),
                trial.key.clone(),
                trial.bytes.to_string(),
            ];
            row.extend(trial.values.iter().map(text::to_toml));
            row
        });
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
        write_csv(&dir.trials_csv(), rows)?;
        // Last, because without it there is no sweep to work on.
        write_toml(&dir.search_toml(), &self.search)
    }

    /// The trials by name.
    pub(crate) fn by_name(&self) -> HashMap<&str, usize> {
        let names = self.trials.iter().enumerate();
        names.map(|(at, trial)| (trial.name.as_str(), at)).collect()
    }
}

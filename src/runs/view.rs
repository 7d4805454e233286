//! The view of a single run, whether finished, in progress, stopped or copied from another machine. Missing or half-written files
//! are left out and never an error.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use super::tables;
use crate::{
    claim::host_name,
    config::experiment::Metric,
    data::split::Part,
    error::Result,
    rundir::{
        RunDir, recipe,
        records::{
            self, EpochRow, Manifest, PredictionRow, RecordedState, SplitRow, Status, Summary,
        },
    },
    scores::ranking::{self, Candidate},
    train::checkpoint,
};

/// A bound on epoch numbers that no experiment exceeds.
const MOST_EPOCHS: usize = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    Finished,
    Running,
    Interrupted,
    Failed,
    /// Its process ended without recording how.
    Killed,
}

impl RunState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }
}

pub(crate) struct RunView {
    pub(crate) dir: RunDir,
    /// Whether there is a manifest; the one of a bare copy is empty except for the name.
    pub(crate) has_manifest: bool,
    pub(crate) manifest: Manifest,
    pub(crate) state: RunState,
    /// Why it failed or was stopped; empty otherwise.
    pub(crate) reason: String,
    /// The whole experiment; empty if the file is missing.
    pub(crate) resolved: toml::Table,
    /// The metric of the experiment and its number of planned epochs, which outlive `resolved`.
    metric: Metric,
    n_planned_epochs: Option<usize>,
    pub(crate) rows: Vec<EpochRow>,
    /// The damages of the files that all this was read from.
    pub(crate) damages: Vec<String>,
    pub(crate) summary: Option<Summary>,
    /// Whether it was slimmed.
    pub(crate) is_slim: bool,
    /// Whether there is a status file.
    has_status: bool,
}

/// The files that a run trains on, validates on and tests on.
#[derive(Default)]
pub(crate) struct RunSplit {
    pub(crate) train: HashSet<String>,
    pub(crate) valid: HashSet<String>,
    pub(crate) test: HashSet<String>,
}

impl RunView {
    /// Fails only if there is a manifest that cannot be read.
    pub(crate) fn read(dir: RunDir) -> Result<Self> {
        let has_manifest = recipe::is_run(dir.path());
        let manifest = if has_manifest {
            recipe::manifest(&dir)?
        } else {
            Manifest {
                name: id(dir.path()),
                ..Manifest::default()
            }
        };
        let status: Option<Status> = records::read_toml(&dir.status_toml()).ok();
        let mut damages = Vec::new();
        let summary = dir.summary();
        if summary.is_none() && dir.summary_toml().exists() {
            damages.push("summary.toml is damaged".to_owned());
        }
        let resolved = match recipe::resolved(&dir, &manifest) {
            Ok(resolved) => resolved,
            Err(error) => {
                // A bare copy may lack it.
                damages.extend(has_manifest.then(|| error.to_string()));
                toml::Table::new()
            }
        };
        let told = tables::metrics(&dir, summary.as_ref());
        let (n_told, rows) = (told.rows.len(), in_order(told.rows));
        damages.extend(told.damage);
        // A bare copy may lack the summary and the status; then the number of rows decides.
        let is_whole = summary.is_some() || n_planned_epochs(&resolved) == Some(rows.len());
        let has_status = status.is_some();
        let state = state(&dir, status.as_ref(), summary.is_some(), is_whole);
        // Half a line at the end of a finished table means damage; in another one it may be a row that is being written.
        let n_lines = n_lines(&dir.metrics_csv(), state == RunState::Finished);
        if damages.is_empty() && (n_lines > rows.len() + 1 || n_told > rows.len()) {
            let fact = "metrics.csv is damaged; only the epochs before the damage are shown";
            damages.push(fact.to_owned());
        }
        let reason = match state {
            RunState::Failed | RunState::Interrupted => {
                status.map(|status| status.reason).unwrap_or_default()
            }
            RunState::Finished | RunState::Running | RunState::Killed => String::new(),
        };
        let n_planned_epochs = n_planned_epochs(&resolved);
        Ok(Self {
            metric: metric(&resolved),
            n_planned_epochs,
            is_slim: checkpoint::is_slim(&dir),
            dir,
            has_manifest,
            manifest,
            state,
            reason,
            resolved,
            rows,
            damages,
            summary,
            has_status,
        })
    }

    /// The view without `resolved`, which takes more memory than all the rest: a sweep holds thousands of views.
    pub(crate) fn without_experiment(mut self) -> Self {
        self.resolved = toml::Table::new();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The name of the directory, which identifies the run; experiments of several runs may have the same name.
    pub(crate) fn id(&self) -> String {
        id(self.path())
    }

    /// Whether `runner resume` could resume it.
    pub(crate) fn is_resumable(&self) -> bool {
        self.has_manifest && self.dir.checkpoints().exists() && !self.is_slim
    }

    /// The name of the state; `unknown` for a copy without a status file.
    pub(crate) fn state_name(&self) -> &'static str {
        let is_copy = !self.has_status && !self.dir.checkpoints().exists();
        match self.state {
            RunState::Killed if is_copy => "unknown",
            state => state.name(),
        }
    }

    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    /// The best epoch so far, by the experiment's own metric.
    pub(crate) fn best(&self) -> Option<&EpochRow> {
        let metric = self.metric();
        let candidate = |row: &&EpochRow| Candidate::of_row(metric, row);
        let rows = self.rows.iter();
        rows.min_by(|a, b| ranking::rank(metric, &candidate(a), &candidate(b)))
    }

    pub(crate) fn last(&self) -> Option<&EpochRow> {
        self.rows.last()
    }

    /// The time of the whole run without pauses; until it has ended, the time of its epochs.
    pub(crate) fn seconds(&self) -> f64 {
        let of_epochs = || self.rows.iter().map(|row| row.seconds).sum();
        self.summary
            .as_ref()
            .map_or_else(of_epochs, |summary| summary.seconds)
    }

    /// The number of epochs of all phases; `None` if the experiment is unknown.
    pub(crate) fn n_planned_epochs(&self) -> Option<usize> {
        self.n_planned_epochs
    }

    /// `3/10`, or `3` if the number of planned epochs is unknown.
    pub(crate) fn epochs(&self) -> String {
        match self.n_planned_epochs() {
            Some(n_planned) => format!("{}/{n_planned}", self.rows.len()),
            None => self.rows.len().to_string(),
        }
    }

    /// The predictions of the best epoch on the validation images. Empty before the end of the first epoch.
    pub(crate) fn predictions(&self) -> Vec<PredictionRow> {
        tables::predictions(&self.dir, self.summary.as_ref()).rows
    }

    /// The predictions of the best epoch on the validation images, and of a finished run also on the test images, with the
    /// probabilities of all classes if the table has them.
    pub(crate) fn probabilities(&self) -> Vec<(PredictionRow, Vec<f64>)> {
        tables::probabilities(&self.dir, self.summary.as_ref())
    }

    /// The rows of `split.csv`; none if the file is missing.
    pub(crate) fn split_rows(&self) -> Vec<SplitRow> {
        tables::split(&self.dir, &self.manifest).rows
    }

    /// The split of the images; empty if the file is missing.
    pub(crate) fn split(&self) -> RunSplit {
        let mut split = RunSplit::default();
        for row in tables::split(&self.dir, &self.manifest).rows {
            match row.split.as_str() {
                "train" => split.train.insert(row.file),
                "valid" => split.valid.insert(row.file),
                _ => split.test.insert(row.file),
            };
        }
        split
    }

    /// The images of one part of the split, relative to the data folder; empty if the file is missing.
    pub(crate) fn files(&self, part: Part) -> Vec<String> {
        let rows = tables::split(&self.dir, &self.manifest).rows.into_iter();
        let rows = rows.filter(|row| row.split == part.name());
        rows.map(|row| row.file).collect()
    }

    /// The images of each class in each part of the split; empty if the file is missing.
    pub(crate) fn class_counts(&self) -> Vec<[usize; 3]> {
        let rows = tables::split(&self.dir, &self.manifest).rows;
        if rows.is_empty() {
            return Vec::new();
        }
        let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
        for SplitRow { class, split, .. } in &rows {
            *counts.entry((class, split)).or_default() += 1;
        }
        let count = |class: &str, part: Part| counts.get(&(class, part.name())).copied();
        let classes = self.manifest.classes.iter();
        let of_class = |class: &String| Part::ALL.map(|part| count(class, part).unwrap_or(0));
        classes.map(of_class).collect()
    }

    /// The `damages`, and those of the tables that are read on demand.
    pub(crate) fn all_damages(&self) -> Vec<String> {
        let predictions = tables::predictions(&self.dir, self.summary.as_ref()).damage;
        let split = tables::split(&self.dir, &self.manifest).damage;
        let more = predictions.into_iter().chain(split);
        self.damages.iter().cloned().chain(more).collect()
    }

    /// Whether this run started from a checkpoint of `parent`. If the recorded path does not exist here, the names are compared.
    pub(crate) fn goes_on_from(&self, parent: &Self) -> bool {
        self.parent()
            .is_some_and(|place| match fs::canonicalize(&place) {
                Ok(place) => fs::canonicalize(parent.path()).is_ok_and(|path| path == place),
                Err(_) => place.file_name().is_some_and(|name| *name == *parent.id()),
            })
    }

    pub(crate) fn parent(&self) -> Option<PathBuf> {
        let parent = self.manifest.parent.as_ref()?;
        Some(PathBuf::from(&parent.run))
    }
}

/// The name of a run directory; the path may be `.`.
fn id(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The number of lines that are not empty. A last line without a line end counts only if `counts_half`.
fn n_lines(path: &Path, counts_half: bool) -> usize {
    let text = fs::read(path).unwrap_or_default();
    text.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| counts_half || line.ends_with(b"\n"))
        .filter(|line| !line.trim_ascii().is_empty())
        .count()
}

/// The rows up to the first whose epoch does not increase or is out of bounds: from there on the table is damaged, and a plot
/// would have no room for it.
fn in_order(mut rows: Vec<EpochRow>) -> Vec<EpochRow> {
    let mut last = 0;
    let n_sound = rows
        .iter()
        .take_while(|row| {
            let is_next = (last + 1..=MOST_EPOCHS).contains(&row.epoch);
            last = row.epoch;
            is_next
        })
        .count();
    rows.truncate(n_sound);
    rows
}

fn metric(experiment: &toml::Table) -> Metric {
    let training = experiment.get("training");
    let name = training.and_then(|training| training.get("metric")?.as_str());
    Metric::ALL
        .into_iter()
        .find(|metric| Some(metric.name()) == name)
        .unwrap_or(Metric::ValidAccuracy)
}

fn n_planned_epochs(experiment: &toml::Table) -> Option<usize> {
    let phases = experiment.get("phase")?.as_array()?;
    phases.iter().try_fold(0_usize, |n_epochs, phase| {
        let epochs = usize::try_from(phase.get("epochs")?.as_integer()?).ok()?;
        n_epochs.checked_add(epochs)
    })
}

fn state(dir: &RunDir, status: Option<&Status>, has_summary: bool, is_whole: bool) -> RunState {
    if dir.is_claimed() {
        return RunState::Running;
    }
    if has_summary {
        // The summary is written last; a process that was killed after that lost nothing but the final status.
        return RunState::Finished;
    }
    match status.map(|status| (status.state, status.host.as_str())) {
        Some((RecordedState::Finished, _)) => RunState::Finished,
        Some((RecordedState::Interrupted, _)) => RunState::Interrupted,
        Some((RecordedState::Failed, _)) => RunState::Failed,
        // Another machine's locks cannot be seen from here. Where there is a claim it has been silent for long.
        Some((RecordedState::Running, host))
            if !host.is_empty() && host != host_name() && !dir.claim_toml().exists() =>
        {
            RunState::Running
        }
        None if is_whole => RunState::Finished,
        Some((RecordedState::Running, _)) | None => RunState::Killed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(epochs: &[usize], n_sound: usize) {
        let row = |epoch: &usize| EpochRow {
            epoch: *epoch,
            phase: "head".to_owned(),
            train_loss: 0.5,
            train_accuracy: 0.5,
            valid_loss: 0.5,
            valid_accuracy: 0.5,
            lr: 1e-3,
            trainable_params: 1,
            images: 1,
            seconds: 1.0,
            images_per_second: 1.0,
            waiting_seconds: 0.0,
            frozen_seconds: 0.0,
            valid_seconds: 0.0,
            valid_macro_f1: None,
            valid_auc: None,
        };
        let rows = in_order(epochs.iter().map(row).collect());
        assert_eq!(rows.len(), n_sound, "{epochs:?}");
    }

    #[test]
    fn rows_count_as_long_as_their_epochs_do() {
        check(&[1, 2, 3], 3);
        check(&[1, 3], 2);
        check(&[1, 1, 2], 1);
        check(&[0, 1], 0);
        check(&[1, usize::MAX, 2], 1);
    }
}

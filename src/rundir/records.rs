//! The contents of the files in a run directory: one struct for each, with fields in the order of the columns.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    disk::{cells, files::write_atomic, sealed::FileRecord},
    error::{Error, Result},
    rundir::times::Times,
};

/// The format of run directories that this version writes.
pub(crate) const FORMAT: u32 = 2;
/// The oldest format of run directories that this version reads.
pub(crate) const OLDEST_FORMAT: u32 = 1;

/// `manifest.toml`: what defines a run besides its experiment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) name: String,
    pub(crate) runner_version: String,
    /// The commit that is checked out in the working directory; empty outside a repository. Uncommitted changes are not
    /// recorded.
    pub(crate) git_commit: String,
    pub(crate) command: Vec<String>,
    pub(crate) started: String,
    pub(crate) host: String,
    pub(crate) os: String,
    pub(crate) device: String,
    pub(crate) threads: usize,
    pub(crate) classes: Vec<String>,
    pub(crate) n_train: usize,
    pub(crate) n_valid: usize,
    pub(crate) n_test: usize,
    pub(crate) data_sha256: String,
    pub(crate) split_sha256: String,
    pub(crate) weights: String,
    pub(crate) weights_sha256: String,
    /// The parameters that were initialised at random, because the weights do not have them.
    pub(crate) fresh_parameters: Vec<String>,
    /// The peak of host memory that was estimated for the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) predicted_memory_bytes: Option<u64>,
    /// The run that this one started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Parent>,
    /// The records of the other files that define the run.
    #[serde(default, rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<FileRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Parent {
    pub(crate) run: String,
    pub(crate) epoch: usize,
    pub(crate) model_sha256: String,
}

/// A row of `metrics.csv`. Losses are means over images, accuracies fractions of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochRow {
    /// Counted from 1, across phases.
    pub(crate) epoch: usize,
    pub(crate) phase: String,
    pub(crate) train_loss: f64,
    pub(crate) train_accuracy: f64,
    pub(crate) valid_loss: f64,
    pub(crate) valid_accuracy: f64,
    /// The learning rate of the first parameter group at the last step.
    #[serde(default)]
    pub(crate) lr: f64,
    #[serde(default)]
    pub(crate) trainable_params: usize,
    /// The number of images trained on.
    #[serde(default)]
    pub(crate) images: usize,
    /// The time of training and validation together.
    #[serde(default)]
    pub(crate) seconds: f64,
    /// The images trained on per second of training.
    #[serde(default)]
    pub(crate) images_per_second: f64,
    /// The part of the training time that was spent waiting for images.
    #[serde(default)]
    pub(crate) waiting_seconds: f64,
    /// The part of the training time that was spent on frozen layers, if they are not cached.
    #[serde(default)]
    pub(crate) frozen_seconds: f64,
    #[serde(default)]
    pub(crate) valid_seconds: f64,
    /// Recorded only if it is the metric of the run, like `valid_auc`, so that other tables keep their columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid_macro_f1: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid_auc: Option<f64>,
}

/// A row of `steps.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepRow<'a> {
    /// Counted from 1, across phases.
    pub(crate) step: usize,
    pub(crate) epoch: usize,
    pub(crate) phase: &'a str,
    /// The mean over the images of the step, before the update.
    pub(crate) loss: f64,
    pub(crate) lr: f64,
}

/// A row of `split.csv`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SplitRow {
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) class: String,
    pub(crate) split: String,
}

/// A row of `predictions.csv`, without the probabilities of all classes at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PredictionRow {
    pub(crate) file: String,
    pub(crate) class: String,
    pub(crate) predicted: String,
    /// The probability of the predicted class.
    pub(crate) probability: f64,
    /// The cross-entropy, without label smoothing.
    pub(crate) loss: f32,
    pub(crate) split: String,
}

/// A row of `changes.csv`: a setting that was changed when a run was resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResumeChange {
    /// The epochs that were done before the change; `step` counts the steps.
    pub(crate) epoch: usize,
    pub(crate) step: usize,
    pub(crate) key: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// `status.toml`: the state of a run when it was last written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) state: RecordedState,
    pub(crate) reason: String,
    pub(crate) updated: String,
    /// The host that wrote the status.
    #[serde(default)]
    pub(crate) host: String,
}

/// The state of a run as `status.toml` has it: a run that was killed still says `running`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecordedState {
    Running,
    Finished,
    Interrupted,
    Failed,
}

/// `summary.toml`: the results of a finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) format: u32,
    pub(crate) name: String,
    pub(crate) epochs: usize,
    pub(crate) steps: usize,
    /// Steps without an update, because a loss or a gradient was not finite.
    #[serde(default)]
    pub(crate) skipped_steps: usize,
    /// Phases that ended before their last epoch.
    pub(crate) stopped_early: Vec<String>,
    pub(crate) images: usize,
    pub(crate) rejected: usize,
    /// The time of all epochs, without interruptions.
    pub(crate) seconds: f64,
    pub(crate) bottleneck: String,
    /// The time of each part of the run.
    #[serde(default)]
    pub(crate) times: Times,
    /// The peak memory of the process that finished the run; absent if the system does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) best: ScoredEpoch,
    pub(crate) last: ScoredEpoch,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) test: Option<TestScores>,
    /// The means over all classes; absent in summaries of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) macro_average: Option<MacroAverage>,
    #[serde(default, rename = "class")]
    pub(crate) classes: Vec<ClassScores>,
    /// The records of the tables and pictures of the run.
    #[serde(default, rename = "file")]
    pub(crate) files: Vec<FileRecord>,
}

/// An epoch and its scores on the validation images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScoredEpoch {
    pub(crate) epoch: usize,
    pub(crate) phase: String,
    pub(crate) valid_loss: f64,
    pub(crate) valid_accuracy: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid_macro_f1: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid_auc: Option<f64>,
}

/// The scores of the best checkpoint on the test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TestScores {
    pub(crate) loss: f64,
    pub(crate) accuracy: f64,
    /// Absent in summaries of earlier versions, like `classes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) macro_average: Option<MacroAverage>,
    #[serde(default, rename = "class", skip_serializing_if = "Vec::is_empty")]
    pub(crate) classes: Vec<ClassScores>,
}

/// The scores of the best checkpoint on one class of one part of the split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassScores {
    pub(crate) name: String,
    pub(crate) images: usize,
    /// Absent if the class was never predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) precision: Option<f64>,
    /// Absent if the class has no images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recall: Option<f64>,
    /// Absent if both precision and recall are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) f1: Option<f64>,
}

/// The mean of each score, over the classes that have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MacroAverage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) precision: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recall: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) f1: Option<f64>,
}

pub(crate) fn write_toml<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    write_atomic(path, toml_text(path, value)?.as_bytes())
}

/// The text that [`write_toml`] would write to `path`.
pub(crate) fn toml_text<T: Serialize>(path: &Path, value: &T) -> Result<String> {
    toml::to_string_pretty(value).map_err(|error| unwritable(path, error))
}

pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    toml::from_str(&text)
        .map_err(|error| Error::run(path, format!("the file is damaged: {}", error.message())))
}

/// Writes a table. The header is taken from structs; for rows of text, it is the first row.
pub(crate) fn write_csv<T: Serialize>(
    path: &Path,
    rows: impl IntoIterator<Item = T>,
) -> Result<()> {
    write_atomic(path, &csv_bytes(path, true, rows)?)
}

/// A table as text; the header is taken from structs if `has_headers` is set.
pub(crate) fn csv_bytes<T: Serialize>(
    path: &Path,
    has_headers: bool,
    rows: impl IntoIterator<Item = T>,
) -> Result<Vec<u8>> {
    cells::to_csv(has_headers, rows).map_err(|error| unwritable(path, error))
}

pub(crate) fn read_csv<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = fs::read(path).map_err(Error::io("read", path))?;
    let rows: csv::Result<Vec<T>> = cells::from_csv(&text[..])
        .and_then(|(header, rows)| rows.map(|row| row?.deserialize(Some(&header))).collect());
    rows.map_err(|error| Error::run(path, format!("the file is damaged: {error}")))
}

/// The rows of a table that may still be growing, up to the first line that is incomplete or invalid.
pub(crate) fn read_csv_so_far<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    parse_csv_so_far(&fs::read(path).unwrap_or_default())
}

/// Like [`read_csv_so_far`], for the text of a table.
pub(crate) fn parse_csv_so_far<T: DeserializeOwned>(text: &[u8]) -> Vec<T> {
    let Ok((header, rows)) = cells::from_csv(whole_lines(text)) else {
        return Vec::new();
    };
    rows.map_while(|row| row.ok()?.deserialize(Some(&header)).ok())
        .collect()
}

/// The rows of `predictions.csv` up to the first line that is incomplete or invalid, each with the probabilities of all classes;
/// these are empty if the table does not have them.
pub(crate) fn parse_predictions_so_far(text: &[u8]) -> Vec<(PredictionRow, Vec<f64>)> {
    let Ok((header, rows)) = cells::from_csv(whole_lines(text)) else {
        return Vec::new();
    };
    let first = header.iter().position(|it| it.starts_with("probability_"));
    rows.map_while(|row| {
        let row = row.ok()?;
        let more = row.iter().skip(first.unwrap_or(row.len()));
        let probabilities = more.map(|cell| cell.parse().ok()).collect::<Option<_>>()?;
        Some((row.deserialize(Some(&header)).ok()?, probabilities))
    })
    .collect()
}

/// The text up to its last line end.
fn whole_lines(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte == b'\n');
    &text[..end.map_or(0, |newline| newline + 1)]
}

/// Keeps the rows of a damaged table that are complete and whose number, the first cell, is in order and at most `last`.
/// Returns the number of rows kept.
pub(crate) fn salvage_rows(path: &Path, bytes: &[u8], last: usize) -> Result<usize> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split_inclusive('\n');
    let header = lines.next().unwrap_or_default();
    let n_cells = header.split(',').count();
    let (mut kept, mut n_kept, mut previous) = (header.to_owned(), 0, 0);
    for line in lines.filter(|line| line.ends_with('\n') && line.split(',').count() == n_cells) {
        let number = line.split(',').next().and_then(|cell| cell.parse().ok());
        if let Some(number) = number.filter(|number| (previous + 1..=last).contains(number)) {
            previous = number;
            n_kept += 1;
            kept.push_str(line);
        }
    }
    write_atomic(path, kept.as_bytes())?;
    Ok(n_kept)
}

fn unwritable(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::io("write", path)(std::io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: usize) -> StepRow<'static> {
        StepRow {
            step,
            epoch: 1,
            phase: "head",
            loss: 0.5,
            lr: 1e-3,
        }
    }

    #[test]
    fn of_a_damaged_table_the_rows_that_are_whole_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("steps.csv");
        write_csv(&path, (1..=5).map(step)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let (second, half) = ("2,1,head,0.5,0.001\n", "\n5,1,head");
        let damaged = text.replace(second, "\u{0}2,1,head,0.5,0.001\n2\n");
        let end = damaged.find(half).unwrap() + half.len();
        let n_kept = salvage_rows(&path, &damaged.as_bytes()[..end], 4).unwrap();
        assert_eq!(n_kept, 3);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "step,epoch,phase,loss,lr\n1,1,head,0.5,0.001\n3,1,head,0.5,0.001\n4,1,head,0.5,0.001\n"
        );
    }
}

//! The tables of a run, read from wherever they are undamaged: from its directory, or else from its checkpoints. For a run in
//! progress or a bare copy there is nothing to check them against.

use std::fs;

use crate::{
    error::Error,
    rundir::{
        RunDir, recipe,
        records::{self, EpochRow, Manifest, PredictionRow, SplitRow, Summary},
    },
    train::checkpoint,
};

/// The rows of a table, and the damage of the file that they should have come from.
pub(super) struct TableRows<T> {
    pub(super) rows: Vec<T>,
    pub(super) damage: Option<String>,
}

pub(super) fn metrics(dir: &RunDir, summary: Option<&Summary>) -> TableRows<EpochRow> {
    let path = dir.metrics_csv();
    // While a run resumes, rows are dropped and written again, so that its checkpoint may be ahead of them.
    let is_at_rest = !dir.is_claimed();
    let bytes = fs::read(&path).unwrap_or_default();
    let copy = || is_at_rest.then(|| checkpoint::undamaged_metrics(dir, &bytes))?;
    match recorded(dir, "metrics.csv", summary) {
        Ok(()) if summary.is_some() => told(&bytes, None),
        Ok(()) => match copy() {
            None => told(&bytes, None),
            Some(copy) => told(&copy, Some("metrics.csv is damaged".to_owned())),
        },
        Err(error) => told(copy().as_ref().unwrap_or(&bytes), Some(error.to_string())),
    }
}

/// The predictions of the best epoch on the validation images.
pub(super) fn predictions(dir: &RunDir, summary: Option<&Summary>) -> TableRows<PredictionRow> {
    let (bytes, damage) = prediction_bytes(dir, summary);
    let mut told = told(&bytes, damage);
    told.rows.retain(|row: &PredictionRow| row.split == "valid");
    told
}

/// The predictions of the best epoch on the validation images, and then on the test images, each with the probabilities of all
/// classes if the table has them.
pub(super) fn probabilities(
    dir: &RunDir,
    summary: Option<&Summary>,
) -> Vec<(PredictionRow, Vec<f64>)> {
    let (bytes, _) = prediction_bytes(dir, summary);
    records::parse_predictions_so_far(&bytes)
}

fn prediction_bytes(dir: &RunDir, summary: Option<&Summary>) -> (Vec<u8>, Option<String>) {
    let recorded = recorded(dir, "predictions.csv", summary);
    let copy = if summary.is_some() && recorded.is_ok() || dir.is_claimed() {
        None
    } else {
        checkpoint::best_predictions(dir)
    };
    let bytes = copy.unwrap_or_else(|| fs::read(dir.predictions_csv()).unwrap_or_default());
    (bytes, recorded.err().map(|error| error.to_string()))
}

pub(super) fn split(dir: &RunDir, manifest: &Manifest) -> TableRows<SplitRow> {
    let (path, damage) = match recipe::sound(dir, recipe::SPLIT, manifest) {
        Ok(path) => (path, None),
        Err(error) => (dir.split_csv(), Some(error.to_string())),
    };
    told(&fs::read(path).unwrap_or_default(), damage)
}

/// Checks a file against its record in the summary, if there is one.
fn recorded(dir: &RunDir, name: &str, summary: Option<&Summary>) -> Result<(), Error> {
    let mut files = summary.iter().flat_map(|summary| &summary.files);
    let record = files.find(|file| file.name == name);
    record.map_or(Ok(()), |record| record.check(dir.path()))
}

fn told<T: serde::de::DeserializeOwned>(bytes: &[u8], damage: Option<String>) -> TableRows<T> {
    TableRows {
        rows: records::parse_csv_so_far(bytes),
        damage,
    }
}

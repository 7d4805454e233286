//! `predictions.csv`: a model's answers as a table, with the probabilities of all classes at the end of each row.

use std::{
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use super::evaluate::Prediction;
use crate::{
    data::{index::DatasetIndex, split::Part},
    disk::{cells, sealed::FileRecord},
    error::Result,
    rundir::records::PredictionRow,
};

/// With more classes than this, a row has only the probability of the predicted class: the table would take gigabytes.
pub(crate) const MOST_CLASSES: usize = 1000;
/// The columns that a table always has.
const COLUMNS: [&str; 6] = ["file", "class", "predicted", "probability", "loss", "split"];

/// The predictions on one part of the split, written row by row.
pub(crate) struct Answers<'a> {
    pub(crate) predictions: &'a [Prediction],
    pub(crate) part: Part,
    pub(crate) index: &'a DatasetIndex,
}

impl Answers<'_> {
    /// Writes the table to `path`, and returns its record.
    pub(crate) fn save(&self, path: &Path) -> Result<FileRecord> {
        FileRecord::write(path, |to| self.write(to))
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let classes = &self.index.classes;
        let mut header = COLUMNS.map(str::to_owned).to_vec();
        if classes.len() <= MOST_CLASSES {
            header.extend(classes.iter().map(|class| format!("probability_{class}")));
        }
        let mut writer = cells::CsvWriter::new(to);
        let written = writer
            .write(false, [&header])
            .and_then(|()| writer.write(false, self.rows(header.len() > COLUMNS.len())));
        written
            .and_then(|()| writer.finish())
            .map_err(cells::into_io)
    }

    /// Writes `table`, which has the rows of another part, and then these rows to `path`.
    pub(crate) fn save_behind(&self, table: &[u8], path: &Path) -> Result<()> {
        let header = table.split(|byte| *byte == b'\n').next();
        let n_columns = cells::from_csv(header.unwrap_or_default())
            .map_or(COLUMNS.len(), |(header, _)| header.len());
        crate::disk::files::write_streamed(path, |to| {
            to.write_all(table)?;
            let mut writer = cells::CsvWriter::new(to);
            // A checkpoint of an earlier version lacks the columns of the other classes; the new rows must match its header.
            let rows = self.rows(n_columns > COLUMNS.len());
            let written = writer.write(false, rows);
            written
                .and_then(|()| writer.finish())
                .map_err(cells::into_io)
        })
    }

    fn rows(&self, has_all: bool) -> impl Iterator<Item = impl Serialize> {
        self.predictions.iter().map(move |prediction| {
            let probabilities = probabilities(&prediction.logits);
            let row = self.row(prediction, &probabilities);
            (row, if has_all { probabilities } else { Vec::new() })
        })
    }

    fn row(&self, prediction: &Prediction, probabilities: &[f64]) -> PredictionRow {
        let index = self.index;
        PredictionRow {
            file: index.images[prediction.image_index].file.clone(),
            class: index.classes[prediction.target].clone(),
            predicted: index.classes[prediction.predicted].clone(),
            probability: probabilities[prediction.predicted],
            loss: prediction.loss,
            split: self.part.name().to_owned(),
        }
    }
}

/// Softmax in 64 bits: in 32 bits every probability within 6e-8 of 1 would become 1.
pub(crate) fn probabilities(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits
        .iter()
        .map(|logit| (f64::from(*logit) - f64::from(largest)).exp());
    let powers: Vec<f64> = powers.collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_tell_how_far_from_one_they_are() {
        let found = probabilities(&[26.5, 0.0]);
        assert!((1.0 - found[0] - 3.099e-12).abs() < 1e-14, "{found:?}");
        assert!(
            (found[1] / (-26.5_f64).exp() - 1.0).abs() < 1e-10,
            "{found:?}"
        );
        // Neither overflows.
        assert_eq!(probabilities(&[3e38, 3e38]), [0.5, 0.5]);
        assert_eq!(probabilities(&[-3e38, 0.0]), [0.0, 1.0]);
    }
}

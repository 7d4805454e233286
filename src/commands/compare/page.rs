//! A comparison as the values of an HTML page.

use std::path::Path;

use super::{Comparison, Origin, gather, tables};
use crate::{
    console::Console,
    error::Result,
    page::model::{ComparisonReport, RunCurve},
};

/// Compares the runs that the words refer to.
pub(crate) fn report(
    words: &[String],
    runs_dir: &Path,
    console: &Console,
) -> Result<ComparisonReport> {
    let comparison = gather(words, runs_dir, console)?;
    let has_pairs = !comparison.pairs.shown.is_empty();
    Ok(ComparisonReport {
        title: comparison
            .rows
            .iter()
            .map(|row| format!("{} {}", row.letter, row.run))
            .collect::<Vec<_>>()
            .join(", "),
        runs: tables::run_table(&comparison),
        reasons: tables::reasons(&comparison).unwrap_or_default(),
        cautions: comparison.cautions.clone(),
        differences: tables::difference_table(&comparison),
        pairs: has_pairs.then(|| {
            (
                tables::capitalised(&tables::pairs_title(&comparison)),
                tables::pair_table(&comparison),
            )
        }),
        curves: curves(&comparison),
    })
}

fn curves(comparison: &Comparison) -> Vec<RunCurve> {
    let runs = comparison.views.iter().zip(&comparison.rows);
    let origins = comparison.origins.iter().zip(&comparison.offsets);
    runs.zip(origins)
        .map(|((view, row), (origin, offset))| {
            let from = origin.map_or_else(String::new, |Origin { run, epoch }| {
                format!(" (from {}, epoch {epoch})", comparison.letters[run])
            });
            RunCurve {
                label: format!("{} {}{from}", row.letter, row.run),
                epochs: view.rows.clone(),
                offset: *offset,
                best_epoch: view.best().map(|row| row.epoch),
            }
        })
        .collect()
}

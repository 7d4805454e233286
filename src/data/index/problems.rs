//! Checks that a scanned data folder can be used, with the offending files in the error.

use super::{DatasetIndex, Rejected};
use crate::{
    config::experiment::Data,
    error::{Error, Result},
    text::plain::for_a_line,
};

/// Fails if more files are broken than `data.max_rejected_fraction` allows.
pub(super) fn check_share(data: &Data, rejected: &[Rejected], n_files: usize) -> Result<()> {
    if rejected.len() as f64 <= data.max_rejected_fraction * n_files as f64 {
        return Ok(());
    }
    let error = Error::data(format!(
        "{} of {n_files} files are not readable images, more than `data.max_rejected_fraction` = {} allows",
        rejected.len(),
        data.max_rejected_fraction,
    ))
    .at(&data.root)
    .help("repair or remove these files, or raise `data.max_rejected_fraction`");
    Err(error.facts(rejected.iter().map(Rejected::to_string)))
}

/// Fails if a class has no image. `lost` are the files that are not images, each with the class that it would belong to.
pub(super) fn check_classes(index: &DatasetIndex, lost: &[(usize, Rejected)]) -> Result<()> {
    let counts = index.class_counts();
    let empty: Vec<String> = index
        .classes
        .iter()
        .zip(&counts)
        .filter(|(_, count)| **count == 0)
        .map(|(class, _)| format!("`{class}`"))
        .collect();
    if empty.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = lost
        .iter()
        .filter(|(class, _)| counts[*class] == 0)
        .map(|(_, rejected)| rejected.to_string())
        .collect();
    let error = Error::data(format!(
        "no readable image in class {}",
        for_a_line(&empty.join(", "))
    ))
    .at(&index.root)
    .help("add images to this class, or remove its folder");
    Err(error.facts(reasons))
}

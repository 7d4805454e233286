//! What keeps a data folder from being used, with the files that are to blame.

use super::{DatasetIndex, Rejected};
use crate::{
    config::experiment::Data,
    error::{Error, Result},
    text::plain::for_a_line,
};

/// Lines of an error before the rest is only counted.
const MAX_LISTED: usize = 20;

pub(super) fn check_share(data: &Data, rejected: &[Rejected], n_files: usize) -> Result<()> {
    if rejected.len() as f64 <= data.max_rejected_fraction * n_files as f64 {
        return Ok(());
    }
    let lines = rejected
        .iter()
        .map(|Rejected { file, reason }| format!("{file}: {reason}"));
    let listed = listed(lines);
    Err(Error::data(format!(
        "{}: {} of {n_files} files are not readable images, more than data.max_rejected_fraction = {}{listed}\n\
         help: repair or remove them, or raise data.max_rejected_fraction",
        data.root.display(),
        rejected.len(),
        data.max_rejected_fraction,
    )))
}

/// Lines for an error message, each on its own and indented; beyond a page of them the rest is counted.
pub(crate) fn listed(mut lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = String::new();
    for line in lines.by_ref().take(MAX_LISTED) {
        text.push_str("\n  ");
        text.push_str(&for_a_line(&line));
    }
    match lines.len() {
        0 => text,
        n_more => format!("{text}\n  and {n_more} more"),
    }
}

/// Fails where a class has no image. `lost` are the files of classes that are none, by class.
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
        .map(|(_, Rejected { file, reason })| format!("{file}: {reason}"))
        .collect();
    Err(Error::data(format!(
        "{}: no readable image in class {}{}\nhelp: put images there, or remove the folder",
        index.root.display(),
        for_a_line(&empty.join(", ")),
        listed(reasons.into_iter()),
    )))
}

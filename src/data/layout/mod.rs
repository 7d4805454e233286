//! How a data folder tells classes and parts: by folders, by a manifest, or by file names. Each layout turns the files that
//! were found into the same listing; contents are read by nobody here but the manifest's.

mod advice;
mod folders;
mod manifest;
pub(crate) mod pattern;
mod proposal;

#[cfg(test)]
mod tests;

pub(crate) use self::proposal::{Proposal, is_data_set, propose};
use super::{
    part::Part,
    stamp::Stamp,
    walk::{self, Rejected},
};
use crate::{config::experiment::Data, error::Result};

/// A file that may hold an image of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayoutCandidate {
    /// Relative to the root, with `/`.
    pub(crate) file: String,
    pub(crate) class: usize,
    /// Where the data set has a split of its own.
    pub(crate) part: Option<Part>,
    /// Images of one group stay in one part.
    pub(crate) group: Option<usize>,
    pub(crate) stamp: Stamp,
}

/// What a layout makes of the files below a root.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Sorted.
    pub(crate) classes: Vec<String>,
    /// By class, then folder, then name.
    pub(crate) candidates: Vec<LayoutCandidate>,
    /// Files of a class that must not be opened.
    pub(crate) rejected: Vec<Rejected>,
    /// Files that belong to no class.
    pub(crate) ignored: Vec<Rejected>,
    /// What says which part an image is in; without it the experiment decides.
    pub(crate) own_split: Option<String>,
    /// A doubt about what the classes are.
    pub(crate) doubt: Option<String>,
    /// Whether the classes are something else than the first folder of each file, which the file's name does not tell then.
    pub(crate) names_classes: bool,
}

/// Lists the files of the data set in the layout that the experiment says, else in that of its folders.
pub(crate) fn list(data: &Data) -> Result<Listing> {
    let tree = walk::tree(&data.root)?;
    let mut listing = match (&data.manifest, &data.class_pattern) {
        (Some(manifest), _) => manifest::list(manifest, &data.root, tree)?,
        (None, Some(pattern)) => pattern::list(pattern, &data.root, tree)?,
        (None, None) => folders::list(&data.root, tree)?,
    };
    // `ImageFolder` sorts by folder, then by name: `a/z.jpg` comes before `a/b/c.jpg`.
    listing.candidates.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(listing)
}

fn order(candidate: &LayoutCandidate) -> (usize, Option<(&str, &str)>, &str) {
    let file = candidate.file.as_str();
    (candidate.class, file.rsplit_once('/'), file)
}

/// `` `a`, `b` and 3 more ``
fn named(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        n_more => format!("{shown} and {n_more} more"),
    }
}

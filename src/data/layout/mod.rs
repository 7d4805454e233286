//! The layouts of data folders, which define classes and parts by folders, by a manifest, or by file names. Each layout turns
//! the files that were found into the same kind of listing. Only the manifest's content is read here.

mod advice;
mod folders;
mod known;
mod manifest;
pub(crate) mod pattern;
mod proposal;

#[cfg(test)]
mod tests;

use std::path::Path;

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
    /// The path relative to the root, with `/` on every system.
    pub(crate) file: String,
    pub(crate) class: usize,
    /// The part of the split, if the data set defines its own.
    pub(crate) part: Option<Part>,
    /// A random split puts all images of a group into the same part.
    pub(crate) group: Option<usize>,
    pub(crate) stamp: Stamp,
}

/// The files below a root, as a layout interprets them.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The class names, sorted.
    pub(crate) classes: Vec<String>,
    /// Possible images, sorted by class, then folder, then name.
    pub(crate) candidates: Vec<LayoutCandidate>,
    /// Files that belong to a class but must not be opened.
    pub(crate) rejected: Vec<Rejected>,
    /// Files that belong to no class.
    pub(crate) ignored: Vec<Rejected>,
    /// The place in which the data set defines its own split; `None` if the experiment has to.
    pub(crate) own_split: Option<String>,
    /// A note for the user that the detected classes may not be the intended ones.
    pub(crate) doubt: Option<String>,
    /// Whether a file's class is something other than its first folder, so that its path does not imply the class.
    pub(crate) names_classes: bool,
}

/// Lists the files of the data set, by the manifest or pattern of the experiment if it has one, else by folders.
pub(crate) fn list(data: &Data) -> Result<Listing> {
    let tree = walk::tree(&data.root)?;
    let mut listing = match (&data.manifest, &data.class_pattern) {
        (Some(manifest), _) => manifest::list(manifest, &data.root, tree)?,
        (None, Some(pattern)) => pattern::list(pattern, &data.root, tree)?,
        (None, None) => folders::list(&data.root, tree)?,
    };
    sort(&mut listing);
    Ok(listing)
}

/// Lists the files below `root`, whose folders must be named like `classes`; some may be missing.
pub(crate) fn list_known(root: &Path, classes: &[String]) -> Result<Listing> {
    let mut listing = known::list(root, classes, walk::tree(root)?)?;
    sort(&mut listing);
    Ok(listing)
}

/// `ImageFolder` sorts by folder, then by name: `a/z.jpg` comes before `a/b/c.jpg`.
fn sort(listing: &mut Listing) {
    listing.candidates.sort_by(|a, b| order(a).cmp(&order(b)));
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

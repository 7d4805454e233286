//! Checks that the images and the split of a run are those that it started with.

use std::fs;

use chrono::{DateTime, Utc};

use super::prepare;
use crate::{
    data::{index::DatasetIndex, split::SplitTable},
    error::{Error, Result},
    rundir::{RunDir, records::Manifest},
    text::moment,
};

/// The split of a run. Fails if its images are not those that it started with, and names those that have changed.
pub(super) fn check(
    run_dir: &RunDir,
    index: &DatasetIndex,
    manifest: &Manifest,
) -> Result<SplitTable> {
    let split = prepare::read_split(run_dir, index)?;
    if index.hash == manifest.data_sha256 {
        return Ok(split);
    }
    let began = DateTime::parse_from_rfc3339(&manifest.started).ok();
    let files = index.images.iter().map(|image| &image.file);
    let later: Vec<String> = files
        .filter(|file| modified(index, file) > began.map(|began| began.to_utc()))
        .cloned()
        .collect();
    let error = Error::data(format!(
        "the images are not those that {} started with",
        run_dir.path().display()
    ))
    .at(&index.root);
    let error = if later.is_empty() {
        error.fact("the contents of some images have changed")
    } else {
        error.fact("changed since then:").facts(later)
    };
    Err(error.help("restore the original images, or start a new run"))
}

fn modified(index: &DatasetIndex, file: &str) -> Option<DateTime<Utc>> {
    let metadata = fs::metadata(index.root.join(file)).ok()?;
    metadata.modified().ok().and_then(moment::of_file)
}

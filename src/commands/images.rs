//! Whether the images and the split of a run are those that it began with.

use std::fs;

use chrono::{DateTime, Utc};

use super::prepare;
use crate::{
    data::{
        index::{DatasetIndex, listed},
        split::SplitTable,
    },
    error::{Error, Result},
    rundir::{RunDir, records::Manifest},
    text::moment,
};

/// The split of a run, whose images must be those that it began with; an error names the others.
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
    let which = match later.as_slice() {
        [] => "the contents of some have changed".to_owned(),
        files => format!("changed since then:{}", listed(files.iter().cloned())),
    };
    Err(Error::data(format!(
        "{}: the images are not those that {} began with; {which}\nhelp: bring the old ones back, or begin a new run",
        index.root.display(),
        run_dir.path().display()
    )))
}

fn modified(index: &DatasetIndex, file: &str) -> Option<DateTime<Utc>> {
    let metadata = fs::metadata(index.root.join(file)).ok()?;
    metadata.modified().ok().and_then(moment::of_file)
}

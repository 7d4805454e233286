//! The data set and its split.

use std::path::PathBuf;

use crate::{
    config::{
        experiment::{Data, Split},
        origins::Origins,
        raw::{RawData, RawSplit, SplitMethod},
    },
    data::layout::pattern,
};

/// Resolves `[data]`: where the images are, and how they are read.
pub(super) fn data(raw: RawData, origins: &mut Origins) -> Option<Data> {
    const HELP: &str = "set `root` in [data] to the folder with one sub-folder per class, for example root = \"data/PetImages\"";
    let root = match raw.root {
        Some(root) if !root.is_empty() => root,
        Some(_) => {
            origins.report("data.root", "`data.root` must not be empty", HELP);
            return None;
        }
        None => {
            origins.report_missing("data.root", HELP);
            return None;
        }
    };
    let (manifest, class_pattern) = (raw.manifest, raw.class_pattern);
    for (key, value) in [
        ("data.manifest", &manifest),
        ("data.class_pattern", &class_pattern),
    ] {
        if value.as_ref().is_some_and(String::is_empty) {
            origins.report(
                key,
                format!("`{key}` must not be empty"),
                "remove it to use folders as classes",
            );
            return None;
        }
    }
    if manifest.is_some() && class_pattern.is_some() {
        let help = "remove one of them: `manifest` lists files with their classes, `class_pattern` finds the class in file names";
        origins.report_inert("data.class_pattern", "with `data.manifest`", help);
    }
    if let Some(pattern) = &class_pattern
        && let Err(problem) = pattern::compile(pattern)
    {
        let help = "use a regular expression with one capture group, for example '^(cat|dog)\\.'";
        origins.report(
            "data.class_pattern",
            format!("invalid pattern `{pattern}`: {problem}"),
            help,
        );
        return None;
    }
    Some(Data {
        root: PathBuf::from(root),
        manifest: manifest.map(PathBuf::from),
        class_pattern,
        duplicates: raw.duplicates,
        batch_size: raw.batch_size,
        workers: raw.workers,
        max_pixels: raw.max_pixels,
        max_rejected_fraction: raw.max_rejected_fraction,
        exif_orientation: raw.exif_orientation,
    })
}

/// Resolves `[split]`: which images are held out.
pub(super) fn split(raw: RawSplit, origins: &mut Origins) -> Option<Split> {
    if origins.is_broken("split.method") {
        return None;
    }
    // `resolved.toml` leaves them out where a file has the split.
    let (valid, test) = (raw.valid.unwrap_or_default(), raw.test.unwrap_or_default());
    let split = match raw.method {
        SplitMethod::Auto => Split::Auto { valid, test },
        SplitMethod::Random => Split::Random { valid, test },
        SplitMethod::Stratified => Split::Stratified { valid, test },
        SplitMethod::File => {
            for key in ["split.valid", "split.test"] {
                let help = "remove it: the file assigns every image to a split";
                origins.report_inert(key, "with method = \"file\"", help);
            }
            let Some(file) = raw.file.filter(|file| !file.is_empty()) else {
                let help = "set `file` to a table with the columns file,class,split, for example the split.csv of a run";
                origins.report_missing("split.file", help);
                return None;
            };
            return Some(Split::File(PathBuf::from(file)));
        }
    };
    let help = "remove it, or set method = \"file\"";
    origins.report_inert("split.file", "without method = \"file\"", help);
    let is_broken = origins.is_broken("split.valid") || origins.is_broken("split.test");
    if valid + test >= 1.0 && !is_broken {
        let key = if origins.is_set("split.valid") {
            "split.valid"
        } else {
            "split.test"
        };
        let message = format!(
            "no images are left to train on: valid = {valid} and test = {test} add up to 1 or more"
        );
        origins.report(key, message, "lower one of them");
        return None;
    }
    Some(split)
}

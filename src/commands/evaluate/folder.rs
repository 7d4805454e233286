//! The images of another folder than that of the run, and how many of them the run has seen.

use std::{collections::HashMap, path::Path};

use crate::{
    commands::prepare,
    config::experiment::{Data, Duplicates, Experiment},
    console::Console,
    data::{
        index::{self, DatasetIndex},
        split::Part,
    },
    disk::{hash::Sha256Hash, user_dirs},
    error::{Error, Result},
    rundir::{RunDir, records::Manifest},
    text::table::counted,
};

/// The most rejected files that a note names.
const MOST_NAMES: usize = 3;

/// The images of the folder that have the same bytes as images of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) trained: usize,
    pub(super) validated: usize,
}

/// Scans `folder`, whose subfolders are named like the classes of the run, with the options of the run's own images.
pub(super) fn scan(
    experiment: &Experiment,
    folder: &Path,
    classes: &[String],
    console: &Console,
) -> Result<DatasetIndex> {
    check_folder(folder)?;
    let data = Data {
        root: folder.to_owned(),
        // Of another folder, only the names of its subfolders are known.
        manifest: None,
        class_pattern: None,
        duplicates: Duplicates::Warn,
        // Files that cannot be read are left out, and noted.
        max_rejected_fraction: 1.0,
        ..experiment.data.clone()
    };
    let index = prepare::scan_known(&data, classes, console)?;
    if index.images.is_empty() {
        let error = Error::data("the folder has no readable images").at(folder);
        return Err(error.facts(index.rejected.iter().map(ToString::to_string)));
    }
    if !index.rejected.is_empty() {
        let names = index.rejected.iter().take(MOST_NAMES);
        let names: Vec<String> = names.map(ToString::to_string).collect();
        let more = match index.rejected.len().saturating_sub(MOST_NAMES) {
            0 => String::new(),
            n => format!(", and {n} more"),
        };
        console.note(&format!("warning: left out: {}{more}", names.join(", ")));
    }
    Ok(index)
}

fn check_folder(folder: &Path) -> Result<()> {
    let problem = match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => format!("`{}` is not a folder", folder.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("the folder `{}` does not exist", folder.display())
        }
        Err(error) => format!("cannot open the folder `{}`: {error}", folder.display()),
    };
    Err(Error::data(problem)
        .at(folder)
        .help("pass a folder with one subfolder of images per class"))
}

/// Counts the images that the run trained or validated on, and warns about them. The run records no hashes of single images, so
/// its images are scanned again; `None` if they are no longer what they were.
pub(super) fn seen(
    index: &DatasetIndex,
    run_dir: &RunDir,
    data: &Data,
    manifest: &Manifest,
    console: &Console,
) -> Option<Seen> {
    let own = index::scan(data, user_dirs::cache().as_deref(), &|n_done, n_files| {
        console.scanned(n_done, n_files);
    });
    console.scan_ends();
    let own = own.ok().filter(|own| own.hash == manifest.data_sha256);
    let split = own.and_then(|own| Some((prepare::read_split(run_dir, &own).ok()?, own)));
    let Some((split, own)) = split else {
        console.note(&format!(
            "cannot tell whether the run was trained on some of these images, because its own in {} are missing or changed",
            data.root.display()
        ));
        return None;
    };
    let images = own.images.iter().zip(&split.parts);
    let mut parts: HashMap<&Sha256Hash, Part> = HashMap::new();
    for (image, part) in images {
        // Of copies in several parts, the one that was trained on counts.
        let known = parts.entry(&image.content_hash).or_insert(*part);
        *known = (*known).min(*part);
    }
    let mut seen = Seen::default();
    for image in &index.images {
        match parts.get(&image.content_hash) {
            Some(Part::Train) => seen.trained += 1,
            Some(Part::Valid) => seen.validated += 1,
            Some(Part::Test) | None => {}
        }
    }
    warn(seen, index.images.len(), console);
    Some(seen)
}

fn warn(seen: Seen, n_images: usize, console: &Console) {
    let Seen { trained, validated } = seen;
    let n = counted(n_images, "image");
    let text = match (trained, validated) {
        (0, 0) => return,
        (0, n_valid) => format!(
            "warning: the run chose its best epoch by {n_valid} of {n}, so the scores are slightly too good"
        ),
        (n_train, 0) => {
            format!("warning: the run was trained on {n_train} of {n}, so the scores are too good")
        }
        (n_train, n_valid) => format!(
            "warning: the run was trained on {n_train} of {n} and chose its best epoch by {n_valid}, so the scores are too good"
        ),
    };
    console.note(&text);
}

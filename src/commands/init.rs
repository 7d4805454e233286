//! `runner init`: a first experiment file, with every key that could be set, and the schema that editors check it with.

use std::{fs, path::Path};

use image::ImageFormat;
use serde_json::json;

use crate::{
    config,
    console::Console,
    error::{Error, Result},
    fetch::catalog,
    files::write_atomic,
};

const EXPERIMENT: &str = "experiment.toml";

/// Files of a folder that are looked at before it counts as one without images.
const LOOKED_AT: usize = 100;

pub(crate) fn init(folder: &Path, root: Option<&str>, console: &Console) -> Result<()> {
    // So that messages say `experiment.toml`, as one types it.
    let folder = folder.strip_prefix(".").unwrap_or(folder);
    let (experiment, schema) = (folder.join(EXPERIMENT), folder.join(config::SCHEMA_FILE));
    if fs::symlink_metadata(&experiment).is_ok() {
        return Err(Error::Usage(format!(
            "{}: is there already\nhelp: `runner config --defaults` prints every key; or name another folder",
            experiment.display()
        )));
    }
    let is_ours = || fs::read_to_string(&schema).is_ok_and(|text| config::is_our_schema(&text));
    if fs::symlink_metadata(&schema).is_ok() && !is_ours() {
        return Err(Error::Usage(format!(
            "{}: is there already, and is not this program's\nhelp: rename it, or name another folder",
            schema.display()
        )));
    }
    if !folder.as_os_str().is_empty() {
        fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
    }
    let root = root.map_or_else(|| likely_root(folder), str::to_owned);
    write_atomic(&schema, config::json_schema().as_bytes())?;
    write_atomic(&experiment, config::template(&root).as_bytes())?;
    let place = experiment.display();
    console.note(&format!(
        "the images are looked for in {root}; to go on: runner check {place}, then runner {place}"
    ));
    console.answer(
        "init",
        json!({ "experiment": experiment.to_string_lossy(), "schema": schema.to_string_lossy(), "root": root }),
        &place.to_string(),
    );
    Ok(())
}

/// The folder itself if it holds classes; else what `runner fetch` makes. Not the working directory: `runs` would come to lie
/// among the classes.
fn likely_root(folder: &Path) -> String {
    match folder.to_str() {
        Some(name) if !name.is_empty() && has_classes(folder) => name.to_owned(),
        Some(_) | None => catalog::usual_root(),
    }
}

fn has_classes(folder: &Path) -> bool {
    let classes = fs::read_dir(folder).into_iter().flatten().flatten();
    classes.filter(|entry| has_images(&entry.path())).count() >= 2
}

/// By their names.
fn has_images(folder: &Path) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .take(LOOKED_AT)
        .any(|file| ImageFormat::from_path(file.path()).is_ok())
}

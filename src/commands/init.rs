//! `runner init`: a first experiment file for the images that are there, with every key that could be set, and the schema that
//! editors check it with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    config,
    console::Console,
    data::layout::{self, Proposal},
    disk::files::write_atomic,
    error::{Error, Result},
    fetch::catalog,
};

const EXPERIMENT: &str = "experiment.toml";

/// Writes an experiment into `folder`; or, where that holds the images, into the working directory: nothing is ever written
/// among the images.
pub(crate) fn init(folder: &Path, root: Option<&str>, console: &Console) -> Result<()> {
    // So that messages say `experiment.toml`, as one types it.
    let folder = folder.strip_prefix(".").unwrap_or(folder);
    let (folder, data) = match root {
        Some(root) => (
            folder,
            look(Path::new(root))?.unwrap_or_else(|| Proposal::of_root(root)),
        ),
        None if folder.as_os_str().is_empty() => (folder, Proposal::of_root(catalog::usual_root())),
        None => match look(folder)? {
            Some(found) => (Path::new(""), found),
            None => (folder, Proposal::of_root(catalog::usual_root())),
        },
    };
    check_outside(folder, &data.root)?;
    let (experiment, schema) = (folder.join(EXPERIMENT), folder.join(config::SCHEMA_FILE));
    if fs::symlink_metadata(&experiment).is_ok() {
        return Err(Error::usage(format!(
            "{}: is there already\nhelp: `runner config --defaults` prints every key; or name another folder",
            experiment.display()
        )));
    }
    let is_ours = || fs::read_to_string(&schema).is_ok_and(|text| config::is_our_schema(&text));
    if fs::symlink_metadata(&schema).is_ok() && !is_ours() {
        return Err(Error::usage(format!(
            "{}: is there already, and is not this program's\nhelp: rename it, or name another folder",
            schema.display()
        )));
    }
    if !folder.as_os_str().is_empty() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let (root, manifest) = (text(&data.root)?, data.manifest.as_deref().map(text));
    let manifest = manifest.transpose()?;
    let keys = [
        ("root", Some(root)),
        ("manifest", manifest),
        ("class_pattern", data.class_pattern.as_deref()),
    ];
    let keys: Vec<(&str, &str)> = keys
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    write_atomic(&schema, config::json_schema().as_bytes())?;
    write_atomic(&experiment, config::template(&keys).as_bytes())?;
    let place = experiment.display();
    let found = match (manifest, &data.class_pattern) {
        (Some(manifest), _) => format!(", with the classes in {manifest}"),
        (None, Some(pattern)) => format!(", with the classes in their names ('{pattern}')"),
        (None, None) => String::new(),
    };
    console.note(&format!(
        "the images are looked for in {root}{found}; next: runner check {place}, then runner {place}"
    ));
    console.answer(
        "init",
        json!({
            "experiment": experiment.to_string_lossy(), "schema": schema.to_string_lossy(), "root": root,
            "manifest": manifest, "class_pattern": data.class_pattern,
        }),
        &place.to_string(),
    );
    Ok(())
}

/// What the folder says of the images in it; `None` where it has none or is none.
fn look(folder: &Path) -> Result<Option<Proposal>> {
    if folder.is_dir() {
        layout::propose(folder)
    } else {
        Ok(None)
    }
}

/// The experiment and its runs would come to lie among the images.
fn check_outside(folder: &Path, root: &Path) -> Result<()> {
    let absolute = |path: &Path| -> Option<PathBuf> {
        let path = std::path::absolute(if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        });
        // What does not exist yet lies where its parent does.
        let path = path.ok()?;
        path.ancestors()
            .find_map(|above| fs::canonicalize(above).ok())
    };
    let Some(folder) = absolute(folder) else {
        return Ok(());
    };
    let root_path = match fs::canonicalize(root) {
        Ok(root) if folder.starts_with(&root) => root,
        _ if layout::is_data_set(&folder) => folder.clone(),
        _ => return Ok(()),
    };
    Err(Error::usage(format!(
        "{}: the images are there, and nothing is written among them\n\
         help: run this in another folder: `runner init --root {}`",
        folder.display(),
        root_path.display()
    )))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::usage(format!(
            "{}: the path is not valid UTF-8\nhelp: rename the folder",
            path.display()
        ))
    })
}

//! `runner init`: writes a first experiment file for the images in a folder, with every key as a comment, and the schema that
//! editors check the file with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    commands::context::Context,
    config,
    data::layout::{self, Proposal},
    disk::files::write_atomic,
    error::{Error, Result},
    fetch::catalog,
};

const EXPERIMENT: &str = "experiment.toml";

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Folder to write the file to; if the folder holds images, the file is written to the working directory instead
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    #[arg(long, value_name = "DIR", help = format!("Folder of the images [default: the argument DIR if it holds images, otherwise {}]", catalog::usual_root()))]
    pub(crate) root: Option<String>,
}

/// Writes an experiment into `folder`, or into the working directory if `folder` holds the images: nothing is ever written
/// among the images.
pub(crate) fn run(args: &InitArgs, cx: &Context) -> Result<()> {
    let (folder, root) = (args.dir.as_path(), args.root.as_deref());
    let console = &cx.console;
    // Messages then name `experiment.toml`, as a user would type it, and not `./experiment.toml`.
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
        return Err(
            Error::usage(format!("`{}` already exists", experiment.display()))
                .at(experiment)
                .help("pass another folder, or run `runner config --defaults` to see every key"),
        );
    }
    let is_ours = || fs::read_to_string(&schema).is_ok_and(|text| config::is_our_schema(&text));
    if fs::symlink_metadata(&schema).is_ok() && !is_ours() {
        return Err(Error::usage(format!(
            "`{}` already exists, and runner did not write it",
            schema.display()
        ))
        .at(schema)
        .help("rename the file, or pass another folder"));
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
        (Some(manifest), _) => format!(", with the classes of {manifest}"),
        (None, Some(pattern)) => format!(", with classes from the file names ('{pattern}')"),
        (None, None) => String::new(),
    };
    console.note(&format!(
        "the experiment uses the images in {root}{found}; next, run `runner check {place}`, then `runner {place}`"
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

/// A layout for the images in the folder; `None` if it has none, or is not a folder.
fn look(folder: &Path) -> Result<Option<Proposal>> {
    if folder.is_dir() {
        layout::propose(folder)
    } else {
        Ok(None)
    }
}

/// Fails if `folder` is within the images at `root`, because the experiment and its runs would lie among them.
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
        "cannot write an experiment to `{}`, because the folder holds the images",
        folder.display()
    ))
    .at(folder)
    .help(format!(
        "run `runner init --root {}` in another folder",
        root_path.display()
    )))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::usage("the path is not valid UTF-8")
            .at(path)
            .help("rename the folder")
    })
}

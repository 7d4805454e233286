//! Proposes `[data]` settings for the images in a folder.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{advice, folders, manifest, pattern};
use crate::{
    data::{claims, walk},
    error::Result,
};

/// The most bytes that are read of a table to find its header.
const HEADER_BYTES: u64 = 64 << 10;

/// The most files of a folder that are looked at.
const LOOKED_AT: usize = 1000;
/// A flat folder with fewer images is not taken for a data set: any folder may contain a few.
const FEW_IMAGES: usize = 10;

/// Proposed values of the keys of `[data]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) root: PathBuf,
    pub(crate) manifest: Option<PathBuf>,
    pub(crate) class_pattern: Option<String>,
}

impl Proposal {
    pub(crate) fn of_root(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            ..Self::default()
        }
    }
}

/// Guesses the layout of the images in `folder` from names alone; `None` if it contains no images.
pub(crate) fn propose(folder: &Path) -> Result<Option<Proposal>> {
    let tree = walk::tree(folder)?;
    let images: Vec<&str> = tree
        .files
        .iter()
        .map(|found| found.file.as_str())
        .filter(|file| claims::by_name(file))
        .collect();
    if images.is_empty() {
        return Ok(None);
    }
    let top: Vec<&str> = tree.folders_in("").collect();
    let roots = advice::roots(&tree);
    let at = |root: &str| {
        if root.is_empty() {
            folder.to_owned()
        } else {
            folder.join(root)
        }
    };
    let is_split = matches!(folders::part_folders(&top), Ok(Some(_)));
    let is_flat = images.iter().all(|file| !file.contains('/'));
    if !is_flat && !is_split && folders::n_with_images(&tree) > 1 {
        return Ok(Some(Proposal::of_root(folder)));
    }
    if let Some((root, _)) = roots.first() {
        return Ok(Some(Proposal::of_root(at(root))));
    }
    // The images lie side by side: their folder is the root, and the classes come from a table or from file names.
    let tables = tree
        .files
        .iter()
        .map(|found| found.file.as_str())
        .filter(|file| manifest::is_table(file));
    let manifest = tables
        .map(|file| folder.join(file))
        .find(|file| header(file).is_some_and(|header| manifest::has_columns(&header)));
    let root = match images[0].rsplit_once('/') {
        Some((parent, _)) if images.iter().all(|file| file.starts_with(parent)) => at(parent),
        _ => folder.to_owned(),
    };
    let names: Vec<&str> = images
        .iter()
        .map(|file| file.rsplit('/').next().unwrap_or(file))
        .collect();
    Ok(Some(Proposal {
        class_pattern: match manifest {
            Some(_) => None,
            None => pattern::guess(&names),
        },
        root,
        manifest,
    }))
}

/// Whether a folder seems to be a data set. Looks only directly in it and in its subfolders: a working directory may be too
/// large to walk, and may contain runs, whose charts do not make it a data set.
pub(crate) fn is_data_set(folder: &Path) -> bool {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.take(LOOKED_AT).map(|entry| entry.path()).collect()
    };
    let name = |path: &'_ PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    let n_images = |entries: &[PathBuf]| {
        let names = entries.iter().filter_map(name);
        names.filter(|name| claims::by_name(name)).count()
    };
    let all = entries(folder);
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
        all.into_iter().partition(|path| path.is_dir());
    let names: Vec<String> = folders.iter().filter_map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let n_classes = folders
        .iter()
        .filter(|path| n_images(&entries(path)) > 0)
        .count();
    // A home directory may contain pictures too, but they are not most of its files.
    let is_flat = n_images(&files) >= FEW_IMAGES && n_images(&files) * 2 > files.len();
    let has_classes = n_classes > 1 && n_classes * 2 > folders.len();
    is_flat || has_classes || matches!(folders::part_folders(&names), Ok(Some(_)))
}

fn header(file: &Path) -> Option<String> {
    let mut text = Vec::new();
    File::open(file)
        .ok()?
        .take(HEADER_BYTES)
        .read_to_end(&mut text)
        .ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

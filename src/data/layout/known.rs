//! Takes the images of given classes from the folders that are named like them, for images that a model is to be tested on.

use std::{collections::HashMap, path::Path};

use super::{LayoutCandidate, Listing, folders, named};
use crate::{
    data::walk::{FoundFile, Rejected, Tree},
    error::{Error, Result},
};

/// Lists the files in the folders of `root`; each must be named like one of `classes`, whose positions are kept. Classes without
/// a folder get no files.
pub(super) fn list(root: &Path, classes: &[String], tree: Tree) -> Result<Listing> {
    let top: Vec<&str> = tree.folders_in("").collect();
    let positions: HashMap<&str, usize> = classes
        .iter()
        .enumerate()
        .map(|(position, class)| (class.as_str(), position))
        .collect();
    check(root, classes, &tree, &top, &positions)?;
    let mut listing = Listing {
        classes: classes.to_vec(),
        ..Listing::default()
    };
    for name in top.iter().filter(|name| !positions.contains_key(*name)) {
        listing.ignored.push(Rejected {
            file: (*name).to_owned(),
            reason: "has no images, so it is not a class".to_owned(),
        });
    }
    let class_of = |file: &str| {
        let (folder, _) = file.split_once('/')?;
        positions.get(folder).copied()
    };
    let (files, unusable) = (tree.files, tree.unusable);
    for FoundFile { file, stamp } in files {
        match class_of(&file) {
            Some(class) => listing.candidates.push(LayoutCandidate {
                file,
                class,
                part: None,
                group: None,
                stamp,
            }),
            None if file.contains('/') => {}
            None => listing.ignored.push(Rejected {
                file,
                reason: "lies beside the class folders, not in one".to_owned(),
            }),
        }
    }
    for file in unusable {
        if class_of(&file.file).is_some() {
            listing.rejected.push(file);
        } else if !file.file.contains('/') {
            listing.ignored.push(file);
        }
    }
    Ok(listing)
}

/// Fails if a folder with images is no class, and if no folder is one.
fn check(
    root: &Path,
    classes: &[String],
    tree: &Tree,
    top: &[&str],
    positions: &HashMap<&str, usize>,
) -> Result<()> {
    let with_images = folders::folders_with_images(tree, 1);
    let unknown = top.iter().copied();
    let unknown =
        unknown.filter(|name| !positions.contains_key(name) && with_images.contains(name));
    let unknown: Vec<&str> = unknown.collect();
    let has_known = top.iter().any(|name| positions.contains_key(name));
    if unknown.is_empty() && has_known {
        return Ok(());
    }
    let message = match &unknown[..] {
        [] => "no subfolder is named like a class of the model".to_owned(),
        [only] => format!("the folder `{only}` is not a class of the model"),
        many => format!("{} folders are not classes of the model", many.len()),
    };
    let mut error = Error::data(message).at(root);
    if !top.is_empty() {
        error = error.fact(format!("folders: {}", named(top)));
    }
    let names: Vec<&str> = classes.iter().map(String::as_str).collect();
    error = error.fact(format!("classes of the model: {}", named(&names)));
    // Photos that are divided like those of a training set.
    if let Ok(Some(parts)) = folders::part_folders(top)
        && !has_known
        && let Some(last) = parts.into_values().next_back()
    {
        let place = root.join(last);
        return Err(error.help(format!("use one part of the split: `{}`", place.display())));
    }
    Err(error.help(
        "name each subfolder exactly like the class of its images; a class may have no subfolder",
    ))
}

//! Advice for a root whose folders are not classes: what it contains instead, and which root would work.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{folders, named};
use crate::{
    data::{claims, walk::Tree},
    error::{Error, Result},
};

/// The most roots that are proposed.
const MAX_PROPOSED: usize = 3;

/// Fails if fewer than two folders of `root` are classes. `others` are the folders that have files but no images.
pub(super) fn check(root: &Path, tree: &Tree, classes: &[&str], others: &[&str]) -> Result<()> {
    let message = match classes {
        [] if tree
            .files
            .iter()
            .any(|found| is_image_at_the_top(&found.file)) =>
        {
            let error =
                Error::data("the images lie directly in the data folder, not in class folders");
            return Err(flat(tree).into_iter().fold(error.at(root), Error::help));
        }
        [] if others.is_empty() => "the data folder has no class folders".to_owned(),
        [] => format!(
            "the data folder has no class folders: there are no images in {}",
            named(others)
        ),
        [only] => format!("the data folder has only one class, `{only}`"),
        _ => return Ok(()),
    };
    let help = match (nested(root, tree), classes) {
        (Some(nested), _) => format!("set {nested}"),
        (None, []) => "create one subfolder per class and put the images there".to_owned(),
        (None, _) => {
            "add a folder for at least one other class, or set `data.root` to a folder above or below"
                .to_owned()
        }
    };
    Err(Error::data(message).at(root).help(help))
}

fn is_image_at_the_top(file: &str) -> bool {
    !file.contains('/') && claims::by_name(file)
}

/// The ways to give images that lie side by side their classes, one instruction each.
fn flat(tree: &Tree) -> Vec<String> {
    let names = tree.files.iter().map(|found| found.file.as_str());
    let names: Vec<&str> = names.filter(|file| is_image_at_the_top(file)).collect();
    let table = tree
        .files
        .iter()
        .map(|found| &found.file)
        .find(|file| super::manifest::is_table(file));
    let from_names = super::pattern::guess(&names).map(|pattern| {
        format!("try `data.class_pattern = '{pattern}'`, which seems to match the class in the file names")
    });
    let from_table = table.map(|file| {
        format!("set `data.manifest` to a table with the columns `file` and `class`, such as `{file}` if it has them")
    });
    let all: Vec<String> = from_names.into_iter().chain(from_table).collect();
    if all.is_empty() {
        return vec![
            "create one subfolder per class and put the images there".to_owned(),
            "or take the classes from file names (`data.class_pattern`) or from a table (`data.manifest`)"
                .to_owned(),
        ];
    }
    all
}

/// Settings of `data.root` that would work, because these folders below `root` contain class folders.
pub(super) fn nested(root: &Path, tree: &Tree) -> Option<String> {
    let roots = roots(tree);
    let (first, _) = roots.first()?;
    let depth = |root: &str| root.matches('/').count();
    let (nearest, _): (Vec<_>, Vec<_>) = roots
        .iter()
        .partition(|(root, _)| depth(root) == depth(first));
    let proposals: Vec<String> = nearest
        .iter()
        .take(MAX_PROPOSED)
        .map(|(folder, classes)| {
            format!(
                "`data.root = \"{}\"` to use the folders {}",
                root.join(folder).display(),
                named(classes)
            )
        })
        .collect();
    Some(proposals.join(", or "))
}

/// The folders whose subfolders contain images directly, or whose `train`, `val` and `test` have such subfolders, with the names
/// of the subfolders. Those nearest to the root come first.
pub(super) fn roots(tree: &Tree) -> Vec<(String, Vec<&str>)> {
    let files = tree.files.iter().map(|found| found.file.as_str());
    let with_images: BTreeSet<&str> = files
        .filter(|file| claims::by_name(file))
        .filter_map(|file| file.rsplit_once('/').map(|(folder, _)| folder))
        .collect();
    let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for folder in with_images {
        if let Some((parent, name)) = folder.rsplit_once('/') {
            children.entry(parent).or_default().push(name);
        }
    }
    children.retain(|_, names| names.len() > 1);
    let mut roots: Vec<(String, Vec<&str>)> = Vec::new();
    for (parent, names) in children {
        // `a/train` is a part of a split of `a`, if `a` also has `val` or `test`.
        let above = parent.rsplit_once('/').map(|(above, _)| above);
        let siblings: Vec<&str> = tree.folders_in(above.unwrap_or_default()).collect();
        let is_part = parent
            .rsplit('/')
            .next()
            .is_some_and(|name| crate::data::part::Part::named(name).is_some())
            && matches!(folders::part_folders(&siblings), Ok(Some(_)));
        match above {
            Some(above) if is_part => {
                if roots.iter().all(|(root, _)| root != above) {
                    roots.push((above.to_owned(), siblings));
                }
            }
            None if is_part => {}
            _ => roots.push((parent.to_owned(), names)),
        }
    }
    roots.sort_by_key(|(root, _)| root.matches('/').count());
    roots
}

/// A note if the folders of the second level look more like classes than those of the first: each class folder has the same
/// subfolders, and all images are in these.
pub(super) fn doubt(root: &Path, tree: &Tree, classes: &[String]) -> Option<String> {
    let inner = |class: &String| {
        tree.folders_in(class)
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let first = inner(classes.first()?);
    let is_direct = |file: &str| file.matches('/').count() == 1;
    if first.len() < 2
        || classes.iter().any(|class| inner(class) != first)
        || tree.files.iter().any(|found| is_direct(&found.file))
    {
        return None;
    }
    let same: Vec<&str> = first.iter().map(String::as_str).collect();
    Some(format!(
        "{}: the folders {} are used as classes, but each of them has the subfolders {}; if these are the classes, set \
         `data.root` to one of the folders, or use `data.manifest`",
        root.display(),
        named(&classes.iter().map(String::as_str).collect::<Vec<_>>()),
        named(&same)
    ))
}

//! What to say where the folders of a root are not the classes: what is there, and which root would do.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{folders, named};
use crate::{
    data::{claims, walk::Tree},
    error::{Error, Result},
};

/// Roots that are proposed.
const MAX_PROPOSED: usize = 3;

/// Fails where fewer than two folders of `root` are classes. `others` are those that have files but no images.
pub(super) fn check(root: &Path, tree: &Tree, classes: &[&str], others: &[&str]) -> Result<()> {
    let place = root.display();
    let nested = || nested(root, tree);
    let fact = match classes {
        [] if tree
            .files
            .iter()
            .any(|found| is_image_at_the_top(&found.file)) =>
        {
            return Err(Error::data(format!(
                "{place}: images lie directly in it, in no class folder\n\
                 help: {}",
                flat(tree)
            )));
        }
        [] if others.is_empty() => "has no class folders".to_owned(),
        [] => format!("has no class folders: {} hold no images", named(others)),
        [only] => format!("has only one class, `{only}`"),
        _ => return Ok(()),
    };
    let help = nested().unwrap_or_else(|| match classes {
        [] => "make one sub-folder per class and put the images there".to_owned(),
        _ => "a classifier needs at least two class folders; is data.root one folder too deep or too shallow?"
            .to_owned(),
    });
    Err(Error::data(format!("{place}: {fact}\nhelp: {help}")))
}

fn is_image_at_the_top(file: &str) -> bool {
    !file.contains('/') && claims::by_name(file)
}

/// How classes can be had for images that lie side by side.
fn flat(tree: &Tree) -> String {
    let names = tree.files.iter().map(|found| found.file.as_str());
    let names: Vec<&str> = names.filter(|file| is_image_at_the_top(file)).collect();
    let table = tree
        .files
        .iter()
        .map(|found| &found.file)
        .find(|file| super::manifest::is_table(file));
    let from_names = super::pattern::guess(&names).map(|pattern| {
        format!(
            "the names look as if `data.class_pattern = '{pattern}'` would find the class in them"
        )
    });
    let from_table = table.map(|file| {
        format!("`data.manifest` can name a table with the columns file and class, such as `{file}` if it has them")
    });
    let all: Vec<String> = from_names.into_iter().chain(from_table).collect();
    if all.is_empty() {
        return "make one sub-folder per class and put the images there; or name a table of files and classes as \
                `data.manifest`, or a `data.class_pattern` that finds the class in the file names"
            .to_owned();
    }
    all.join("; ")
}

/// The folders below `root` that have class folders, as a proposal.
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
                "`data.root = \"{}\"` has the folders {}",
                root.join(folder).display(),
                named(classes)
            )
        })
        .collect();
    Some(proposals.join(", "))
}

/// Folders whose own folders hold images directly, or that have such folders in `train` and others; those nearest to the root
/// first.
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
        // `a/train` is a part of `a`, if its siblings are as well.
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

/// A line of doubt where classes come from the first folders, though the second ones look more like it: each of the first has
/// the same ones, and all images are in these.
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
        "{}: the classes are the folders {}, and each of them has the folders {}; if those are the classes, set data.root to one \
         folder, or use `data.manifest`",
        root.display(),
        named(&classes.iter().map(String::as_str).collect::<Vec<_>>()),
        named(&same)
    ))
}

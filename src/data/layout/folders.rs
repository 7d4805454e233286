//! Takes classes from folders, like torchvision's `ImageFolder`, also below `train`, `val` and `test` if a data set has these.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
};

use super::{LayoutCandidate, Listing, advice};
use crate::{
    data::{
        claims,
        part::Part,
        walk::{FoundFile, Rejected, Tree},
    },
    error::{Error, Result},
};

/// Lists the files below `root`, each of whose folders is a class, or each of the folders in its `train`, `val` and `test`.
pub(super) fn list(root: &Path, tree: Tree) -> Result<Listing> {
    let top: Vec<&str> = tree.folders_in("").collect();
    let parts = part_folders(&top).map_err(|error| error.at(root))?;
    let listing = match parts {
        Some(parts) => below_parts(root, &parts, tree)?,
        None => directly(root, tree)?,
    };
    Ok(listing)
}

/// Finds the folders of a data set's own split: `train`, and `val` or `test` or both, in any usual spelling. Fails if two
/// folders stand for the same part.
pub(crate) fn part_folders(names: &[&str]) -> Result<Option<BTreeMap<Part, String>>> {
    let mut parts = BTreeMap::new();
    for name in names {
        let Some(part) = Part::named(name) else {
            continue;
        };
        if let Some(other) = parts.insert(part, (*name).to_owned()) {
            return Err(Error::data(format!(
                "the folders `{other}` and `{name}` both stand for the `{}` part of the split",
                part.name()
            ))
            .help("rename one of them, or list the images in a `data.manifest`"));
        }
    }
    let is_split = parts.contains_key(&Part::Train) && parts.len() > 1;
    Ok(is_split.then_some(parts))
}

/// ``the folders `train` and `val` ``
pub(super) fn describe(parts: &BTreeMap<Part, String>) -> String {
    let names: Vec<String> = parts.values().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => format!("the folder {last}"),
        Some((last, others)) => format!("the folders {} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn below_parts(root: &Path, parts: &BTreeMap<Part, String>, tree: Tree) -> Result<Listing> {
    let with_images = folders_with_images(&tree, 2);
    let classes: BTreeSet<String> = parts
        .values()
        .flat_map(|folder| tree.folders_in(folder).map(move |class| (folder, class)))
        .filter(|(folder, class)| {
            let path = format!("{folder}/{class}");
            with_images.contains(path.as_str()) || !has_files(&tree, &path)
        })
        .map(|(_, class)| class.to_owned())
        .collect();
    match classes.len() {
        0 => {
            return Err(Error::data(format!("{} contain no class folders", describe(parts)))
                .at(root)
                .help("create one folder per class in each of them")
                .help(
                    "or take the classes from file names (`data.class_pattern`) or from a table (`data.manifest`)",
                ));
        }
        1 => {
            let only = classes.first().map_or("", String::as_str);
            let error = Error::data(format!(
                "{} contain only one class folder, `{only}`",
                describe(parts)
            ))
            .at(root)
            .help("add images of at least one other class");
            return Err(match advice::nested(root, &tree) {
                Some(nested) => error.help(format!("or set {nested}")),
                None => error,
            });
        }
        _ => {}
    }
    let part_of: BTreeMap<&str, Part> = parts
        .iter()
        .map(|(part, folder)| (folder.as_str(), *part))
        .collect();
    let classes: Vec<String> = classes.into_iter().collect();
    let mut listing = Listing {
        own_split: Some(describe(parts)),
        // The first folder of a path is the part, so the path does not imply the class.
        names_classes: true,
        ..Listing::default()
    };
    let others: BTreeSet<&str> = tree
        .folders_in("")
        .filter(|name| !part_of.contains_key(name))
        .collect();
    for name in &others {
        listing.ignored.push(Rejected {
            file: (*name).to_owned(),
            reason: format!("lies beside {}", describe(parts)),
        });
    }
    let others: HashSet<String> = others.into_iter().map(str::to_owned).collect();
    let place = |file: &str| -> Placement {
        let mut names = file.splitn(3, '/');
        match (names.next(), names.next(), names.next()) {
            (Some(folder), Some(class), rest) if part_of.contains_key(folder) => {
                match classes.binary_search_by(|it| it.as_str().cmp(class)) {
                    Ok(class) => Placement::Class(class, Some(part_of[folder])),
                    Err(_) if rest.is_some() => Placement::NoImages,
                    Err(_) => Placement::Stray("lies beside the class folders, not in one"),
                }
            }
            (Some(folder), Some(_), _) if others.contains(folder) => Placement::NoImages,
            _ => Placement::Stray("lies beside the class folders, not in one"),
        }
    };
    sort_in(tree, place, &mut listing);
    listing.classes = classes;
    Ok(listing)
}

fn directly(root: &Path, tree: Tree) -> Result<Listing> {
    let with_images = folders_with_images(&tree, 1);
    let (classes, others): (Vec<&str>, Vec<&str>) = tree
        .folders_in("")
        .partition(|name| with_images.contains(*name) || !has_files(&tree, name));
    advice::check(root, &tree, &classes, &others)?;
    let classes: Vec<String> = classes.into_iter().map(str::to_owned).collect();
    let mut listing = Listing {
        doubt: advice::doubt(root, &tree, &classes),
        ..Listing::default()
    };
    for name in others {
        listing.ignored.push(Rejected {
            file: name.to_owned(),
            reason: "has no images, so it is not a class".to_owned(),
        });
    }
    let place = |file: &str| -> Placement {
        let (first, rest) = file
            .split_once('/')
            .map_or((file, None), |(first, rest)| (first, Some(rest)));
        match classes.binary_search_by(|it| it.as_str().cmp(first)) {
            Ok(class) => Placement::Class(class, None),
            Err(_) if rest.is_some() => Placement::NoImages,
            Err(_) => Placement::Stray("lies beside the class folders, not in one"),
        }
    };
    sort_in(tree, place, &mut listing);
    listing.classes = classes;
    Ok(listing)
}

/// The position of a file in the layout.
enum Placement {
    Class(usize, Option<Part>),
    /// The file lies in a folder that is ignored as a whole.
    NoImages,
    Stray(&'static str),
}

fn sort_in(tree: Tree, place: impl Fn(&str) -> Placement, listing: &mut Listing) {
    for FoundFile { file, stamp } in tree.files {
        match place(&file) {
            Placement::Class(class, part) => listing.candidates.push(LayoutCandidate {
                file,
                class,
                part,
                group: None,
                stamp,
            }),
            Placement::NoImages => {}
            Placement::Stray(reason) => listing.ignored.push(Rejected {
                file,
                reason: reason.to_owned(),
            }),
        }
    }
    for unusable in tree.unusable {
        match place(&unusable.file) {
            Placement::Class(..) => listing.rejected.push(unusable),
            Placement::NoImages => {}
            Placement::Stray(_) => listing.ignored.push(unusable),
        }
    }
}

/// The folders at this depth that contain, at any level, a file named like an image or one without an extension.
pub(super) fn folders_with_images(tree: &Tree, depth: usize) -> HashSet<&str> {
    let files = tree.files.iter().map(|found| found.file.as_str());
    files
        .filter(|file| claims::by_name(file) || !has_extension(file))
        .filter_map(|file| {
            let (end, _) = file.match_indices('/').nth(depth - 1)?;
            Some(&file[..end])
        })
        .collect()
}

/// Whether a name has an extension: `image.old` has one, `000123` does not.
fn has_extension(file: &str) -> bool {
    Path::new(file).extension().is_some()
}

fn has_files(tree: &Tree, folder: &str) -> bool {
    let is_inside = |file: &str| {
        file.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    tree.files.iter().any(|found| is_inside(&found.file))
        || tree.unusable.iter().any(|found| is_inside(&found.file))
}

/// The number of folders directly in the root that contain images.
pub(super) fn n_with_images(tree: &Tree) -> usize {
    folders_with_images(tree, 1).len()
}

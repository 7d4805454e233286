//! Takes classes from file names: the text that the capture group of a regular expression matches.

use std::{collections::BTreeSet, path::Path};

use regex::Regex;

use super::{LayoutCandidate, Listing, folders};
use crate::{
    data::{
        claims,
        part::Part,
        walk::{Rejected, Tree},
    },
    error::{Error, Result},
};

/// Number of file names that an error shows.
const MAX_SHOWN: usize = 3;

/// Compiles a pattern, which must have exactly one capture group.
pub(crate) fn compile(pattern: &str) -> std::result::Result<Regex, String> {
    let regex = Regex::new(pattern).map_err(|error| match error {
        regex::Error::Syntax(text) => {
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
        other => other.to_string(),
    })?;
    match regex.captures_len() - 1 {
        1 => Ok(regex),
        n => Err(format!(
            "expected exactly one capture group, which matches the class, found {n}"
        )),
    }
}

/// Lists every image below `root` whose name the pattern matches. Its folder matters only if it is `train`, `val` or `test`.
pub(super) fn list(pattern: &str, root: &Path, tree: Tree) -> Result<Listing> {
    let regex = compile(pattern).map_err(|problem| {
        Error::data(format!(
            "invalid pattern `{pattern}` for `data.class_pattern`: {problem}"
        ))
    })?;
    let top: Vec<&str> = tree.folders_in("").collect();
    let parts = folders::part_folders(&top).map_err(|error| error.at(root))?;
    let part_of = |file: &str| -> Option<Part> {
        let (folder, _) = file.split_once('/')?;
        let parts = parts.as_ref()?;
        parts
            .iter()
            .find_map(|(part, name)| (name == folder).then_some(*part))
    };
    let class_of = |file: &str| -> Option<String> {
        let name = file.rsplit('/').next()?;
        let class = regex.captures(name)?.get(1)?.as_str();
        (!class.is_empty()).then(|| class.to_owned())
    };
    let named: Vec<Option<String>> = tree
        .files
        .iter()
        .map(|found| class_of(&found.file))
        .collect();
    let classes: BTreeSet<&String> = named.iter().flatten().collect();
    let classes: Vec<String> = classes.into_iter().cloned().collect();
    if classes.len() < 2 {
        return Err(too_few(pattern, root, &tree, &classes));
    }
    let mut listing = Listing {
        names_classes: true,
        ..Listing::default()
    };
    for (found, class) in tree.files.into_iter().zip(named) {
        match class.and_then(|class| classes.binary_search(&class).ok()) {
            Some(class) => listing.candidates.push(LayoutCandidate {
                part: part_of(&found.file),
                class,
                file: found.file,
                group: None,
                stamp: found.stamp,
            }),
            None => listing.ignored.push(Rejected {
                file: found.file,
                reason: "data.class_pattern does not match the name".to_owned(),
            }),
        }
    }
    for unusable in tree.unusable {
        if class_of(&unusable.file).is_some_and(|class| classes.contains(&class)) {
            listing.rejected.push(unusable);
        } else {
            listing.ignored.push(unusable);
        }
    }
    keep_split(&mut listing, parts.as_ref().map(folders::describe));
    listing.classes = classes;
    Ok(listing)
}

/// Keeps the folders as a split only if all of them contain images with a class: the file names in Kaggle's `test` have none.
fn keep_split(listing: &mut Listing, description: Option<String>) {
    let has = |part| listing.candidates.iter().any(|it| it.part == part);
    if has(Some(Part::Train)) && (has(Some(Part::Valid)) || has(Some(Part::Test))) && !has(None) {
        listing.own_split = description;
        return;
    }
    for candidate in &mut listing.candidates {
        candidate.part = None;
    }
}

fn too_few(pattern: &str, root: &Path, tree: &Tree, classes: &[String]) -> Error {
    let names = tree.files.iter().map(|found| found.file.as_str());
    let names: Vec<&str> = names
        .filter(|file| claims::by_name(file))
        .map(|file| file.rsplit('/').next().unwrap_or(file))
        .collect();
    let shown: Vec<String> = names
        .iter()
        .take(MAX_SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    if shown.is_empty() {
        return Error::data("the data folder contains no images")
            .at(root)
            .help("set `data.root` to the folder of the images");
    }
    let outcome = match classes {
        [] => "matches no file name".to_owned(),
        classes => format!("finds only one class, `{}`", classes[0]),
    };
    let error = Error::data(format!(
        "the pattern `{pattern}` in `data.class_pattern` {outcome}"
    ))
    .at(root)
    .fact(format!("the files are named like {}", shown.join(", ")));
    match guess(&names) {
        Some(guess) => error.help(format!("try `data.class_pattern = '{guess}'`")),
        None => error.help("capture the class of these names with one group, such as `^(cat|dog)`"),
    }
}

/// A proposed pattern lists the classes by name, unless there are more than this.
const MAX_LISTED: usize = 8;

/// Guesses a pattern that finds at least two classes in these file names, each of them several times.
pub(crate) fn guess(names: &[&str]) -> Option<String> {
    // `cat.0.jpg`, `Abyssinian_12.jpg`, `daisy-3.png`, `dog (4).jpg`, `cat0.jpg`; and `12_cat.jpg`.
    const USUAL: [&str; 2] = [
        r"^(.*[^\d\s._(-])[\s._(-]*\d+[\s)]*\.\w+$",
        r"^\d+[\s._-]+(.*[^\d\s._(-])\.\w+$",
    ];
    USUAL.into_iter().find_map(|usual| {
        let classes = classes_of(usual, names)?;
        let distinct: BTreeSet<&str> = classes.iter().copied().collect();
        if distinct.len() < 2 || distinct.len() * 2 > names.len() {
            return None;
        }
        // The longest names come first: an alternation takes the first match, and `cat` would match `caterpillar`.
        let mut distinct: Vec<String> = distinct.into_iter().map(regex::escape).collect();
        distinct.sort_by_key(|class| std::cmp::Reverse(class.len()));
        let listed = format!("^({})", distinct.join("|"));
        let is_plain =
            distinct.len() <= MAX_LISTED && classes_of(&listed, names).as_ref() == Some(&classes);
        Some(if is_plain { listed } else { usual.to_owned() })
    })
}

/// The class of every name; `None` if the pattern does not match all of them.
fn classes_of<'a>(pattern: &str, names: &[&'a str]) -> Option<Vec<&'a str>> {
    let regex = Regex::new(pattern).ok()?;
    let class = |name: &&'a str| Some(regex.captures(name)?.get(1)?.as_str());
    names.iter().map(class).collect()
}

//! Classes from a table: one row per image, with its file and class, and where the table has them its part and group.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    io::Read as _,
    path::Path,
};

use super::{LayoutCandidate, Listing};
use crate::{
    data::{
        index::listed,
        part::Part,
        photo,
        walk::{FoundFile, Rejected, Tree},
    },
    error::{Error, Result},
};

/// Names of the columns; the first is ours, the others are those of other tools.
const FILE_COLUMNS: [&str; 5] = ["file", "file_name", "filename", "path", "image"];
const CLASS_COLUMNS: [&str; 2] = ["class", "label"];
const SPLIT_COLUMNS: [&str; 1] = ["split"];
const GROUP_COLUMNS: [&str; 1] = ["group"];

/// A table of a million long rows has less.
const MAX_BYTES: u64 = 1 << 30;

/// By the name.
pub(super) fn is_table(file: &str) -> bool {
    Path::new(file)
        .extension()
        .is_some_and(|it| it.eq_ignore_ascii_case("csv") || it.eq_ignore_ascii_case("tsv"))
}

/// Whether the first line of a table names files and classes.
pub(super) fn has_columns(text: &str) -> bool {
    let header = text.lines().next().unwrap_or_default();
    Columns::find(&split_header(header)).is_ok()
}

/// Every file that the table at `path` names, in the class that it names; others are not used. All problems at once.
pub(super) fn list(path: &Path, root: &Path, tree: Tree) -> Result<Listing> {
    let text = read(path, root)?;
    let place = path.display();
    let header = text.lines().next().unwrap_or_default();
    let columns = Columns::find(&split_header(header))
        .map_err(|problem| Error::data(format!("{place}: {problem}")))?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(header))
        .flexible(true)
        .from_reader(text.as_bytes());
    let files = Files::new(&tree);
    let mut rows: Vec<ManifestRow> = Vec::new();
    let mut problems = Vec::new();
    let mut seen: HashMap<&str, u64> = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| Error::data(format!("{place}: {error}")))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        match columns.row(&record, &files) {
            Ok(row) => {
                let file = files.found[row.file].file.as_str();
                match seen.entry(file) {
                    Entry::Occupied(first) => problems.push(format!(
                        "line {line}: `{file}` has a row already, in line {}",
                        first.get()
                    )),
                    Entry::Vacant(place) => {
                        place.insert(line);
                        rows.push(row);
                    }
                }
            }
            Err(found) => problems.extend(found.into_iter().map(|it| format!("line {line}: {it}"))),
        }
    }
    let n_with_part = rows.iter().filter(|row| row.part.is_some()).count();
    if n_with_part > 0 && n_with_part < rows.len() {
        problems.push(format!(
            "{} of {} rows name no split",
            rows.len() - n_with_part,
            rows.len()
        ));
    }
    if !problems.is_empty() {
        let hint = files.hint(root);
        return Err(Error::data(format!(
            "{place}: does not fit the files in {}{}\nhelp: {}",
            root.display(),
            listed(problems.into_iter()),
            hint.unwrap_or_else(|| "correct these rows; files are relative to data.root".to_owned())
        )));
    }
    drop(seen);
    let described = format!("the column split of {place}");
    listing(rows, tree, described, path)
}

/// One row, whose file is a position in the tree.
struct ManifestRow {
    file: usize,
    class: String,
    part: Option<Part>,
    group: Option<String>,
}

fn listing(rows: Vec<ManifestRow>, tree: Tree, described: String, path: &Path) -> Result<Listing> {
    let classes: BTreeSet<&String> = rows.iter().map(|row| &row.class).collect();
    let classes: Vec<String> = classes.into_iter().cloned().collect();
    if classes.len() < 2 {
        let found = match classes.first() {
            None => "has no rows".to_owned(),
            Some(only) => format!("names only one class, `{only}`"),
        };
        return Err(Error::data(format!(
            "{}: {found}\nhelp: a classifier needs at least two classes",
            path.display()
        )));
    }
    let has_split = rows.iter().any(|row| row.part.is_some());
    let groups: BTreeSet<&String> = rows.iter().filter_map(|row| row.group.as_ref()).collect();
    let groups: HashMap<String, usize> = groups
        .into_iter()
        .enumerate()
        .map(|(number, group)| (group.clone(), number))
        .collect();
    let mut files: Vec<Option<FoundFile>> = tree.files.into_iter().map(Some).collect();
    let mut listing = Listing {
        own_split: has_split.then_some(described),
        names_classes: true,
        ..Listing::default()
    };
    for row in rows {
        let class = classes.binary_search(&row.class).unwrap_or_default();
        if let Some(FoundFile { file, stamp }) = files[row.file].take() {
            listing.candidates.push(LayoutCandidate {
                file,
                class,
                part: row.part,
                group: row.group.and_then(|group| groups.get(&group).copied()),
                stamp,
            });
        }
    }
    listing
        .ignored
        .extend(files.into_iter().flatten().map(|found| Rejected {
            file: found.file,
            reason: "has no row in data.manifest".to_owned(),
        }));
    listing.ignored.extend(tree.unusable);
    listing.classes = classes;
    Ok(listing)
}

fn read(path: &Path, root: &Path) -> Result<String> {
    let place = path.display();
    // A pipe or a device may have no end.
    let (file, _) = photo::open(path).map_err(|error| {
        let inside = root.join(path);
        let help = if inside.is_file() {
            format!(
                "paths start at the working directory: set data.manifest to `{}`",
                inside.display()
            )
        } else {
            "data.manifest is a table with the columns file and class".to_owned()
        };
        Error::data(format!("{place}: cannot be read: {error}\nhelp: {help}"))
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::data(format!(
            "{place}: is not UTF-8 text\nhelp: save the table as CSV with the encoding UTF-8"
        ))
    })?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The one of comma, tab and semicolon that the first line has most of.
fn delimiter(header: &str) -> u8 {
    let count = |delimiter: u8| header.bytes().filter(|byte| *byte == delimiter).count();
    [b',', b'\t', b';']
        .into_iter()
        .rev()
        .max_by_key(|delimiter| count(*delimiter))
        .unwrap_or(b',')
}

fn split_header(header: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter(header))
        .from_reader(header.as_bytes());
    let record = reader.records().next().and_then(std::result::Result::ok);
    let names = record.unwrap_or_default();
    names
        .iter()
        .map(|name| name.trim().to_lowercase())
        .collect()
}

/// Where the columns are.
struct Columns {
    file: usize,
    class: usize,
    split: Option<usize>,
    group: Option<usize>,
}

impl Columns {
    fn find(header: &[String]) -> std::result::Result<Self, String> {
        let find = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| header.iter().position(|column| column == name))
        };
        match (find(&FILE_COLUMNS), find(&CLASS_COLUMNS)) {
            (Some(file), Some(class)) => Ok(Self {
                file,
                class,
                split: find(&SPLIT_COLUMNS),
                group: find(&GROUP_COLUMNS),
            }),
            (file, class) => {
                let missing: Vec<String> = [
                    file.is_none()
                        .then(|| format!("files ({})", FILE_COLUMNS.join(", "))),
                    class
                        .is_none()
                        .then(|| format!("classes ({})", CLASS_COLUMNS.join(", "))),
                ]
                .into_iter()
                .flatten()
                .collect();
                Err(format!(
                    "its first line is `{}`, which has no column for {}\n\
                     help: name the columns `file` and `class`, and if it has them `split` and `group`",
                    header.join(","),
                    missing.join(" and none for ")
                ))
            }
        }
    }

    /// What is wrong with the row otherwise.
    fn row(
        &self,
        record: &csv::StringRecord,
        files: &Files,
    ) -> std::result::Result<ManifestRow, Vec<String>> {
        let cell = |at: usize| record.get(at).map_or("", str::trim);
        let mut problems = Vec::new();
        let file = files
            .find(cell(self.file))
            .map_err(|problem| problems.push(problem));
        let class = cell(self.class);
        if class.is_empty() {
            problems.push("the class is empty".to_owned());
        }
        let split = self.split.map_or("", cell);
        let part = Part::named(split);
        if part.is_none() && !split.is_empty() {
            problems.push(format!(
                "the split `{split}` is none of `train`, `valid`, `test`"
            ));
        }
        let group = self.group.map(cell).filter(|group| !group.is_empty());
        match file {
            Ok(file) if problems.is_empty() => Ok(ManifestRow {
                file,
                class: class.to_owned(),
                part,
                group: group.map(str::to_owned),
            }),
            _ => Err(problems),
        }
    }
}

/// The files of a tree by name, and by name without extension, as Kaggle's tables often have them.
struct Files<'a> {
    found: &'a [FoundFile],
    by_name: HashMap<&'a str, usize>,
    /// `None` where two files have the name.
    by_stem: HashMap<&'a str, Option<usize>>,
    unusable: HashMap<&'a str, &'a str>,
    /// The first name that no file has.
    missing: std::cell::RefCell<Option<String>>,
}

impl<'a> Files<'a> {
    fn new(tree: &'a Tree) -> Self {
        let mut by_name = HashMap::new();
        let mut by_stem: HashMap<&str, Option<usize>> = HashMap::new();
        for (at, found) in tree.files.iter().enumerate() {
            by_name.insert(found.file.as_str(), at);
            if let Some((stem, extension)) = found.file.rsplit_once('.')
                && !extension.contains('/')
            {
                by_stem
                    .entry(stem)
                    .and_modify(|known| *known = None)
                    .or_insert(Some(at));
            }
        }
        let unusable = tree.unusable.iter();
        let unusable = unusable.map(|it| (it.file.as_str(), it.reason.as_str()));
        Self {
            found: &tree.files,
            by_name,
            by_stem,
            unusable: unusable.collect(),
            missing: std::cell::RefCell::default(),
        }
    }

    fn find(&self, cell: &str) -> std::result::Result<usize, String> {
        if cell.is_empty() {
            return Err("the file is empty".to_owned());
        }
        let slashes = cell.replace('\\', "/");
        let name = slashes.trim_start_matches("./");
        if let Some(at) = self.by_name.get(name) {
            return Ok(*at);
        }
        if let Some(reason) = self.unusable.get(name) {
            return Err(format!("`{cell}` {reason}"));
        }
        match self.by_stem.get(name) {
            Some(Some(at)) => Ok(*at),
            Some(None) => Err(format!(
                "`{cell}` has no extension, and several files are called so"
            )),
            None => {
                self.missing
                    .borrow_mut()
                    .get_or_insert_with(|| name.to_owned());
                Err(format!("`{cell}` does not exist"))
            }
        }
    }

    /// Where the first missing file lies instead, if it is somewhere.
    fn hint(&self, root: &Path) -> Option<String> {
        let missing = self.missing.borrow();
        let missing = missing.as_ref()?;
        let own = missing.rsplit('/').next()?;
        let elsewhere = self
            .found
            .iter()
            .map(|found| found.file.as_str())
            .find(|file| {
                let (_, name) = file.rsplit_once('/').unwrap_or(("", file));
                name == own || name.rsplit_once('.').is_some_and(|(stem, _)| stem == own)
            })?;
        let folder = elsewhere
            .strip_suffix(missing.as_str())
            .and_then(|folder| folder.strip_suffix('/'));
        Some(match folder {
            Some(folder) => format!(
                "there is `{elsewhere}`: set data.root to `{}`",
                root.join(folder).display()
            ),
            None => format!("there is `{elsewhere}`; files are relative to data.root"),
        })
    }
}

//! Takes classes from a table with one row per image: its file and class, and optionally its part of the split and its group.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    io::Read as _,
    path::Path,
};

use super::{LayoutCandidate, Listing};
use crate::{
    data::{
        part::Part,
        photo,
        walk::{FoundFile, Rejected, Tree},
    },
    error::{Error, Result},
};

/// Accepted column names: the first of each list is ours, the others are used by other tools.
const FILE_COLUMNS: [&str; 5] = ["file", "file_name", "filename", "path", "image"];
const CLASS_COLUMNS: [&str; 2] = ["class", "label"];
const SPLIT_COLUMNS: [&str; 1] = ["split"];
const GROUP_COLUMNS: [&str; 1] = ["group"];

/// The most bytes that are read of a table; a million long rows have fewer.
const MAX_BYTES: u64 = 1 << 30;

/// Whether a file is a table, by its extension.
pub(super) fn is_table(file: &str) -> bool {
    Path::new(file)
        .extension()
        .is_some_and(|it| it.eq_ignore_ascii_case("csv") || it.eq_ignore_ascii_case("tsv"))
}

/// Whether the header of a table has columns for files and classes.
pub(super) fn has_columns(text: &str) -> bool {
    let header = text.lines().next().unwrap_or_default();
    Columns::find(&split_header(header)).is_ok()
}

/// Lists every file that the table at `path` names, with its class; ignores the others. Reports all problems at once.
pub(super) fn list(path: &Path, root: &Path, tree: Tree) -> Result<Listing> {
    let text = read(path, root)?;
    let header = text.lines().next().unwrap_or_default();
    let columns = Columns::find(&split_header(header)).map_err(|error| error.at(path))?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(header))
        .flexible(true)
        .from_reader(text.as_bytes());
    let files = Files::new(&tree);
    let mut rows: Vec<ManifestRow> = Vec::new();
    let mut problems = Vec::new();
    let mut seen: HashMap<&str, u64> = HashMap::new();
    for record in reader.records() {
        let record = record
            .map_err(|error| Error::data(format!("cannot read the manifest: {error}")).at(path))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        match columns.row(&record, &files) {
            Ok(row) => {
                let file = files.found[row.file].file.as_str();
                match seen.entry(file) {
                    Entry::Occupied(first) => problems.push(format!(
                        "line {line}: `{file}` is already listed in line {}",
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
            "{} of {} rows have no split",
            rows.len() - n_with_part,
            rows.len()
        ));
    }
    if !problems.is_empty() {
        let hint = files.hint(root);
        let hint = hint.unwrap_or_else(|| {
            "correct these rows; file names are relative to `data.root`".to_owned()
        });
        let error = Error::data(format!(
            "the manifest does not match the files in `{}`",
            root.display()
        ));
        return Err(error.at(path).help(hint).facts(problems));
    }
    drop(seen);
    let described = format!("the `split` column of {}", path.display());
    listing(rows, tree, described, path)
}

/// A row of the manifest, with the position of its file in the tree.
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
        let message = match classes.first() {
            None => "the manifest has no rows".to_owned(),
            Some(only) => format!("the manifest has only one class, `{only}`"),
        };
        return Err(Error::data(message)
            .at(path)
            .help("list images of at least two classes"));
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
    // `photo::open` refuses pipes and devices, which may never end.
    let (file, _) = photo::open(path).map_err(|error| {
        let inside = root.join(path);
        let help = if inside.is_file() {
            format!(
                "set `data.manifest` to `{}`; the path is relative to the working directory",
                inside.display()
            )
        } else {
            "set `data.manifest` to a table with the columns `file` and `class`".to_owned()
        };
        Error::data(format!("cannot read `{}`: {error}", path.display()))
            .at(path)
            .help(help)
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::data("the manifest is not UTF-8 text")
            .at(path)
            .help("save the table as CSV with the UTF-8 encoding")
    })?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The most frequent of comma, tab and semicolon in the first line.
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

/// The positions of the columns.
struct Columns {
    file: usize,
    class: usize,
    split: Option<usize>,
    group: Option<usize>,
}

impl Columns {
    fn find(header: &[String]) -> Result<Self> {
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
                        .then(|| format!("files (`{}`)", FILE_COLUMNS.join("`, `"))),
                    class
                        .is_none()
                        .then(|| format!("classes (`{}`)", CLASS_COLUMNS.join("`, `"))),
                ]
                .into_iter()
                .flatten()
                .collect();
                Err(Error::data(format!(
                    "the header `{}` has no column for {}",
                    header.join(","),
                    missing.join(" and none for ")
                ))
                .help("name the columns `file` and `class`, and optionally `split` and `group`"))
            }
        }
    }

    /// Reads a row, or lists all that is wrong with it.
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
                "unknown split `{split}`, expected `train`, `valid` or `test`"
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

/// The files of a tree by name, and also by name without extension, because Kaggle's tables often leave it out.
struct Files<'a> {
    found: &'a [FoundFile],
    by_name: HashMap<&'a str, usize>,
    /// The value is `None` if several files have the name.
    by_stem: HashMap<&'a str, Option<usize>>,
    unusable: HashMap<&'a str, &'a str>,
    /// The first name in the table that no file has.
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
            return Err("the file name is empty".to_owned());
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
                "`{cell}` is ambiguous: several files have this name with different extensions"
            )),
            None => {
                self.missing
                    .borrow_mut()
                    .get_or_insert_with(|| name.to_owned());
                Err(format!("`{cell}` does not exist"))
            }
        }
    }

    /// Suggests a correction if the first missing file exists in another folder.
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
                "set `data.root` to `{}`; the data folder contains `{elsewhere}`",
                root.join(folder).display()
            ),
            None => format!("write file names relative to `data.root`; it contains `{elsewhere}`"),
        })
    }
}

//! Splits the images of an index into train, valid and test. Pure, except for reading a given table; knows no pixels.

mod draw;

use std::{
    collections::HashMap,
    io::{Read, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use super::part::Part;
use crate::{
    config::experiment::Split,
    data::{index::DatasetIndex, photo},
    disk::{cells, hash},
    error::{Error, Result},
};

/// The part of the split of every image, in the order of the index. `train` and `valid` are never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SplitTable {
    pub(crate) parts: Vec<Part>,
}

/// A row of `split.csv`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitFileRow<'a> {
    file: &'a str,
    class: &'a str,
    split: Part,
}

impl SplitTable {
    /// Splits the images as the experiment asks. Fails if a class is left without training images.
    pub(crate) fn new(split: &Split, seed: u64, index: &DatasetIndex) -> Result<Self> {
        match split {
            Split::Auto { valid, test } if index.own_split.is_some() => {
                Self::own(*valid, *test, seed, index)
            }
            Split::Auto { valid, test } | Split::Random { valid, test } => {
                Self::random(*valid, *test, seed, index)
            }
            Split::Stratified { valid, test } => Self::stratified(*valid, *test, seed, index),
            Split::File(path) => {
                // `photo::open` refuses pipes and devices, which may never end.
                let (file, _) = photo::open(path).map_err(|error| {
                    Error::data(format!("cannot read `{}`: {error}", path.display()))
                        .at(path)
                        .help("set `split.file` to a CSV file with the columns `file,class,split`")
                })?;
                Self::read_csv(file, path, index)
            }
        }
    }

    /// The indices of the images of one part, in ascending order.
    pub(crate) fn images(&self, part: Part) -> Vec<usize> {
        positions(&self.parts, |it| *it == part)
    }

    /// Writes the columns `file,class,split`, with one row per image of the index.
    pub(crate) fn write_csv(&self, index: &DatasetIndex, mut to: impl Write) -> csv::Result<()> {
        let images = index.images.iter().zip(&self.parts);
        let rows = images.map(|(image, &split)| SplitFileRow {
            file: &image.file,
            class: &index.classes[image.class],
            split,
        });
        Ok(to.write_all(&cells::to_csv(true, rows)?)?)
    }

    /// The SHA-256 of the table that `write_csv` writes, in lower-case hexadecimal.
    pub(crate) fn hash(&self, index: &DatasetIndex) -> String {
        let mut bytes = Vec::new();
        self.write_csv(index, &mut bytes)
            .expect("a Vec takes what is written to it");
        hash::hex(&Sha256::digest(&bytes))
    }

    /// Reads a table that `write_csv` has written; `path` is used in messages only. Every image must have exactly one row.
    pub(crate) fn read_csv(from: impl Read, path: &Path, index: &DatasetIndex) -> Result<Self> {
        let images: HashMap<&str, usize> = index
            .images
            .iter()
            .enumerate()
            .map(|(i, image)| (image.file.as_str(), i))
            .collect();
        let mut parts: Vec<Option<Part>> = vec![None; index.images.len()];
        let mut problems = Vec::new();
        let unreadable = |error: csv::Error| {
            Error::data(format!("cannot read the split table: {error}")).at(path)
        };
        let (headers, records) = cells::from_csv(from).map_err(unreadable)?;
        check_header(&headers, path)?;
        for record in records {
            let record = record.map_err(unreadable)?;
            let line = record.position().map_or(0, csv::Position::line);
            match record.deserialize::<SplitFileRow>(Some(&headers)) {
                Ok(row) => match assign(&row, &images, index, &mut parts) {
                    Ok(()) => {}
                    Err(problem) => problems.push(format!("line {line}: {problem}")),
                },
                Err(_) => problems.push(format!(
                    "line {line}: unknown split `{}`, expected `train`, `valid` or `test`",
                    headers
                        .iter()
                        .position(|name| name == "split")
                        .map_or("", |at| &record[at]),
                )),
            }
        }
        let missing = index
            .images
            .iter()
            .zip(&parts)
            .filter(|(_, part)| part.is_none());
        problems.extend(missing.map(|(image, _)| format!("`{}` has no row", image.file)));
        if !problems.is_empty() {
            return Err(disagreement(path, index, &problems));
        }
        Self {
            parts: parts.into_iter().flatten().collect(),
        }
        .checked(index)
    }

    /// Uses the data set's own split. A part that it lacks is drawn from its training images, unless the fraction is 0.
    fn own(valid: f64, test: f64, seed: u64, index: &DatasetIndex) -> Result<Self> {
        let parts = index.images.iter().map(|image| image.part);
        let mut parts: Vec<Part> = parts.map(|part| part.unwrap_or(Part::Train)).collect();
        let missing = |part, fraction| if parts.contains(&part) { 0.0 } else { fraction };
        let (valid, test) = (missing(Part::Valid, valid), missing(Part::Test, test));
        let training = positions(&parts, |part| *part == Part::Train);
        draw::random(&training, (valid, test), seed, index, &mut parts);
        Self { parts }.checked(index)
    }

    fn random(valid: f64, test: f64, seed: u64, index: &DatasetIndex) -> Result<Self> {
        let mut parts = vec![Part::Train; index.images.len()];
        let all: Vec<usize> = (0..parts.len()).collect();
        draw::random(&all, (valid, test), seed, index, &mut parts);
        Self { parts }.checked(index)
    }

    fn stratified(valid: f64, test: f64, seed: u64, index: &DatasetIndex) -> Result<Self> {
        let mut parts = vec![Part::Train; index.images.len()];
        draw::stratified((valid, test), seed, index, &mut parts);
        Self { parts }.checked(index)
    }

    fn checked(self, index: &DatasetIndex) -> Result<Self> {
        let n_images = self.parts.len();
        for part in [Part::Train, Part::Valid] {
            if !self.parts.contains(&part) {
                return Err(Error::data(format!(
                    "none of the {n_images} images is in the `{}` part of the split",
                    part.name()
                ))
                .at(&index.root)
                .help("add images, or change `[split]`"));
            }
        }
        let mut n_train = vec![0_usize; index.classes.len()];
        for (image, part) in index.images.iter().zip(&self.parts) {
            n_train[image.class] += usize::from(*part == Part::Train);
        }
        let absent: Vec<String> = (0..n_train.len())
            .filter(|&class| n_train[class] == 0)
            .map(|class| format!("`{}`", index.classes[class]))
            .collect();
        if absent.is_empty() {
            return Ok(self);
        }
        Err(Error::data(format!(
            "the split leaves no training images for class {}",
            absent.join(", "),
        ))
        .at(&index.root)
        .help("add images, or use a stratified split with smaller `valid` and `test`"))
    }
}

fn positions(parts: &[Part], is_meant: impl Fn(&Part) -> bool) -> Vec<usize> {
    (0..parts.len())
        .filter(|&image| is_meant(&parts[image]))
        .collect()
}

fn check_header(header: &csv::StringRecord, path: &Path) -> Result<()> {
    let mut names: Vec<&str> = header.iter().collect();
    names.sort_unstable();
    if names == ["class", "file", "split"] {
        return Ok(());
    }
    Err(Error::data(format!(
        "expected the columns `file,class,split`, found `{}`",
        header.iter().collect::<Vec<_>>().join(","),
    ))
    .at(path)
    .help("name the columns `file,class,split` in the first line"))
}

fn assign(
    row: &SplitFileRow,
    images: &HashMap<&str, usize>,
    index: &DatasetIndex,
    parts: &mut [Option<Part>],
) -> std::result::Result<(), String> {
    let SplitFileRow { file, class, split } = row;
    let Some(&image) = images.get(file) else {
        let rejected = &index.rejected;
        return Err(match rejected.binary_search_by(|it| (*it.file).cmp(file)) {
            Ok(at) => rejected[at].to_string(),
            Err(_) => format!("`{file}` is not in the data set"),
        });
    };
    let actual = &index.classes[index.images[image].class];
    if actual != class {
        return Err(format!(
            "`{file}` belongs to class `{actual}`, not `{class}`"
        ));
    }
    match parts[image].replace(*split) {
        None => Ok(()),
        Some(_) => Err(format!("`{file}` is listed more than once")),
    }
}

fn disagreement(path: &Path, index: &DatasetIndex, problems: &[String]) -> Error {
    let error = Error::data(format!(
        "the split table does not match the images in `{}`",
        index.root.display()
    ))
    .at(path)
    .help("give each image exactly one row `file,class,split`");
    error.facts(problems.iter().cloned())
}

#[cfg(test)]
mod tests;

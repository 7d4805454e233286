//! Splits: seed and index to train, valid and test. Pure but for reading a given table; knows no pixels.

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
    data::{
        index::{DatasetIndex, listed},
        photo,
    },
    disk::{cells, hash},
    error::{Error, Result},
};

/// The part of every image of an index, in the order of the index; `train` and `valid` are never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SplitTable {
    pub(crate) parts: Vec<Part>,
}

/// A row of `split.csv`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitRow<'a> {
    file: &'a str,
    class: &'a str,
    split: Part,
}

impl SplitTable {
    /// Splits as the experiment says; every class has an image to train on.
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
                // A pipe or a device may have no end.
                let (file, _) = photo::open(path).map_err(|error| {
                    Error::data(format!(
                        "{}: cannot be read: {error}\nhelp: split.file names a table `file,class,split`",
                        path.display()
                    ))
                })?;
                Self::read_csv(file, path, index)
            }
        }
    }

    /// Image indices of one part, ascending.
    pub(crate) fn images(&self, part: Part) -> Vec<usize> {
        positions(&self.parts, |it| *it == part)
    }

    /// Writes columns `file,class,split`, one row per image of the index.
    pub(crate) fn write_csv(&self, index: &DatasetIndex, mut to: impl Write) -> csv::Result<()> {
        let images = index.images.iter().zip(&self.parts);
        let rows = images.map(|(image, &split)| SplitRow {
            file: &image.file,
            class: &index.classes[image.class],
            split,
        });
        Ok(to.write_all(&cells::to_csv(true, rows)?)?)
    }

    /// SHA-256 of what `write_csv` writes, lower-case hexadecimal.
    pub(crate) fn hash(&self, index: &DatasetIndex) -> String {
        let mut bytes = Vec::new();
        self.write_csv(index, &mut bytes)
            .expect("a Vec takes what is written to it");
        hash::hex(&Sha256::digest(&bytes))
    }

    /// Reads what `write_csv` writes; `path` is for messages. Every image must have exactly one row.
    pub(crate) fn read_csv(from: impl Read, path: &Path, index: &DatasetIndex) -> Result<Self> {
        let images: HashMap<&str, usize> = index
            .images
            .iter()
            .enumerate()
            .map(|(i, image)| (image.file.as_str(), i))
            .collect();
        let mut parts: Vec<Option<Part>> = vec![None; index.images.len()];
        let mut problems = Vec::new();
        let unreadable = |error: csv::Error| Error::data(format!("{}: {error}", path.display()));
        let (headers, records) = cells::from_csv(from).map_err(unreadable)?;
        check_header(&headers, path)?;
        for record in records {
            let record = record.map_err(unreadable)?;
            let line = record.position().map_or(0, csv::Position::line);
            match record.deserialize::<SplitRow>(Some(&headers)) {
                Ok(row) => match assign(&row, &images, index, &mut parts) {
                    Ok(()) => {}
                    Err(problem) => problems.push(format!("line {line}: {problem}")),
                },
                Err(_) => problems.push(format!(
                    "line {line}: split `{}` is none of `train`, `valid`, `test`",
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

    /// The data set's own parts. One that it lacks is drawn from its training images, where the fraction is not 0.
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
        let root = index.root.display();
        let n_images = self.parts.len();
        for (part, name) in [(Part::Train, "train"), (Part::Valid, "valid")] {
            if !self.parts.contains(&part) {
                return Err(Error::data(format!(
                    "{root}: no image of {n_images} is in the `{name}` part of the split\n\
                     help: add images or change [split]"
                )));
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
            "{root}: the split leaves no image to train on in class {}\n\
             help: add images, or use a stratified split with smaller `valid` and `test`",
            absent.join(", "),
        )))
    }
}

fn positions(parts: &[Part], is_meant: impl Fn(&Part) -> bool) -> Vec<usize> {
    (0..parts.len())
        .filter(|&image| is_meant(&parts[image]))
        .collect()
}

fn check_header(header: &csv::StringRecord, path: &Path) -> Result<()> {
    let place = path.display();
    let mut names: Vec<&str> = header.iter().collect();
    names.sort_unstable();
    if names == ["class", "file", "split"] {
        return Ok(());
    }
    Err(Error::data(format!(
        "{place}: the first line is `{}`\nhelp: it must name the columns `file,class,split`",
        header.iter().collect::<Vec<_>>().join(","),
    )))
}

fn assign(
    row: &SplitRow,
    images: &HashMap<&str, usize>,
    index: &DatasetIndex,
    parts: &mut [Option<Part>],
) -> std::result::Result<(), String> {
    let SplitRow { file, class, split } = row;
    let Some(&image) = images.get(file) else {
        let rejected = &index.rejected;
        return Err(match rejected.binary_search_by(|it| (*it.file).cmp(file)) {
            Ok(at) => format!("`{file}` {}", rejected[at].reason),
            Err(_) => format!("`{file}` is not in the data set"),
        });
    };
    let actual = &index.classes[index.images[image].class];
    if actual != class {
        return Err(format!("`{file}` is of class `{actual}`, not `{class}`"));
    }
    match parts[image].replace(*split) {
        None => Ok(()),
        Some(_) => Err(format!("`{file}` has a row already")),
    }
}

fn disagreement(path: &Path, index: &DatasetIndex, problems: &[String]) -> Error {
    let listed = listed(problems.iter().cloned());
    Error::data(format!(
        "{}: does not fit the images in {}{listed}\n\
         help: each image needs exactly one row `file,class,split`",
        path.display(),
        index.root.display(),
    ))
}

#[cfg(test)]
mod tests;

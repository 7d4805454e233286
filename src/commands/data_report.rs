//! Notes and errors about the images of an experiment and their split, before anything is trained on them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    config::{
        Loaded,
        experiment::{Duplicates, Split},
    },
    console::Console,
    data::{
        duplicates,
        index::DatasetIndex,
        split::{Part, SplitTable},
    },
    error::{Error, Result},
    text::table::{Align, Table},
};

/// Prints where the split comes from and which images contradict each other. Fails if the experiment makes such images an
/// error, or if an override on the command line has no effect.
pub(super) fn tell(
    loaded: &Loaded,
    index: &DatasetIndex,
    split: &SplitTable,
    console: &Console,
) -> Result<()> {
    let experiment = &loaded.experiment;
    if let (Split::Auto { .. }, Some(own)) = (&experiment.split, &index.own_split) {
        let unused = unused_fractions(index);
        if let Some((key, part)) = unused.iter().find(|(key, _)| loaded.is_override(key)) {
            return Err(Error::usage(format!(
                "`{key}` has no effect, because the data set defines which images are for {part}"
            ))
            .at(&index.root)
            .fact(format!("split by {own}"))
            .help("add `--set split.method=random` to draw a random split instead"));
        }
        console.note(&format!(
            "using the split of the data set, by {own}: {}; set `split.method = \"random\"` to draw a random one",
            counts(split)
        ));
    }
    let problems = duplicates::problems(index, split);
    if problems.is_empty() {
        return Ok(());
    }
    let n = match problems.len() {
        1 => "1 image has".to_owned(),
        n => format!("{n} images have"),
    };
    let error = Error::data(format!("{n} copies in other classes or parts of the split"));
    let error = error.facts(problems);
    match experiment.data.duplicates {
        Duplicates::Error => Err(error.at(&index.root).help(
            "delete the copies, or set `data.duplicates = \"together\"` to keep them in one part",
        )),
        Duplicates::Together => {
            console.note(&format!("warning: {error}"));
            Ok(())
        }
        Duplicates::Warn => {
            let error =
                error.help("set `data.duplicates = \"together\"` to keep copies in one part");
            console.note(&format!("warning: {error}"));
            Ok(())
        }
    }
}

/// The keys of split fractions that have no effect, because the data set defines these parts itself.
fn unused_fractions(index: &DatasetIndex) -> Vec<(&'static str, &'static str)> {
    let has = |part| index.images.iter().any(|image| image.part == Some(part));
    [
        ("split.valid", Part::Valid, "validation"),
        ("split.test", Part::Test, "testing"),
    ]
    .into_iter()
    .filter(|(_, part, _)| has(*part))
    .map(|(key, _, what)| (key, what))
    .collect()
}

/// `train 245, valid 153`
fn counts(split: &SplitTable) -> String {
    let parts = Part::ALL.map(|part| (part.name(), split.images(part).len()));
    let parts = parts.iter().filter(|(_, n)| *n > 0);
    let parts: Vec<String> = parts.map(|(name, n)| format!("{name} {n}")).collect();
    parts.join(", ")
}

/// The images of each class by part, and how many of them are copies of another image.
pub(super) struct ClassCounts {
    rows: Vec<(String, [usize; 3], usize)>,
}

/// The number of rows after which the table only counts the rest.
const MAX_ROWS: usize = 50;

impl ClassCounts {
    pub(super) fn new(index: &DatasetIndex, split: &SplitTable) -> Self {
        let classes = index.classes.iter();
        let mut rows: Vec<_> = classes.map(|class| (class.clone(), [0; 3], 0)).collect();
        let firsts = duplicates::firsts(&index.images);
        for ((image, part), first) in index.images.iter().zip(&split.parts).zip(firsts) {
            let (_, parts, n_copies) = &mut rows[image.class];
            parts[*part as usize] += 1;
            *n_copies += usize::from(first.is_some());
        }
        Self { rows }
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::new(&[
            ("class", Align::Left),
            ("train", Align::Right),
            ("valid", Align::Right),
            ("test", Align::Right),
            ("copies", Align::Right),
        ]);
        for (class, parts, n_copies) in self.rows.iter().take(MAX_ROWS) {
            let numbers = parts.iter().chain([n_copies]).map(ToString::to_string);
            table.row(std::iter::once(class.clone()).chain(numbers).collect());
        }
        let mut text = table.text().trim_end().to_owned();
        if self.rows.len() > MAX_ROWS {
            let _ = write!(text, "\nand {} more classes", self.rows.len() - MAX_ROWS);
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let row = |(class, [train, valid, test], copies): &(String, [usize; 3], usize)| json!({ "class": class, "train": train, "valid": valid, "test": test, "copies": copies });
        self.rows.iter().map(row).collect()
    }
}

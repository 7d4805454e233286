//! Splits of made-up indices.

use std::path::PathBuf;

use super::*;
use crate::data::index::{ImageEntry, Rejected};

/// An index with this many images in each class.
fn index(counts: &[usize]) -> DatasetIndex {
    let mut images = Vec::new();
    for (class, &n) in counts.iter().enumerate() {
        images.extend((0..n).map(|i| ImageEntry {
            file: format!("c{class}/{i}.jpg"),
            class,
            bytes: 0,
            content_hash: String::new(),
        }));
    }
    DatasetIndex {
        root: PathBuf::from("root"),
        classes: (0..counts.len()).map(|class| format!("c{class}")).collect(),
        images,
        rejected: vec![Rejected {
            file: "c0/bad.jpg".into(),
            reason: "is empty".into(),
        }],
        hash: String::new(),
        n_read: 0,
        memory: None,
        memory_problem: None,
    }
}

fn part_counts(table: &SplitTable) -> [usize; 3] {
    [Part::Train, Part::Valid, Part::Test].map(|part| table.images(part).len())
}

fn check_error(result: Result<SplitTable>, expected: &[&str]) {
    let text = result.expect_err("it must fail").to_string();
    for part in expected {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.contains("\nhelp: "), "{text}");
}

#[test]
fn counts_are_those_of_random_split() {
    for (n, valid, test, expected) in [
        (800, 0.2, 0.0, (640, 160)),
        (25_000, 0.2, 0.0, (20_000, 5_000)),
        (10, 0.7, 0.2, (1, 7)),
        (10, 0.1, 0.2, (7, 1)),
        (11, 0.2, 0.0, (8, 3)),
        (3, 0.2, 0.0, (2, 1)),
        (100, 0.15, 0.15, (70, 15)),
        (0, 0.5, 0.0, (0, 0)),
    ] {
        assert_eq!(counts(n, valid, test), expected, "{n} {valid} {test}");
    }
}

#[test]
fn a_random_split_repeats_with_its_seed_and_changes_with_another() {
    let index = index(&[400, 400]);
    let split = Split::Random {
        valid: 0.2,
        test: 0.1,
    };
    let table = SplitTable::new(&split, 42, &index).expect("it splits");
    assert_eq!(part_counts(&table), [560, 160, 80]);
    assert_eq!(
        SplitTable::new(&split, 42, &index).expect("it splits"),
        table
    );
    assert_ne!(
        SplitTable::new(&split, 43, &index).expect("it splits"),
        table
    );
    // Old runs name this hash; a change here changes what a seed means.
    assert_eq!(
        table.hash(&index),
        "6f45809f481199e85f19a69d4b9e24d6583569df2e921a21bb61342293541264"
    );
}

#[test]
fn a_stratified_split_cuts_every_class_alike() {
    let index = index(&[100, 10]);
    let split = Split::Stratified {
        valid: 0.2,
        test: 0.1,
    };
    let table = SplitTable::new(&split, 1, &index).expect("it splits");
    let of_class = |class: usize| {
        [Part::Train, Part::Valid, Part::Test].map(|part| {
            table
                .images(part)
                .iter()
                .filter(|&&image| index.images[image].class == class)
                .count()
        })
    };
    assert_eq!((of_class(0), of_class(1)), ([70, 20, 10], [7, 2, 1]));
}

#[test]
fn a_part_or_class_without_images_is_an_error() {
    let random = |valid| Split::Random { valid, test: 0.0 };
    check_error(
        SplitTable::new(&random(0.2), 1, &index(&[1, 0])),
        &["`train` part"],
    );
    check_error(
        SplitTable::new(&random(0.0), 1, &index(&[5, 5])),
        &["`valid` part"],
    );
    let stratified = Split::Stratified {
        valid: 0.5,
        test: 0.0,
    };
    check_error(
        SplitTable::new(&stratified, 1, &index(&[9, 1])),
        &["train on in class `c1`"],
    );
}

#[test]
fn a_table_survives_writing_and_reading() {
    let mut index = index(&[5, 5]);
    index.images[3].file = "c0/with, comma \"and\" quotes.jpg".to_owned();
    index.images[1].file = "=HYPERLINK(\"a\")/\n.jpg".to_owned();
    index.images[2].file = "'=HYPERLINK(\"a\")/\n.jpg".to_owned();
    index.classes[1] = "@c1".to_owned();
    let split = Split::Random {
        valid: 0.2,
        test: 0.2,
    };
    let table = SplitTable::new(&split, 5, &index).expect("it splits");
    let mut bytes = Vec::new();
    table.write_csv(&index, &mut bytes).expect("it writes");
    assert!(bytes.starts_with(b"file,class,split\nc0/0.jpg,c0,"));
    let read = SplitTable::read_csv(&*bytes, Path::new("split.csv"), &index);
    assert_eq!(read.expect("it reads"), table);
}

#[test]
fn a_file_that_disagrees_with_the_images_lists_every_line() {
    let text = "file,class,split\n\
        c0/0.jpg,c0,train\nc0/1.jpg,c1,train\nc0/0.jpg,c0,valid\nc9/0.jpg,c9,train\nc0/bad.jpg,c0,train\nc1/0.jpg,c1,training\n";
    let read = SplitTable::read_csv(text.as_bytes(), Path::new("split.csv"), &index(&[2, 2]));
    check_error(
        read,
        &[
            "split.csv: does not fit the images in root",
            "line 3: `c0/1.jpg` is of class `c0`, not `c1`",
            "line 4: `c0/0.jpg` has a row already",
            "line 5: `c9/0.jpg` is not in the data set",
            "line 6: `c0/bad.jpg` is empty",
            "line 7: split `training` is none of",
            "`c1/1.jpg` has no row",
        ],
    );
}

#[test]
fn a_file_with_other_columns_or_ragged_rows_is_an_error() {
    let read =
        |text: &str| SplitTable::read_csv(text.as_bytes(), Path::new("s.csv"), &index(&[2, 2]));
    check_error(
        read("path,label\na,b\n"),
        &["s.csv: the first line is `path,label`"],
    );
    check_error(read(""), &["s.csv: the first line is ``"]);
    let text = read("file,class,split\nc0/0.jpg,c0\n")
        .expect_err("ragged")
        .to_string();
    assert!(
        text.starts_with("s.csv: ") && text.contains("line: 2"),
        "{text}"
    );
}

#[test]
fn a_table_that_is_no_file_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let split = Split::File(folder.path().to_owned());
    check_error(
        SplitTable::new(&split, 1, &index(&[2, 2])),
        &["not a regular file"],
    );
}

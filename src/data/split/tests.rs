//! Splits of made-up indices.

use std::path::PathBuf;

use super::*;
use crate::{
    data::index::{ImageEntry, Rejected},
    disk::hash::Sha256Hash,
};

/// An index with this many images in each class.
fn index(counts: &[usize]) -> DatasetIndex {
    let mut images = Vec::new();
    for (class, &n) in counts.iter().enumerate() {
        images.extend((0..n).map(|i| ImageEntry {
            file: format!("c{class}/{i}.jpg"),
            class,
            part: None,
            group: None,
            bytes: 0,
            content_hash: Sha256Hash::of(&[]),
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
        ignored: Vec::new(),
        own_split: None,
        doubt: None,
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
        assert_eq!(draw::counts(n, valid, test), expected, "{n} {valid} {test}");
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
        SplitTable::new(&stratified, 1, &index(&[9, 0])),
        &["training images for class `c1`"],
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
            "split.csv: the split table does not match the images in `root`",
            "line 3: `c0/1.jpg` belongs to class `c0`, not `c1`",
            "line 4: `c0/0.jpg` is listed more than once",
            "line 5: `c9/0.jpg` is not in the data set",
            "line 6: `c0/bad.jpg` is empty",
            "line 7: unknown split `training`",
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
        &["s.csv: expected the columns `file,class,split`, found `path,label`"],
    );
    check_error(
        read(""),
        &["s.csv: expected the columns `file,class,split`, found ``"],
    );
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

#[test]
fn stratified_keeps_the_total_and_never_empties_a_class() {
    for (classes, n, valid, expected) in [(37, 10, 0.05, 19), (37, 10, 0.15, 56), (3, 7, 0.2, 5)] {
        let index = index(&vec![n; classes]);
        let split = Split::Stratified { valid, test: 0.0 };
        let table = SplitTable::new(&split, 42, &index).expect("it splits");
        let [n_train, n_valid, _] = part_counts(&table);
        assert_eq!((n_train, n_valid), (classes * n - expected, expected));
        let per_class: Vec<usize> = (0..classes)
            .map(|class| {
                let images = table.images(Part::Valid);
                images
                    .iter()
                    .filter(|i| index.images[**i].class == class)
                    .count()
            })
            .collect();
        let (least, most) = (per_class.iter().min(), per_class.iter().max());
        assert!(most.unwrap() - least.unwrap() <= 1, "{per_class:?}");
    }
    // In proportion, the small classes would get no training images.
    let table = SplitTable::new(
        &Split::Stratified {
            valid: 0.5,
            test: 0.0,
        },
        1,
        &index(&[1, 1, 1, 9]),
    );
    assert_eq!(part_counts(&table.expect("it splits")), [6, 6, 0]);
}

#[test]
fn groups_stay_together() {
    let mut index = index(&[20, 20]);
    for (at, image) in index.images.iter_mut().enumerate() {
        image.group = (at % 4 != 0).then_some(at % 7);
    }
    for split in [
        Split::Random {
            valid: 0.3,
            test: 0.2,
        },
        Split::Stratified {
            valid: 0.3,
            test: 0.2,
        },
    ] {
        let table = SplitTable::new(&split, 42, &index).expect("it splits");
        for group in 0..7 {
            let images = index.images.iter().zip(&table.parts);
            let parts: std::collections::HashSet<Part> = images
                .filter(|(image, _)| image.group == Some(group))
                .map(|(_, part)| *part)
                .collect();
            assert_eq!(parts.len(), 1, "{split} {group}");
        }
    }
}

#[test]
fn a_split_of_the_data_set_s_own_is_used_and_completed() {
    let mut index = index(&[10, 10]);
    index.own_split = Some("the folders".to_owned());
    for (at, image) in index.images.iter_mut().enumerate() {
        image.part = Some(if at % 5 == 0 { Part::Test } else { Part::Train });
    }
    let split = Split::Auto {
        valid: 0.25,
        test: 0.5,
    };
    let table = SplitTable::new(&split, 42, &index).expect("it splits");
    assert_eq!(part_counts(&table), [12, 4, 4]);
    for (image, part) in index.images.iter().zip(&table.parts) {
        assert_eq!(image.part == Some(Part::Test), *part == Part::Test);
    }
    index.own_split = None;
    let random = SplitTable::new(&split.in_force(false), 42, &index).expect("it splits");
    assert_eq!(
        SplitTable::new(&split, 42, &index).expect("it splits"),
        random
    );
}

#[test]
fn copies_are_found_and_kept_together() {
    let mut index = index(&[6, 6]);
    for (at, image) in index.images.iter_mut().enumerate() {
        image.content_hash = Sha256Hash::of(&[at as u8 % 6]);
    }
    let mut table = SplitTable {
        parts: vec![Part::Train; 12],
    };
    table.parts[3] = Part::Valid;
    let problems = crate::data::duplicates::problems(&index, &table);
    assert_eq!(problems.len(), 6);
    assert_eq!(
        problems[3],
        "c0/3.jpg (valid), c1/3.jpg (train): identical images in different classes and parts of the split"
    );
    index.images[1].group = Some(7);
    index.images[8].group = Some(7);
    crate::data::duplicates::join_groups(&mut index.images);
    let group = |at: usize| index.images[at].group;
    assert!([1, 7, 8, 2].iter().all(|at| group(*at) == group(1)));
    assert_ne!(group(0), group(1));
}

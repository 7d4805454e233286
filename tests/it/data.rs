//! Picture folders: drawn ones, broken files in them, and folders that are none.

use std::{collections::BTreeMap, ffi::OsString, fs};

use crate::program::{Case, read, read_toml};

#[test]
fn broken_files_are_rejected_with_reasons_and_left_alone() {
    let case = Case::new("");
    case.ok(&["sample-data", "mixed", "--per-class", "10", "--seed", "5"]);
    let before = fs::read(case.path("mixed/Cat/truncated.jpg")).unwrap();
    let set = ["--set", "data.root=mixed"];
    let error = case.fails(3, &[&["small.toml"], &set[..]].concat());
    assert!(
        error.contains("max_rejected_fraction") && error.contains("truncated.jpg"),
        "{error}"
    );
    let run = case.train(&[&set[..], &["--set", "data.max_rejected_fraction=0.5"]].concat());
    let rejected = read(&run.join("rejected.csv"));
    for file in [
        "Cat/archive.jpg",
        "Cat/empty.jpg",
        "Cat/notes.jpg",
        "Cat/truncated.jpg",
        "Dog/empty.jpg",
    ] {
        assert!(rejected.contains(file), "{file}: {rejected}");
    }
    // A PNG called .jpg is an image.
    assert!(!rejected.contains("png-named"));
    assert!(read(&run.join("split.csv")).contains("Cat/png-named.jpg"));
    assert_eq!(
        read_toml(&run.join("summary.toml"))["rejected"].as_integer(),
        Some(8)
    );
    assert_eq!(
        fs::read(case.path("mixed/Cat/truncated.jpg")).unwrap(),
        before
    );
}

#[test]
fn drawings_are_the_same_bytes_every_time_and_never_overwrite() {
    let case = Case::new("");
    case.ok(&["sample-data", "again", "--per-class", "10", "--no-broken"]);
    let files = |folder: &str| -> BTreeMap<OsString, Vec<u8>> {
        let entries = fs::read_dir(case.path(folder)).unwrap().map(Result::unwrap);
        entries
            .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
            .collect()
    };
    for class in ["Cat", "Dog"] {
        let (first, second) = (
            files(&format!("data/{class}")),
            files(&format!("again/{class}")),
        );
        assert_eq!(first.len(), 10);
        assert!(first == second, "{class} differs");
    }
    assert!(case.fails(2, &["sample-data", "again"]).contains("again"));
}

//! The promises of the drawn photos: same bytes for the same options, readable files, counted broken ones.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{DrawnSummary, Options, Task, write};
use crate::error::Kind;

const PETS: Options = Options {
    task: Task::Pets,
    per_class: 4,
    seed: 7,
    broken: true,
};

/// The folders of classes, beside which the mark of the drawings lies.
fn classes(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

/// Hashes of all files below a fresh directory, by their path in it.
fn written(options: &Options) -> (DrawnSummary, BTreeMap<String, Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let summary = write(dir.path(), options, &|_, _| {}).unwrap();
    let mut hashes = BTreeMap::new();
    for class in classes(dir.path()) {
        for file in fs::read_dir(class).unwrap() {
            let path = file.unwrap().path();
            let name = path
                .strip_prefix(dir.path())
                .unwrap()
                .to_string_lossy()
                .into_owned();
            hashes.insert(name, Sha256::digest(fs::read(&path).unwrap()).to_vec());
        }
    }
    (summary, hashes)
}

fn refusal(dir: &Path) -> String {
    let error = write(dir, &PETS, &|_, _| {}).unwrap_err();
    assert!(error.kind() == Kind::Usage, "{error}");
    error.to_string()
}

#[test]
fn the_same_options_give_the_same_bytes() {
    assert_eq!(written(&PETS), written(&PETS));
    let shapes = Options {
        task: Task::Shapes,
        per_class: 1,
        ..PETS
    };
    assert_eq!(written(&shapes), written(&shapes));
}

#[test]
fn another_seed_gives_other_pictures_in_as_many_files() {
    let (first, second) = (written(&PETS), written(&Options { seed: 8, ..PETS }));
    assert_eq!(first.0, second.0);
    let n_equal = first
        .1
        .iter()
        .filter(|(name, hash)| second.1.get(*name) == Some(hash))
        .count();
    // Archive, empty file and text say the same for every seed, and so does the start of a JPEG of one size.
    let n_fixed = 2 * 4;
    assert!(n_equal <= n_fixed, "{n_equal} files are the same");
}

#[test]
fn more_pictures_leave_the_first_ones_as_they_are() {
    let few = written(&Options {
        broken: false,
        ..PETS
    })
    .1;
    let many = written(&Options {
        broken: false,
        per_class: 6,
        ..PETS
    })
    .1;
    assert!(few.iter().all(|(name, hash)| many.get(name) == Some(hash)));
}

#[test]
fn the_summary_counts_what_a_reader_finds() {
    let dir = tempfile::tempdir().unwrap();
    let summary = write(dir.path(), &PETS, &|_, _| {}).unwrap();
    let (mut n_files, mut n_broken) = (0, 0);
    for class in ["Cat", "Dog"] {
        for file in fs::read_dir(dir.path().join(class)).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            n_files += 1;
            n_broken += usize::from(image::load_from_memory(&bytes).is_err());
        }
        assert!(
            image::load_from_memory(
                &fs::read(dir.path().join(class).join("png-named.jpg")).unwrap()
            )
            .is_ok()
        );
    }
    assert_eq!(
        summary,
        DrawnSummary {
            files: n_files,
            broken: n_broken,
            classes: 2
        }
    );
    assert_eq!((n_files, n_broken), (18, 8));
}

#[test]
fn without_broken_files_every_file_is_a_picture_of_the_promised_size() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        task: Task::Shapes,
        per_class: 1,
        seed: 3,
        broken: false,
    };
    let summary = write(dir.path(), &options, &|_, _| {}).unwrap();
    assert_eq!((summary.files, summary.broken), (summary.classes, 0));
    assert!(summary.classes >= 24);
    for class in classes(dir.path()) {
        for file in fs::read_dir(class).unwrap() {
            let picture = image::open(file.unwrap().path()).unwrap();
            assert!(
                (120..=320).contains(&picture.width()) && (120..=320).contains(&picture.height())
            );
        }
    }
}

#[test]
fn progress_ends_with_all_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let heard = std::cell::RefCell::new(Vec::new());
    write(dir.path(), &PETS, &|done, all| {
        heard.borrow_mut().push((done, all));
    })
    .unwrap();
    let heard = heard.into_inner();
    assert_eq!(
        (heard.first(), heard.last()),
        (Some(&(0, 8)), Some(&(8, 8)))
    );
}

#[test]
fn a_folder_with_something_in_it_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.txt"), "mine").unwrap();
    assert!(refusal(dir.path()).contains("not empty"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(refusal(&dir.path().join("mine.txt")).contains("is a file"));
}

#[test]
fn a_folder_that_does_not_exist_is_made() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("a/b"),
        &Options {
            per_class: 0,
            broken: false,
            ..PETS
        },
        &|_, _| {},
    )
    .unwrap();
    assert!(dir.path().join("a/b/Cat").is_dir());
}

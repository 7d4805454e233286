//! Checkpoint directories are complete or absent, wherever a process is killed.

use std::{
    cell::Cell,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde::{Deserialize, Serialize};

use super::folder::{self, Draft, generations};
use crate::{disk::sealed::FileRecord, error::Error};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Number {
    number: u32,
    file: Vec<FileRecord>,
}

fn draft(parent: &Path, number: u32) -> Draft {
    let draft = Draft::new(parent, "last").unwrap();
    let path = draft.path().join("a.bin");
    fs::write(&path, number.to_string()).unwrap();
    let file = vec![FileRecord::of(&path).unwrap()];
    draft.seal(&Number { number, file }).unwrap();
    draft
}

/// The numbers of what could be read, best first.
fn numbers(parent: &Path) -> Vec<u32> {
    let folders = generations(parent, "last");
    let manifests = folders.iter().map(|path| folder::manifest::<Number>(path));
    manifests.map(|manifest| manifest.unwrap().number).collect()
}

#[test]
fn the_generation_before_stays_and_the_one_before_that_goes() {
    let parent = tempfile::tempdir().unwrap();
    let parent = parent.path();
    for number in 1..=3 {
        draft(parent, number).publish(true).unwrap();
    }
    assert_eq!(numbers(parent), [3, 2]);
    draft(parent, 4).publish(false).unwrap();
    assert_eq!(numbers(parent), [4, 2]);
}

#[test]
fn a_process_that_dies_between_any_two_renames_leaves_the_newest_whole_one_first() {
    let parent = tempfile::tempdir().unwrap();
    let parent = parent.path();
    draft(parent, 1).publish(true).unwrap();
    draft(parent, 2).publish(true).unwrap();
    // What `publish` does, step by step, without its end.
    std::mem::forget(draft(parent, 3));
    assert_eq!(numbers(parent), [2, 3, 1]);
    let path = |name: &str| parent.join(name);
    fs::rename(path("previous-last"), path("old-last")).unwrap();
    assert_eq!(numbers(parent), [2, 3, 1]);
    fs::rename(path("last"), path("previous-last")).unwrap();
    assert_eq!(numbers(parent), [3, 2, 1]);
    fs::rename(path("new-last"), path("last")).unwrap();
    assert_eq!(numbers(parent), [3, 2, 1]);
    // The next one clears up.
    draft(parent, 4).publish(true).unwrap();
    assert_eq!(numbers(parent), [4, 3]);
}

#[test]
fn a_draft_that_is_given_up_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    drop(draft(parent.path(), 1));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn every_bit_of_a_manifest_and_of_a_file_counts() {
    let parent = tempfile::tempdir().unwrap();
    draft(parent.path(), 1).publish(true).unwrap();
    let folder = parent.path().join("last");
    let manifest = folder.join("state.toml");
    let sound = fs::read(&manifest).unwrap();
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        fs::write(&manifest, &bytes).unwrap();
        let found = folder::manifest::<Number>(&folder);
        // The seal's own end of line says nothing.
        assert!(found.is_err() || at + 1 == sound.len(), "byte {at}");
    }
    fs::write(&manifest, &sound).unwrap();
    let file = folder::manifest::<Number>(&folder).unwrap().file.remove(0);
    file.check(&folder).unwrap();
    for (bytes, word) in [("2", "SHA-256"), ("10", "it has 2 bytes, expected 1")] {
        fs::write(folder.join("a.bin"), bytes).unwrap();
        let error = file.check(&folder).unwrap_err().to_string();
        assert!(
            error.contains("is damaged") && error.contains(word),
            "{error}"
        );
    }
    fs::remove_file(folder.join("a.bin")).unwrap();
    let error = file.check(&folder).unwrap_err().to_string();
    assert!(error.ends_with("a.bin: the file is missing"), "{error}");
}

#[test]
fn a_reader_begins_again_where_others_are_published_meanwhile() {
    let parent = tempfile::tempdir().unwrap();
    let parent = parent.path();
    draft(parent, 1).publish(false).unwrap();
    let n_reads = Cell::new(0);
    let read = |path: &Path| {
        n_reads.set(n_reads.get() + 1);
        if n_reads.get() < 3 {
            draft(parent, 1 + n_reads.get()).publish(false).unwrap();
            // As of files of which some are the old ones.
            return Err(Error::internal("torn".to_owned()));
        }
        folder::manifest::<Number>(path)
    };
    let (found, damages) = folder::read_first(parent, "last", read);
    assert_eq!(found.unwrap().number, 3);
    assert!(damages.is_empty());
    // What is damaged without anybody publishing is so.
    let torn = |_: &Path| Err::<Number, _>(Error::internal("torn".to_owned()));
    let (found, damages) = folder::read_first(parent, "last", torn);
    assert_eq!((found, damages.len()), (None, 1));
}

#[test]
fn while_others_publish_there_is_always_a_generation() {
    let parent = tempfile::tempdir().unwrap();
    let parent = parent.path();
    draft(parent, 0).publish(false).unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..100 {
                draft(parent, number).publish(false).unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
        });
        while !is_done.load(Ordering::Relaxed) {
            let (found, damages) = folder::read_first(parent, "last", folder::manifest::<Number>);
            assert!(found.is_some(), "{damages:?}");
        }
    });
}

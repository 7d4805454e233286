//! Tests of one entry, and helpers for the tests of the other files.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{record::RECORD_BYTES, *};
use crate::error::Kind;

mod cost;
mod damage;
mod own;
mod shelf;
mod together;

/// The key of [`recipe`].
const KEY: &str = "8646fe1a9b8372416a99246a99a74660bad470daaff3e9e9e554d5b702b1d37e";
const N_VALUES: usize = 12;
/// The size of a slot in single precision, with the checksum.
const SLOT_BYTES: u64 = 4 * N_VALUES as u64 + 8;

fn recipe() -> Recipe {
    Recipe {
        arch: "vgg16".to_owned(),
        prefix: "features[0..24]".to_owned(),
        weights_sha256: "ab".repeat(32),
        transforms: "resize 256, crop 224".to_owned(),
        decoder: 1,
        backend: "cpu".to_owned(),
        kernels: 1,
        precision: ActivationPrecision::F32,
        shape: vec![3, 2, 2],
    }
}

fn other_recipe(kernels: u32) -> Recipe {
    Recipe {
        kernels,
        ..recipe()
    }
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(dir: &TempDir) -> Store {
    Store::open(dir.path(), &recipe(), Trust::Own).unwrap()
}

fn item(number: usize) -> ItemKey {
    let mut item = [7; 32];
    item[..8].copy_from_slice(&number.to_le_bytes());
    item
}

fn values_of(number: usize) -> Vec<f32> {
    (0..N_VALUES)
        .map(|at| number as f32 + at as f32 / 16.0)
        .collect()
}

fn put(store: &Store, number: usize) {
    store.put(&item(number), &values_of(number)).unwrap();
}

/// Looks an item up, and checks that a found item is the right one.
fn get(store: &Store, number: usize) -> Lookup {
    let mut values = vec![-1.0; N_VALUES];
    let found = store.get(&item(number), &mut values).unwrap();
    if found == Lookup::Sound {
        assert_eq!(values, values_of(number));
    } else {
        assert_eq!(values, [-1.0; N_VALUES]);
    }
    found
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().ends_with(ending));
    paths.sort();
    paths
}

/// The only file of the entry with this ending.
fn file(store_folder: &Path, ending: &str) -> PathBuf {
    let [path] = files(store_folder, ending).try_into().unwrap();
    path
}

fn flip(path: &Path, offset: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset as usize] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

/// A folder with three items, closed.
fn with_three_items() -> (TempDir, PathBuf) {
    let dir = dir();
    let store = open(&dir);
    (0..3).for_each(|number| put(&store, number));
    (dir, store.folder().to_owned())
}

#[test]
fn what_was_put_comes_back_also_after_opening_anew() {
    let dir = dir();
    let store = open(&dir);
    assert_eq!(get(&store, 0), Lookup::Absent);
    put(&store, 0);
    put(&store, 1);
    assert_eq!(get(&store, 0), Lookup::Sound);
    assert_eq!(store.missing(&[item(2), item(1), item(3)]), [0, 2]);
    drop(store);
    let store = open(&dir);
    assert_eq!(store.len(), 2);
    assert_eq!(get(&store, 1), Lookup::Sound);
    assert!(!store.contains(&item(2)));
}

#[test]
fn an_item_that_is_there_is_not_written_again() {
    let (dir, folder) = with_three_items();
    put(&open(&dir), 1);
    assert_eq!(
        fs::metadata(file(&folder, ".act")).unwrap().len(),
        3 * SLOT_BYTES
    );
}

#[test]
fn half_precision_comes_back_as_rounding_says() {
    let dir = dir();
    let recipe = Recipe {
        precision: ActivationPrecision::F16,
        shape: vec![5000],
        ..recipe()
    };
    let mut values: Vec<f32> = (0..5000).map(|at| (at as f32).sin() * 60_000.0).collect();
    values[..3].copy_from_slice(&[f32::NAN, f32::INFINITY, 65519.9]);
    let store = Store::open(dir.path(), &recipe, Trust::Own).unwrap();
    store.put(&item(0), &values).unwrap();
    let mut read = vec![0.0; 5000];
    assert_eq!(store.get(&item(0), &mut read).unwrap(), Lookup::Sound);
    assert_ne!(values[10].to_bits(), read[10].to_bits());
    recipe.precision.round(&mut values);
    assert!(read[0].is_nan() && values[0].is_nan());
    assert_eq!(read[1..], values[1..]);
    assert_eq!(read[2].to_bits(), 65504_f32.to_bits());
}

#[test]
fn what_sixteen_bits_cannot_hold_is_refused_instead_of_becoming_infinite() {
    let dir = dir();
    let recipe = Recipe {
        precision: ActivationPrecision::F16,
        ..recipe()
    };
    let store = Store::open(dir.path(), &recipe, Trust::Own).unwrap();
    let error = store.put(&item(0), &[-65520.0; N_VALUES]).unwrap_err();
    assert!(error.to_string().contains("too large for 16 bits"));
    assert_eq!(store.len(), 0);
}

#[test]
fn a_wrong_number_of_values_is_a_bug_of_the_caller() {
    let store = open(&dir());
    let error = store.put(&item(0), &[0.0; 3]).unwrap_err();
    assert!(error.kind() == Kind::Internal);
    assert!(store.get(&item(0), &mut [0.0; 3]).is_err());
    for shape in [vec![0], vec![usize::MAX, 2], vec![1 << 40]] {
        let recipe = Recipe { shape, ..recipe() };
        assert!(Store::open(dir().path(), &recipe, Trust::Own).is_err());
        assert!(recipe.bytes_per_item().is_err());
    }
}

#[test]
fn the_key_of_a_recipe_stays_what_it_was_when_the_format_was_made() {
    assert_eq!(recipe().key().hex(), KEY);
    assert_ne!(other_recipe(2).key(), recipe().key());
    assert_eq!(recipe().key().folder_name(), KEY[..16]);
}

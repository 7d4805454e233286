//! Targets for files whose location matters: run directories, cache entries, remembered scans; and archives, which are unpacked to
//! a directory.

use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock, sync::atomic::AtomicBool};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Scratch, guarded};
use crate::{
    cache::{
        self as activations, ActivationPrecision, ItemKey, Lookup, Prune, Recipe, Store, Trust,
    },
    commands::{conclude::curve_point, show},
    data::{
        scan_memory::{self, ScanMemory},
        stamp::Stamp,
    },
    disk::sealed,
    fetch::unpack::{self as archives, Limits},
    model::families::Arch,
    report,
    rundir::{
        RunDir,
        records::{self, EpochRow, PredictionRow},
    },
    runs::{RunView, compare},
    train::checkpoint::{self, Which},
};

/// The files of a run directory. An input has their contents in this order, separated by zero bytes.
const RUN_FILES: [&str; 9] = [
    "manifest.toml",
    "metrics.csv",
    "predictions.csv",
    "summary.toml",
    "status.toml",
    "resolved.toml",
    "steps.csv",
    "checkpoints/last/state.toml",
    "source.toml",
];

/// Fuzzes a run directory as commands read or resume it.
pub fn records(bytes: &[u8]) {
    guarded(|| {
        let folder = Scratch::new();
        fs::create_dir_all(folder.path().join("checkpoints/last"))
            .expect("temporary folders can be made");
        for (name, content) in RUN_FILES.iter().zip(bytes.split(|byte| *byte == 0)) {
            if name.ends_with("/state.toml") {
                // No fuzzer would guess the checksum, but whoever can write the file can also compute it.
                let text = String::from_utf8_lossy(content);
                folder.write(name, sealed::seal(&text).as_bytes());
            } else if !content.is_empty() {
                folder.write(name, content);
            }
        }
        let Ok(dir) = RunDir::open(folder.path()) else {
            return;
        };
        let specs = Arch::find("vgg16_slim").map(|arch| arch.tensors(2));
        let _ = checkpoint::read(&dir, Which::Last, &specs.unwrap_or_default());
        let _ = checkpoint::progress(&dir);
        let _ = records::read_csv::<EpochRow>(&dir.metrics_csv());
        let _ = records::read_csv::<PredictionRow>(&dir.predictions_csv());
        if let Ok(view) = RunView::read(dir.clone()) {
            look_at(view);
        }
        let _ = checkpoint::examine(&dir);
        let _ = checkpoint::examine_tables(&dir);
        for path in [dir.metrics_csv(), dir.steps_csv()] {
            let bytes = fs::read(&path).unwrap_or_default();
            let _ = records::salvage_rows(&path, &bytes, 1);
        }
    });
}

/// Fuzzes the pictures of a `metrics.csv`. A target of its own, because a picture takes a thousand times as long as the rest.
pub fn curves(bytes: &[u8]) {
    const MANIFEST: &str = include_str!("manifest.toml");
    guarded(|| {
        let folder = Scratch::new();
        folder.write("manifest.toml", MANIFEST.as_bytes());
        folder.write("metrics.csv", bytes);
        let dir = RunDir::open(folder.path()).expect("its manifest is sound");
        let view = RunView::read(dir).expect("its manifest is sound");
        let curve = report::RunCurve {
            label: view.manifest.name.clone(),
            rows: view.rows.iter().map(curve_point).collect(),
            best_epoch: view.best().map(|row| row.epoch),
            goes_on_from: None,
        };
        let _ = report::curves(&curve.rows, curve.best_epoch);
        let _ = report::overlay(&[curve]);
    });
}

fn look_at(view: RunView) {
    let _ = (
        show::page(&view, None),
        view.epochs(),
        view.last(),
        view.parent(),
        view.probabilities().len(),
        view.split_rows().len(),
    );
    let points = |value: fn(&EpochRow) -> f64| {
        let rows = view.rows.iter();
        vec![('A', rows.map(|row| (row.epoch, value(row))).collect())]
    };
    for (as_percent, series) in [
        (false, points(|row| row.valid_loss)),
        (true, points(|row| row.valid_accuracy)),
    ] {
        let _ = report::terminal_plot("title", &series, 60, 12, as_percent);
    }
    let predictions = [view.predictions(), view.predictions()];
    let _ = compare::share(&predictions[0]);
    let _ = compare::pairs(&predictions, Some(0));
    let _ = compare::differences(&[&view.resolved, &toml::Table::new()]);
    let letters = ["A".to_owned()];
    let shares = [compare::share(&predictions[0])];
    let _ = compare::cautions(&[view], &letters, &shares);
}

/// Fuzzes a cache entry in which one file is replaced; the first byte chooses the file.
pub fn cache(bytes: &[u8]) {
    guarded(|| {
        let Some((which, bytes)) = bytes.split_first() else {
            return;
        };
        let folder = Scratch::new();
        let entry = folder.path().join(recipe().key().folder_name());
        fs::create_dir(&entry).expect("temporary folders can be made");
        let replaced = [".toml", ".act", ".idx", ".idx"][usize::from(which % 4)];
        for (name, sound) in sound_entry() {
            let content = match (name.ends_with(replaced), which % 4) {
                (false, _) => sound.clone(),
                (true, 3) => checked_records(bytes),
                (true, _) => bytes.to_vec(),
            };
            fs::write(entry.join(name), content).expect("temporary files can be written");
        }
        let _ = activations::list(folder.path());
        if let Ok(Some(store)) = Store::peek(folder.path(), &recipe(), Trust::Own) {
            for number in 0..=N_ITEMS {
                let mut values = [0.0; N_VALUES];
                let found = store.get(&item(number), &mut values);
                assert!(!matches!(found, Ok(Lookup::Sound)) || is_of(number, &values));
            }
        }
        let _ = activations::verify(folder.path(), |_, _| {}, &AtomicBool::new(false));
        // `open` waits for an entry without a sound description, in case its owner is about to write it.
        if which % 4 != 0 {
            let store = Store::open(folder.path(), &recipe(), Trust::Own)
                .expect("its description is sound");
            let _ = store.put(&item(0), &values_of(0));
            let mut values = [0.0; N_VALUES];
            let found = store.get(&item(0), &mut values);
            assert!(!matches!(found, Ok(Lookup::Sound)) || is_of(0, &values));
        }
        let _ = activations::prune(folder.path(), Prune::All, false);
    });
}

const N_ITEMS: u8 = 3;
const N_VALUES: usize = 4;

fn recipe() -> Recipe {
    let text = |text: &str| text.to_owned();
    Recipe {
        arch: text("vgg16"),
        prefix: text("features[0..24]"),
        weights_sha256: text("ab"),
        transforms: text("resize"),
        decoder: 1,
        backend: text("cpu"),
        kernels: 1,
        precision: ActivationPrecision::F32,
        shape: vec![N_VALUES],
    }
}

fn item(number: u8) -> ItemKey {
    [number; 32]
}

fn values_of(number: u8) -> [f32; N_VALUES] {
    [f32::from(number), 1.0, 2.0, 3.0]
}

fn is_of(number: u8, values: &[f32]) -> bool {
    let pairs = values.iter().zip(values_of(number));
    pairs.into_iter().all(|(a, b)| a.to_bits() == b.to_bits())
}

/// The files of a sound entry with all items except the last, by name.
fn sound_entry() -> &'static BTreeMap<String, Vec<u8>> {
    static FILES: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = Scratch::new();
        let store =
            Store::open(folder.path(), &recipe(), Trust::Own).expect("there is nothing in its way");
        for number in 0..N_ITEMS {
            let written = store.put(&item(number), &values_of(number));
            written.expect("temporary files can be written");
        }
        drop(store);
        files_of(&folder.path().join(recipe().key().folder_name()))
    })
}

fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("it has just been made");
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name, fs::read(entry.path()).ok()?))
        })
        .collect()
}

/// Records with their checksums, which no fuzzer would guess: whoever can write an index can also compute them.
fn checked_records(bytes: &[u8]) -> Vec<u8> {
    let key = recipe().key().hex();
    let seed = u64::from_str_radix(&key[48..], 16).expect("a key has 64 digits");
    bytes
        .as_chunks::<40>()
        .0
        .iter()
        .flat_map(|body| {
            let checksum = xxh3_64_with_seed(body, seed.swap_bytes());
            [&body[..], &checksum.to_le_bytes()].concat()
        })
        .collect()
}

/// Fuzzes the remembered results of the last scan of a folder.
pub fn scan_memory(bytes: &[u8]) {
    const MAX_PIXELS: u64 = 1000;
    const STAMP: &str = r#"{"bytes": 1000, "modified": [7, 0], "changed": [8, 0], "inode": 9}"#;
    guarded(|| {
        let folder = Scratch::new();
        let root = Path::new("/a/folder/of/photos");
        let empty = || ScanMemory::empty(folder.path(), root, MAX_PIXELS);
        let path = empty().path().to_owned();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("its name is ASCII");
        let file = "cat/1.jpg";
        let stamp: Stamp = serde_json::from_str(STAMP).expect("it is a stamp");
        // No fuzzer would guess the checksum, but whoever can write the file can also compute it.
        let sealed = sealed::seal(&String::from_utf8_lossy(bytes));
        for content in [bytes, sealed.as_bytes()] {
            folder.write(name, content);
            let memory = ScanMemory::open(folder.path(), root, MAX_PIXELS);
            let _ = memory.recall(file, &stamp);
            assert!(memory.n_files() <= bytes.len());
            scan_memory::forget(&path, file).expect("temporary files can be written");
            let memory = ScanMemory::open(folder.path(), root, MAX_PIXELS);
            assert!(memory.recall(file, &stamp).is_none());
        }
    });
}

/// Fuzzes a zip archive.
pub fn unpack(bytes: &[u8]) {
    const LIMITS: Limits = Limits {
        files: 64,
        bytes: 1 << 20,
        entry_bytes: 1 << 19,
        ratio: 50,
    };
    guarded(|| {
        let folder = Scratch::new();
        let archive = folder.write("a.zip", bytes);
        let into = folder.path().join("into");
        let stop = AtomicBool::new(false);
        let outcome = archives::unpack(&archive, &into, &LIMITS, &|_, _| {}, &stop);
        let names: Vec<String> = names_in(folder.path());
        assert!(names.iter().all(|name| name == "a.zip" || name == "into"));
        let (n_files, n_bytes) = measured(&into);
        assert!(n_bytes <= LIMITS.bytes);
        match outcome {
            Ok(unpacked) => assert!(unpacked.files == n_files && unpacked.bytes == n_bytes),
            Err(_) => assert!(n_files == 0, "{n_files} files of a refused archive"),
        }
    });
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// The number of files below `folder` and of their bytes. Panics on anything but files and folders.
fn measured(folder: &Path) -> (u64, u64) {
    let (mut n_files, mut n_bytes) = (0, 0);
    for name in names_in(folder) {
        let path = folder.join(name);
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        assert!(metadata.is_dir() || metadata.is_file());
        let (files, bytes) = if metadata.is_dir() {
            measured(&path)
        } else {
            (1, metadata.len())
        };
        n_files += files;
        n_bytes += bytes;
    }
    (n_files, n_bytes)
}

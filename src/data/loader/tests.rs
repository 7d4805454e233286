//! Order, errors and limits of the loader.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::{
    config::experiment::{Data, Geometry, ImageSize, Interpolation, Normalize, Transforms},
    data::{index::scan, source::Photos, test_data},
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images/");

fn transforms() -> Transforms {
    let normalize = Normalize {
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    Transforms {
        geometry: Geometry::Squash(ImageSize {
            height: 12,
            width: 16,
        }),
        interpolation: Interpolation::Bilinear,
        normalize,
    }
}

fn data(root: &Path) -> Data {
    Data {
        max_rejected_fraction: 0.0,
        ..test_data(root)
    }
}

/// Forty different images of two classes.
fn images() -> (TempDir, Arc<DatasetIndex>) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for class in ["a", "b"] {
        fs::create_dir(folder.path().join(class)).expect("it can be made");
    }
    for i in 0..40_u8 {
        let mut bmp = fs::read(format!("{FIXTURES}rgb.bmp")).expect("the fixture is there");
        bmp[60..200].fill(i * 6);
        let class = if i % 2 == 0 { "a" } else { "b" };
        fs::write(folder.path().join(format!("{class}/{i:02}.bmp")), bmp).expect("it is written");
    }
    let index = scan(&data(folder.path()), None, &|_, _| ()).expect("it scans");
    (folder, Arc::new(index))
}

fn loader(index: &Arc<DatasetIndex>, workers: usize, items: Vec<usize>, batch: usize) -> Loader {
    let batch = NonZeroUsize::new(batch).expect("tests use no empty batches");
    let items = items.into_iter().map(Item::whole).collect();
    Loader::new(
        Arc::clone(index),
        photos(index, transforms()),
        items,
        batch,
        workers,
    )
}

fn photos(index: &Arc<DatasetIndex>, transforms: Transforms) -> Arc<dyn ImageSource> {
    Arc::new(Photos {
        index: Arc::clone(index),
        data: data(&index.root),
        transforms,
    })
}

#[test]
fn batches_are_the_same_at_any_number_of_workers() {
    let (_folder, index) = images();
    let items: Vec<usize> = (0..40).rev().chain([3, 3, 0]).collect();
    let batches = |workers| {
        loader(&index, workers, items.clone(), 8)
            .map(|b| b.expect("it loads"))
            .collect::<Vec<_>>()
    };
    let alone = batches(1);
    assert_eq!(
        alone.iter().map(|b| b.targets.len()).collect::<Vec<_>>(),
        [8, 8, 8, 8, 8, 3]
    );
    let images = |batch: &HostBatch| {
        batch
            .items
            .iter()
            .map(|item| item.image)
            .collect::<Vec<_>>()
    };
    let order: Vec<usize> = alone.iter().flat_map(images).collect();
    assert_eq!(order, items);
    for batch in &alone {
        assert_eq!(batch.values.len(), batch.targets.len() * 3 * 12 * 16);
        let classes = batch
            .items
            .iter()
            .map(|item| index.images[item.image].class);
        assert!(classes.eq(batch.targets.iter().copied()));
    }
    assert_ne!(alone[0].values[..576], alone[0].values[576..1152]);
    for workers in [0, 2, 7, 64] {
        assert_eq!(batches(workers), alone, "{workers} workers");
    }
}

#[test]
fn a_file_that_breaks_mid_epoch_is_an_error_at_its_place() {
    let (folder, index) = images();
    let broken = &index.images[13].file;
    fs::write(folder.path().join(broken), b"BM no more").expect("it can be written");
    for workers in [1, 3] {
        let mut loader = loader(&index, workers, (0..40).collect(), 5);
        assert!(loader.next().is_some_and(|batch| batch.is_ok()));
        assert!(loader.next().is_some_and(|batch| batch.is_ok()));
        let error = loader
            .next()
            .expect("no shorter epoch")
            .expect_err("image 13 is broken");
        assert!(error.to_string().contains(broken), "{error}");
        assert!(loader.next().is_none());
    }
    fs::remove_file(folder.path().join(broken)).expect("it can be removed");
    let error = loader(&index, 2, vec![13], 1)
        .next()
        .expect("one")
        .expect_err("it is gone");
    assert!(error.to_string().contains(broken), "{error}");
}

#[test]
fn a_panic_in_a_worker_is_an_error_and_no_hang() {
    struct Panics;
    impl ImageSource for Panics {
        fn n_values(&self) -> usize {
            1
        }

        fn load(&self, _item: &Item, _out: &mut [f32]) -> crate::error::Result<bool> {
            panic!("as a decoder might")
        }
    }
    let (_folder, index) = images();
    let items = vec![Item::whole(0), Item::whole(1)];
    let source = Arc::new(Panics);
    let mut loader = Loader::new(Arc::clone(&index), source, items, NonZeroUsize::MIN, 2);
    let error = loader.next().expect("one").expect_err("a panic");
    assert!(error.to_string().contains(&index.images[0].file), "{error}");
}

#[test]
fn work_ahead_is_bounded() {
    let (_folder, index) = images();
    let mut loader = loader(&index, 2, (0..40).cycle().take(400).collect(), 4);
    assert!(loader.next().is_some_and(|batch| batch.is_ok()));
    thread::sleep(Duration::from_millis(100));
    let (n_started, n_done) = loader.loaded.as_ref().expect("no error").counts();
    assert!(n_started <= 4 + 4 * BATCHES_AHEAD && n_done <= 4 * BATCHES_AHEAD);
}

#[test]
fn dropping_a_loader_early_stops_its_threads() {
    let (_folder, index) = images();
    let started = Instant::now();
    for _ in 0..20 {
        let mut loader = loader(&index, 4, (0..40).cycle().take(100_000).collect(), 16);
        assert!(loader.next().is_some_and(|batch| batch.is_ok()));
        let threads = loader.loaded.as_ref().expect("no error").pulse();
        drop(loader);
        assert!(threads.upgrade().is_none());
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn no_items_are_no_batches() {
    let (_folder, index) = images();
    let mut loader = loader(&index, 0, Vec::new(), 4);
    assert!(loader.next().is_none());
}

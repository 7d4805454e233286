//! Targets for single files: experiments, sweeps, images, weights, splits.

use std::path::{Path, PathBuf};

use super::{Scratch, guarded};
use crate::{
    config::{
        self,
        experiment::{Geometry, ImageSize, Interpolation, Normalize, Transforms},
    },
    data::{
        augment::View,
        decode::{DecodeOptions, decode_rgb},
        index::{DatasetIndex, ImageEntry, Rejected},
        split::SplitTable,
        transform,
    },
    disk::hash::Sha256Hash,
    error::{Kind, Result},
    memory::{self, Facts, Start},
    model::state::{self, StateDict},
    plan::{self, Plan},
    sweep::{file, trials, validate},
};

const N_CLASSES: usize = 2;
const N_TRAIN: usize = 1000;
/// The most trials that are resolved, because each of them reads the base again.
const MOST_TRIALS: usize = 16;
const MAX_PIXELS: u64 = 1 << 14;

/// Fuzzes an experiment file, followed by values of `--set` and variables separated by zero bytes.
pub fn config(bytes: &[u8]) {
    guarded(|| {
        let Ok(text) = str::from_utf8(bytes) else {
            return;
        };
        let mut parts = text.split('\0');
        let file = parts.next().unwrap_or_default().to_owned();
        let (env, sets): (Vec<_>, Vec<_>) = parts
            .map(str::to_owned)
            .partition(|part| part.starts_with("RUNNER_"));
        let env: Vec<(String, String)> = env
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let folder = Scratch::new();
        let path = folder.path().join("fuzzed.toml");
        let Some(loaded) = said(config::from_text(&path, file, &sets, &env)) else {
            return;
        };
        let experiment = &loaded.experiment;
        let plan = Plan::new(experiment, N_CLASSES, N_TRAIN);
        assert!(plan.n_epochs() >= plan.phases.len());
        let _ = plan::group_table(&plan);
        for is_cpu in [true, false] {
            let _ = memory::estimate(experiment, &plan, &facts(is_cpu)).total();
        }
        for planned in &plan.phases {
            let n_steps = planned.n_steps();
            for step in [0, n_steps / 2, n_steps - 1] {
                assert!(!planned.base_lr(step).is_nan());
            }
        }
        let written = loaded.resolved.to_string();
        let again = config::from_text(&path, written, &[], &[])
            .unwrap_or_else(|error| panic!("the resolved experiment is refused: {error}"));
        assert!(
            again.resolved == loaded.resolved,
            "the resolved experiment is a different one when it is read again"
        );
    });
}

fn facts(is_cpu: bool) -> Facts {
    Facts {
        n_classes: N_CLASSES,
        n_train: N_TRAIN,
        n_valid: N_TRAIN,
        n_test: 0,
        n_threads: 2,
        n_workers: 2,
        photo_bytes: [1 << 20; 16],
        start: Start::Weights,
        is_cpu,
        is_cache_full: false,
        holds_best: true,
    }
}

/// Fuzzes a sweep file whose base is valid.
pub fn sweep(bytes: &[u8]) {
    const BASE: &str = "data.root = \"data\"\n[model]\narch = \"vgg16_slim\"\nweights = \"none\"\n\
                        [[phase]]\nname = \"head\"\nepochs = 2\ntrainable = [\"classifier\"]\n";
    guarded(|| {
        let Ok(text) = str::from_utf8(bytes) else {
            return;
        };
        let folder = Scratch::new();
        folder.write("base.toml", BASE.as_bytes());
        let path = folder.path().join("sweep.toml");
        let Some(definition) = said(file::read(&path, text)) else {
            return;
        };
        let trials = trials::trials(&definition);
        assert!(!trials.is_empty());
        if trials.len() <= MOST_TRIALS {
            said(validate::experiments(&definition, &trials, &[], &[]));
        }
    });
}

/// The value of an outcome. An error is rendered first, since that must not panic either.
fn said<T>(outcome: Result<T>) -> Option<T> {
    if let Err(problems) = &outcome
        && problems.kind() == Kind::Config
    {
        assert!(!problems.render(true).is_empty());
        assert!(!problems.render(false).is_empty());
    }
    outcome.ok()
}

/// Fuzzes an image file of any format.
pub fn image(bytes: &[u8]) {
    guarded(|| {
        let options = DecodeOptions {
            max_pixels: MAX_PIXELS,
            exif_orientation: true,
        };
        let image = match decode_rgb(bytes, &options) {
            Ok(image) => image,
            Err(reason) => return assert!(!reason.to_string().contains('\n')),
        };
        let n_pixels = image.width * image.height;
        assert!(n_pixels > 0 && n_pixels as u64 <= MAX_PIXELS);
        assert!(image.pixels.len() == 3 * n_pixels);
        let squash = Geometry::Squash(ImageSize {
            height: 8,
            width: 8,
        });
        let crop = Geometry::ShorterThenCrop {
            shorter: 11,
            crop: 8,
        };
        for (geometry, interpolation) in [
            (squash, Interpolation::Bilinear),
            (crop, Interpolation::Bicubic),
        ] {
            let transforms = Transforms {
                geometry,
                interpolation,
                normalize: Normalize {
                    mean: [0.5; 3],
                    std: [0.5; 3],
                },
            };
            let mut out = [f32::NAN; 3 * 8 * 8];
            transform::preprocess(&image, &transforms, View::Whole, &mut out);
            assert!(out.iter().all(|value| value.is_finite()));
        }
    });
}

/// Fuzzes a `.pth` file.
pub fn pth(bytes: &[u8]) {
    weights("w.pth", bytes);
}

/// Fuzzes a `.safetensors` file.
pub fn safetensors(bytes: &[u8]) {
    weights("w.safetensors", bytes);
}

fn weights(name: &str, bytes: &[u8]) {
    guarded(|| {
        let folder = Scratch::new();
        let path = folder.write(name, bytes);
        if let Ok(state) = state::read(&path) {
            check_size(&state, bytes.len());
        }
    });
}

/// A small file must not fill the memory.
fn check_size(state: &StateDict, n_bytes: usize) {
    let n_values: usize = state.values().map(|tensor| tensor.values.len()).sum();
    assert!(n_values <= (1 << 20) + 4 * n_bytes, "{n_values} values");
}

/// Fuzzes a `split.csv`.
pub fn split(bytes: &[u8]) {
    guarded(|| {
        let index = index();
        let Ok(table) = SplitTable::read_csv(bytes, Path::new("split.csv"), &index) else {
            return;
        };
        let mut written = Vec::new();
        table
            .write_csv(&index, &mut written)
            .expect("writing to a Vec cannot fail");
        let again = SplitTable::read_csv(&written[..], Path::new("split.csv"), &index);
        assert!(again.is_ok_and(|again| again == table));
    });
}

fn index() -> DatasetIndex {
    let images = ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2,\".jpg"];
    DatasetIndex {
        root: PathBuf::from("root"),
        classes: vec!["cat".to_owned(), "dog".to_owned()],
        images: images
            .map(|file| ImageEntry {
                file: file.to_owned(),
                class: usize::from(file.starts_with("dog")),
                part: None,
                group: None,
                bytes: 0,
                content_hash: Sha256Hash::of(&[]),
            })
            .to_vec(),
        rejected: vec![Rejected {
            file: "cat/bad.jpg".to_owned(),
            reason: "is empty".to_owned(),
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

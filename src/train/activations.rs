//! Whether the activations of a phase's frozen layers can be cached, and everything that they depend on.
//! Pure but for `dir`, which asks the environment for the user's cache directory.

use std::path::PathBuf;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    cache::{self, ItemKey, Recipe},
    config::experiment::{
        Augment, CacheMode, CacheTrust, Data, Experiment, Geometry, ImageSize, Interpolation,
        Normalize, Precision, Transforms,
    },
    data::{
        augment::View,
        index::ImageEntry,
        source::Item,
        split::{Part, SplitTable},
        transform,
    },
    disk::{
        hash::{self, Sha256Hash},
        user_dirs,
    },
    error::{Error, Result},
    kernels,
    model::tensor_file::{TensorValues, visit_bytes},
    plan::{Plan, PlannedPhase, prefix::Prefix},
};

/// The version of the texts that this file hashes into cache keys. With another one, no existing entry is found.
const KEY_VERSION: u32 = 2;

/// Below this many multiplications per stored byte, computing again is faster than reading: a CPU multiplies some 50 billion
/// times a second, and a disk delivers some 500 million bytes.
const MIN_MULTIPLICATIONS_PER_BYTE: usize = 100;

/// Why the activations of this prefix cannot be cached or are not worth it; `None` if they are cached.
pub(crate) fn obstacle(experiment: &Experiment, prefix: &Prefix) -> Option<String> {
    if experiment.cache.mode == CacheMode::Off {
        return Some("`cache.mode` is `off`".to_owned());
    }
    lasting_obstacle(experiment, prefix)
}

/// The precision that activations are rounded to, cached or not: the mode, the directory and the size of the cache must change
/// no result. `None` if nothing is rounded, as where activations can never be cached.
pub(crate) fn rounding(
    experiment: &Experiment,
    prefix: &Prefix,
) -> Option<cache::ActivationPrecision> {
    let precision = precision(experiment);
    let is_kept_somewhere = lasting_obstacle(experiment, prefix).is_none();
    (precision == cache::ActivationPrecision::F16 && is_kept_somewhere).then_some(precision)
}

/// The obstacles that remain with any `cache.mode`.
fn lasting_obstacle(experiment: &Experiment, prefix: &Prefix) -> Option<String> {
    let augment = &experiment.augment;
    if prefix.n_steps == 0 {
        return Some(prefix.end.clone());
    }
    if augment.is_random() && augment.variants == 0 {
        return Some(
            "augmentations are redrawn every epoch; set augment.variants = 4 to cache four per image"
                .to_owned(),
        );
    }
    let n_bytes = value_bytes(experiment) * prefix.shape.iter().product::<usize>();
    (prefix.n_multiplications < MIN_MULTIPLICATIONS_PER_BYTE * n_bytes).then(|| {
        format!(
            "computing {} is faster than reading {} KiB from disk",
            prefix.name,
            n_bytes >> 10
        )
    })
}

/// Refuses an experiment with `cache.mode = "require"` if a phase cannot be cached.
pub(crate) fn check(experiment: &Experiment, plan: &Plan) -> Result<()> {
    if experiment.cache.mode != CacheMode::Require {
        return Ok(());
    }
    for planned in &plan.phases {
        if let Some(reason) = obstacle(experiment, &planned.prefix) {
            return Err(refused(&planned.phase.name, &reason));
        }
    }
    Ok(())
}

/// The error of `cache.mode = "require"` in a phase that cannot be cached.
pub(crate) fn refused(phase: &str, reason: &str) -> Error {
    Error::usage(format!(
        "nothing can be cached in phase `{phase}`, but `cache.mode` is `require`"
    ))
    .fact(reason)
    .help("set `cache.mode` to `auto` to cache only what can be cached")
}

/// The bytes that one stored number takes.
fn value_bytes(experiment: &Experiment) -> usize {
    match experiment.cache.precision {
        Precision::F32 => 4,
        Precision::F16 => 2,
    }
}

/// The bytes that the activations of `n_items` images take.
pub(crate) fn n_bytes(experiment: &Experiment, prefix: &Prefix, n_items: usize) -> u64 {
    let n_values = prefix.shape.iter().product::<usize>();
    (value_bytes(experiment) * n_values) as u64 * n_items as u64
}

/// All views of images that a phase asks for: the training images as its epochs draw them, and the validation images
/// unchanged.
pub(crate) fn items_of_phase(
    experiment: &Experiment,
    planned: &PlannedPhase,
    phase: usize,
    split: &SplitTable,
) -> Vec<Item> {
    let train = split.images(Part::Train);
    let of_epoch = |epoch| {
        let images = train.iter();
        images.map(move |image| Item::in_epoch(experiment, phase, epoch, *image))
    };
    (0..n_draws(experiment, planned))
        .flat_map(of_epoch)
        .chain(split.images(Part::Valid).into_iter().map(Item::whole))
        .collect()
}

/// The number of different views that a phase has of each training image.
fn n_draws(experiment: &Experiment, planned: &PlannedPhase) -> usize {
    if experiment.augment.is_random() {
        experiment.augment.variants.min(planned.phase.epochs.get())
    } else {
        1
    }
}

/// Everything but the image that activations depend on. `front` are the parameters of the prefix in the order of their paths, `backend` names
/// the device and the program that compute.
pub(crate) fn recipe<'a, T: TensorValues>(
    experiment: &Experiment,
    prefix: &Prefix,
    front: impl IntoIterator<Item = (&'a str, T)>,
    backend: &str,
) -> Recipe {
    let mut hasher = Sha256::new();
    for (path, tensor) in front {
        let header = serde_json::to_vec(&(path, &tensor.shape()));
        hasher.update(header.expect("it has only text and numbers"));
        visit_bytes(&tensor, &mut |bytes| hasher.update(bytes));
    }
    Recipe {
        arch: experiment.model.arch.name().to_owned(),
        prefix: prefix.name.clone(),
        weights_sha256: hash::hex(&hasher.finalize()),
        transforms: preprocessing(experiment),
        decoder: transform::VERSION,
        backend: backend.to_owned(),
        kernels: kernels::VERSION,
        precision: precision(experiment),
        shape: prefix.shape.clone(),
    }
}

pub(crate) fn precision(experiment: &Experiment) -> cache::ActivationPrecision {
    match experiment.cache.precision {
        Precision::F32 => cache::ActivationPrecision::F32,
        Precision::F16 => cache::ActivationPrecision::F16,
    }
}

pub(crate) fn trust(experiment: &Experiment) -> cache::Trust {
    match experiment.cache.trust {
        CacheTrust::Own => cache::Trust::Own,
        CacheTrust::All => cache::Trust::All,
    }
}

/// The preprocessing as canonical text. Structs are taken apart field by field, so that a new field is a compile error here
/// until it is decided whether activations depend on it. Fields that came later are left out where they say what used to be the only
/// way, so that older entries are still found.
pub(crate) fn preprocessing(experiment: &Experiment) -> String {
    #[derive(Serialize)]
    struct Preprocessing {
        version: u32,
        height: usize,
        width: usize,
        mean: [f32; 3],
        std: [f32; 3],
        exif_orientation: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        shorter: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        interpolation: Option<Interpolation>,
    }
    let Transforms {
        geometry,
        interpolation,
        normalize: Normalize { mean, std },
    } = experiment.transforms;
    let (height, width, shorter) = match geometry {
        Geometry::Squash(ImageSize { height, width }) => (height, width, None),
        Geometry::ShorterThenCrop { shorter, crop } => (crop, crop, Some(shorter)),
    };
    let Data {
        exif_orientation,
        // The bytes of an image are part of its own key; these decide which images there are, and how they are read.
        root: _,
        manifest: _,
        class_pattern: _,
        duplicates: _,
        batch_size: _,
        workers: _,
        max_pixels: _,
        max_rejected_fraction: _,
    } = experiment.data;
    let preprocessing = Preprocessing {
        version: KEY_VERSION,
        height,
        width,
        mean,
        std,
        exif_orientation,
        shorter,
        interpolation: (interpolation != Interpolation::Bilinear).then_some(interpolation),
    };
    serde_json::to_string(&preprocessing).expect("it has only numbers and flags")
}

/// The key of one view of one image within an entry: the bytes of the file, and the augmentation that was drawn.
pub(crate) fn item_key(image: &ImageEntry, view: View) -> ItemKey {
    content_key(&image.content_hash, view)
}

/// Like [`item_key`], for the SHA-256 of a file.
pub(crate) fn content_key(content_hash: &Sha256Hash, view: View) -> ItemKey {
    let mut hasher = Sha256::new();
    hasher.update(content_hash.to_string());
    if let View::Drawn { augment, seed } = view {
        let Augment {
            horizontal_flip,
            crop_scale,
            // It decides which seeds there are, not what a seed draws.
            variants: _,
        } = augment;
        let drawn = serde_json::to_vec(&(horizontal_flip, crop_scale, seed));
        hasher.update(drawn.expect("it has only numbers"));
    }
    hasher.finalize().into()
}

/// `cache.dir`, or `activations` in the user's cache directory; `None` if there is no home directory either.
pub(crate) fn dir(experiment: &Experiment) -> Option<PathBuf> {
    experiment.cache.dir.clone().or_else(user_cache)
}

/// The default directory of the activation cache.
pub(crate) fn user_cache() -> Option<PathBuf> {
    user_dirs::cache().map(|dir| dir.join("activations"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::experiment;

    #[test]
    fn the_key_of_a_plain_resize_stays_and_every_other_transform_has_its_own() {
        let of = |transforms: &str| {
            preprocessing(&experiment(&format!(
                "data.root = \".\"\n[transforms]\n{transforms}\n[[phase]]\nname = \"a\"\nepochs = 1\n\
                 trainable = [\"classifier\"]"
            )))
        };
        let plain = r#"{"version":2,"height":224,"width":224,"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"exif_orientation":false}"#;
        let texts = [
            of(""),
            of("interpolation = \"bicubic\""),
            of("shorter = 256\ncrop = 224"),
            of("shorter = 232\ncrop = 224"),
            of("shorter = 256\ncrop = 224\ninterpolation = \"bicubic\""),
        ];
        assert_eq!(texts[0], plain);
        for (at, text) in texts.iter().enumerate() {
            assert!(!texts[..at].contains(text), "{text}");
        }
        assert_eq!(of("preset = \"weights\""), texts[2]);
    }
}

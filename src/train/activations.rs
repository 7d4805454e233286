//! Whether what the frozen layers of a phase compute can be kept, and everything it depends on.
//! Pure but for `dir`, which asks the environment where the user's caches are.

use std::{env, ffi::OsString, path::PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{
    cache::{self, ItemKey, Recipe},
    config::experiment::{CacheMode, CacheTrust, Experiment, Precision},
    data::{
        augment::View,
        index::ImageEntry,
        source::Item,
        split::{Part, SplitTable},
        transform,
    },
    disk::hash,
    error::{Error, Result},
    kernels,
    model::state::HostTensor,
    plan::{Plan, PlannedPhase, prefix::Prefix},
};

/// Below this many multiplications for each byte stored, computing again is faster than reading: some 50 billion a second
/// against some 500 million bytes.
const MIN_MULTIPLICATIONS_PER_BYTE: usize = 100;

/// Why the activations of this prefix are not worth keeping, or cannot be kept; `None` if they can.
pub(crate) fn obstacle(experiment: &Experiment, prefix: &Prefix) -> Option<String> {
    if experiment.cache.mode == CacheMode::Off {
        return Some("cache.mode is `off`".to_owned());
    }
    lasting_obstacle(experiment, prefix)
}

/// What the trained layers see of an image is rounded as if it was kept, also where it is not: `cache.mode`, the directory and
/// the room in it change no result. Where it could never be kept there is nothing to round.
pub(crate) fn rounding(
    experiment: &Experiment,
    prefix: &Prefix,
) -> Option<cache::ActivationPrecision> {
    let precision = precision(experiment);
    let is_kept_somewhere = lasting_obstacle(experiment, prefix).is_none();
    (precision == cache::ActivationPrecision::F16 && is_kept_somewhere).then_some(precision)
}

/// The obstacles that are the experiment's own, whatever its cache.
fn lasting_obstacle(experiment: &Experiment, prefix: &Prefix) -> Option<String> {
    let (augment, size) = (&experiment.augment, experiment.transforms.resize);
    if prefix.n_layers == 0 {
        return Some(prefix.end.clone());
    }
    if augment.is_random() && augment.variants == 0 {
        return Some(
            "each epoch draws its own crops and mirror images (augment.variants = 4 would draw four of each image and keep them)"
                .to_owned(),
        );
    }
    let arch = experiment.model.arch;
    let n_multiplications = arch.multiplications(prefix.n_layers, size.height, size.width);
    let n_bytes = value_bytes(experiment) * prefix.shape.iter().product::<usize>();
    (n_multiplications < MIN_MULTIPLICATIONS_PER_BYTE * n_bytes).then(|| {
        format!(
            "{} is computed faster than its {} KiB are read",
            prefix.name,
            n_bytes >> 10
        )
    })
}

/// `cache.mode = "require"` refuses experiments of which a phase cannot be cached.
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

/// The error of `cache.mode = "require"`.
pub(crate) fn refused(phase: &str, reason: &str) -> Error {
    Error::usage(format!(
        "cache.mode: is `require`, but nothing can be kept in phase `{phase}`: {reason}\nhelp: use `auto` to cache what can be cached"
    ))
}

/// Bytes of one stored number.
fn value_bytes(experiment: &Experiment) -> usize {
    match experiment.cache.precision {
        Precision::F32 => 4,
        Precision::F16 => 2,
    }
}

/// Bytes of the activations of `n_items` images.
pub(crate) fn n_bytes(experiment: &Experiment, prefix: &Prefix, n_items: usize) -> u64 {
    let n_values = prefix.shape.iter().product::<usize>();
    (value_bytes(experiment) * n_values) as u64 * n_items as u64
}

/// All views of images that a phase asks for: of the training images as its epochs draw them, of the validation images as
/// they are.
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

/// Different views of each training image that a phase has.
fn n_draws(experiment: &Experiment, planned: &PlannedPhase) -> usize {
    if experiment.augment.is_random() {
        experiment.augment.variants.min(planned.phase.epochs.get())
    } else {
        1
    }
}

/// All that activations depend on but for the image. `front` are the parameters of the prefix in order,
/// `backend` is what computes.
pub(crate) fn recipe<'a>(
    experiment: &Experiment,
    prefix: &Prefix,
    front: impl IntoIterator<Item = (&'a String, &'a HostTensor)>,
    backend: &str,
) -> Recipe {
    let mut hasher = Sha256::new();
    for (path, tensor) in front {
        hasher.update(format!("{path}\0{:?}\0", tensor.shape));
        hasher.update(tensor.bytes());
    }
    Recipe {
        arch: experiment.model.arch.name().to_owned(),
        prefix: prefix.name.clone(),
        weights_sha256: hash::hex(&hasher.finalize()),
        transforms: format!(
            "{:?}, exif_orientation {}",
            experiment.transforms, experiment.data.exif_orientation
        ),
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

/// What names the activations of one view of one image: the bytes of its file, and what was drawn.
pub(crate) fn item_key(image: &ImageEntry, view: View) -> ItemKey {
    let mut hasher = Sha256::new();
    hasher.update(&image.content_hash);
    if let View::Drawn { augment, seed } = view {
        hasher.update(format!(
            "\0{}\0{:?}\0{seed}",
            augment.horizontal_flip, augment.crop_scale
        ));
    }
    hasher.finalize().into()
}

/// `cache.dir`, or `activations` in the user's cache directory; `None` where there is no home either.
pub(crate) fn dir(experiment: &Experiment) -> Option<PathBuf> {
    experiment.cache.dir.clone().or_else(user_cache)
}

/// Where activations are kept unless an experiment says otherwise.
pub(crate) fn user_cache() -> Option<PathBuf> {
    user_dir().map(|dir| dir.join("activations"))
}

/// `$XDG_CACHE_HOME/runner`, by default `~/.cache/runner`.
pub(crate) fn user_dir() -> Option<PathBuf> {
    user_dir_of(|name| env::var_os(name))
}

fn user_dir_of(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The XDG specification takes no other: a relative one would be another place in each working directory.
    let absolute = |name| {
        let path = variable(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    cache.map(|cache| cache.join("runner"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_relative_folders_count_as_unset() {
        let check = |cache: Option<&str>, home: Option<&str>, expected: Option<&str>| {
            let dir = user_dir_of(|name| match name {
                "XDG_CACHE_HOME" => cache.map(OsString::from),
                _ => home.map(OsString::from),
            });
            assert_eq!(dir, expected.map(PathBuf::from), "{cache:?}, {home:?}");
        };
        check(Some("/c"), Some("/h"), Some("/c/runner"));
        for unset in [None, Some(""), Some("c"), Some("./c")] {
            check(unset, Some("/h"), Some("/h/.cache/runner"));
            check(unset, None, None);
            check(unset, Some(""), None);
            check(unset, Some("h"), None);
        }
    }
}

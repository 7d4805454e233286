//! Writes `[transforms]` back. The inverse of `resolve::transforms`, but for presets, which are written as what they stand for.

use crate::config::{
    experiment::{Geometry, ImageSize, Normalize, Transforms},
    origins::Origins,
    raw::{Defaults, NormalizeName, NormalizeNumbers, RawTransforms},
    resolve::IN_PRESET,
};

pub(super) fn raw(transforms: &Transforms, defaults: &Defaults) -> RawTransforms {
    let Transforms {
        geometry,
        interpolation,
        normalize: Normalize { mean, std },
    } = transforms;
    let bits = |values: [f32; 3]| values.map(f32::to_bits);
    let single = |values: [f64; 3]| bits(values.map(|value| value as f32));
    let is = |numbers: &NormalizeNumbers| {
        bits(*mean) == single(numbers.mean) && bits(*std) == single(numbers.std)
    };
    // The shortest digits that give the same 32 bits, rather than all of them.
    let short = |values: &[f32; 3]| {
        Some(values.map(|value| value.to_string().parse().unwrap_or(f64::from(value))))
    };
    let (normalize, mean, std) = if is(&defaults.kinds.imagenet) {
        (NormalizeName::Imagenet, None, None)
    } else if is(&defaults.kinds.none) {
        (NormalizeName::None, None, None)
    } else {
        (NormalizeName::Custom, short(mean), short(std))
    };
    let (resize, shorter, crop) = match *geometry {
        Geometry::Squash(ImageSize { height, width }) => (Some([height, width]), None, None),
        Geometry::ShorterThenCrop { shorter, crop } => (None, Some(shorter), Some(crop)),
    };
    RawTransforms {
        resize,
        shorter,
        crop,
        interpolation: *interpolation,
        preset: None,
        normalize,
        mean,
        std,
    }
}

/// The key that decided the value of another one: a preset decides those that it stands for, also over files that set them.
pub(super) fn decided_by<'a>(path: &'a str, origins: &Origins) -> &'a str {
    if IN_PRESET.contains(&path) && origins.is_set("transforms.preset") {
        "transforms.preset"
    } else {
        path
    }
}

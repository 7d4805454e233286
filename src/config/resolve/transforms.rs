//! Resolves `[transforms]`: either `resize`, or `shorter` with `crop`, or a preset that stands for all other keys.

use crate::{
    config::{
        experiment::{Geometry, ImageSize, Model, Normalize, Transforms, Weights},
        origins::Origins,
        raw::{Defaults, NormalizeName, NormalizeNumbers, PresetName, RawTransforms},
    },
    model::preset::Preset,
};

const RESIZE: &str = "transforms.resize";
const SHORTER: &str = "transforms.shorter";
const CROP: &str = "transforms.crop";
const PRESET: &str = "transforms.preset";
/// The keys that a preset stands for.
pub(crate) const IN_PRESET: [&str; 7] = [
    RESIZE,
    SHORTER,
    CROP,
    "transforms.interpolation",
    "transforms.normalize",
    "transforms.mean",
    "transforms.std",
];

/// What sets a key. An override replaces the files' choice between keys that exclude each other, as it replaces values: otherwise
/// `evaluate --set` could not crop the images of a run that was trained without a crop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SetBy {
    Nothing,
    File,
    Override,
}

fn set_by(keys: &[&str], origins: &Origins) -> SetBy {
    if keys.iter().any(|key| origins.is_override(key)) {
        SetBy::Override
    } else if keys.iter().any(|key| origins.is_set(key)) {
        SetBy::File
    } else {
        SetBy::Nothing
    }
}

/// `model` is `None` if it has a problem; the preset of its weights is unknown then.
pub(super) fn resolve(
    raw: &RawTransforms,
    model: Option<&Model>,
    defaults: &Defaults,
    origins: &mut Origins,
) -> Option<Transforms> {
    if let Some(PresetName::Weights) = raw.preset {
        return of_preset(model, defaults, origins);
    }
    let (geometry, normalize) = (geometry(raw, origins), normalize(raw, defaults, origins));
    Some(Transforms {
        geometry: geometry?,
        interpolation: raw.interpolation,
        normalize: normalize?,
    })
}

fn of_preset(
    model: Option<&Model>,
    defaults: &Defaults,
    origins: &mut Origins,
) -> Option<Transforms> {
    let preset_set_by = set_by(&[PRESET], origins);
    for key in IN_PRESET {
        if set_by(&[key], origins) >= preset_set_by {
            let help = "remove it, or remove `preset` and set all transforms yourself";
            origins.report_inert(key, "with preset = \"weights\"", help);
        }
    }
    let Preset {
        shorter,
        crop,
        interpolation,
        normalize,
    } = published(&model?.weights, origins)?;
    Some(Transforms {
        geometry: Geometry::ShorterThenCrop { shorter, crop },
        interpolation,
        normalize: normalize.unwrap_or_else(|| single(&defaults.kinds.imagenet)),
    })
}

/// The preset of the weights, or `None` after a problem.
fn published(weights: &Weights, origins: &mut Origins) -> Option<Preset> {
    let (found, message) = match weights {
        Weights::Known(known) => (
            known.preset,
            "`transforms.preset` needs weights with a published preset, and these have none",
        ),
        Weights::File(_) => (
            None,
            "`transforms.preset` needs published weights, but `model.weights` is a file",
        ),
        Weights::None => (
            None,
            "`transforms.preset` needs published weights, but `model.weights` is \"none\"",
        ),
    };
    if found.is_none() {
        let help = "replace `preset` with the transforms themselves, for example shorter = 256 and crop = 224";
        origins.report(PRESET, message, help);
    }
    found
}

fn geometry(raw: &RawTransforms, origins: &mut Origins) -> Option<Geometry> {
    let resize_set_by = set_by(&[RESIZE], origins);
    let crop_set_by = set_by(&[SHORTER, CROP], origins);
    if resize_set_by == crop_set_by && resize_set_by != SetBy::Nothing {
        let other = if origins.is_set(SHORTER) {
            "shorter"
        } else {
            "crop"
        };
        let message = format!("`transforms.resize` and `transforms.{other}` exclude each other");
        let help = "keep `resize` to resize both sides to a fixed size, or `shorter` and `crop` to keep the aspect ratio";
        origins.report(RESIZE, message, help);
        return None;
    }
    if resize_set_by >= crop_set_by {
        // The defaults file has it if nothing else does.
        let [height, width] = raw.resize?;
        return Some(Geometry::Squash(ImageSize { height, width }));
    }
    if raw.shorter.is_none() {
        let help = "set `shorter` to the length of the shorter side after the resize, for example shorter = 256; or replace `crop` with \
                    resize = [224, 224] to resize both sides";
        origins.report_missing(SHORTER, help);
    }
    if raw.crop.is_none() {
        let help = "set `crop` to the side of the square that is cut from the center, for example crop = 224; or replace `shorter` with \
                    resize = [224, 224] to resize both sides";
        origins.report_missing(CROP, help);
    }
    let (shorter, crop) = (raw.shorter?, raw.crop?);
    if crop > shorter {
        let message =
            format!("crop = {crop} does not fit into images resized to shorter = {shorter}");
        let help = "lower `crop` or raise `shorter`: torchvision would fill the missing border with black, which networks have not seen";
        origins.report(CROP, message, help);
        return None;
    }
    Some(Geometry::ShorterThenCrop { shorter, crop })
}

fn normalize(raw: &RawTransforms, defaults: &Defaults, origins: &mut Origins) -> Option<Normalize> {
    if origins.is_broken("transforms.normalize") {
        return None;
    }
    let (name, numbers) = match raw.normalize {
        NormalizeName::Imagenet => ("imagenet", &defaults.kinds.imagenet),
        NormalizeName::None => ("none", &defaults.kinds.none),
        NormalizeName::Custom => {
            let help = "set `mean` and `std` to three numbers each, in the order red, green, blue";
            for (key, value) in [("mean", raw.mean), ("std", raw.std)] {
                if value.is_none() {
                    origins.report_missing(&format!("transforms.{key}"), help);
                }
            }
            let (mean, std) = (raw.mean?, raw.std?);
            return Some(single(&NormalizeNumbers { mean, std }));
        }
    };
    for key in ["transforms.mean", "transforms.std"] {
        let help = "remove it, or set normalize = \"custom\"";
        origins.report_inert(key, &format!("with normalize = \"{name}\""), help);
    }
    Some(single(numbers))
}

/// The numbers in the 32 bits that a run computes with.
fn single(numbers: &NormalizeNumbers) -> Normalize {
    Normalize {
        mean: numbers.mean.map(|value| value as f32),
        std: numbers.std.map(|value| value as f32),
    }
}

//! The preprocessing that published weights were evaluated with. Pure.

use crate::config::experiment::{Interpolation, KnownWeights, Normalize};

/// What torchvision's `weights.transforms()` does: a resize of the shorter side, a center crop and a normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Preset {
    /// The length of the shorter side after the resize, in pixels.
    pub(crate) shorter: usize,
    /// The side of the square crop, in pixels.
    pub(crate) crop: usize,
    pub(crate) interpolation: Interpolation,
    /// `None` is `normalize = "imagenet"`, with which nearly all weights were trained.
    pub(crate) normalize: Option<Normalize>,
}

/// The preset of published weights; `None` if they were published without one.
/// Source: `transforms` in torchvision's `VGG16_Weights` and its siblings.
pub(crate) fn of(weights: KnownWeights) -> Option<Preset> {
    let imagenet = Preset {
        shorter: 256,
        crop: 224,
        interpolation: Interpolation::Bilinear,
        normalize: None,
    };
    match weights {
        KnownWeights::Imagenet1kV1 => Some(imagenet),
        // These come from Caffe, where pixels are centered but keep their range of 0 to 255.
        KnownWeights::Imagenet1kFeatures => Some(Preset {
            normalize: Some(Normalize {
                mean: [0.48235, 0.45882, 0.40784],
                std: [1.0 / 255.0; 3],
            }),
            ..imagenet
        }),
        KnownWeights::DrawingsV1 => None,
    }
}

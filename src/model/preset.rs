//! The preprocessing that published weights were evaluated with. Pure.

use crate::config::experiment::{Interpolation, Normalize};

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

impl Preset {
    /// The preset of most weights for ImageNet.
    pub(super) const IMAGENET: Self = Self {
        shorter: 256,
        crop: 224,
        interpolation: Interpolation::Bilinear,
        normalize: None,
    };
}

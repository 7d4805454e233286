//! Preprocessing as an experiment describes it: how an image gets the size of the network's input, and how it is normalized.
//! Pure; knows no pixels.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transforms {
    pub(crate) geometry: Geometry,
    pub(crate) interpolation: Interpolation,
    pub(crate) normalize: Normalize,
}

/// How an image of any size becomes one of the size of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Geometry {
    /// Both sides are resized regardless of the aspect ratio: torchvision's `Resize((height, width))`.
    Squash(ImageSize),
    /// The shorter side is resized to `shorter` pixels and the other one in proportion, and a square of `crop` pixels a side is cut
    /// from the center: torchvision's `Resize(shorter)` and `CenterCrop(crop)`. `crop` is at most `shorter`.
    ShorterThenCrop { shorter: usize, crop: usize },
}

/// The filter of a resize. Both are antialiased: they widen with the scale when an image is shrunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Interpolation {
    Bilinear,
    Bicubic,
}

/// Pixels, height first as in torchvision's `Resize((h, w))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageSize {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// `(value - mean) / std` per RGB channel, on values in `0..=1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Normalize {
    pub(crate) mean: [f32; 3],
    pub(crate) std: [f32; 3],
}

impl Transforms {
    /// The size of the network's input.
    pub(crate) fn size(&self) -> ImageSize {
        match self.geometry {
            Geometry::Squash(size) => size,
            Geometry::ShorterThenCrop { crop, .. } => ImageSize {
                height: crop,
                width: crop,
            },
        }
    }
}

/// One line for people, without the normalization.
impl fmt::Display for Transforms {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImageSize { height, width } = self.size();
        match self.geometry {
            Geometry::Squash(_) => write!(out, "resize to {height} x {width}")?,
            Geometry::ShorterThenCrop { shorter, .. } => write!(
                out,
                "resize the shorter side to {shorter}, center crop {height} x {width}"
            )?,
        }
        write!(out, ", {}", self.interpolation.name())
    }
}

impl Interpolation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
        }
    }
}

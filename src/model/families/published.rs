//! Published weights of an architecture: where they come from, and what is known of them.

use crate::{config::experiment::Normalize, model::preset::Preset};

/// Weights that are published under a name.
#[derive(Debug)]
pub(crate) struct Published {
    /// The value of `model.weights`: torchvision's name in lower case.
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    /// The beginning of the names of parameters that the weights do not cover.
    pub(crate) lacks: Option<&'static str>,
    /// The share of ImageNet's validation images that are classified correctly, in percent; `None` where nobody states it.
    pub(crate) top1: Option<f64>,
    /// The preprocessing for which the accuracy was measured.
    pub(crate) preset: Option<Preset>,
}

#[derive(Debug)]
pub(crate) enum Source {
    /// A file on PyTorch's server.
    File {
        /// The digits in the name are the beginning of the SHA-256.
        name: &'static str,
        /// As torchvision rounds it.
        mebibytes: f64,
        /// The whole SHA-256 and the size in bytes, if they are known. PyTorch publishes neither; these are values that at least
        /// two public projects that pin the files agree on.
        pinned: Option<(&'static str, u64)>,
    },
    /// Safetensors in this binary.
    Embedded(&'static [u8]),
}

impl Published {
    pub(super) const fn imagenet1k_v1(file: &'static str, mebibytes: f64, top1: f64) -> Self {
        Self::file("imagenet1k_v1", file, mebibytes).top1(top1)
    }

    pub(super) const fn imagenet1k_v2(file: &'static str, mebibytes: f64, top1: f64) -> Self {
        Self::file("imagenet1k_v2", file, mebibytes)
            .top1(top1)
            .shorter(232)
    }

    pub(super) const fn file(name: &'static str, file: &'static str, mebibytes: f64) -> Self {
        let source = Source::File {
            name: file,
            mebibytes,
            pinned: None,
        };
        Self {
            preset: Some(Preset::IMAGENET),
            ..Self::new(name, source)
        }
    }

    pub(super) const fn embedded(name: &'static str, bytes: &'static [u8]) -> Self {
        Self::new(name, Source::Embedded(bytes))
    }

    const fn new(name: &'static str, source: Source) -> Self {
        Self {
            name,
            source,
            lacks: None,
            top1: None,
            preset: None,
        }
    }

    const fn with_preset(self, preset: Preset) -> Self {
        Self {
            preset: Some(preset),
            ..self
        }
    }

    /// Sets the shorter side of images before the crop to 224 pixels.
    pub(super) const fn shorter(self, shorter: usize) -> Self {
        self.with_preset(Preset {
            shorter,
            ..Preset::IMAGENET
        })
    }

    pub(super) const fn normalize(self, normalize: Normalize) -> Self {
        self.with_preset(Preset {
            normalize: Some(normalize),
            ..Preset::IMAGENET
        })
    }

    const fn top1(self, percent: f64) -> Self {
        Self {
            top1: Some(percent),
            ..self
        }
    }

    pub(super) const fn pinned(self, sha256: &'static str, bytes: u64) -> Self {
        let Source::File {
            name, mebibytes, ..
        } = self.source
        else {
            panic!("only files have hashes");
        };
        Self {
            source: Source::File {
                name,
                mebibytes,
                pinned: Some((sha256, bytes)),
            },
            ..self
        }
    }

    pub(super) const fn lacks(self, prefix: &'static str) -> Self {
        Self {
            lacks: Some(prefix),
            ..self
        }
    }

    /// Whether the weights have values for a parameter.
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.lacks.is_none_or(|prefix| !path.starts_with(prefix))
    }
}

impl PartialEq for Published {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Published {}

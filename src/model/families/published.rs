//! Published weights of an architecture: where they come from, and what is known of them.

use std::fmt;

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

pub(crate) enum Source {
    /// A file on PyTorch's server.
    File {
        /// The digits before the extension are the beginning of the SHA-256.
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

/// Without the bytes of embedded weights, whose text would have several megabytes.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, .. } => f.debug_tuple("File").field(name).finish(),
            Self::Embedded(_) => f.write_str("Embedded"),
        }
    }
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

    /// The SHA-256 of the file, or the digits of it that are known; empty for weights that are not a file.
    pub(crate) fn sha256(&self) -> &'static str {
        match self.source {
            Source::File {
                pinned: Some((sha256, _)),
                ..
            } => sha256,
            Source::File { name, .. } => hash_in_name(name),
            Source::Embedded(_) => "",
        }
    }

    /// The size of the file in bytes, and by how much it may be off.
    pub(crate) fn size(&self) -> (u64, u64) {
        match self.source {
            Source::File {
                pinned: Some((_, bytes)),
                ..
            } => (bytes, 0),
            // torchvision states thousandths of a MiB.
            Source::File { mebibytes, .. } => ((mebibytes * f64::from(1 << 20)) as u64, 1 << 10),
            Source::Embedded(bytes) => (bytes.len() as u64, 0),
        }
    }

    /// Whether the weights have values for a parameter.
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.lacks.is_none_or(|prefix| !path.starts_with(prefix))
    }
}

/// The digits between the last `-` and the extension, which `torch.hub` checks too: 8, or 10 in some names. Empty if there are none.
fn hash_in_name(file: &'static str) -> &'static str {
    file.rsplit_once('.')
        .and_then(|(stem, _)| stem.rsplit_once('-'))
        .map(|(_, digits)| digits)
        .filter(|digits| {
            matches!(digits.len(), 8 | 10) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
        .unwrap_or_default()
}

impl PartialEq for Published {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Published {}

#[cfg(test)]
mod tests {
    use super::{super::Arch, *};

    #[test]
    fn the_hash_of_a_file_is_what_stands_before_its_extension() {
        for (file, expected) in [
            ("resnet50-11ad3fa6.pth", "11ad3fa6"),
            ("vgg16_features-amdegroot-88682ab5.pth", "88682ab5"),
            ("shufflenetv2_x1-5666bf0f80.pth", "5666bf0f80"),
            ("shufflenetv2_x0.5-f707e7126e.pth", "f707e7126e"),
            ("resnet50-11ad3fa.pth", ""),
            ("resnet50-11ad3fa6f.pth", ""),
            ("model-finalist.pth", ""),
            ("model.pth", ""),
        ] {
            assert_eq!(hash_in_name(file), expected, "{file}");
        }
    }

    #[test]
    fn what_is_known_of_a_whole_file_agrees_with_its_name_and_rounded_size() {
        let mut n_pinned = 0;
        for published in Arch::all().flat_map(Arch::weights) {
            let Source::File {
                name,
                mebibytes,
                pinned: Some((sha256, bytes)),
            } = published.source
            else {
                continue;
            };
            n_pinned += 1;
            assert_eq!(sha256.len(), 64, "{name}");
            assert!(sha256.starts_with(hash_in_name(name)), "{name}");
            let difference = bytes as f64 / f64::from(1 << 20) - mebibytes;
            assert!(difference.abs() < 0.000_501, "{name}: {difference}");
            assert_eq!((published.sha256(), published.size()), (sha256, (bytes, 0)));
        }
        assert!(n_pinned >= 10);
    }
}

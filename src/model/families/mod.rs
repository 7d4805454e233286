//! The architectures, by torchvision's names. A family is one file, which describes its networks on paper and lists their published
//! weights, and one line here.

use std::sync::OnceLock;

use serde::{Serialize, Serializer};

use super::paper::{Builder, Paper, TensorSpec};
pub(crate) use published::{Published, Source};

mod published;

/// Declares the files of the families and the table of their architectures.
macro_rules! families {
    ($($family:ident),* $(,)?) => {
        $(mod $family;)*
        static FAMILIES: &[&[Entry]] = &[$(&$family::ENTRIES),*];
    };
}

families! {
    vgg,
    resnet,
    squeezenet,
    alexnet,
}

/// One architecture.
#[derive(Clone, Copy)]
pub(crate) struct Arch(&'static Entry);

/// What a family says of one of its architectures.
struct Entry {
    name: &'static str,
    /// Adds the network for a number of classes.
    build: fn(&mut Builder, usize),
    /// The published weights; the first ones are the default.
    weights: &'static [Published],
    /// The default of `model.dropout`; `None` where there is no dropout.
    dropout: Option<f64>,
    /// The smallest height and width of images, in pixels.
    min_size: usize,
    names: OnceLock<Paper>,
}

/// The height and width of ImageNet's images, for what does not depend on them.
const USUAL_SIDE: usize = 224;

impl Entry {
    const fn new(name: &'static str, build: fn(&mut Builder, usize)) -> Self {
        Self {
            name,
            build,
            weights: &[],
            dropout: None,
            min_size: 1,
            names: OnceLock::new(),
        }
    }

    const fn weights(mut self, weights: &'static [Published]) -> Self {
        self.weights = weights;
        self
    }

    const fn dropout(mut self, dropout: f64) -> Self {
        self.dropout = Some(dropout);
        self
    }

    const fn min_size(mut self, pixels: usize) -> Self {
        self.min_size = pixels;
        self
    }
}

impl Arch {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        FAMILIES.iter().copied().flatten().map(Self)
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::all().find(|arch| arch.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.name
    }

    /// The weights that are published for it; the first ones are the default.
    pub(crate) fn weights(self) -> &'static [Published] {
        self.0.weights
    }

    /// The name of published weights for `runner fetch`: the architecture's for the default ones.
    pub(crate) fn fetch_name(self, published: &Published) -> String {
        match self.0.weights {
            [default, ..] if default == published => self.name().to_owned(),
            _ => self.name_with_weights(published),
        }
    }

    /// The name of published weights in full, such as `resnet50/imagenet1k_v1`.
    pub(crate) fn name_with_weights(self, published: &Published) -> String {
        format!("{}/{}", self.name(), published.name)
    }

    /// The weights that [`Arch::fetch_name`] names, also with the default ones named in full: `resnet50/imagenet1k_v1`.
    pub(crate) fn find_weights(name: &str) -> Option<(Self, &'static Published)> {
        let (arch, weights) = match name.split_once('/') {
            Some((arch, weights)) => (arch, Some(weights)),
            None => (name, None),
        };
        let arch = Self::find(arch)?;
        let mut published = arch.weights().iter();
        let published = match weights {
            Some(weights) => published.find(|published| published.name == weights),
            None => published.next(),
        };
        Some((arch, published?))
    }

    /// The probability of dropout in torchvision; `None` if the architecture has no dropout.
    pub(crate) fn dropout(self) -> Option<f64> {
        self.0.dropout
    }

    /// The smallest height and width of images, in pixels.
    pub(crate) fn min_size(self) -> usize {
        self.0.min_size
    }

    /// The network for `n_classes` and images of `height` x `width`.
    pub(crate) fn paper(self, n_classes: usize, height: usize, width: usize) -> Paper {
        let mut builder = Builder::new(height, width);
        (self.0.build)(&mut builder, n_classes);
        builder.finish()
    }

    /// The network for one class, for what depends on names alone.
    pub(crate) fn names(self) -> &'static Paper {
        let paper = || self.paper(1, USUAL_SIDE, USUAL_SIDE);
        self.0.names.get_or_init(paper)
    }

    /// The state dict, in order. It does not depend on the size of the images.
    pub(crate) fn tensors(self, n_classes: usize) -> Vec<TensorSpec> {
        self.paper(n_classes, USUAL_SIDE, USUAL_SIDE).tensors
    }
}

impl PartialEq for Arch {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Arch {}

impl std::fmt::Debug for Arch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for Arch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

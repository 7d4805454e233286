//! Where the values of an image come from that a batch is made of: its file, or what was kept of it. Knows no tensors.

use std::sync::Arc;

use crate::{
    config::experiment::{Data, Transforms},
    data::{augment::View, index::DatasetIndex, transform},
    error::Result,
};

/// One image as one batch wants it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Item {
    /// Position in the index.
    pub(crate) image: usize,
    pub(crate) view: View,
}

impl Item {
    pub(crate) fn whole(image: usize) -> Self {
        Self {
            image,
            view: View::Whole,
        }
    }
}

pub(crate) trait Source: Send + Sync {
    /// Values of one item.
    fn n_values(&self) -> usize;

    /// Writes them to `out`; `false` if they are no longer there.
    fn load(&self, item: &Item, out: &mut [f32]) -> Result<bool>;
}

/// Decodes and preprocesses files: `[3, height, width]`.
pub(crate) struct Photos {
    pub(crate) index: Arc<DatasetIndex>,
    pub(crate) data: Data,
    pub(crate) transforms: Transforms,
}

impl Source for Photos {
    fn n_values(&self) -> usize {
        3 * self.transforms.resize.height * self.transforms.resize.width
    }

    fn load(&self, item: &Item, out: &mut [f32]) -> Result<bool> {
        let path = self.index.root.join(&self.index.images[item.image].file);
        transform::load_file(&path, &self.data, &self.transforms, item.view, out)?;
        Ok(true)
    }
}

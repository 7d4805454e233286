//! From a folder of images to batches of numbers in host memory. Knows no tensors and no models.

pub(crate) mod augment;
pub(crate) mod decode;
pub(crate) mod index;
pub(crate) mod loader;
pub(crate) mod photo;
mod resize;
pub(crate) mod scan_memory;
pub(crate) mod source;
pub(crate) mod split;
pub(crate) mod stamp;
pub(crate) mod transform;
pub(crate) mod walk;

#[cfg(test)]
mod golden_tests;

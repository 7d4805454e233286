//! From a folder of images to batches of numbers in host memory. Knows no tensors and no models.

pub(crate) mod ahead;
pub(crate) mod augment;
pub(crate) mod claims;
pub(crate) mod decode;
pub(crate) mod duplicates;
pub(crate) mod fingerprint;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod loader;
mod part;
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

/// `[data]` settings for tests, with small images below `root`, any number of which may be unreadable.
#[cfg(test)]
pub(crate) fn test_data(root: &std::path::Path) -> crate::config::experiment::Data {
    crate::config::experiment::Data {
        root: root.to_owned(),
        manifest: None,
        class_pattern: None,
        duplicates: crate::config::experiment::Duplicates::Warn,
        batch_size: std::num::NonZeroUsize::MIN,
        workers: 0,
        max_pixels: 1_000_000,
        max_rejected_fraction: 1.0,
        exif_orientation: false,
    }
}

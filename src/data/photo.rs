//! Opens and reads files of a data folder safely, whatever has happened to them since they were listed.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    path::Path,
};

use crate::{data::index::ImageEntry, disk::hash::Sha256Hash};

/// Why an image can no longer be used as it was scanned: a predicate whose subject is the image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("has disappeared since the images were scanned")]
    Gone,
    #[error("has changed since the images were scanned")]
    Changed,
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
}

/// Opens a regular file, and refuses everything else.
///
/// The kind of file is checked after opening, because another file could take the path between a check and the opening.
/// `O_NONBLOCK` keeps the opening of a pipe from waiting for a writer, and `O_NOCTTY` keeps a terminal from becoming the one that
/// controls this process.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((file, metadata))
}

/// Why a file of so many bytes is not worth reading into memory; `None` if it is. No format needs more than 8 bytes per pixel
/// (plus metadata), so a larger file exceeds `data.max_pixels` whatever it holds.
pub(crate) fn too_large(n_bytes: u64, max_pixels: u64) -> Option<String> {
    let max_bytes = max_pixels.saturating_mul(8).saturating_add(64 << 20);
    (n_bytes > max_bytes).then(|| {
        format!("has {n_bytes} bytes, more than any image of data.max_pixels = {max_pixels}")
    })
}

/// Reads the whole file; `None` if it does not have exactly `n_bytes`.
pub(crate) fn read_exactly(file: File, n_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let capacity = usize::try_from(n_bytes.saturating_add(1)).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(capacity)?;
    file.take(n_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 == n_bytes).then_some(bytes))
}

/// Reads an image below `root` and checks that its bytes are the ones that were scanned.
pub(crate) fn read(root: &Path, image: &ImageEntry) -> Result<Vec<u8>, Unusable> {
    let (file, metadata) = open(&root.join(&image.file)).map_err(unusable)?;
    // A file that has grown is refused before memory is allocated for it.
    if metadata.len() != image.bytes {
        return Err(Unusable::Changed);
    }
    match read_exactly(file, image.bytes) {
        Ok(Some(bytes)) if Sha256Hash::of(&bytes) == image.content_hash => Ok(bytes),
        Ok(_) => Err(Unusable::Changed),
        Err(error) => Err(unusable(error)),
    }
}

fn unusable(error: io::Error) -> Unusable {
    match error.kind() {
        io::ErrorKind::NotFound => Unusable::Gone,
        _ => Unusable::Unreadable(error),
    }
}

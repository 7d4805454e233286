//! How files of a data folder are opened and read, whatever has become of them since they were listed.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    path::Path,
};

use crate::{data::index::ImageEntry, disk::hash};

/// Why a photo can't be used as it was scanned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("has gone since the images were scanned")]
    Gone,
    #[error("has changed since the images were scanned")]
    Changed,
    #[error("{0}")]
    Unreadable(io::Error),
}

/// Opens a regular file and nothing else.
///
/// What the path names is looked at after opening: a look before says nothing about what is opened a moment later. Opening
/// a pipe waits for nobody, and a terminal does not become the one that controls this process.
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
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok((file, metadata))
}

/// The whole of a file of so many bytes; `None` if it has more or fewer.
pub(crate) fn read_exactly(file: File, n_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let capacity = usize::try_from(n_bytes.saturating_add(1)).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(capacity)?;
    file.take(n_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 == n_bytes).then_some(bytes))
}

/// The bytes of a photo of the folder `root`, which are those that were scanned.
pub(crate) fn read(root: &Path, image: &ImageEntry) -> Result<Vec<u8>, Unusable> {
    let (file, metadata) = open(&root.join(&image.file)).map_err(unusable)?;
    // Its size is known to differ before memory is taken for it.
    if metadata.len() != image.bytes {
        return Err(Unusable::Changed);
    }
    match read_exactly(file, image.bytes) {
        Ok(Some(bytes)) if hash::sha256_of_bytes(&bytes) == image.content_hash => Ok(bytes),
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

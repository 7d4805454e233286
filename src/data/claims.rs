//! Decides which files claim to be images, by name or by content, and so must be readable ones. Labels, notes and videos beside
//! photos make no such claim.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::Path,
};

use super::decode;

/// Extensions of the formats that can be read, and of others that users consider images: ignoring those silently would
/// surprise them, so they are rejected with a reason instead.
const EXTENSIONS: [&str; 27] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "webp", "tif", "tiff", "heic", "heif",
    "avif", "jp2", "jxl", "ppm", "pgm", "pbm", "pnm", "tga", "ico", "psd", "dng", "cr2", "nef",
    "arw", "svg",
];

/// The longest signature of an image format, with room to spare.
const HEAD_BYTES: u64 = 64;

/// Whether a file claims to be an image by its extension.
pub(crate) fn by_name(file: &str) -> bool {
    Path::new(file)
        .extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| {
            EXTENSIONS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(extension))
        })
}

/// Whether a file claims to be an image by its first bytes. Leaves the file at its start.
pub(crate) fn by_content(mut file: &File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(decode::looks_like_an_image(&head))
}

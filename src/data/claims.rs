//! Which files claim to be images: those that must be readable ones. Labels, notes and videos beside photos claim nothing.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::Path,
};

use super::decode;

/// Formats that are read, and those that users take for images all the same: leaving them out silently would surprise.
const EXTENSIONS: [&str; 27] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "webp", "tif", "tiff", "heic", "heif",
    "avif", "jp2", "jxl", "ppm", "pgm", "pbm", "pnm", "tga", "ico", "psd", "dng", "cr2", "nef",
    "arw", "svg",
];

/// The longest signature of an image format, with room to spare.
const HEAD_BYTES: u64 = 64;

/// By the extension.
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

/// By the first bytes; the file is read from its start afterwards.
pub(crate) fn by_content(mut file: &File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(decode::looks_like_an_image(&head))
}

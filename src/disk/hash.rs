//! SHA-256 of files and bytes, and hashes as text.

use std::{
    fmt::Write as _,
    fs::File,
    io::Read,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// Formats bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

pub(crate) fn sha256_of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of a file, in hexadecimal digits.
pub(crate) fn sha256_of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    sha256_of(&mut file, path, &AtomicBool::new(false))
}

/// The SHA-256 of the rest of `reader`. `path` is used in errors only. Setting `stop` interrupts it, because a large file takes a
/// while.
pub(crate) fn sha256_of(reader: &mut impl Read, path: &Path, stop: &AtomicBool) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        let n_bytes = reader.read(&mut buffer).map_err(Error::io("read", path))?;
        if n_bytes == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..n_bytes]);
    }
}

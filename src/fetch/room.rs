//! Checks that a disk has enough space before a download starts to fill it. Writes nothing.

use std::path::Path;

use crate::{
    disk::space::free_bytes,
    error::{Error, Result},
    text::table::size,
};

/// Fails if `needed` bytes do not fit on the disk of `folder`, which need not exist yet.
pub(crate) fn check(folder: &Path, needed: u64) -> Result<()> {
    compare(folder, needed, free_bytes(folder))
}

/// Like [`check`], given the free bytes, which are `None` if the system does not report them.
fn compare(folder: &Path, needed: u64, free: Option<u64>) -> Result<()> {
    let Some(free) = free.filter(|free| *free < needed) else {
        return Ok(());
    };
    Err(Error::fetch(format!(
        "not enough disk space: {} needed, {} available",
        size(needed),
        size(free)
    ))
    .at(folder)
    .help(
        "free some space, or choose another disk: `--to DIR` for images, `TORCH_HOME` for weights",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_told_with_both_numbers() {
        let folder = Path::new("data");
        assert!(compare(folder, 10, Some(10)).is_ok());
        assert!(compare(folder, 10, None).is_ok());
        let text = compare(folder, 1_650_000_000, Some(1_200_000)).unwrap_err();
        let text = text.to_string();
        assert!(
            text.starts_with("data: not enough disk space: 1.65 GB needed, 1.20 MB available"),
            "{text}"
        );
        assert!(check(folder, u64::MAX).is_err() || free_bytes(folder).is_none());
    }
}

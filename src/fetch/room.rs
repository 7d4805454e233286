//! Whether a disk has room, asked before it is filled. Writes nothing.

use std::path::Path;

use crate::{
    cache::free_bytes,
    error::{Error, Result},
    text::table::size,
};

/// Fails if `needed` bytes do not fit on the disk that `folder` is or would be on.
pub(crate) fn check(folder: &Path, needed: u64) -> Result<()> {
    compare(folder, needed, free_bytes(folder))
}

/// `free` is unknown where the system does not say.
fn compare(folder: &Path, needed: u64, free: Option<u64>) -> Result<()> {
    let Some(free) = free.filter(|free| *free < needed) else {
        return Ok(());
    };
    Err(Error::fetch(format!(
        "{}: this takes {}, but the disk has {} left\n\
         help: make room, or choose another place: `--to DIR` for images, TORCH_HOME for weights",
        folder.display(),
        size(needed),
        size(free)
    )))
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
            text.starts_with("data: this takes 1.65 GB, but the disk has 1.20 MB left"),
            "{text}"
        );
        assert!(check(folder, u64::MAX).is_err() || free_bytes(folder).is_none());
    }
}

//! Writing files that are whole under their name or absent. Knows nothing of what they hold.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use crate::error::{Error, Result};

/// Writes `bytes` beside `path`, flushes them to the disk and renames: `path` is whole or as it was.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    // The parent of a bare file name is empty.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("writing", path))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(Error::io("writing", path))?;
    let file = file
        .persist(path)
        .map_err(|error| Error::io("writing", path)(error.error))?;
    make_readable(&file).map_err(Error::io("writing", path))
}

/// Temporary files are private; results are for everybody that may enter the directory.
#[cfg(unix)]
fn make_readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_file: &File) -> std::io::Result<()> {
    Ok(())
}

/// Appends `bytes` in one write and flushes them to the disk; the file is as it was if that fails.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io("opening", path))?;
    let n_before = file.metadata().map_err(Error::io("reading", path))?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    written.map_err(|error| {
        // Half a row would be in the way of the next one.
        let _ = file.set_len(n_before);
        Error::io("writing", path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_replaces_the_old_one_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

//! Writes files atomically: a file is complete under its name, or absent. Knows nothing of their content.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// The beginning of the name of every file that does not have its final name yet.
const TEMPORARY: &str = ".runner-tmp-";
/// The minimum age of temporary files that are removed from a folder in which other hosts may be writing, whose locks may not be
/// visible here.
pub(crate) const STALE: Duration = Duration::from_hours(1);
/// Number of attempts to create a temporary file. More than one is needed only if another process clears the folder at the same
/// moment.
const N_TRIES: usize = 8;

/// Writes `bytes` to a temporary file, flushes it to the disk and renames it to `path`, which has its old or its new content at
/// any moment.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |file| file.write_all(bytes))
}

/// Like [`write_atomic`], with a function that writes the file under a temporary path, where an empty file exists.
pub(crate) fn write_with(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    replace(path, |file| write(file.path()))
}

/// Like [`write_atomic`], for content that is too large to be held in memory.
pub(crate) fn write_streamed(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    replace(path, |file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()
    })
}

fn replace(path: &Path, write: impl FnOnce(&mut NamedTempFile) -> io::Result<()>) -> Result<()> {
    let failed = || Error::io("write", path);
    let mut file = temporary_beside(path).map_err(failed())?;
    write(&mut file)
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    flush_folder(folder_of(path))
}

/// Like [`write_atomic`], without flushing: after a power cut the file may be empty. For files that are numerous or can be made
/// again.
pub(crate) fn write_unflushed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    stream_unflushed(path, |file| file.write_all(bytes))
}

/// Like [`write_unflushed`], for content that is not in memory as a whole.
pub(crate) fn stream_unflushed(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = temporary_beside(path)?;
    let mut buffered = BufWriter::new(&mut file);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    file.persist(path)?;
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().map_or(Path::new("."), or_here)
}

/// The folder, or `.` if its path is empty like the parent of a bare file name.
fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        return Path::new(".");
    }
    folder
}

/// Creates a temporary file and locks it, so that no other process removes it as left over while this one writes it.
fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    // `tempfile` defaults to 0o600; with 0o666, the umask decides like for any other file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    for _ in 0..N_TRIES {
        let file = builder.tempfile_in(folder_of(path))?;
        // On file systems without locks, the file is protected by its age. On other systems than Unix it is not locked, because
        // that would block other handles of this process too.
        #[cfg(unix)]
        let _ = file.as_file().try_lock();
        if file.path().exists() {
            return Ok(file);
        }
    }
    Err(io::Error::other(
        "another process keeps deleting the temporary file",
    ))
}

/// Removes the temporary files that killed processes left in `folder`: those that are not locked and at least `age` old. Files
/// that cannot be removed stay.
pub(crate) fn clear_litter(folder: &Path, age: Duration) {
    let entries = fs::read_dir(or_here(folder));
    for entry in entries.into_iter().flatten().flatten() {
        if is_temporary(&entry.file_name().to_string_lossy()) && is_litter(&entry.path(), age) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether this is the name of a temporary file.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY)
}

fn is_litter(path: &Path, age: Duration) -> bool {
    // Links are not followed, and pipes, whose opening would block, are not opened.
    let Ok(metadata) = path.symlink_metadata() else {
        return false;
    };
    let is_older_than = |age| {
        let modified = metadata.modified().ok();
        let now = SystemTime::now();
        modified.is_some_and(|at| now.duration_since(at).is_ok_and(|passed| passed >= age))
    };
    if !metadata.is_file() || (!age.is_zero() && !is_older_than(age)) {
        return false;
    }
    match File::open(path).map(|file| file.try_lock()) {
        Ok(Ok(())) => cfg!(unix) || is_older_than(STALE),
        Ok(Err(TryLockError::WouldBlock)) | Err(_) => false,
        Ok(Err(TryLockError::Error(_))) => is_older_than(STALE),
    }
}

/// Appends `bytes` in one write and flushes them to the disk. If that fails, the file keeps its old content.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io("open", path))?;
    let n_before = file.metadata().map_err(Error::io("read", path))?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    written.map_err(|error| {
        // The next row must not be appended to half a row.
        let _ = file.set_len(n_before);
        Error::io("write", path)(error)
    })
}

/// Whether the open file is the one under this name, which another process may have renamed or replaced.
#[cfg(unix)]
pub(crate) fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), path.metadata()) {
        (Ok(opened), Ok(named)) => identity(opened) == identity(named),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// The standard library reveals no file identities here, so only a file that is gone is noticed.
#[cfg(not(unix))]
pub(crate) fn is_still_at(_file: &File, path: &Path) -> bool {
    path.is_file()
}

/// Flushes the names in a folder to the disk; without that, a rename may be lost in a power cut. Does nothing on systems and
/// file systems that cannot flush folders.
#[cfg(unix)]
pub(crate) fn flush_folder(path: &Path) -> Result<()> {
    use std::io::ErrorKind;
    match File::open(path).and_then(|folder| folder.sync_all()) {
        Err(error)
            if !matches!(
                error.kind(),
                // A folder may be writable without being readable, and not every file system flushes folders.
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Err(Error::io("flush", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
pub(crate) fn flush_folder(_path: &Path) -> Result<()> {
    Ok(())
}

/// The same path for every way to write a path to the same file.
pub(crate) fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_written_file_replaces_the_old_one_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        write_unflushed(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(names_in(folder.path()), ["a.txt"]);
    }

    #[test]
    fn what_fails_half_way_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, b"old").unwrap();
        let failed = write_with(&path, |temporary| {
            fs::write(temporary, b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let error = failed.unwrap_err().to_string();
        assert!(error.starts_with("cannot write `"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names_in(folder.path()), ["a.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_the_permissions_that_the_umask_leaves() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            let path = folder.path().join(name);
            path.metadata().unwrap().permissions().mode() & 0o777
        };
        // The umask is the whole process's, so that another test may not change it.
        File::create(folder.path().join("plain")).unwrap();
        write_atomic(&folder.path().join("flushed"), b"").unwrap();
        write_unflushed(&folder.path().join("unflushed"), b"").unwrap();
        assert_eq!([mode("flushed"), mode("unflushed")], [mode("plain"); 2]);
    }

    #[test]
    fn litter_is_cleared_unless_it_is_being_written_or_young() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path(".runner-tmp-killed"), b"half").unwrap();
        fs::write(path(".tmp-of-others"), b"whole").unwrap();
        fs::create_dir(path(".runner-tmp-folder")).unwrap();
        clear_litter(folder.path(), STALE);
        assert!(path(".runner-tmp-killed").exists());
        write_with(&path("a.txt"), |temporary| {
            clear_litter(folder.path(), Duration::ZERO);
            fs::write(temporary, b"whole")
        })
        .unwrap();
        assert_eq!(fs::read(path("a.txt")).unwrap(), b"whole");
        assert_eq!(
            names_in(folder.path()),
            [".runner-tmp-folder", ".tmp-of-others", "a.txt"]
        );
    }
}

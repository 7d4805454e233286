//! The space on a disk: what files take, and what is free.

use std::{
    collections::HashSet,
    fs::{self, Metadata},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rayon::prelude::*;

/// The total length of all files below `dir` in bytes; 0 if it does not exist. A file with several hard links counts once, because the
/// checkpoint `best` often shares its files with `last`. Links are not followed. Files that vanish meanwhile are left out, because
/// other processes may be at work in `dir`. Takes one `stat` per file, by several threads, since a sweep can have 10,000 runs.
pub(crate) fn size_of(dir: &Path) -> u64 {
    below(dir, &Mutex::default())
}

/// The inodes that have been counted, with their devices. Only those with several links are kept.
type Seen = Mutex<HashSet<(u64, u64)>>;

fn below(dir: &Path, seen: &Seen) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let (mut folders, mut files): (Vec<PathBuf>, Vec<fs::DirEntry>) = (Vec::new(), Vec::new());
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => folders.push(entry.path()),
            Ok(_) => files.push(entry),
            Err(_) => {}
        }
    }
    // The files of one folder are few, or their `stat` is short: folders are what is worth dividing.
    let in_files = files.iter().filter_map(|file| file.metadata().ok());
    let in_files: u64 = in_files
        .filter(|metadata| is_new(metadata, seen))
        .map(|metadata| metadata.len())
        .sum();
    let in_folders: u64 = folders.par_iter().map(|folder| below(folder, seen)).sum();
    in_files + in_folders
}

#[cfg(unix)]
fn is_new(metadata: &Metadata, seen: &Seen) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.nlink() < 2
        || seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn is_new(_metadata: &Metadata, _seen: &Seen) -> bool {
    true
}

/// The bytes that this user can still write to the file system of `path`, which need not exist yet; `None` if unknown.
#[cfg(unix)]
#[expect(
    unsafe_code,
    reason = "the standard library does not ask the file system"
)]
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    use std::{ffi::CString, mem::MaybeUninit, os::unix::ffi::OsStrExt as _};
    let path = std::path::absolute(path).ok()?;
    let path = path.ancestors().find(|path| path.exists())?;
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut statistics = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` is a `CString`, so it ends with a zero byte, and `statistics` has the size of the result. Both live until the
    // call returns.
    let code = unsafe { libc::statvfs(path.as_ptr(), statistics.as_mut_ptr()) };
    if code != 0 {
        return None;
    }
    // SAFETY: `statvfs` returned 0, so it has initialized the whole struct.
    let statistics = unsafe { statistics.assume_init() };
    // Some network file systems do not know their size, and report that nothing is free of nothing.
    if statistics.f_blocks == 0 {
        return None;
    }
    // The widths of the numbers differ between systems.
    let n_blocks: u128 = statistics.f_bavail.into();
    let block_bytes: u128 = statistics.f_frsize.into();
    u64::try_from(n_blocks * block_bytes).ok()
}

#[cfg(not(unix))]
pub(crate) fn free_bytes(_path: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::create_dir_all(place("a/b")).unwrap();
        fs::create_dir_all(place("c")).unwrap();
        fs::write(place("a/b/one"), [0; 1000]).unwrap();
        fs::write(place("two"), [0; 10]).unwrap();
        assert_eq!(size_of(dir.path()), 1010);
        fs::hard_link(place("a/b/one"), place("c/one")).unwrap();
        let n_expected = if cfg!(unix) { 1010 } else { 2010 };
        assert_eq!(size_of(dir.path()), n_expected);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(place("a"), place("c/link")).unwrap();
            // The link itself is as long as the path that it holds.
            let n_link = place("a").as_os_str().len() as u64;
            assert_eq!(size_of(dir.path()), 1010 + n_link);
        }
        assert_eq!(size_of(&place("absent")), 0);
    }

    #[test]
    fn the_free_space_of_a_folder_that_is_not_there_yet_is_that_of_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        let free = free_bytes(&dir.path().join("a").join("b"));
        assert!(free.is_some_and(|bytes| bytes > 0) || cfg!(not(unix)));
    }
}

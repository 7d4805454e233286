//! The folders of a cache directory, what they take, and making room by removing those that were used least recently.
//! Must not know what an entry holds.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    key::{self, Key},
    lease::{self, Reason},
};
use crate::error::{Error, Result};

/// Of the file system, for everything else that writes to it.
const RESERVE_BYTES: u64 = 1 << 30;

/// One folder of a cache directory.
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Of a former entry that was taken out of the way.
    pub(super) retired: Option<Reason>,
    pub(super) bytes: u64,
    pub(super) last_used: SystemTime,
}

impl Folder {
    /// Whether it has gone: not so if somebody uses it. What cannot be deleted then stays under another name.
    pub(super) fn remove(&self) -> Result<bool> {
        if self.retired.is_some() {
            return delete(&self.path).map(|()| true);
        }
        match lease::retire(&self.path, Reason::Evicted, || Ok(true))? {
            Some(path) => delete(&path).map(|()| true),
            None => Ok(false),
        }
    }
}

/// Entries and former entries; former ones first, then those used longest ago. Nothing where there is no directory.
pub(super) fn folders(dir: &Path) -> Result<Vec<Folder>> {
    let files = match fs::read_dir(dir) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("reading", dir)(error)),
    };
    let mut folders = Vec::new();
    for file in files {
        let file = file.map_err(Error::io("reading", dir))?;
        let Ok(name) = file.file_name().into_string() else {
            continue;
        };
        let retired = Reason::of_name(&name);
        if retired.is_some() || key::is_folder_name(&name) {
            let path = file.path();
            folders.push(Folder {
                bytes: bytes_in(&path),
                last_used: lease::last_used(&path),
                name,
                path,
                retired,
            });
        }
    }
    folders.sort_by_key(|folder| (folder.retired.is_none(), folder.last_used));
    Ok(folders)
}

/// What [`make_room`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) evicted: Vec<Evicted>,
    /// Of all that is left.
    pub(crate) used_bytes: u64,
    /// Of the file system, where it says so.
    pub(crate) free_bytes: Option<u64>,
    /// Whether the needed bytes are within the limit and the disk has them.
    pub(crate) fits: bool,
}

/// An entry that was removed, or the rest of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evicted {
    /// Of its folder.
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Removes whole entries that nobody uses, but never `keep`, until `needed_bytes` more fit or none is left.
pub(crate) fn make_room(
    dir: &Path,
    limit_bytes: u64,
    needed_bytes: u64,
    keep: &Key,
) -> Result<Room> {
    make_room_on(dir, limit_bytes, needed_bytes, keep, free_bytes)
}

/// With a disk that says what is free on it.
pub(super) fn make_room_on(
    dir: &Path,
    limit_bytes: u64,
    needed_bytes: u64,
    keep: &Key,
    free_bytes: impl Fn(&Path) -> Option<u64>,
) -> Result<Room> {
    let folders = folders(dir)?;
    let mut room = Room {
        evicted: Vec::new(),
        used_bytes: folders.iter().map(|folder| folder.bytes).sum(),
        free_bytes: None,
        fits: false,
    };
    let keep = keep.folder_name();
    let mut candidates = folders.iter().filter(|folder| folder.name != keep);
    loop {
        room.free_bytes = free_bytes(dir);
        let needed_on_disk = needed_bytes.saturating_add(RESERVE_BYTES);
        room.fits = room.used_bytes.saturating_add(needed_bytes) <= limit_bytes
            && room.free_bytes.is_none_or(|free| free >= needed_on_disk);
        if room.fits {
            return Ok(room);
        }
        let Some(folder) = candidates.next() else {
            return Ok(room);
        };
        // One that cannot be removed, such as another user's, must not keep the others.
        if matches!(folder.remove(), Ok(true)) {
            room.used_bytes = room.used_bytes.saturating_sub(folder.bytes);
            room.evicted.push(Evicted {
                name: folder.name.clone(),
                bytes: folder.bytes,
            });
        }
    }
}

/// What this user may still write to the file system that `path` is or would be on; `None` where it does not say.
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
    // SAFETY: the path ends with a zero byte and lives, as does the place for the result, until the call returns.
    let code = unsafe { libc::statvfs(path.as_ptr(), statistics.as_mut_ptr()) };
    if code != 0 {
        return None;
    }
    // SAFETY: the call has succeeded and so has filled it in.
    let statistics = unsafe { statistics.assume_init() };
    // The widths of the numbers differ between systems.
    let n_blocks: u128 = statistics.f_bavail.into();
    let block_bytes: u128 = statistics.f_frsize.into();
    u64::try_from(n_blocks * block_bytes).ok()
}

#[cfg(not(unix))]
pub(crate) fn free_bytes(_path: &Path) -> Option<u64> {
    None
}

/// The lengths of the files directly in it, as an entry has no others.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(files) = fs::read_dir(folder) else {
        return 0;
    };
    let bytes = |file: fs::DirEntry| {
        let metadata = file.metadata().ok();
        let metadata = metadata.filter(fs::Metadata::is_file);
        metadata.map_or(0, |metadata| metadata.len())
    };
    files.flatten().map(bytes).sum()
}

/// Somebody else may be deleting it as well.
fn delete(path: &Path) -> Result<()> {
    let is_folder = path.symlink_metadata().is_ok_and(|data| data.is_dir());
    let deleted = if is_folder {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match deleted {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("deleting", path)(error))
        }
        _ => Ok(()),
    }
}

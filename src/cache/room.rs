//! The folders of a cache directory, what they take, and making room by removing those that were used least recently.
//! Must not know what an entry holds.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    key::{self, RecipeKey},
    lease::{self, Reason},
    own::{self, EntryStatus, Trust},
};
use crate::error::{Error, Result};

/// Of the file system, for everything else that writes to it.
const RESERVE_BYTES: u64 = 1 << 30;
/// An entry in the making that is older is what is left of one: making takes an instant.
const LONG_IN_MAKING: Duration = Duration::from_hours(1);

/// One folder of a cache directory.
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Why the folder is no entry in use: it was never finished, or was taken out of the way.
    pub(super) retired: Option<Reason>,
    /// The user it belongs to, where that is another one, but not root.
    pub(super) owner: Option<u32>,
    pub(super) bytes: u64,
    pub(super) last_used: SystemTime,
}

impl Folder {
    /// Whether it has gone: not so if somebody uses it. What cannot be deleted then stays under another name.
    pub(super) fn remove(&self) -> Result<bool> {
        let path = if self.retired.is_some() {
            Some(self.path.clone())
        } else {
            let is_entry = || Ok(own::is_entry(&self.path));
            lease::retire(&self.path, Reason::Evicted, is_entry)?
        };
        let Some(path) = path else {
            return Ok(false);
        };
        match own::delete(&path)? {
            None => Ok(true),
            Some(stranger) => {
                // Back to where its owner put it, unless there is a new entry already.
                let _ = fs::rename(&path, &self.path);
                Err(self.kept_by(&stranger))
            }
        }
    }

    /// What [`Self::remove`] would return.
    pub(super) fn would_be_removed(&self) -> Result<bool> {
        match own::stranger(&self.path)? {
            Some(stranger) => Err(self.kept_by(&stranger)),
            None => Ok(self.retired.is_some() || lease::may_retire(&self.path)),
        }
    }

    fn kept_by(&self, stranger: &str) -> Error {
        Error::run(
            self.path.clone(),
            format!(
                "is kept, with `{stranger}`, which the activation cache did not write\nhelp: move it elsewhere and prune again"
            ),
        )
    }
}

/// Entries and former entries; former ones first, then those used longest ago. Nothing where there is no directory. Folders
/// that only have the name of one are somebody else's and not among them.
pub(super) fn folders(dir: &Path) -> Result<Vec<Folder>> {
    let files = match fs::read_dir(dir) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", dir)(error)),
    };
    let mut folders = Vec::new();
    for file in files {
        let file = file.map_err(Error::io("read", dir))?;
        let Ok(name) = file.file_name().into_string() else {
            continue;
        };
        let retired = Reason::of_name(&name);
        if retired.is_none() && !key::is_folder_name(&name) {
            continue;
        }
        // Not of what a link points to. It may also have gone meanwhile.
        let metadata = file.metadata().ok().filter(Metadata::is_dir);
        let Some(metadata) = metadata.filter(|data| is_listed(&file.path(), retired, data)) else {
            continue;
        };
        let path = file.path();
        folders.push(Folder {
            bytes: bytes_in(&path),
            last_used: lease::last_used(&path),
            owner: own::other_owner(&metadata),
            name,
            path,
            retired,
        });
    }
    folders.sort_by_key(|folder| (folder.retired.is_none(), folder.last_used));
    Ok(folders)
}

fn is_listed(folder: &Path, retired: Option<Reason>, metadata: &Metadata) -> bool {
    let is_made_now = || {
        let age = metadata
            .modified()
            .map(|at| SystemTime::now().duration_since(at));
        !age.is_ok_and(|age| age.is_ok_and(|age| age > LONG_IN_MAKING))
    };
    if retired == Some(Reason::New) && is_made_now() {
        return false;
    }
    match own::status(folder, Trust::All) {
        EntryStatus::Entry => true,
        // Nothing but the name is left, which nobody else gives.
        EntryStatus::Absent => retired.is_some(),
        EntryStatus::Foreign(_) => false,
    }
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

/// Removes whole entries that nobody uses, but never `keep`, until `needed_bytes` more fit or none is left. Entries of users
/// that are not trusted neither count nor go.
pub(crate) fn make_room(
    dir: &Path,
    limit_bytes: u64,
    needed_bytes: u64,
    keep: &RecipeKey,
    trust: Trust,
) -> Result<Room> {
    make_room_on(dir, limit_bytes, needed_bytes, (keep, trust), free_bytes)
}

/// With a disk that says what is free on it.
pub(super) fn make_room_on(
    dir: &Path,
    limit_bytes: u64,
    needed_bytes: u64,
    (keep, trust): (&RecipeKey, Trust),
    free_bytes: impl Fn(&Path) -> Option<u64>,
) -> Result<Room> {
    let mut folders = folders(dir)?;
    folders.retain(|folder| trust == Trust::All || folder.owner.is_none());
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

//! The folders of a cache directory, their sizes, and eviction of the least recently used ones. Must not know what an entry
//! contains.

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
use crate::{
    disk::space::free_bytes,
    error::{Error, Result},
};

/// The space that is left free on the file system, for everything else that writes to it.
const RESERVE_BYTES: u64 = 1 << 30;
/// An unfinished entry that is older is left over from a killed process, because creating one takes an instant.
const LONG_IN_MAKING: Duration = Duration::from_hours(1);

/// One folder of a cache directory.
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Why the folder was renamed from the name of its entry, if it was.
    pub(super) retired: Option<Reason>,
    /// The user that the folder belongs to, unless that is this user or root.
    pub(super) owner: Option<u32>,
    pub(super) bytes: u64,
    pub(super) last_used: SystemTime,
}

impl Folder {
    /// Deletes the folder unless it is in use, and returns whether it did. A folder that can only be renamed, but not deleted,
    /// stays under its new name.
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
                // The owner of the file must find it where it was, unless a new entry has taken the name already.
                let _ = fs::rename(&path, &self.path);
                Err(self.kept_by(&stranger))
            }
        }
    }

    /// Whether [`Self::remove`] would delete the folder.
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
                "cannot delete the cache entry: it contains `{stranger}`, which is not part of it"
            ),
        )
        .help("move this file elsewhere and prune again")
    }
}

/// Lists entries and the remains of entries: remains first, then the least recently used entries. Folders that only have the name
/// of an entry belong to somebody else and are left out. Empty if the directory does not exist.
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
        // `DirEntry::metadata` does not follow links: what a link points to is not ours. The folder may also be gone by now.
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
        // Only an empty folder is left, but nobody else uses such names.
        EntryStatus::Absent => retired.is_some(),
        EntryStatus::Foreign(_) => false,
    }
}

/// The result of [`make_room`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) evicted: Vec<Evicted>,
    /// The size of the remaining entries.
    pub(crate) used_bytes: u64,
    /// The free space of the file system, if it reports it.
    pub(crate) free_bytes: Option<u64>,
    /// Whether the needed bytes fit within both the limit and the free space.
    pub(crate) fits: bool,
}

/// An entry, or the remains of one, that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evicted {
    /// The name of its folder.
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Evicts the least recently used entries that nobody uses, except `keep`, until `needed_bytes` more fit or none is left. Entries
/// of users that are not trusted neither count toward the limit nor are evicted.
pub(crate) fn make_room(
    dir: &Path,
    limit_bytes: u64,
    needed_bytes: u64,
    keep: &RecipeKey,
    trust: Trust,
) -> Result<Room> {
    make_room_on(dir, limit_bytes, needed_bytes, (keep, trust), free_bytes)
}

/// Like [`make_room`], with a function that returns the free space of the disk.
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
        // An entry that cannot be deleted, for example another user's, must not keep the others from being evicted.
        if matches!(folder.remove(), Ok(true)) {
            room.used_bytes = room.used_bytes.saturating_sub(folder.bytes);
            room.evicted.push(Evicted {
                name: folder.name.clone(),
                bytes: folder.bytes,
            });
        }
    }
}

/// The total length of the files directly in the folder; an entry has no subfolders.
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

//! Locks that keep an entry from being evicted while it is used. Must not know what an entry contains.
//!
//! A process that uses an entry holds a shared lock on a file in it. To evict an entry, a process takes the lock exclusively and
//! renames the folder. Both check afterwards that the locked file is still the one under its name; if not, the folder is gone.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    key::is_folder_name,
    own::{self, EntryStatus, Trust},
    segment::random_digits,
};
use crate::{
    disk::files::is_still_at,
    error::{Error, Result},
};

pub(super) const LOCK: &str = "in-use.lock";
/// The pause between attempts to lock; other processes hold the lock exclusively only for a moment.
const PAUSE: Duration = Duration::from_millis(5);
const N_TRIES_ALONE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a folder was renamed from the name of its entry. The word for it is the middle of the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The entry is still being created.
    New,
    /// The entry is about to be deleted.
    Evicted,
    /// The entry is not of this recipe, or damaged; it is kept until the space is needed.
    Damaged,
}

impl Reason {
    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Evicted => "evicted",
            Self::Damaged => "damaged",
        }
    }

    /// Parses the reason from the name of a folder; `None` for other names.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        parts(name).map(|(_, reason)| reason)
    }
}

/// Splits the name of a renamed folder into the name of its entry and the reason.
fn parts(name: &str) -> Option<(&str, Reason)> {
    let (entry, rest) = name.strip_prefix('.')?.split_once('.')?;
    let (word, _) = rest.split_once('-')?;
    let reasons = [Reason::New, Reason::Evicted, Reason::Damaged];
    let reason = reasons.into_iter().find(|reason| reason.word() == word)?;
    is_folder_name(entry).then_some((entry, reason))
}

/// The name of the entry that a folder is, is going to be, or was.
pub(super) fn entry_name(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_str()?;
    let entry = parts(name).map_or(name, |(entry, _)| entry);
    is_folder_name(entry).then(|| entry.to_owned())
}

/// Keeps an entry from being evicted until it is dropped.
pub(super) struct Lease {
    lock: File,
    /// Whether the entry counts as used now, which inspecting it does not.
    is_use: bool,
}

impl Lease {
    /// Locks the entry and marks it as used now. Creates it if it does not exist, with the description that `describe` writes.
    pub(super) fn take(
        folder: &Path,
        trust: Trust,
        describe: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<Self> {
        Self::take_within(PATIENCE, folder, trust, describe)
    }

    /// Like [`Lease::take`], but gives up after `patience`: any process that can read the lock file can lock it, and may never
    /// release it.
    pub(super) fn take_within(
        patience: Duration,
        folder: &Path,
        trust: Trust,
        describe: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<Self> {
        let start = Instant::now();
        let path = folder.join(LOCK);
        loop {
            match own::status(folder, trust) {
                EntryStatus::Foreign(fact) => {
                    let message = format!("`{}` {fact}", folder.display());
                    return Err(Error::run(folder, message));
                }
                EntryStatus::Absent => make(folder, describe)?,
                EntryStatus::Entry => {}
            }
            if is_no_file(&path) {
                // The name is taken by something that nobody can have locked, so the entry is damaged.
                rename_away(folder, Reason::Damaged)?;
                continue;
            }
            match open_lock(&path, true) {
                Ok(lock) => {
                    let is_held = match lock.try_lock_shared() {
                        // On a file system without locks nothing is ever evicted, so no lock is needed either.
                        Ok(()) | Err(TryLockError::Error(_)) => true,
                        Err(TryLockError::WouldBlock) => false,
                    };
                    if is_held && is_still_at(&lock, &path) {
                        // If the marker cannot be written, the description still identifies the entry.
                        let _ = own::mark(&lock);
                        let lease = Self { lock, is_use: true };
                        lease.touch();
                        return Ok(lease);
                    }
                }
                // The entry was evicted just after it was created.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", path)(error)),
            }
            if start.elapsed() > patience {
                return Err(Error::run(
                    folder,
                    format!("another process has locked `{LOCK}` of this cache entry"),
                ));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Locks an existing entry to inspect it, without marking it as used. `None` if it is gone or being evicted.
    pub(super) fn of_existing(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(LOCK);
        if is_no_file(&path) {
            let message = format!("`{}` is not a file", path.display());
            return Err(Error::run(path, message));
        }
        let lock = match open_lock(&path, true) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let is_held = !matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock));
        let lease = Self {
            lock,
            is_use: false,
        };
        Ok((is_held && is_still_at(&lease.lock, &path)).then_some(lease))
    }

    fn touch(&self) {
        if self.is_use {
            // If the file system refuses, the entry only looks older than it is.
            let _ = self.lock.set_modified(SystemTime::now());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.touch();
    }
}

/// Whether any process, this one included, has the entry open.
pub(super) fn is_in_use(folder: &Path) -> bool {
    let path = folder.join(LOCK);
    !is_no_file(&path)
        && open_lock(&path, false)
            .is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Whether [`retire`] would take the folder now.
pub(super) fn may_retire(folder: &Path) -> bool {
    let path = folder.join(LOCK);
    if is_no_file(&path) {
        return true;
    }
    match open_lock(&path, false) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// When the entry was last opened or closed.
pub(super) fn last_used(folder: &Path) -> SystemTime {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    modified(&folder.join(LOCK))
        .or_else(|_| modified(folder))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Renames the folder if nobody uses it, and returns its new path; `None` if it must stay. `still` is checked again under the
/// exclusive lock, when no other process can change the answer.
pub(super) fn retire(
    folder: &Path,
    reason: Reason,
    still: impl FnOnce() -> Result<bool>,
) -> Result<Option<PathBuf>> {
    let path = folder.join(LOCK);
    if is_no_file(&path) {
        return if still()? {
            rename_away(folder, reason)
        } else {
            Ok(None)
        };
    }
    let lock = match open_lock(&path, true) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    for n_tries in 1.. {
        match lock.try_lock() {
            Ok(()) => break,
            // A process that inspects the entry holds the lock only for a moment.
            Err(TryLockError::WouldBlock) if n_tries < N_TRIES_ALONE => thread::sleep(PAUSE),
            // On a file system without locks, nobody knows who uses the entry.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return Ok(None),
        }
    }
    if !is_still_at(&lock, &path) || !still()? {
        return Ok(None);
    }
    // On other systems than Unix, a folder with an open file cannot be renamed; that also protects entries in use.
    #[cfg(not(unix))]
    drop(lock);
    rename_away(folder, reason)
}

/// Renames the folder; `None` if it is gone or, on other systems than Unix, contains an open file.
fn rename_away(folder: &Path, reason: Reason) -> Result<Option<PathBuf>> {
    let new_path = beside(folder, reason);
    match fs::rename(folder, &new_path) {
        Ok(()) => Ok(Some(new_path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if cfg!(not(unix)) && error.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(Error::io("rename", folder)(error)),
    }
}

/// A unique path beside the folder.
fn beside(folder: &Path, reason: Reason) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{}-{}", reason.word(), random_digits()))
}

/// Creates an entry under a temporary name and renames it, so that it is marked and described from the moment that it exists.
/// Does nothing if another process is faster.
fn make(folder: &Path, describe: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
    if let Some(dir) = folder.parent() {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    }
    let draft = beside(folder, Reason::New);
    fs::create_dir(&draft).map_err(Error::io("create", folder))?;
    let lock = draft.join(LOCK);
    let marked = open_lock(&lock, true).and_then(|lock| own::mark(&lock));
    let made = marked
        .map_err(Error::io("write", folder.join(LOCK)))
        .and_then(|()| describe(&draft))
        .and_then(|()| match fs::rename(&draft, folder) {
            // Another process was faster, or removed the draft as left over from a killed one.
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::AlreadyExists
                        | ErrorKind::DirectoryNotEmpty
                        | ErrorKind::NotADirectory
                        | ErrorKind::NotFound
                ) =>
            {
                Err(Error::io("create", folder)(error))
            }
            _ => Ok(()),
        });
    if draft.exists() {
        // What cannot be deleted now is removed later, like the draft of a killed process.
        let _ = own::delete(&draft);
    }
    made
}

/// Whether the path exists and is not a file. Says nothing about a path that is gone: at any moment it may exist again and be in
/// use.
fn is_no_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file())
}

/// Opens the lock file also for writing, because some network file systems lock only writable files.
fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).open(path)
}

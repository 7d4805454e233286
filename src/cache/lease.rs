//! Who uses an entry, and taking the folder of an unused one out of the way. Must not know what an entry holds.
//!
//! Whoever uses an entry shares the lock on a file in it; whoever takes it away has that lock alone and renames the
//! folder. Both look whether the file they have locked is still the one under its name: if not, the folder has gone.

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
use crate::error::{Error, Result};

pub(super) const LOCK: &str = "in-use.lock";
/// Others hold the lock alone for a moment.
const PAUSE: Duration = Duration::from_millis(5);
const N_TRIES_ALONE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a folder does not have an entry's name, and the middle of the name it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Still being made.
    New,
    /// To be deleted.
    Evicted,
    /// Not ours, or not whole: kept until there is need for the room.
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

    /// The reason that a folder of this name is no entry in use; `None` for other names.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        parts(name).map(|(_, reason)| reason)
    }
}

/// The name of the entry, and why a folder does not have it.
fn parts(name: &str) -> Option<(&str, Reason)> {
    let (entry, rest) = name.strip_prefix('.')?.split_once('.')?;
    let (word, _) = rest.split_once('-')?;
    let reasons = [Reason::New, Reason::Evicted, Reason::Damaged];
    let reason = reasons.into_iter().find(|reason| reason.word() == word)?;
    is_folder_name(entry).then_some((entry, reason))
}

/// The name of the entry that a folder is, is to become or was.
pub(super) fn entry_name(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_str()?;
    let entry = parts(name).map_or(name, |(entry, _)| entry);
    is_folder_name(entry).then(|| entry.to_owned())
}

/// Keeps an entry from being taken away, for as long as this lives.
pub(super) struct Lease {
    lock: File,
    is_use: bool,
}

impl Lease {
    /// Makes the entry if it is not there, with what `describe` writes into it, and notes that it is used now.
    pub(super) fn take(
        folder: &Path,
        trust: Trust,
        describe: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<Self> {
        Self::take_within(PATIENCE, folder, trust, describe)
    }

    /// Whoever can read the lock file can lock it, and may never let go of it.
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
                    let path = folder.to_owned();
                    return Err(Error::run(path, fact));
                }
                EntryStatus::Absent => make(folder, describe)?,
                EntryStatus::Entry => {}
            }
            if is_no_file(&path) {
                // Nobody can have locked it.
                rename_away(folder, Reason::Damaged)?;
                continue;
            }
            match open_lock(&path, true) {
                Ok(lock) => {
                    let is_held = match lock.try_lock_shared() {
                        // Without locks nothing is evicted, so that nothing needs to be kept from it.
                        Ok(()) | Err(TryLockError::Error(_)) => true,
                        Err(TryLockError::WouldBlock) => false,
                    };
                    if is_held && is_still_at(&lock, &path) {
                        // One that is not marked still has its description.
                        let _ = own::mark(&lock);
                        let lease = Self { lock, is_use: true };
                        lease.touch();
                        return Ok(lease);
                    }
                }
                // Taken away since it was made.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", path)(error)),
            }
            if start.elapsed() > patience {
                return Err(Error::run(
                    folder,
                    format!("cannot be used: another process has locked {LOCK}"),
                ));
            }
            thread::sleep(PAUSE);
        }
    }

    /// To look at an entry, which is no use of it. `None` where it has gone or is being taken away.
    pub(super) fn of_existing(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(LOCK);
        if is_no_file(&path) {
            return Err(Error::run(path, "not a file".to_owned()));
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
            // Where the file system refuses, the entry looks older than it is.
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

/// When the entry was opened or closed last.
pub(super) fn last_used(folder: &Path) -> SystemTime {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    modified(&folder.join(LOCK))
        .or_else(|_| modified(folder))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Renames the folder if nobody uses it and `still` holds once nobody can; its new path. `None` where it must stay.
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
            // Somebody who only looks holds it for a moment.
            Err(TryLockError::WouldBlock) if n_tries < N_TRIES_ALONE => thread::sleep(PAUSE),
            // Without locks nobody knows who uses it.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return Ok(None),
        }
    }
    if !is_still_at(&lock, &path) || !still()? {
        return Ok(None);
    }
    // Elsewhere than on Unix, a folder with an open file cannot be renamed, which protects it without the lock.
    #[cfg(not(unix))]
    drop(lock);
    rename_away(folder, reason)
}

/// `None` where it has gone or, elsewhere than on Unix, has an open file.
fn rename_away(folder: &Path, reason: Reason) -> Result<Option<PathBuf>> {
    let new_path = beside(folder, reason);
    match fs::rename(folder, &new_path) {
        Ok(()) => Ok(Some(new_path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if cfg!(not(unix)) && error.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(Error::io("rename", folder)(error)),
    }
}

/// A name that no other folder has.
fn beside(folder: &Path, reason: Reason) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{}-{}", reason.word(), random_digits()))
}

/// Makes an entry that is marked and described from the moment it has its name, unless another process is faster.
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
            // Another process was faster, or took the draft for the rest of a killed one.
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
        // What cannot be deleted is left over, as from a killed process.
        let _ = own::delete(&draft);
    }
    made
}

/// Only of something that is there: what has gone may at any moment be there again and in use.
fn is_no_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file())
}

/// For writing too, as some network file systems lock only such files.
fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).open(path)
}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), path.metadata()) {
        (Ok(file), Ok(path)) => identity(file) == identity(path),
        _ => false,
    }
}

/// The open file keeps its folder where it is.
#[cfg(not(unix))]
fn is_still_at(_file: &File, path: &Path) -> bool {
    path.is_file()
}

//! Decides which folders of a cache directory are entries, and which of these belong to this user. Everything else in there
//! belongs to somebody else: it is never written to, renamed or removed. Must not know what an entry contains.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Read as _, Write as _},
    path::Path,
};

use super::{
    key::{self, Description},
    lease::{self, LOCK},
    segment,
};
use crate::{
    disk::files,
    error::{Error, Result},
};

/// The beginning of the lock file of an entry. That file is created first and deleted last, so that whatever a killed process
/// leaves of an entry can be told from other people's folders.
const MARKER: &[u8] = b"An entry of runner's activation cache. Safe to delete with its folder.\n";

/// Number of times that a folder is examined, because between two looks one entry may disappear and another one take its name.
const N_LOOKS: usize = 3;

/// Whose entries are used. Checksums reveal damage, but a user who can write an entry can write any activations into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Entries of this user and of root.
    Own,
    /// Entries of all users.
    All,
}

impl Trust {
    /// Why a file or folder is not used: a predicate whose subject is the path.
    pub(super) fn objection(self, metadata: &Metadata) -> Option<String> {
        let owner = other_owner(metadata).filter(|_| self == Self::Own)?;
        Some(format!(
            "belongs to another user ({owner}) and is used only with `cache.trust = \"all\"`"
        ))
    }

    pub(super) fn includes(self, metadata: &Metadata) -> bool {
        self.objection(metadata).is_none()
    }
}

/// The user that a file belongs to, unless that is this one or root.
#[cfg(unix)]
#[expect(
    unsafe_code,
    reason = "the standard library does not say who the user is"
)]
pub(super) fn other_owner(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    // SAFETY: `geteuid` takes no arguments, always succeeds, and accesses no memory of this process.
    let user = unsafe { libc::geteuid() };
    Some(metadata.uid()).filter(|owner| *owner != 0 && *owner != user)
}

#[cfg(not(unix))]
pub(super) fn other_owner(_metadata: &Metadata) -> Option<u32> {
    None
}

/// The thing that exists under the name of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EntryStatus {
    /// Nothing, or an empty folder.
    Absent,
    Entry,
    /// Not an entry, or not one to use. The reason is a predicate whose subject is the path.
    Foreign(String),
}

/// Determines what a folder is. A marked lock file, or a description that matches the name, identifies an entry or the remains of
/// one.
pub(super) fn status(folder: &Path, trust: Trust) -> EntryStatus {
    let metadata = match folder.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return EntryStatus::Absent,
        Err(error) => return EntryStatus::Foreign(format!("cannot be read: {error}")),
    };
    if !metadata.is_dir() {
        return EntryStatus::Foreign("is a file, not an entry of the activation cache".to_owned());
    }
    if let Some(fact) = trust.objection(&metadata) {
        return EntryStatus::Foreign(fact);
    }
    for _ in 0..N_LOOKS {
        if has_marker(&folder.join(LOCK), trust) || describes_itself(folder, trust) {
            return EntryStatus::Entry;
        }
        match fs::read_dir(folder).map(|mut files| files.next().is_none()) {
            Ok(true) => return EntryStatus::Absent,
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return EntryStatus::Absent,
            Err(error) => return EntryStatus::Foreign(format!("cannot be read: {error}")),
        }
    }
    EntryStatus::Foreign("is not an entry of the activation cache".to_owned())
}

pub(super) fn is_entry(folder: &Path) -> bool {
    status(folder, Trust::All) == EntryStatus::Entry
}

fn has_marker(lock: &Path, trust: Trust) -> bool {
    // Opening a pipe would block until somebody writes to it.
    let is_file = |metadata: Metadata| metadata.is_file() && trust.includes(&metadata);
    let mut bytes = [0; MARKER.len()];
    lock.metadata().is_ok_and(is_file)
        && File::open(lock)
            .and_then(|mut lock| lock.read_exact(&mut bytes))
            .is_ok_and(|()| bytes == MARKER)
}

fn describes_itself(folder: &Path, trust: Trust) -> bool {
    let about = folder.join(key::ABOUT).metadata();
    about.is_ok_and(|metadata| trust.includes(&metadata))
        && matches!(
            key::read_about(folder),
            Ok(Description::Sound(_, key)) if lease::entry_name(folder) == Some(key.folder_name())
        )
}

/// Marks the lock file of an entry, unless it is marked already.
pub(super) fn mark(mut lock: &File) -> io::Result<()> {
    if lock.metadata()?.len() > 0 {
        return Ok(());
    }
    // Two processes that mark the file at once write the same bytes to the same offset.
    lock.write_all(MARKER)
}

/// The name of a file in an entry that the cache did not write.
pub(super) fn stranger(folder: &Path) -> Result<Option<String>> {
    let strange = |(name, is_ours): (String, bool)| (!is_ours).then_some(name);
    Ok(files_in(folder)?.into_iter().find_map(strange))
}

/// Deletes the files of an entry that nobody uses, then its folder. If the entry contains a file that the cache did not write,
/// that file stays, with the folder and what identifies it as an entry, and its name is returned.
pub(super) fn delete(folder: &Path) -> Result<Option<String>> {
    for (name, is_ours) in files_in(folder)? {
        if is_ours && name != LOCK && name != key::ABOUT {
            remove_file(&folder.join(name))?;
        }
    }
    if let Some(name) = stranger(folder)? {
        return Ok(Some(name));
    }
    // The file that identifies the folder as an entry goes last: a killed process must not leave a folder that nobody may delete.
    let order = if has_marker(&folder.join(LOCK), Trust::All) {
        [key::ABOUT, LOCK]
    } else {
        [LOCK, key::ABOUT]
    };
    for name in order {
        remove_file(&folder.join(name))?;
    }
    unless_gone(fs::remove_dir(folder)).map_err(Error::io("delete", folder))?;
    Ok(None)
}

/// The names in the folder, each with whether the cache wrote the file, judged by its name and type.
fn files_in(folder: &Path) -> Result<Vec<(String, bool)>> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        // Another process may be deleting the entry as well.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", folder)(error)),
    };
    files
        .map(|file| {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            let is_ours = file.file_type()?.is_file() && is_own_name(&name);
            Ok((name, is_ours))
        })
        .collect::<io::Result<_>>()
        .map_err(Error::io("read", folder))
}

fn is_own_name(name: &str) -> bool {
    name == LOCK || name == key::ABOUT || segment::is_file_name(name) || files::is_temporary(name)
}

fn remove_file(path: &Path) -> Result<()> {
    unless_gone(fs::remove_file(path)).map_err(Error::io("delete", path))
}

fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

//! Unpacks untrusted zip archives: either completely or not at all, and without overwriting anything. Knows nothing of the
//! content of the files.

mod entries;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use zip::ZipArchive;

use self::entries::{Entry, EntryKind, UnpackPlan};
use super::room;
use crate::error::{Error, Result};

const BLOCK_BYTES: usize = 128 << 10;

/// The largest file that is compared with an existing one of the same name. The files beside the images are documents, so larger
/// ones count as different.
const COMPARED_BYTES: u64 = 16 << 20;

type Zip = ZipArchive<io::BufReader<File>>;

/// The limits that an archive must keep to, against zip bombs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Number of entries, folders included.
    pub(crate) files: u64,
    /// Unpacked size of all files together.
    pub(crate) bytes: u64,
    /// Unpacked size of each file.
    pub(crate) entry_bytes: u64,
    /// Unpacked bytes per byte of the archive.
    pub(crate) ratio: u64,
}

/// The files that were unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Unpacks `archive` into the folder `into`. `progress` is called with the number of bytes written and in total.
pub(crate) fn unpack(
    archive: &Path,
    into: &Path,
    limits: &Limits,
    progress: &dyn Fn(u64, u64),
    stop: &AtomicBool,
) -> Result<Unpacked> {
    let file = File::open(archive).map_err(Error::io("open", archive))?;
    lock(&file, archive)?;
    let archive_bytes = file.metadata().map_err(Error::io("read", archive))?.len();
    let mut zip = ZipArchive::new(io::BufReader::new(file))
        .map_err(|error| damaged(archive, &error.to_string()))?;
    let mut plan = entries::plan(&zip, archive_bytes, limits).map_err(|reason| {
        Error::data(format!("refusing to unpack the archive: {reason}"))
            .at(archive)
            .fact("nothing was unpacked")
            .help("do not trust this archive; if you know that it is safe, unpack it with another program")
    })?;
    fs::create_dir_all(into).map_err(Error::io("create", into))?;
    let places = Places::new(archive, into);
    if !is_written_already(&places.unpacked)? {
        leave_out_what_is_there(&mut plan, &mut zip, into, &places)?;
        remove_leftover(&places.unpacking)?;
        room::check(into, plan.bytes)?;
        let outcome = write_all(&mut zip, archive, &plan, &places.unpacking, progress, stop)
            .and_then(|()| {
                fs::rename(&places.unpacking, &places.unpacked)
                    .map_err(Error::io("rename", &places.unpacking))
            });
        if let Err(error) = outcome {
            // The first error is the one to report. What cannot be removed now is removed by the next attempt.
            let _ = remove_leftover(&places.unpacking);
            return Err(error);
        }
    }
    move_into_place(&plan, &places.unpacked, into)?;
    Ok(Unpacked {
        files: plan.n_files,
        bytes: plan.bytes,
    })
}

/// Whether an earlier attempt was interrupted while it moved entries to their final names in `into`.
pub(crate) fn was_cut_short(archive: &Path, into: &Path) -> bool {
    Places::new(archive, into).unpacked.is_dir()
}

/// The temporary folders of an archive. They are in the target folder, so that renaming never crosses file systems.
struct Places {
    /// Holds entries until all of them are written.
    unpacking: PathBuf,
    /// Holds all entries that have not been moved to their final names yet.
    unpacked: PathBuf,
}

impl Places {
    fn new(archive: &Path, into: &Path) -> Self {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        Self {
            unpacking: into.join(format!(".{name}.unpacking")),
            unpacked: into.join(format!(".{name}.unpacked")),
        }
    }

    /// Whether `path` is one of the folders, also on a file system that ignores case.
    fn hold(&self, path: &Path) -> bool {
        let is = |place: &Path| path.as_os_str().eq_ignore_ascii_case(place);
        is(&self.unpacking) || is(&self.unpacked)
    }
}

/// Locks the archive, because two processes that unpack it would remove each other's files. Does nothing on file systems without
/// locks.
fn lock(file: &File, archive: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Error::data("another process is unpacking this archive")
                .at(archive)
                .help("wait for it to finish, or stop it and try again"))
        }
    }
}

fn damaged(archive: &Path, reason: &str) -> Error {
    Error::data(format!("invalid or damaged zip archive: {reason}"))
        .at(archive)
        .help("delete the file and download it again")
}

/// Whether the name is free: nothing has it, not even a broken link.
fn is_free(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Whether an earlier attempt wrote all entries and was interrupted while it moved them into place.
fn is_written_already(unpacked: &Path) -> Result<bool> {
    if is_free(unpacked)? {
        return Ok(false);
    }
    let metadata = fs::symlink_metadata(unpacked).map_err(Error::io("read", unpacked))?;
    if metadata.is_dir() {
        return Ok(true);
    }
    Err(Error::data(format!(
        "`{}` is not a folder, so it was not left by an earlier attempt",
        unpacked.display()
    ))
    .at(unpacked)
    .help("delete it and try again"))
}

/// Fails if a name is taken, except by an identical file: users who delete the images and download them again often leave the
/// license beside them.
fn leave_out_what_is_there(
    plan: &mut UnpackPlan,
    zip: &mut Zip,
    into: &Path,
    places: &Places,
) -> Result<()> {
    let mut there = HashSet::new();
    for name in plan.top_level() {
        let path = into.join(name);
        if places.hold(&path) {
            return Err(is_taken(&path));
        }
        if is_free(&path)? {
            continue;
        }
        let same = plan.entries.iter().find(|entry| entry.path == name);
        match same {
            Some(entry) if is_the_same(zip, entry, &path) => there.insert(entry.index),
            Some(_) | None => return Err(is_taken(&path)),
        };
    }
    plan.leave_out(&there);
    Ok(())
}

/// Whether the file at `path` is the entry, byte for byte.
fn is_the_same(zip: &mut Zip, entry: &Entry, path: &Path) -> bool {
    let is_such_a_file = fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() == entry.bytes);
    if entry.kind != EntryKind::File || entry.bytes > COMPARED_BYTES || !is_such_a_file {
        return false;
    }
    let mut bytes = Vec::new();
    let listed = zip.by_index(entry.index).map_err(io::Error::other);
    listed
        .and_then(|listed| listed.take(COMPARED_BYTES).read_to_end(&mut bytes))
        .and_then(|_| fs::read(path))
        .is_ok_and(|there| there == bytes)
}

fn is_taken(path: &Path) -> Error {
    Error::data(format!(
        "`{}` exists already, and the archive would overwrite it",
        path.display()
    ))
    .at(path)
    .help("move it away, or unpack into another folder")
}

/// Removes the remains of an interrupted attempt. A link is removed, not followed.
fn remove_leftover(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("delete", folder)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Creates `staging` and writes every entry below it. Nothing is flushed, so a power cut may lose data.
fn write_all(
    zip: &mut Zip,
    archive: &Path,
    plan: &UnpackPlan,
    staging: &Path,
    progress: &dyn Fn(u64, u64),
    stop: &AtomicBool,
) -> Result<()> {
    let folders = folder_builder();
    folders
        .create(staging)
        .map_err(Error::io("create", staging))?;
    let mut done = 0;
    for entry in &plan.entries {
        let to = staging.join(&entry.path);
        let folder = match entry.kind {
            EntryKind::Folder => Some(to.as_path()),
            EntryKind::File => to.parent(),
        };
        if let Some(folder) = folder {
            folders
                .create(folder)
                .map_err(Error::io("create", folder))?;
        }
        match entry.kind {
            EntryKind::Folder => {}
            EntryKind::File => write_file(zip, archive, entry, &to, stop, &mut |n_bytes| {
                done += n_bytes;
                progress(done, plan.bytes);
            })?,
        }
    }
    Ok(())
}

fn write_file(
    zip: &mut Zip,
    archive: &Path,
    entry: &Entry,
    to: &Path,
    stop: &AtomicBool,
    report: &mut dyn FnMut(u64),
) -> Result<()> {
    let damaged_entry = |fact: &str| damaged(archive, &format!("entry `{}`: {fact}", entry.path));
    let mut reader = zip
        .by_index(entry.index)
        .map_err(|error| damaged_entry(&error.to_string()))?;
    let mut file = new_file(to).map_err(Error::io("create", to))?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut written = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        // The reader compares the checksum when it reaches the end of the entry.
        let n_bytes = reader
            .read(&mut block)
            .map_err(|error| damaged_entry(&error.to_string()))?;
        written += n_bytes as u64;
        let is_end = n_bytes == 0;
        if written > entry.bytes || (is_end && written < entry.bytes) {
            let relation = if is_end { "fewer" } else { "more" };
            let fact = format!(
                "it has {relation} bytes than the {} it declares",
                entry.bytes
            );
            return Err(damaged_entry(&fact));
        }
        if is_end {
            return Ok(());
        }
        file.write_all(&block[..n_bytes])
            .map_err(Error::io("write", to))?;
        report(n_bytes as u64);
    }
}

/// Moves every top-level entry to its final name, except those that an earlier, interrupted attempt has moved already.
fn move_into_place(plan: &UnpackPlan, unpacked: &Path, into: &Path) -> Result<()> {
    for name in plan.top_level() {
        let (from, to) = (unpacked.join(name), into.join(name));
        match (is_free(&from)?, is_free(&to)?) {
            (false, true) => fs::rename(&from, &to).map_err(Error::io("rename", &from))?,
            (true, false) => {}
            (false, false) => return Err(is_taken(&to)),
            (true, true) => {
                return Err(Error::data(format!(
                    "`{}` belongs to another archive, or is incomplete",
                    unpacked.display()
                ))
                .at(unpacked)
                .help("delete it and try again"));
            }
        }
    }
    fs::remove_dir(unpacked).map_err(Error::io("delete", unpacked))
}

/// Creates folders with the default permissions, whatever the archive asks for.
fn folder_builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    builder
}

/// Creates a file with the default permissions, so that nothing unpacked is executable.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

//! A file that is still being fetched: `FILE.part`, locked, and what the server called its version beside it. Knows no
//! network.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use crate::{
    disk::hash,
    error::{Error, Result},
};

/// No server calls a version by a longer name.
const MOST_VALIDATOR_BYTES: u64 = 4 << 10;

/// The opened part; the lock lasts as long as it lives.
pub(super) struct PartialFile {
    file: File,
    path: PathBuf,
    validator_path: PathBuf,
    bytes: u64,
    is_started_over: bool,
}

impl PartialFile {
    /// Opens or makes the part of `to` and locks it, or fails if another process holds it.
    pub(super) fn open(to: &Path) -> Result<Self> {
        let path = part_of(to);
        loop {
            check_is_plain(&path)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            follow_no_link(&mut options);
            let file = options.open(&path).map_err(Error::io("open", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::fetch(format!(
                        "{}: another process is downloading this file\n\
                         help: wait for it, or stop it and try again",
                        path.display()
                    )));
                }
                // Some network file systems have no locks; they are no reason to refuse.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
            let bytes = file.metadata().map_err(Error::io("read", &path))?.len();
            // The former holder may have renamed or removed the file between the opening and the lock.
            if is_still_at(&file, &path) {
                let validator_path = with_suffix(to, ".part.etag");
                return Ok(Self {
                    file,
                    path,
                    validator_path,
                    bytes,
                    is_started_over: false,
                });
            }
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether bytes that were here had to be thrown away: the next ones may have to as well.
    pub(super) fn is_started_over(&self) -> bool {
        self.is_started_over
    }

    /// What the server called the version that the bytes here are of.
    pub(super) fn validator(&self) -> Option<String> {
        let metadata = fs::symlink_metadata(&self.validator_path).ok()?;
        if !metadata.is_file() || metadata.len() > MOST_VALIDATOR_BYTES {
            return None;
        }
        let text = fs::read_to_string(&self.validator_path).ok()?;
        let is_header_text = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        (!text.is_empty() && is_header_text).then_some(text)
    }

    /// Empties the part for a body of the version `validator`.
    pub(super) fn restart(&mut self, validator: Option<&str>) -> Result<()> {
        self.forget_validator()?;
        self.is_started_over |= self.bytes > 0;
        self.file
            .set_len(0)
            .map_err(Error::io("empty", &self.path))?;
        self.bytes = 0;
        if let Some(validator) = validator {
            // What was there is gone, so that nothing is written through a link.
            File::create_new(&self.validator_path)
                .and_then(|mut file| file.write_all(validator.as_bytes()))
                .map_err(Error::io("write", &self.validator_path))?;
        }
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let writing = || Error::io("write", &self.path);
        self.file
            .seek(SeekFrom::Start(self.bytes))
            .map_err(writing())?;
        if let Err(error) = self.file.write_all(bytes) {
            // What a full disk took of this block is not counted, so it must not stay.
            let _ = self.file.set_len(self.bytes);
            return Err(writing()(error));
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sha256(&mut self, stop: &AtomicBool) -> Result<String> {
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(Error::io("read", &self.path))?;
        hash::sha256_of(&mut self.file, &self.path, stop)
    }

    /// Flushes the part to the disk and gives it its final name.
    pub(super) fn finish(self, to: &Path) -> Result<()> {
        self.file
            .sync_all()
            .map_err(Error::io("write", &self.path))?;
        fs::rename(&self.path, to).map_err(Error::io("rename", &self.path))?;
        self.forget_validator()
    }

    /// Removes what is here; it is wrong or not wanted.
    pub(super) fn delete(self) -> Result<()> {
        self.forget_validator()?;
        fs::remove_file(&self.path).map_err(Error::io("delete", &self.path))
    }

    fn forget_validator(&self) -> Result<()> {
        match fs::remove_file(&self.validator_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("delete", &self.validator_path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// How much of `to` an earlier try has brought.
pub(crate) fn bytes_here(to: &Path) -> u64 {
    let metadata = fs::symlink_metadata(part_of(to)).ok();
    metadata
        .filter(fs::Metadata::is_file)
        .map_or(0, |metadata| metadata.len())
}

/// Fails where something else than a file has the name: a link would be written through, a pipe waited for.
pub(super) fn check_is_plain(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Error::fetch(format!(
            "{}: not a regular file\nhelp: move it away and try again; downloads are not written through links",
            path.display()
        ))),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Between the look and the opening there may come a link, or a pipe.
#[cfg(unix)]
fn follow_no_link(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
}

#[cfg(not(unix))]
fn follow_no_link(_options: &mut OpenOptions) {}

fn part_of(to: &Path) -> PathBuf {
    with_suffix(to, ".part")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(opened), Ok(named)) => identity(opened) == identity(named),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// The standard library tells no identities here; a file that is gone is noticed at least.
#[cfg(not(unix))]
fn is_still_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

//! A partial download: `FILE.part`, which is locked, and beside it the server's validator (`ETag` or date) of the version.
//! Knows no network.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use crate::{
    disk::{files, hash},
    error::{Error, Result},
};

/// A longer validator is not one of a server, so the file was damaged.
const MOST_VALIDATOR_BYTES: u64 = 4 << 10;

/// An open, locked partial download. Dropping it releases the lock.
pub(super) struct PartialFile {
    file: File,
    path: PathBuf,
    validator_path: PathBuf,
    bytes: u64,
    is_started_over: bool,
}

impl PartialFile {
    /// Opens or creates the partial download of `to` and locks it. Fails if another process has locked it.
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
                    return Err(Error::fetch("another process is downloading this file")
                        .at(path)
                        .help("wait for it to finish, or stop it and try again"));
                }
                // Some network file systems have no locks, and downloads to them work well enough without.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
            let bytes = file.metadata().map_err(Error::io("read", &path))?.len();
            // The previous holder may have renamed or removed the file between the opening and the lock.
            if files::is_still_at(&file, &path) {
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

    /// Whether received bytes had to be discarded, so that those of another attempt may have to be discarded as well.
    pub(super) fn is_started_over(&self) -> bool {
        self.is_started_over
    }

    /// The server's validator of the version that the received bytes belong to.
    pub(super) fn validator(&self) -> Option<String> {
        let metadata = fs::symlink_metadata(&self.validator_path).ok()?;
        if !metadata.is_file() || metadata.len() > MOST_VALIDATOR_BYTES {
            return None;
        }
        let text = fs::read_to_string(&self.validator_path).ok()?;
        let is_header_text = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        (!text.is_empty() && is_header_text).then_some(text)
    }

    /// Empties the file, for a body of the version `validator`.
    pub(super) fn restart(&mut self, validator: Option<&str>) -> Result<()> {
        self.forget_validator()?;
        self.is_started_over |= self.bytes > 0;
        self.file
            .set_len(0)
            .map_err(Error::io("empty", &self.path))?;
        self.bytes = 0;
        if let Some(validator) = validator {
            // `create_new` refuses a link that somebody put there meanwhile, instead of writing through it.
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
            // A full disk may have accepted part of the block. It is not counted, so it must not stay in the file.
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

    /// Flushes the file to the disk and renames it to its final name.
    pub(super) fn finish(self, to: &Path) -> Result<()> {
        self.file
            .sync_all()
            .map_err(Error::io("write", &self.path))?;
        fs::rename(&self.path, to).map_err(Error::io("rename", &self.path))?;
        self.forget_validator()
    }

    /// Deletes the partial download, because its content is wrong or no longer needed.
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

/// The number of bytes of `to` that an earlier attempt has downloaded.
pub(crate) fn bytes_here(to: &Path) -> u64 {
    let metadata = fs::symlink_metadata(part_of(to)).ok();
    metadata
        .filter(fs::Metadata::is_file)
        .map_or(0, |metadata| metadata.len())
}

/// Fails if the name is taken by something other than a file: a link would be written through, and a pipe would block.
pub(super) fn check_is_plain(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Error::fetch(format!(
            "`{}` is not a regular file",
            path.display()
        ))
        .at(path)
        .help("move it away and try again; downloads are not written through links")),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Makes opening fail for a link, and not block for a pipe, that took the name after [`check_is_plain`].
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

//! At most one process at a time works in a directory: whoever holds the lock on a file in it. The system takes the lock
//! from a process that dies.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    thread,
    time::Duration,
};

use crate::error::{Error, Result};

/// The right to work in a directory, for as long as this lives.
pub(crate) struct Claim {
    _file: File,
}

impl Claim {
    /// `None` where another process has it. The file is made if it is not there.
    pub(crate) fn take(path: &Path) -> Result<Option<Self>> {
        // Somebody who only looks holds the lock for a moment.
        const N_TRIES: usize = 10;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(Error::io("opening", path))?;
        for _ in 0..N_TRIES {
            match file.try_lock() {
                // A file system without locks protects nobody; that is no reason to refuse work.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(100)),
            }
        }
        Ok(None)
    }
}

/// Whether a process of this machine holds the claim.
pub(crate) fn is_taken(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

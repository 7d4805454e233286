//! The lock on a file that decides between the processes of one machine.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{ClaimPaths, Stop, content, owner::Owner};
use crate::error::{Error, Result};

/// How often a process looks whether an earlier start of its job has given way.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Takes the lock like [`lock`]. If an earlier start of the same job has it, makes that one give way and waits until it has.
pub(super) fn lock_in_time(
    place: &ClaimPaths,
    owner: &Owner,
    stop: &dyn Stop,
    note: &dyn Fn(&str),
) -> Result<Option<(File, bool)>> {
    let found = lock(&place.lock)?;
    if found.is_some() {
        return Ok(found);
    }
    let other = content(&place.owner)?.and_then(|bytes| Owner::parse(&bytes));
    let Some(other) = other.filter(|other| owner.replaces(other)) else {
        return Ok(None);
    };
    let dir = place.dir.display();
    note(&format!(
        "{dir}: {other}, an earlier start of this job, is still running; waiting until it gives way"
    ));
    owner.replace(&place.owner)?;
    loop {
        pause(LOOK_EVERY, stop)?;
        if let Some(found) = lock(&place.lock)? {
            return Ok(Some(found));
        }
    }
}

/// Waits, unless a stop is requested.
pub(super) fn pause(time: Duration, stop: &dyn Stop) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < time {
        if stop.is_set() {
            return Err(Error::interrupted());
        }
        thread::sleep(Duration::from_millis(50).min(time));
    }
    Ok(())
}

/// Takes the lock, and tells whether the file system has locks; `None` if another process on this machine holds it.
fn lock(path: &Path) -> Result<Option<(File, bool)>> {
    // `is_taken` holds the lock for a moment, so a single attempt would sometimes fail.
    const N_TRIES: usize = 10;
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io("open", path))?;
    for _ in 0..N_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some((file, true))),
            Err(TryLockError::Error(_)) => return Ok(Some((file, false))),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(100)),
        }
    }
    Ok(None)
}

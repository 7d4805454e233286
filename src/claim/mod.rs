//! Ensures that at most one process at a time works in a directory. Within one machine, a lock on a file decides; the system
//! releases the lock of a process that dies. Locks do not reach every host that shares a file system, so the owner also keeps a
//! file that names it, and rewrites it regularly: a file that no longer changes belongs to nobody.

mod lock;
mod owner;

#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use self::lock::{lock_in_time, pause};
pub(crate) use self::owner::{Owner, Worker, host_name, job_in};
use crate::{
    console::Console,
    disk::files,
    error::{Error, Result},
};

/// How often an owner rewrites its file.
const BEAT: Duration = Duration::from_secs(15);
/// An owner on another host whose file has not changed for this long is shown as gone. It is long because that host's clock may
/// be wrong.
const SILENCE: Duration = Duration::from_hours(24);

/// The paths of a directory to work in, and of the two files in it that determine its owner.
#[derive(Clone, Debug)]
pub(crate) struct ClaimPaths {
    pub(crate) dir: PathBuf,
    pub(crate) lock: PathBuf,
    pub(crate) owner: PathBuf,
}

/// The result of asking for a directory.
pub(crate) enum ClaimAnswer {
    Ours(Claim),
    /// Another process has it: `HOST, process 123, since 2026-11-23 10:15:02`.
    Theirs(String),
}

/// A flag that asks work to end at the next safe point.
pub(crate) trait Stop: Sync {
    fn is_set(&self) -> bool;
    fn set(&self);
}

impl Stop for AtomicBool {
    fn is_set(&self) -> bool {
        self.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.store(true, Ordering::Relaxed);
    }
}

/// The number of times that a stop was requested.
impl Stop for AtomicUsize {
    fn is_set(&self) -> bool {
        self.load(Ordering::Relaxed) > 0
    }

    fn set(&self) {
        self.fetch_max(1, Ordering::Relaxed);
    }
}

/// The right to work in a directory until this is dropped, or another process takes the directory over.
pub(crate) struct Claim {
    held: Arc<Held>,
    /// The heartbeat thread; `None` once it was told to end.
    beats: Option<(Sender<()>, JoinHandle<()>)>,
    /// The last field, so that the lock is released last.
    _lock: File,
}

struct Held {
    place: ClaimPaths,
    token: String,
    stop: &'static dyn Stop,
    /// Why the directory is no longer held, if it was lost.
    lost: OnceLock<String>,
}

impl Claim {
    /// Asks for a directory. If its owner is on another host, waits to see whether that process is still running, unless `stop` is
    /// set. `stop` is also set when the claim is lost.
    pub(crate) fn take(
        place: ClaimPaths,
        stop: &'static dyn Stop,
        console: &Console,
    ) -> Result<ClaimAnswer> {
        let dir = place.dir.clone();
        let answer = take(place, BEAT, stop, &|text| console.note(text))?;
        if matches!(answer, ClaimAnswer::Ours(_)) {
            files::clear_litter(&dir, Duration::ZERO);
        }
        Ok(answer)
    }

    /// Fails if another process has taken the directory over, which may happen while this one is suspended. Must be called before
    /// results are written, because the directory then contains the other process's work.
    pub(crate) fn ensure_ours(&self) -> Result<()> {
        self.held.ensure_ours()
    }

    fn new(
        place: ClaimPaths,
        every: Duration,
        stop: &'static dyn Stop,
        lock: File,
        (file, owner): (File, Owner),
    ) -> Result<Self> {
        let held = Arc::new(Held {
            place,
            token: owner.token.clone(),
            stop,
            lost: OnceLock::new(),
        });
        let (sender, receiver) = mpsc::channel();
        let beating = Arc::clone(&held);
        let thread = thread::Builder::new()
            .name("runner-claim".to_owned())
            .spawn(move || beat(&beating, every, file, owner, &receiver))
            .map_err(Error::io("start a thread for", &held.place.owner))?;
        Ok(Self {
            held,
            beats: Some((sender, thread)),
            _lock: lock,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.beats.take() {
            drop(sender);
            // If the heartbeat thread panicked, the claim ends all the same.
            let _ = thread.join();
        }
        if self.ensure_ours().is_ok() {
            // If the file cannot be removed, it names a process that has ended, which nobody takes for an owner.
            let _ = fs::remove_file(&self.held.place.owner);
        }
    }
}

impl Held {
    fn ensure_ours(&self) -> Result<()> {
        if self.lost.get().is_none()
            && let Some(fact) = self.loss()
        {
            // Setting it fails if another thread has noticed the loss at the same time.
            let _ = self.lost.set(fact);
            self.stop.set();
        }
        match self.lost.get() {
            None => Ok(()),
            Some(reason) => Err(Error::run(&self.place.dir, reason)
                .fact("this process stops and writes nothing more there")),
        }
    }

    fn loss(&self) -> Option<String> {
        match fs::read(&self.place.owner) {
            Ok(bytes) => Owner::parse(&bytes)
                .filter(|owner| owner.token != self.token)
                .map(|owner| {
                    format!(
                        "the directory was taken over by {owner}, at {}",
                        owner.since()
                    )
                }),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(
                "this process no longer owns the directory: its `claim.toml` has been removed"
                    .to_owned(),
            ),
            // A file server that does not answer does not give the directory to anybody else.
            Err(_) => None,
        }
    }
}

fn beat(held: &Held, every: Duration, mut file: File, mut owner: Owner, end: &Receiver<()>) {
    while end.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        if held.ensure_ours().is_err() {
            return;
        }
        owner.beat += 1;
        // A failed write is made up for by the next one. If all of them fail for too long, another process takes over and puts its
        // token into the file, which `ensure_ours` notices.
        let _ = owner.write_over(&mut file);
    }
}

fn take(
    place: ClaimPaths,
    every: Duration,
    stop: &'static dyn Stop,
    note: &dyn Fn(&str),
) -> Result<ClaimAnswer> {
    take_as(Owner::new(), place, every, stop, note)
}

fn take_as(
    owner: Owner,
    place: ClaimPaths,
    every: Duration,
    stop: &'static dyn Stop,
    note: &dyn Fn(&str),
) -> Result<ClaimAnswer> {
    let Some((lock, is_locked)) = lock_in_time(&place, &owner, stop, note)? else {
        let content = fs::read(&place.owner).unwrap_or_default();
        return Ok(match Owner::parse(&content) {
            Some(owner) if !owner.is_dead() => theirs(&content),
            // Any process that can read a file can lock it, also one that does not work here.
            Some(_) | None => ClaimAnswer::Theirs(owner::locker(&place.lock)),
        });
    };
    loop {
        if let Some(file) = owner.create(&place.owner)? {
            return Claim::new(place, every, stop, lock, (file, owner)).map(ClaimAnswer::Ours);
        }
        let Some(found) = content(&place.owner)? else {
            continue;
        };
        let other = Owner::parse(&found);
        let is_dead = other.as_ref().is_some_and(Owner::is_dead);
        if other
            .as_ref()
            .is_some_and(|other| other.token == owner.token)
        {
            // Written to make an earlier start of this job give way, which it has.
            let (file, _) = Owner::reopen(&place.owner)?;
            return Claim::new(place, every, stop, lock, (file, owner)).map(ClaimAnswer::Ours);
        }
        let gives_way = other.as_ref().is_some_and(|other| owner.replaces(other));
        if !is_dead && !gives_way {
            let name = other.map_or_else(|| "another process".to_owned(), |it| it.to_string());
            let dir = place.dir.display();
            note(&format!("{dir}: checking whether {name} is still running"));
            match watch(&place.owner, &found, every, stop)? {
                WatchOutcome::Silence => {}
                WatchOutcome::Life(now) => return Ok(theirs(&now)),
                WatchOutcome::End => continue,
            }
        }
        owner.replace(&place.owner)?;
        if gives_way && !is_dead {
            // It notices with its next heartbeat, and then writes nothing more.
            pause(every * 5 / 4, stop)?;
        } else if !(is_dead && is_locked) {
            // Several processes may have seen the same silence, and the last one to write becomes the owner. The pause lets all of
            // them write before any of them reads the file back.
            thread::sleep(every / 8);
        }
        let (file, now) = Owner::reopen(&place.owner)?;
        if now.is_some_and(|now| now.token == owner.token) {
            return Claim::new(place, every, stop, lock, (file, owner)).map(ClaimAnswer::Ours);
        }
        return Ok(theirs(&content(&place.owner)?.unwrap_or_default()));
    }
}

fn theirs(content: &[u8]) -> ClaimAnswer {
    ClaimAnswer::Theirs(match Owner::parse(content) {
        Some(owner) => format!("{owner}, since {}", owner.since()),
        None => "another process".to_owned(),
    })
}

/// Reads a file; `None` if it does not exist.
fn content(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// The result of [`watch`].
enum WatchOutcome {
    Silence,
    /// The file has changed to this content.
    Life(Vec<u8>),
    /// The file was removed, because its owner has finished.
    End,
}

/// Watches the file for a bit more than two beats. Only changes count, not the times in the file: two hosts have two clocks.
fn watch(path: &Path, before: &[u8], every: Duration, stop: &dyn Stop) -> Result<WatchOutcome> {
    let started = Instant::now();
    while started.elapsed() < every * 5 / 2 {
        if stop.is_set() {
            return Err(Error::interrupted());
        }
        thread::sleep(every / 30);
        match content(path)? {
            None => return Ok(WatchOutcome::End),
            Some(now) if now != before => return Ok(WatchOutcome::Life(now)),
            Some(_) => {}
        }
    }
    Ok(WatchOutcome::Silence)
}

/// The process that works in the directory, if it runs on this machine.
pub(crate) fn worker(place: &ClaimPaths) -> Option<Worker> {
    Owner::parse(&fs::read(&place.owner).ok()?)?.worker()
}

/// Whether a process seems to work in the directory. Does not wait for a heartbeat, so the answer is a guess.
pub(crate) fn is_taken(place: &ClaimPaths) -> bool {
    let Ok(lock) = File::open(&place.lock) else {
        return false;
    };
    if matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return true;
    }
    let bytes = fs::read(&place.owner).unwrap_or_default();
    let Some(owner) = Owner::parse(&bytes).filter(|owner| !owner.is_dead()) else {
        return false;
    };
    let silence = if owner.host == host_name() {
        BEAT * 4
    } else {
        SILENCE
    };
    let modified = fs::metadata(&place.owner).and_then(|metadata| metadata.modified());
    // A time in the future comes from a fast clock and counts as now.
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() < silence)
}

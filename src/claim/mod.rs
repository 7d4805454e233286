//! At most one process at a time works in a directory. On one machine a lock on a file in it says who; the system takes it
//! from a process that dies. Locks do not reach every host that shares a file system, so the owner also keeps a file there
//! that names it, and writes it over again and again: one that no longer changes is nobody's.

mod owner;

#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
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

use self::owner::Owner;
pub(crate) use self::owner::{Worker, host_name};
use crate::{
    console::Console,
    disk::files,
    error::{Error, Result},
};

/// How often an owner says that it is still there.
const BEAT: Duration = Duration::from_secs(15);
/// After so long without a word an owner on another host, whose clock may be wrong, is shown as gone.
const SILENCE: Duration = Duration::from_hours(24);

/// A directory to work in, and the two files in it that say who does.
#[derive(Clone, Debug)]
pub(crate) struct ClaimPaths {
    pub(crate) dir: PathBuf,
    pub(crate) lock: PathBuf,
    pub(crate) owner: PathBuf,
}

/// What came of asking for a directory.
pub(crate) enum ClaimAnswer {
    Ours(Claim),
    /// With who has it: `HOST, process 123, since 2026-11-23 10:15:02`.
    Theirs(String),
}

/// Tells work to end at the next safe place.
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

/// A count of how often it was asked.
impl Stop for AtomicUsize {
    fn is_set(&self) -> bool {
        self.load(Ordering::Relaxed) > 0
    }

    fn set(&self) {
        self.fetch_max(1, Ordering::Relaxed);
    }
}

/// The right to work in a directory, for as long as this lives, unless another process takes it over.
pub(crate) struct Claim {
    held: Arc<Held>,
    /// `None` once they are told to end.
    beats: Option<(Sender<()>, JoinHandle<()>)>,
    /// Given back last.
    _lock: File,
}

struct Held {
    place: ClaimPaths,
    token: String,
    stop: &'static dyn Stop,
    /// Why it is held no longer.
    lost: OnceLock<String>,
}

impl Claim {
    /// Asks for a directory. Where its owner is on another host this waits to see whether it is still at work, unless it
    /// is told to stop; `stop` is also set when the claim is lost.
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

    /// Fails if another process has taken the directory over, as it may while this one is suspended: nothing must be
    /// written there any more.
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
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
        }
        if self.ensure_ours().is_ok() {
            // What stays behind names a process that has ended, which is enough.
            let _ = fs::remove_file(&self.held.place.owner);
        }
    }
}

impl Held {
    fn ensure_ours(&self) -> Result<()> {
        if self.lost.get().is_none()
            && let Some(fact) = self.loss()
        {
            // Another thread may have found out at the same time.
            let _ = self.lost.set(fact);
            self.stop.set();
        }
        match self.lost.get() {
            None => Ok(()),
            Some(fact) => Err(Error::run(
                self.place.dir.clone(),
                format!("{fact}\nhelp: this process stops and writes nothing more there"),
            )),
        }
    }

    fn loss(&self) -> Option<String> {
        match fs::read(&self.place.owner) {
            Ok(bytes) => Owner::parse(&bytes)
                .filter(|owner| owner.token != self.token)
                .map(|owner| format!("was taken over by {owner}, at {}", owner.since())),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(
                "is no longer claimed by this process: its claim.toml has been removed".to_owned(),
            ),
            // A file server that does not answer gives the directory to nobody.
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
        // A beat that is lost is made up for by the next; who is silent for too long finds out by its token.
        let _ = owner.write_over(&mut file);
    }
}

fn take(
    place: ClaimPaths,
    every: Duration,
    stop: &'static dyn Stop,
    note: &dyn Fn(&str),
) -> Result<ClaimAnswer> {
    let Some((lock, is_locked)) = lock(&place.lock)? else {
        let content = fs::read(&place.owner).unwrap_or_default();
        return Ok(match Owner::parse(&content) {
            Some(owner) if !owner.is_dead() => theirs(&content),
            // Whoever can read a file can lock it, also without working here.
            Some(_) | None => ClaimAnswer::Theirs(owner::locker(&place.lock)),
        });
    };
    let owner = Owner::new();
    loop {
        if let Some(file) = owner.create(&place.owner)? {
            return Claim::new(place, every, stop, lock, (file, owner)).map(ClaimAnswer::Ours);
        }
        let Some(found) = content(&place.owner)? else {
            continue;
        };
        let other = Owner::parse(&found);
        let is_dead = other.as_ref().is_some_and(Owner::is_dead);
        if !is_dead {
            let name = other.map_or_else(|| "another process".to_owned(), |it| it.to_string());
            let dir = place.dir.display();
            note(&format!(
                "{dir}: waiting to see whether {name} is still at work on it"
            ));
            match watch(&place.owner, &found, every, stop)? {
                WatchOutcome::Silence => {}
                WatchOutcome::Life(now) => return Ok(theirs(&now)),
                WatchOutcome::End => continue,
            }
        }
        owner.replace(&place.owner)?;
        if !(is_dead && is_locked) {
            // Of several who saw the same silence the last to write is the owner; by now all have written.
            thread::sleep(every / 8);
        }
        let (file, now) = Owner::reopen(&place.owner)?;
        if now.is_some_and(|now| now.token == owner.token) {
            return Claim::new(place, every, stop, lock, (file, owner)).map(ClaimAnswer::Ours);
        }
        return Ok(theirs(&content(&place.owner)?.unwrap_or_default()));
    }
}

/// The lock, and whether the file system has locks; `None` where another process of this machine has it.
fn lock(path: &Path) -> Result<Option<(File, bool)>> {
    // Somebody who only looks holds the lock for a moment.
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

fn theirs(content: &[u8]) -> ClaimAnswer {
    ClaimAnswer::Theirs(match Owner::parse(content) {
        Some(owner) => format!("{owner}, since {}", owner.since()),
        None => "another process has it".to_owned(),
    })
}

/// `None` if it is not there.
fn content(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

enum WatchOutcome {
    Silence,
    /// With what the file holds now.
    Life(Vec<u8>),
    /// The owner is done.
    End,
}

/// Looks at the file for a bit more than two beats. What it says of time is no matter: two hosts have two clocks.
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

/// The process that is at work there, where it is one of this machine.
pub(crate) fn worker(place: &ClaimPaths) -> Option<Worker> {
    Owner::parse(&fs::read(&place.owner).ok()?)?.worker()
}

/// Whether a process seems to be at work there, at a glance.
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
    // What was written in the future was written just now.
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() < silence)
}

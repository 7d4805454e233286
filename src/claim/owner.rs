//! `claim.toml`, which names the process that works in a directory. Its owner rewrites it in place, and a process that takes over
//! replaces the whole file, so that a late write of the old owner cannot reach the file of the new one.

use std::{
    fmt, fs,
    fs::{File, OpenOptions},
    hash::{BuildHasher as _, RandomState},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    process,
};

use serde::{Deserialize, Serialize};

use crate::{
    disk::files::write_atomic,
    error::{Error, Result},
    system::scheduler,
    text::moment,
};

/// A process on this machine that works in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) process: u32,
    started: u64,
}

impl Worker {
    pub(crate) fn is_alive(self) -> bool {
        is_alive(self.process, self.started)
    }
}

/// The content of `claim.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(super) host: String,
    /// The boot and the PID namespace. If both are equal, process ids mean the same processes. Empty if unknown.
    pub(super) machine: String,
    pub(super) process: u32,
    /// When the process started, in ticks since boot, which tells it from a later process with the same id. 0 if unknown.
    pub(super) process_started: u64,
    pub(super) token: String,
    pub(super) command: String,
    pub(super) since: String,
    /// The scheduler's name of the job that the process is in; empty outside of one.
    #[serde(default)]
    pub(super) job: String,
    /// How often the scheduler has started the job before.
    #[serde(default)]
    pub(super) restarts: u32,
    /// The last field: the file is rewritten in place, and a number that grows by a digit must not move other fields.
    pub(super) beat: u64,
}

impl Owner {
    /// Describes this process, with a new random token.
    pub(crate) fn new() -> Self {
        let command: Vec<String> = std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        Self {
            host: host_name(),
            machine: machine(),
            process: process::id(),
            process_started: process_state(process::id()).map_or(0, |(_, started)| started),
            // `RandomState` is seeded by the system, which saves a dependency on a random number generator.
            token: format!("{:016x}", RandomState::new().hash_one(process::id())),
            command: command.join(" "),
            since: moment::now(),
            job: scheduler::job().unwrap_or_default(),
            restarts: scheduler::restarts(),
            beat: 0,
        }
    }

    /// Parses the file; `None` if another version wrote it, or if it is incomplete.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        toml::from_str(std::str::from_utf8(bytes).ok()?).ok()
    }

    /// Whether the process is known to have ended, which only its own machine can tell.
    pub(super) fn is_dead(&self) -> bool {
        let is_here = self.host == host_name() && self.machine == machine();
        is_here && !is_alive(self.process, self.process_started)
    }

    /// Whether this process is a later start of the same job. A scheduler starts a job again if it has lost sight of its node, on
    /// which the earlier process may still be at work.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        !self.job.is_empty() && self.job == other.job && self.restarts > other.restarts
    }

    /// The process, if it is alive and on this machine.
    pub(crate) fn worker(&self) -> Option<Worker> {
        let is_here = self.host == host_name() && self.machine == machine();
        let worker = Worker {
            process: self.process,
            started: self.process_started,
        };
        (is_here && worker.is_alive()).then_some(worker)
    }

    /// Creates the file and returns it, open for rewriting; `None` if it exists already.
    pub(super) fn create(&self, path: &Path) -> Result<Option<File>> {
        let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(Error::io("create", path)(error)),
        };
        match self.write_over(&mut file) {
            Ok(()) => Ok(Some(file)),
            Err(error) => {
                // A file that stays behind would look like that of another process.
                let _ = fs::remove_file(path);
                Err(Error::io("write", path)(error))
            }
        }
    }

    /// Replaces the file of another owner with this one's.
    pub(super) fn replace(&self, path: &Path) -> Result<()> {
        write_atomic(
            path,
            self.text().map_err(Error::io("write", path))?.as_bytes(),
        )
    }

    /// Opens the file for rewriting, and reads its owner.
    pub(super) fn reopen(path: &Path) -> Result<(File, Option<Self>)> {
        let mut bytes = Vec::new();
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.and_then(|mut file| file.read_to_end(&mut bytes).map(|_| file));
        let file = file.map_err(Error::io("read", path))?;
        Ok((file, Self::parse(&bytes)))
    }

    pub(super) fn write_over(&self, file: &mut File) -> io::Result<()> {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(self.text()?.as_bytes())?;
        // Other hosts see only what has reached the file server.
        file.sync_data()
    }

    fn text(&self) -> io::Result<String> {
        toml::to_string(self).map_err(io::Error::other)
    }

    /// `2026-11-23 10:15:02`
    pub(super) fn since(&self) -> String {
        moment::shown(&self.since)
    }
}

/// `HOST, process 123`
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, process {}", self.host, self.process)
    }
}

pub(crate) fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// Identifies this boot of the machine and the PID namespace of this process, which each container has for itself.
fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), namespace.display())
        .trim()
        .to_owned()
}

/// The letter of a process's state and its start time, on Linux.
fn process_state(process: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may contain spaces and parentheses itself.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((
        fields.first()?.chars().next()?,
        fields.get(19)?.parse().ok()?,
    ))
}

/// Describes the process that has locked a file without a claim, as far as the system reveals it.
pub(super) fn locker(path: &Path) -> String {
    let process = locking_process(path).map_or_else(
        || "another process".to_owned(),
        |process| format!("process {process}"),
    );
    format!("{process} has locked `{}`", path.display())
}

/// Looks the process up in Linux's list of locks: `1: FLOCK ADVISORY WRITE 123 08:01:4711 0 EOF`.
#[cfg(target_os = "linux")]
fn locking_process(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let file = path.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process, place, ..] = fields[..] else {
            return None;
        };
        // Only inodes are compared, because device numbers here and in `metadata` may differ. Another locked file with the same
        // inode on another device is rare, and would only name the wrong process in a message.
        let is_its = place.rsplit(':').next() == Some(&file);
        process.parse().ok().filter(|_| is_its)
    })
}

#[cfg(not(target_os = "linux"))]
fn locking_process(_path: &Path) -> Option<u32> {
    None
}

/// Whether a process is alive; true if the system does not tell.
fn is_alive(process: u32, started: u64) -> bool {
    is_there(process)
        && process_state(process).is_none_or(|(state, now)| {
            // A killed process stays a zombie until its parent has waited for it.
            !matches!(state, 'Z' | 'X') && (started == 0 || now == started)
        })
}

#[cfg(unix)]
fn is_there(process: u32) -> bool {
    use nix::{errno::Errno, sys::signal, unistd::Pid};
    let answer = i32::try_from(process).map(|process| signal::kill(Pid::from_raw(process), None));
    !matches!(answer, Ok(Err(Errno::ESRCH)))
}

#[cfg(not(unix))]
fn is_there(_process: u32) -> bool {
    true
}

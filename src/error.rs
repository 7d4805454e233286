//! Every way to fail, what it says and the exit code it means. Messages: place, fact, help.

use std::{io, path::PathBuf, process::ExitCode};

use serde_json::{Value, json};

use crate::config::problem::Problems;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Variants carry the path and the cause; the text is lower case and has no final period.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request itself is wrong; nothing was read.
    #[error("{0}")]
    Usage(String),
    /// All that is wrong with an experiment file, printed with its source.
    #[error("{0}")]
    Config(Problems),
    /// The images, or their split.
    #[error("{0}")]
    Data(String),
    /// The weights, or a file that should hold some.
    #[error("{0}")]
    Weights(String),
    #[error("{}: {action} failed: {source}{}", path.display(), help(source))]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    /// An answer that did not get out; nothing else is lost, and there is nothing to resume.
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
    #[error("{0}")]
    Device(String),
    /// More memory is needed than there is.
    #[error("{0}")]
    Memory(String),
    /// A run directory that cannot be used.
    #[error("{}: {fact}", path.display())]
    Run { path: PathBuf, fact: String },
    /// A file that could not be fetched; nothing is wrong with what is here already.
    #[error("{0}")]
    Fetch(String),
    /// Training itself went wrong.
    #[error("{0}")]
    Training(String),
    /// A picture could not be drawn.
    #[error("{0}")]
    Report(String),
    /// A bug of this program or of a library.
    #[error(
        "internal error: {0}\nhelp: this is a bug; please report it with the command and the experiment file"
    )]
    Internal(String),
    /// Stopped on request, resumable.
    #[error("interrupted")]
    Interrupted,
}

/// What to do about a disk; the rest speaks for itself.
fn help(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhelp: make room on this disk; a run that had begun goes on with `runner resume`, a download with the same `runner fetch`"
        }
        io::ErrorKind::FileTooLarge => {
            "\nhelp: raise the limit on the size of files (`ulimit -f`); a run that had begun goes on with `runner resume`"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "\nhelp: this disk can't be written to; mount it otherwise, or name another place (runs_dir, cache.dir)"
        }
        _ => "",
    }
}

impl Error {
    /// A closure for `map_err` that says what was done to which path.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            path,
            action,
            source,
        }
    }

    /// What programs tell kinds of errors by; never changes for a kind.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Config(_) => "config",
            Self::Data(_) => "data",
            Self::Weights(_) => "weights",
            Self::Io { .. } | Self::Stdout(_) => "io",
            Self::Device(_) => "device",
            Self::Memory(_) => "memory",
            Self::Run { .. } => "run",
            Self::Fetch(_) => "fetch",
            Self::Training(_) => "training",
            Self::Report(_) => "report",
            Self::Internal(_) => "internal",
            Self::Interrupted => "interrupted",
        }
    }

    /// The fields of the `error` event: `code`, `message`, `place` and `help`, the last two null where there is none; and for an
    /// experiment file `problems`, each with these fields and the `key`.
    pub(crate) fn fields(&self) -> Value {
        let text = match self {
            Self::Config(_) => "the experiment file has problems".to_owned(),
            other => other.to_string(),
        };
        let (message, help) = match text.split_once("\nhelp: ") {
            Some((message, help)) => (message, Some(help)),
            None => (text.as_str(), None),
        };
        let place = match self {
            Self::Io { path, .. } | Self::Run { path, .. } => Some(path.to_string_lossy()),
            Self::Config(problems) => Some(problems.subject().into()),
            _ => None,
        };
        let mut fields =
            json!({ "code": self.code(), "message": message, "place": place, "help": help });
        if let Self::Config(problems) = self {
            fields["problems"] = problems.to_json();
        }
        fields
    }

    /// Whether the cause is that a disk, or a quota, has no room left.
    pub(crate) fn is_of_full_disk(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if [StorageFull, QuotaExceeded, FileTooLarge].contains(&source.kind()))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Data(_) | Self::Weights(_) => 3,
            Self::Io { .. }
            | Self::Stdout(_)
            | Self::Device(_)
            | Self::Memory(_)
            | Self::Run { .. }
            | Self::Fetch(_)
            | Self::Training(_)
            | Self::Report(_)
            | Self::Internal(_) => 1,
            Self::Interrupted => 130,
        })
    }
}

//! The error type: what is wrong, where, what to do about it, and the exit code.

mod diagnostic;
mod render;
mod source;

use std::{error, fmt, io, path::PathBuf, process::ExitCode};

use serde_json::{Value, json};

pub(crate) use self::{
    diagnostic::{Diagnostic, Place},
    render::without_heading,
    source::{Source, SourceSpan},
};
use crate::text::{plain::for_a_line, table::counted};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The kind of an error. It determines the exit code, and the `code` in JSON by which programs distinguish errors; that of a kind
/// never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line is wrong; nothing was read.
    Usage,
    /// An experiment or sweep file, or an override, is wrong.
    Config,
    /// The images or their split cannot be used.
    Data,
    /// The weights, or a file that should contain some, cannot be used.
    Weights,
    /// The operating system failed to read or write.
    Io,
    Device,
    /// More memory is needed than is available.
    Memory,
    /// A run directory cannot be used.
    Run,
    /// A file could not be downloaded; existing files are unaffected.
    Fetch,
    /// A command of Slurm failed or did not answer.
    Slurm,
    /// Training itself failed.
    Training,
    /// A chart or picture could not be drawn.
    Report,
    /// There is a bug in this program or a library.
    Internal,
    /// The command was stopped on request and can be resumed.
    Interrupted,
}

impl Kind {
    fn code(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Data => "data",
            Self::Weights => "weights",
            Self::Io => "io",
            Self::Device => "device",
            Self::Memory => "memory",
            Self::Run => "run",
            Self::Fetch => "fetch",
            Self::Slurm => "slurm",
            Self::Training => "training",
            Self::Report => "report",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
        }
    }

    fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::Config => 2,
            Self::Data | Self::Weights => 3,
            Self::Interrupted => 130,
            _ => 1,
        }
    }
}

/// One or more problems that end a command.
pub(crate) struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    /// Never empty.
    diagnostics: Vec<Diagnostic>,
    /// The experiment or sweep file that contains all of the problems.
    subject: Option<String>,
    cause: Option<io::Error>,
}

/// A constructor per kind of error that carries a message alone.
macro_rules! constructors {
    ($($name:ident $kind:ident),+ $(,)?) => {
        $(pub(crate) fn $name(message: impl Into<String>) -> Self {
            Self::new(Kind::$kind, vec![Diagnostic::new(message)])
        })+
    };
}

impl Error {
    constructors!(
        usage Usage, data Data, weights Weights, device Device, memory Memory, fetch Fetch,
        slurm Slurm, training Training, report Report, internal_without_help Internal,
    );

    pub(crate) fn new(kind: Kind, diagnostics: Vec<Diagnostic>) -> Self {
        Self(Box::new(Inner {
            kind,
            diagnostics,
            subject: None,
            cause: None,
        }))
    }

    /// An error about a run directory, or a file in one, that cannot be used.
    pub(crate) fn run(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::new(Kind::Run, vec![Diagnostic::new(message)]).at(path)
    }

    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::internal_without_help(format!("internal error: {message}"))
            .help("this is a bug; please report it with the command and the experiment file")
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, vec![Diagnostic::new("interrupted")])
    }

    /// An error with all problems in the settings of `subject`, an experiment or sweep file.
    pub(crate) fn config(subject: impl Into<String>, mut problems: Vec<Diagnostic>) -> Self {
        problems.sort_by_key(|problem| match &problem.place {
            Some(Place::Source(span)) => span.order(),
            _ => (usize::MAX, 0),
        });
        problems.dedup();
        let mut error = Self::new(Kind::Config, problems);
        error.0.subject = Some(subject.into());
        error
    }

    /// Makes a closure for `map_err`: `io("read", path)` gives the error "cannot read `path`: cause".
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| {
            let message = format!("cannot {action} `{}`: {cause}", path.display());
            Self::of_system(message, cause).at(path)
        }
    }

    /// An error about an answer that could not be written to stdout in full. It has no help about disks: nothing else is lost, and
    /// there is nothing to resume.
    pub(crate) fn stdout(cause: io::Error) -> Self {
        let mut error = Self::of_system(format!("cannot write to stdout: {cause}"), cause);
        error.0.diagnostics[0].help.clear();
        error
    }

    fn of_system(message: String, cause: io::Error) -> Self {
        let mut error = Self::new(Kind::Io, vec![Diagnostic::new(message)]);
        error.0.diagnostics[0].help = help_with(cause.kind())
            .into_iter()
            .map(str::to_owned)
            .collect();
        error.0.cause = Some(cause);
        error
    }

    /// Joins two errors to one, of the kind of the first.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.diagnostics.extend(other.0.diagnostics);
        self
    }

    /// Sets the file or folder that the last problem is about.
    pub(crate) fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.last().place = Some(Place::Path(path.into()));
        self
    }

    /// Adds a detail, which is shown on a separate line.
    pub(crate) fn fact(mut self, fact: impl Into<String>) -> Self {
        self.last().facts.push(fact.into());
        self
    }

    /// Adds a detail per line. Names of files may hold line ends, so each line is escaped; beyond a page of them, the rest is
    /// only counted.
    pub(crate) fn facts(self, lines: impl IntoIterator<Item = String>) -> Self {
        const MOST: usize = 20;
        let mut lines = lines.into_iter();
        let shown = lines.by_ref().take(MOST);
        let error = shown.fold(self, |error, line| error.fact(for_a_line(&line)));
        match lines.count() {
            0 => error,
            n_more => error.fact(format!("and {n_more} more")),
        }
    }

    /// Adds a help line, which says in the imperative what to type or to look at.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.last().help.push(help.into());
        self
    }

    fn last(&mut self) -> &mut Diagnostic {
        let inner = &mut *self.0;
        if inner.diagnostics.is_empty() {
            inner.diagnostics.push(Diagnostic::new(""));
        }
        let last = inner.diagnostics.len() - 1;
        &mut inner.diagnostics[last]
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.kind() == Kind::Interrupted
    }

    pub(crate) fn diagnostics(&self) -> &[Diagnostic] {
        &self.0.diagnostics
    }

    /// Takes the problems out of the error, for a sweep, which reports those of all its trials as its own.
    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.0.diagnostics
    }

    fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// The whole error in one line.
    fn headline(&self) -> String {
        match self.subject() {
            Some(subject) => {
                format!(
                    "{} in {subject}",
                    counted(self.diagnostics().len(), "problem")
                )
            }
            None => self.diagnostics()[0].message.clone(),
        }
    }

    /// Formats the error for a terminal, without a final newline.
    pub(crate) fn render(&self, color: bool) -> String {
        render::render(self, color)
    }

    /// The fields of the `error` event: `code`, `message`, `place`, `key` and `help`, null where there is none; and
    /// `problems`, each with these fields but the code, where there can be several.
    pub(crate) fn fields(&self) -> Value {
        let mut fields = match self.subject() {
            Some(subject) => {
                json!({ "message": self.headline(), "place": subject, "key": null, "help": null })
            }
            None => self.diagnostics()[0].to_json(),
        };
        fields["code"] = self.kind().code().into();
        if self.subject().is_some() || self.diagnostics().len() > 1 {
            fields["problems"] = self.diagnostics().iter().map(Diagnostic::to_json).collect();
        }
        fields
    }

    /// Whether the cause is a full disk, an exhausted quota or the limit on file sizes.
    pub(crate) fn is_of_full_disk(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let cause = self.0.cause.as_ref().map(io::Error::kind);
        cause.is_some_and(|kind| [StorageFull, QuotaExceeded, FileTooLarge].contains(&kind))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind().exit_code())
    }
}

/// The help for errors of a disk; other errors of the system explain themselves.
fn help_with(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(
            "free some disk space, then continue with `runner resume`, or repeat the same `runner fetch`",
        ),
        io::ErrorKind::FileTooLarge => {
            Some("raise the limit on file sizes (`ulimit -f`), then continue with `runner resume`")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("remount this disk read-write, or use another one (`runs_dir`, `cache.dir`)")
        }
        _ => None,
    }
}

/// Formats all problems for use within other text, such as a note or a log.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics().iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}

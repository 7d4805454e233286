//! Writing to stdout, where a failure is an error, and to stderr, where it is ignored. Control characters are escaped on the
//! way, so that no text can steer the terminal.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use crate::{
    disk::cells,
    error::{Error, Result},
    text::plain::{for_people, harmless},
};

/// Writes text to stdout, byte for byte. A closed pipe is not an error: `runner .. | head -1` has read enough.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<()> {
    match std::io::stdout().write_all(text.as_ref()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::stdout),
    }
}

/// Writes text to stdout, byte for byte; `false` if nobody reads it any more, which is no error but a reason to stop.
pub(super) fn print_if_read(text: &[u8]) -> Result<bool> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).map_err(Error::stdout),
    }
}

/// Writes a table to stdout as CSV, with the header taken from the structs of its rows.
pub(crate) fn print_csv<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<()> {
    let bytes =
        cells::to_csv(true, rows).map_err(|error| Error::stdout(std::io::Error::other(error)))?;
    print(harmless(&String::from_utf8_lossy(&bytes)).as_bytes())
}

/// Whether stdout goes to a terminal.
pub(crate) fn is_answer_on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// The columns of the terminal that stdout goes to; `None` if stdout is not a terminal.
pub(crate) fn answer_width() -> Option<usize> {
    let size = ::console::Term::stdout().size_checked();
    size.map(|(_, n_columns)| usize::from(n_columns))
        .filter(|_| std::io::stdout().is_terminal())
}

/// Writes a line to stderr, with control characters escaped.
pub(crate) fn talk_line(text: &str) {
    talk_coloured(&for_people(text));
}

/// Writes a line to stderr as it is, with colors; text from elsewhere must have been escaped before.
pub(crate) fn talk_coloured(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

//! What goes out on stdout and stderr: answers that must arrive, talk that need not, and nothing that steers the terminal.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
};

use serde::Serialize;

use crate::{
    error::{Error, Result},
    rundir::records,
    text::plain::{for_people, harmless},
};

/// A text that is the whole answer, byte for byte. A reader that has gone away, as in `runner .. | head -1`, has seen enough.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<()> {
    match std::io::stdout().write_all(text.as_ref()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::stdout),
    }
}

/// A table that is the whole answer; the rows are structs, which bring their header.
pub(crate) fn print_csv<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<()> {
    let bytes = records::csv_bytes(Path::new("stdout"), true, rows)?;
    print(harmless(&String::from_utf8_lossy(&bytes)).as_bytes())
}

/// Columns of the terminal that answers go to; nothing if they go elsewhere.
pub(crate) fn answer_width() -> Option<usize> {
    let size = ::console::Term::stdout().size_checked();
    size.map(|(_, n_columns)| usize::from(n_columns))
        .filter(|_| std::io::stdout().is_terminal())
}

/// A line on stderr, as people may see it.
pub(crate) fn talk_line(text: &str) {
    talk_coloured(&for_people(text));
}

/// A line on stderr with colours of ours; what came from elsewhere went through `plain` before it was coloured.
pub(crate) fn talk_coloured(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

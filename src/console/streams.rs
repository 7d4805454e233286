//! What goes out on stdout and stderr: answers that must arrive, talk that need not, and nothing that steers the terminal.

use std::{
    borrow::Cow,
    io::{IsTerminal as _, Write as _},
    path::Path,
};

use serde::Serialize;

use crate::{
    error::{Error, Result},
    records,
};

/// A text that is the whole answer. A reader that has gone away, as in `runner .. | head -1`, has seen enough.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<()> {
    match std::io::stdout().write_all(text.as_ref()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("writing", "stdout")),
    }
}

/// A table that is the whole answer; the rows are structs, which bring their header.
pub(crate) fn print_csv<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<()> {
    print(records::csv_bytes(Path::new("stdout"), true, rows)?)
}

/// Columns of the terminal that answers go to; nothing if they go elsewhere.
pub(crate) fn answer_width() -> Option<usize> {
    let size = ::console::Term::stdout().size_checked();
    size.map(|(_, n_columns)| usize::from(n_columns))
        .filter(|_| std::io::stdout().is_terminal())
}

/// Names of files and classes come from others: what would steer the terminal, or turn its direction, is shown as `�`.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |letter: char| {
        letter.is_control() && !matches!(letter, '\n' | '\t')
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(is_harmful) {
        Cow::Owned(text.replace(is_harmful, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A line on stderr.
pub(crate) fn talk_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_not_let_through() {
        let hostile = "Ca\u{1b}[31mt\u{7}, a\rb, \u{9b}2J, \u{202e}txt.exe";
        assert_eq!(harmless(hostile), "Ca�[31mt�, a�b, �2J, �txt.exe");
        assert_eq!(harmless("ネコ\tand\nmore"), "ネコ\tand\nmore");
    }
}

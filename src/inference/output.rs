//! Where the rows of a table of predictions go: to a file, or to stdout for programs or for people.

use super::{
    kept::KeptRow,
    partial::PartialTable,
    table::{Row, TableFormat, TableOptions, to_csv, to_jsonl, to_text},
};
use crate::{console::Console, error::Result, text::plain::harmless};

/// What happened to the files so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Rows of the table.
    pub(crate) rows: usize,
    /// Rows of files that could not be read.
    pub(crate) errors: usize,
    /// Rows whose class is `unknown`.
    pub(crate) unknown: usize,
    /// Rows whose prediction could be compared with a true class.
    pub(crate) labelled: usize,
    pub(crate) correct: usize,
    /// Files that do not claim to be images, and have no row.
    pub(crate) skipped: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, row: &Row) {
        self.count(row.is_error, row.is_unknown, row.is_correct);
    }

    pub(crate) fn add_kept(&mut self, row: &KeptRow) {
        self.count(row.is_error, row.is_unknown, row.is_correct);
    }

    fn count(&mut self, is_error: bool, is_unknown: bool, is_correct: Option<bool>) {
        self.rows += 1;
        self.errors += usize::from(is_error);
        self.unknown += usize::from(is_unknown);
        self.labelled += usize::from(is_correct.is_some());
        self.correct += usize::from(is_correct == Some(true));
    }
}

/// The place and form of the table.
pub(crate) enum Target {
    File(PartialTable, TableFormat),
    Stdout(TableFormat),
    /// Events of `--json`, one for each row.
    Events,
    /// A table for people.
    Terminal,
}

pub(crate) struct Output<'a> {
    pub(crate) target: Target,
    pub(crate) options: TableOptions,
    pub(crate) classes: &'a [String],
    pub(crate) console: &'a Console,
}

impl Output<'_> {
    /// Writes the header to stdout; that of a file is written when it is created. `false` if nobody reads stdout any more.
    pub(crate) fn begin(&self) -> Result<bool> {
        match &self.target {
            Target::Stdout(TableFormat::Csv) => {
                self.print(&header(&self.options, TableFormat::Csv)?)
            }
            _ => Ok(true),
        }
    }

    /// Writes rows; `false` if nobody reads them any more.
    pub(crate) fn write(&mut self, rows: &[Row]) -> Result<bool> {
        let columns = || self.options.columns();
        let csv = || to_csv(rows.iter().map(|row| &row.cells));
        match &mut self.target {
            Target::File(table, format) => {
                let bytes = match format {
                    TableFormat::Csv => csv()?,
                    TableFormat::Jsonl => to_jsonl(&columns(), rows, None).into_bytes(),
                };
                table.append(&bytes).map(|()| true)
            }
            Target::Stdout(TableFormat::Csv) => {
                let bytes = csv()?;
                self.print(&bytes)
            }
            Target::Stdout(TableFormat::Jsonl) => {
                let text = to_jsonl(&columns(), rows, None);
                self.console.rows(text.as_bytes())
            }
            Target::Events => {
                let text = to_jsonl(&columns(), rows, Some("prediction"));
                self.console.rows(text.as_bytes())
            }
            Target::Terminal => {
                let text = to_text(rows, &self.options, self.classes);
                self.print(text.as_bytes())
            }
        }
    }

    fn print(&self, bytes: &[u8]) -> Result<bool> {
        let text = String::from_utf8_lossy(bytes);
        self.console.rows(harmless(&text).as_bytes())
    }
}

/// The header of a table, which JSON lines do not have.
pub(crate) fn header(options: &TableOptions, format: TableFormat) -> Result<Vec<u8>> {
    match format {
        TableFormat::Csv => to_csv([options.columns()]),
        TableFormat::Jsonl => Ok(Vec::new()),
    }
}

//! Writes and reads CSV tables. A cell that a spreadsheet would take for a formula, such as a file called `=cmd|..`, gets a
//! leading `'`, which reading removes again. All tables of the program go through this file.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
};

use csv::StringRecord;
use serde::Serialize;

/// The characters that formulas begin with, full-width forms included, and white space that spreadsheets skip.
const STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Number of rows that are serialized at a time. They pass through memory as text, and a row may have a thousand cells.
const N_ROWS_AT_ONCE: usize = 64;

/// Writes a table row by row, so that it need not fit into memory.
pub(crate) struct CsvWriter<W: Write>(csv::Writer<W>);

impl<W: Write> CsvWriter<W> {
    pub(crate) fn new(to: W) -> Self {
        Self(csv::Writer::from_writer(to))
    }

    /// Writes rows. With `has_headers`, a header is made from the fields of a struct; tables of strings have it as their first row.
    pub(crate) fn write<T: Serialize>(
        &mut self,
        has_headers: bool,
        rows: impl IntoIterator<Item = T>,
    ) -> csv::Result<()> {
        let mut rows = rows.into_iter().peekable();
        let mut is_first = true;
        while rows.peek().is_some() {
            let mut writer = csv::WriterBuilder::new()
                .has_headers(has_headers && is_first)
                .from_writer(Vec::new());
            for row in rows.by_ref().take(N_ROWS_AT_ONCE) {
                writer.serialize(row)?;
            }
            is_first = false;
            let plain = writer
                .into_inner()
                .map_err(csv::IntoInnerError::into_error)?;
            // Rows of every type are serialized to text first, because only then can their cells be guarded uniformly.
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .from_reader(&plain[..]);
            for record in reader.records() {
                let record = record?;
                self.0
                    .write_record(record.iter().map(|cell| guarded(cell).into_owned()))?;
            }
        }
        Ok(())
    }

    /// Flushes the buffered rows.
    pub(crate) fn finish(mut self) -> csv::Result<()> {
        Ok(self.0.flush()?)
    }
}

/// Serializes a whole table; see [`CsvWriter::write`].
pub(crate) fn to_csv<T: Serialize>(
    has_headers: bool,
    rows: impl IntoIterator<Item = T>,
) -> csv::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = CsvWriter::new(&mut bytes);
    writer.write(has_headers, rows)?;
    writer.finish()?;
    Ok(bytes)
}

/// Converts the error. An error of the disk keeps its kind, because a full disk gets a help line.
pub(crate) fn into_io(error: csv::Error) -> io::Error {
    let message = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => io::Error::other(message),
    }
}

/// Reads the header and the rows of a table, with their cells as they were before writing.
pub(crate) fn from_csv(
    from: impl Read,
) -> csv::Result<(
    StringRecord,
    impl Iterator<Item = csv::Result<StringRecord>>,
)> {
    let mut reader = csv::Reader::from_reader(from);
    let header = unguarded_record(reader.headers()?);
    let rows = reader.into_records();
    Ok((
        header,
        rows.map(|row| row.map(|row| unguarded_record(&row))),
    ))
}

fn unguarded_record(record: &StringRecord) -> StringRecord {
    let mut plain: StringRecord = record.iter().map(unguarded).collect();
    plain.set_position(record.position().cloned());
    plain
}

fn guarded(cell: &str) -> Cow<'_, str> {
    if is_risky(cell) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'')
        .filter(|rest| is_risky(rest))
        .unwrap_or(cell)
}

/// Whether a cell must be guarded. A formula after leading `'` counts too, so that such names are read back unchanged. Numbers are
/// not formulas.
fn is_risky(cell: &str) -> bool {
    let cell = cell.trim_start_matches('\'');
    cell.starts_with(STARTS) && cell.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_guarded(cell: &str, expected: &str) {
        assert_eq!(guarded(cell), expected);
        assert_eq!(unguarded(expected), cell);
    }

    #[test]
    fn formulas_get_a_quote_that_reading_takes_away() {
        for (cell, expected) in [
            ("=1+1.jpg", "'=1+1.jpg"),
            ("+a", "'+a"),
            ("-a/b.jpg", "'-a/b.jpg"),
            ("-", "'-"),
            ("@a", "'@a"),
            ("\ta", "'\ta"),
            ("\ra", "'\ra"),
            ("\na", "'\na"),
            ("＝a", "'＝a"),
            // These names look like guarded ones.
            ("'=a", "''=a"),
            ("''-a", "'''-a"),
        ] {
            check_guarded(cell, expected);
        }
    }

    #[test]
    fn numbers_and_all_other_names_stay_as_they_are() {
        for cell in [
            "",
            "-0.5",
            "-1e-7",
            "+3",
            "-inf",
            "NaN",
            "'",
            "'a",
            "'-1",
            " =a",
            "a=b",
            "Cat/-1.jpg",
        ] {
            check_guarded(cell, cell);
        }
    }

    #[test]
    fn a_table_comes_back_with_every_cell_as_it_was() {
        let rows = [
            ["name", "=A1"],
            ["-1.5", "a,b"],
            ["'=x", "\"quoted\"\nand more"],
            ["\r", " \t"],
            ["@", ""],
        ];
        let bytes = to_csv(true, rows).unwrap();
        let (header, read) = from_csv(&bytes[..]).unwrap();
        let mut all = vec![header];
        all.extend(read.map(Result::unwrap));
        assert_eq!(all, rows.map(|row| StringRecord::from(row.to_vec())));
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("name,'=A1\n-1.5,\"a,b\"\n''=x,"), "{text}");
    }
}

//! The rows of a table of predictions that an interrupted command left behind.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use csv::StringRecord;
use serde_json::Value;

use super::{
    files::InputFile,
    table::{TableFormat, UNKNOWN},
};
use crate::{
    disk::cells,
    error::{Error, Result},
    text::plain::for_a_line,
};

/// No row is longer, whatever is in the file: it has a name and a probability for each class.
const MOST_ROW_BYTES: u64 = 64 << 20;

/// What a finished row says, and where it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptRow {
    pub(crate) file: String,
    pub(crate) is_error: bool,
    pub(crate) is_unknown: bool,
    pub(crate) is_correct: Option<bool>,
    /// The bytes of the table up to the end of the row.
    pub(crate) end: u64,
}

type Rows = Box<dyn Iterator<Item = Result<KeptRow>>>;

/// The complete rows of a table of `n_bytes`, which begins where the file is read next. Half a row at the end, as a killed process
/// leaves it, is not one of them.
pub(super) fn kept_rows(
    mut file: File,
    n_bytes: u64,
    format: TableFormat,
    path: &Path,
) -> Result<Rows> {
    let start = file.stream_position().map_err(Error::io("read", path))?;
    let mut last = [0];
    if n_bytes > 0 {
        let read = file
            .seek(SeekFrom::Start(start + n_bytes - 1))
            .and_then(|_| file.read_exact(&mut last))
            .and_then(|()| file.seek(SeekFrom::Start(start)));
        read.map_err(Error::io("read", path))?;
    }
    let whole = if last == *b"\n" { n_bytes } else { 0 };
    let path = path.to_owned();
    Ok(match format {
        TableFormat::Csv => Box::new(csv_rows(file, whole, path)?),
        TableFormat::Jsonl => Box::new(JsonRows {
            lines: BufReader::new(file),
            end: 0,
            path,
        }),
    })
}

fn damaged(path: &Path, reason: &str) -> Error {
    let message = format!("the unfinished prediction is damaged: {reason}");
    Error::run(path, message).help("use `--force` to start over")
}

struct CsvRows<I> {
    header: StringRecord,
    records: I,
    /// The record that was read but whose end is not known yet.
    ahead: Option<StringRecord>,
    /// The end of the table if its last line is whole, or else 0.
    whole: u64,
    path: PathBuf,
}

fn csv_rows(
    file: File,
    whole: u64,
    path: PathBuf,
) -> Result<impl Iterator<Item = Result<KeptRow>>> {
    let (header, mut records) = cells::from_csv(BufReader::new(file))
        .map_err(|error| damaged(&path, &error.to_string()))?;
    let ahead = records.next().and_then(std::result::Result::ok);
    Ok(CsvRows {
        header,
        records,
        ahead,
        whole,
        path,
    })
}

impl<I: Iterator<Item = csv::Result<StringRecord>>> Iterator for CsvRows<I> {
    type Item = Result<KeptRow>;

    fn next(&mut self) -> Option<Result<KeptRow>> {
        let record = self.ahead.take()?;
        let start = |record: &StringRecord| record.position().map_or(0, csv::Position::byte);
        let end = match self.records.next() {
            Some(Ok(next)) => {
                let end = start(&next);
                self.ahead = Some(next);
                end
            }
            // Only the last row can be cut off, so nothing may follow one that cannot be read.
            Some(Err(error)) => {
                if self.records.next().is_some() {
                    return Some(Err(damaged(&self.path, &error.to_string())));
                }
                error.position().map_or(0, csv::Position::byte)
            }
            None if self.whole > start(&record) => self.whole,
            None => return None,
        };
        let cell = |name: &str| {
            let column = self.header.iter().position(|column| column == name);
            column
                .and_then(|column| record.get(column))
                .unwrap_or_default()
        };
        Some(Ok(KeptRow {
            file: cell("file").to_owned(),
            is_error: !cell("error").is_empty(),
            is_unknown: cell("class") == UNKNOWN,
            is_correct: cell("correct").parse().ok(),
            end,
        }))
    }
}

struct JsonRows {
    lines: BufReader<File>,
    end: u64,
    path: PathBuf,
}

impl Iterator for JsonRows {
    type Item = Result<KeptRow>;

    fn next(&mut self) -> Option<Result<KeptRow>> {
        let mut line = Vec::new();
        match (&mut self.lines)
            .take(MOST_ROW_BYTES)
            .read_until(b'\n', &mut line)
        {
            Err(error) => return Some(Err(Error::io("read", &self.path)(error))),
            Ok(_) if !line.ends_with(b"\n") => return None,
            Ok(n_read) => self.end += n_read as u64,
        }
        let row: Value = match serde_json::from_slice(&line) {
            Ok(row) => row,
            Err(error) => return Some(Err(damaged(&self.path, &error.to_string()))),
        };
        Some(Ok(KeptRow {
            file: row["file"].as_str().unwrap_or_default().to_owned(),
            is_error: !row["error"].is_null(),
            is_unknown: row["class"] == UNKNOWN,
            is_correct: row["correct"].as_bool(),
            end: self.end,
        }))
    }
}

/// Draws the file of each finished row from `files`, so that the first one that is not done comes next. Fails if the files are not
/// those of the rows.
pub(crate) fn skip_done(
    files: &mut impl Iterator<Item = InputFile>,
    row: &KeptRow,
    number: usize,
    partial: &Path,
) -> Result<()> {
    let found = files.find(|file| file.name == row.file || !file.may_be_skipped());
    if found.as_ref().is_some_and(|file| file.name == row.file) {
        return Ok(());
    }
    let now = match found {
        Some(file) => format!("`{}`", for_a_line(&file.name)),
        None => "no file".to_owned(),
    };
    let message = format!("`{}` was started with different files", partial.display());
    Err(Error::run(partial, message)
        .fact(format!(
            "row {number}: `{}` in the file, {now} now",
            for_a_line(&row.file)
        ))
        .help("repeat the command that was interrupted, or use `--force` to start over"))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    fn kept(text: &str, format: TableFormat) -> Vec<(String, u64)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        fs::File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let file = File::open(&path).unwrap();
        let rows = kept_rows(file, text.len() as u64, format, &path).unwrap();
        rows.map(|row| row.map(|row| (row.file, row.end)).unwrap())
            .collect()
    }

    #[test]
    fn a_table_that_is_cut_anywhere_keeps_its_whole_rows() {
        let names = ["a\nb", "=c", "d"];
        let csv = [
            "file,class,error\n",
            "\"a\nb\",Cat,\n",
            "'=c,,\"x, \"\"y\"\"\"\n",
            "d,Dog,\n",
        ];
        let json = [
            "",
            "{\"file\":\"a\\nb\",\"error\":null}\n",
            "{\"file\":\"=c\"}\n",
            "{\"file\":\"d\"}\n",
        ];
        for (pieces, format) in [(csv, TableFormat::Csv), (json, TableFormat::Jsonl)] {
            let text = pieces.concat();
            let ends = [2, 3, 4].map(|n| pieces[..n].concat().len() as u64);
            for end in 0..=text.len() {
                let n_whole = ends
                    .iter()
                    .filter(|row_end| **row_end <= end as u64)
                    .count();
                let expected: Vec<(String, u64)> = names
                    .iter()
                    .map(|name| (*name).to_owned())
                    .zip(ends)
                    .take(n_whole)
                    .collect();
                assert_eq!(kept(&text[..end], format), expected, "{:?}", &text[..end]);
            }
        }
    }
}

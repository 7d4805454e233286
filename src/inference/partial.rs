//! The table of predictions while it is written. Rows go to `FILE.partial`, whose first line describes the job; when all are there,
//! the rows become `FILE`. So `FILE` is whole or absent, and an interrupted job can be continued by the same command, and by no
//! other.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    kept::{KeptRow, kept_rows},
    table::TableFormat,
};
use crate::{
    disk::files,
    error::{Error, Result},
    text::plain::for_a_line,
};

/// What a table is made of, as a flat JSON object.
pub(crate) type Job = Map<String, Value>;

/// No description of a job is longer, whatever is in the file.
const MOST_JOB_BYTES: u64 = 64 << 20;

/// A table that is being written.
pub(crate) struct PartialTable {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    /// Where the rows begin, behind the description of the job.
    start: u64,
}

/// The name of a file while it is written.
pub(crate) fn partial_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Fails if `path` exists, or was begun, and may not be replaced.
pub(crate) fn check_free(path: &Path, overwrites: bool) -> Result<()> {
    if overwrites {
        return Ok(());
    }
    if path.exists() {
        let message = format!("`{}` already exists", path.display());
        return Err(Error::usage(message)
            .at(path)
            .help("use `--force` to overwrite it, or choose another file name"));
    }
    let partial = partial_path(path);
    if partial.exists() {
        let message = format!("`{}` was started but not finished", path.display());
        return Err(Error::usage(message)
            .at(partial)
            .help("use `--resume` to continue it, or `--force` to start over"));
    }
    Ok(())
}

impl PartialTable {
    /// Begins the table of a job with its header, which may be empty.
    pub(crate) fn create(path: &Path, job: &Job, header: &[u8]) -> Result<Self> {
        let partial = partial_path(path);
        let mut line = Value::Object(job.clone()).to_string();
        line.push('\n');
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&partial);
        let mut file = opened.map_err(Error::io("open", &partial))?;
        lock(&file, &partial)?;
        let written = file
            .set_len(0)
            .and_then(|()| file.write_all(line.as_bytes()))
            .and_then(|()| file.write_all(header));
        written.map_err(Error::io("write", &partial))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            partial,
            start: line.len() as u64,
        })
    }

    /// Opens the table of an interrupted job; `None` if there is none. Fails if that was another job.
    pub(crate) fn open(path: &Path, job: &Job) -> Result<Option<Self>> {
        let partial = partial_path(path);
        let opened = OpenOptions::new().read(true).write(true).open(&partial);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Error::io("open", &partial))?,
        };
        lock(&file, &partial)?;
        let mut line = Vec::new();
        let mut reader = BufReader::new(&file).take(MOST_JOB_BYTES);
        let read = reader.read_until(b'\n', &mut line);
        read.map_err(Error::io("read", &partial))?;
        let found: Option<Job> = serde_json::from_slice(&line).ok();
        let Some(found) = found.filter(|_| line.ends_with(b"\n")) else {
            let message = format!("`{}` is not an unfinished prediction", partial.display());
            return Err(Error::run(partial, message).help("use `--force` to start over"));
        };
        check_same(&partial, &found, job)?;
        Ok(Some(Self {
            path: path.to_owned(),
            partial,
            file,
            start: line.len() as u64,
        }))
    }

    /// The complete rows that are there already.
    pub(crate) fn rows(
        &self,
        format: TableFormat,
    ) -> Result<impl Iterator<Item = Result<KeptRow>> + use<>> {
        let mut file = File::open(&self.partial).map_err(Error::io("open", &self.partial))?;
        let n_bytes = file.seek(SeekFrom::End(0));
        let moved = n_bytes.and_then(|n_bytes| {
            file.seek(SeekFrom::Start(self.start))?;
            Ok(n_bytes.saturating_sub(self.start))
        });
        let n_bytes = moved.map_err(Error::io("read", &self.partial))?;
        kept_rows(file, n_bytes, format, &self.partial)
    }

    /// Drops everything behind the first `n_bytes` of the table; the header is written again if it is not whole.
    pub(crate) fn cut(&mut self, n_bytes: u64, header: &[u8]) -> Result<()> {
        let cut = |file: &mut File| {
            file.set_len(self.start + n_bytes)?;
            file.seek(SeekFrom::End(0))?;
            if n_bytes < header.len() as u64 {
                file.set_len(self.start)?;
                file.seek(SeekFrom::End(0))?;
                file.write_all(header)?;
            }
            Ok(())
        };
        cut(&mut self.file).map_err(Error::io("write", &self.partial))
    }

    pub(crate) fn append(&mut self, rows: &[u8]) -> Result<()> {
        let written = self.file.write_all(rows);
        written.map_err(Error::io("write", &self.partial))
    }

    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Turns the rows into the finished file.
    pub(crate) fn finish(self) -> Result<()> {
        let Self {
            path,
            partial,
            file,
            start,
        } = self;
        // Some systems cannot remove open files.
        drop(file);
        files::write_streamed(&path, |to| {
            let mut rows = File::open(&partial)?;
            rows.seek(SeekFrom::Start(start))?;
            io::copy(&mut rows, to).map(drop)
        })?;
        fs::remove_file(&partial).map_err(Error::io("remove", &partial))
    }
}

/// Fails if another process writes the file: two of them would mix their rows. File systems without locks are trusted.
fn lock(file: &File, partial: &Path) -> Result<()> {
    if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
        let message = format!("another process is writing `{}`", partial.display());
        return Err(Error::run(partial, message).help("wait for it, or choose another output file"));
    }
    Ok(())
}

/// Fails if a job is not the one that a table was begun for, and says what differs.
fn check_same(partial: &Path, found: &Job, wanted: &Job) -> Result<()> {
    let mut keys: Vec<&String> = found.keys().chain(wanted.keys()).collect();
    keys.sort();
    keys.dedup();
    let nothing = Value::Null;
    let differences = keys.into_iter().filter_map(|key| {
        let begun = found.get(key).unwrap_or(&nothing);
        let now = wanted.get(key).unwrap_or(&nothing);
        (begun != now).then(|| format!("{key}: {} in the file, {} now", short(begun), short(now)))
    });
    let differences: Vec<String> = differences.collect();
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` belongs to a different prediction", partial.display());
    Err(Error::run(partial, message)
        .facts(differences)
        .help("repeat the command that was interrupted, or use `--force` to start over"))
}

/// A value in a line; long ones are cut.
fn short(value: &Value) -> String {
    const MOST: usize = 120;
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let text = for_a_line(&text);
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.into_owned(),
    }
}

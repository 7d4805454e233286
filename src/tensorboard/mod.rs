//! Event files for TensorBoard: the rows of `metrics.csv` and `steps.csv`, once more. Each phase has a folder of its own, which
//! TensorBoard shows as one line of each chart. `metrics.csv` stays what counts.

mod event;
mod record;

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

use self::event::Event;
use crate::error::{Error, Result};

/// A point of some charts.
pub(crate) struct Scalars<'a> {
    pub(crate) phase: &'a str,
    /// The place on the horizontal axis.
    pub(crate) step: usize,
    /// The name of each chart, and the value.
    pub(crate) values: &'a [(&'a str, f64)],
}

/// The event files of a run.
pub(crate) struct EventFiles {
    folder: PathBuf,
    /// When the run started, in seconds since 1970: part of the names of the files.
    started: i64,
    phases: HashMap<String, EventFile>,
}

impl EventFiles {
    /// Opens the files of a run in `folder`, with the text of its config. The rows of earlier processes are to be
    /// added again; see [`Self::add`].
    pub(crate) fn open(folder: PathBuf, started: i64, config: &str) -> Result<Self> {
        let mut files = Self {
            folder,
            started,
            phases: HashMap::new(),
        };
        files.file("")?.add(&Event::text("config", &code(config)))?;
        Ok(files)
    }

    /// Adds a point, or finds that the file has it already: a run that goes on from a checkpoint tells its rows again.
    pub(crate) fn add(&mut self, scalars: &Scalars) -> Result<()> {
        let event = Event::scalars(scalars.step, scalars.values);
        self.file(scalars.phase)?.add(&event)
    }

    /// Removes what earlier processes have written beyond the rows that were added, and writes everything to the files.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.phases.values_mut().try_for_each(EventFile::flush)
    }

    /// Empties the files of phases without a row: an earlier process had gone on to them, and this one has not reached them again.
    pub(crate) fn empty_others(&self) -> Result<()> {
        let folder = &self.folder;
        for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
            let entry = entry.map_err(Error::io("list", folder))?;
            let is_known = entry
                .file_name()
                .to_str()
                .is_some_and(|name| self.phases.contains_key(name));
            let path = entry.path().join(self.file_name());
            if !is_known && path.is_file() {
                let file = OpenOptions::new().write(true).open(&path);
                let emptied = file.and_then(|file| file.set_len(0));
                emptied.map_err(Error::io("write", &path))?;
            }
        }
        Ok(())
    }

    fn file_name(&self) -> String {
        format!("events.out.tfevents.{}.runner", self.started)
    }

    fn file(&mut self, phase: &str) -> Result<&mut EventFile> {
        if !self.phases.contains_key(phase) {
            let folder = self.folder.join(phase);
            fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            let path = folder.join(self.file_name());
            let file = EventFile::open(path, self.started as f64)?;
            self.phases.insert(phase.to_owned(), file);
        }
        Ok(self.phases.get_mut(phase).expect("it has just been added"))
    }
}

/// Markdown that shows a text as it is.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| format!("    {line}\n"));
    lines.collect()
}

/// One file, which is only ever extended or cut: TensorBoard may be reading it.
struct EventFile {
    path: PathBuf,
    file: File,
    /// What an earlier process has written and this one has not told again yet.
    earlier: Vec<record::Record>,
    /// The size of the part of the file that holds.
    n_bytes: u64,
    /// When the latest event happened, in seconds since 1970.
    time: f64,
    pending: Vec<u8>,
}

impl EventFile {
    fn open(path: PathBuf, started: f64) -> Result<Self> {
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("read", path)(error));
            }
            bytes => bytes.unwrap_or_default(),
        };
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(false);
        let file = file.open(&path).map_err(Error::io("open", &path))?;
        let mut earlier = record::read(&bytes);
        earlier.reverse();
        let mut opened = Self {
            path,
            file,
            earlier,
            n_bytes: 0,
            time: started,
            pending: Vec::new(),
        };
        let time = opened.time;
        opened.add_at(&Event::version(), time)?;
        Ok(opened)
    }

    fn add(&mut self, event: &Event) -> Result<()> {
        let now = chrono::Utc::now().timestamp_micros() as f64 / 1e6;
        self.add_at(event, now)
    }

    fn add_at(&mut self, event: &Event, now: f64) -> Result<()> {
        if let Some(record) = self.earlier.pop() {
            if event.is_in(&record.payload) {
                self.n_bytes += record.n_bytes;
                return Ok(());
            }
            // From here on, the earlier process went another way, or did not come to write its last event whole.
            self.earlier.clear();
        }
        // The clock may have been set back, which would draw a line backwards.
        self.time = self.time.max(now);
        self.pending.extend(record::framed(&event.at(self.time)));
        // Many small writes would cost more than the memory does.
        if self.pending.len() > 1 << 20 {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let failed = |error| Error::io("write", &self.path)(error);
        self.earlier.clear();
        self.file.set_len(self.n_bytes).map_err(failed)?;
        let end = SeekFrom::Start(self.n_bytes);
        self.file.seek(end).map_err(failed)?;
        self.file.write_all(&self.pending).map_err(failed)?;
        self.n_bytes += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

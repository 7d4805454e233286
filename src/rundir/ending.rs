//! The state of a run: `status.toml` at any time, and `summary.toml` at its end.

use std::{fs, io::Write as _, path::PathBuf};

use super::RunDir;
use crate::{
    claim,
    disk::{
        files::write_atomic,
        sealed::{self, FileRecord, Sealed},
    },
    error::{Error, Result},
    rundir::records::{self, RecordedState, Status, Summary},
    text::moment,
};

/// The size of the reserve. A status that is longer is replaced by one that only tells of the full disk.
const RESERVED_BYTES: usize = 4096;

impl RunDir {
    pub(crate) fn set_status(&self, state: RecordedState, reason: &str) -> Result<()> {
        let status = Status {
            state,
            reason: reason.to_owned(),
            updated: moment::now(),
            host: claim::host_name(),
        };
        match records::write_toml(&self.status_toml(), &status) {
            Err(error) if error.is_of_full_disk() => self.write_status_into_reserve(status, error),
            written => written,
        }
    }

    /// Reserves some disk space, so that a run which fails because the disk is full can still record that.
    pub(crate) fn reserve_status(&self) {
        // Best effort: without the reserve, only the status is lost when the disk is full.
        let _ = write_atomic(&self.status_reserve(), &[b'\n'; RESERVED_BYTES]);
    }

    pub(crate) fn release_status(&self) {
        let _ = fs::remove_file(self.status_reserve());
    }

    /// Overwrites the reserve, which takes no new disk space, and renames it to the status. Fails with `full` if there is no
    /// reserve.
    fn write_status_into_reserve(&self, mut status: Status, full: Error) -> Result<()> {
        let (path, reserve) = (self.status_toml(), self.status_reserve());
        let mut text = records::toml_text(&path, &status)?;
        if text.len() > RESERVED_BYTES {
            status.reason = full.to_string();
            text = records::toml_text(&path, &status)?;
        }
        let written = fs::OpenOptions::new()
            .write(true)
            .open(&reserve)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.set_len(text.len() as u64)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&reserve, &path));
        written.map_err(|_| full)
    }

    /// Whether the run is finished: the summary is written last, and deleted first when the run is resumed.
    pub(crate) fn is_finished(&self) -> bool {
        self.summary().is_some()
    }

    /// The summary, unless it is missing or damaged.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let summary: Summary = sealed::read_toml(&self.summary_toml(), Sealed::Maybe).ok()?;
        if summary.format == records::FORMAT {
            return sealed::read_toml(&self.summary_toml(), Sealed::Always).ok();
        }
        Some(summary)
    }

    pub(crate) fn remove_summary(&self) -> Result<()> {
        let path = self.summary_toml();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The records of all tables and pictures that exist.
    pub(crate) fn result_records(&self) -> Result<Vec<FileRecord>> {
        let tables = [
            self.groups_csv(),
            self.changes_csv(),
            self.metrics_csv(),
            self.steps_csv(),
            self.predictions_csv(),
        ];
        let files = tables.into_iter().chain(self.conclusions());
        files
            .filter(|path| path.exists())
            .map(|path| FileRecord::of(&path))
            .collect()
    }

    fn status_reserve(&self) -> PathBuf {
        self.path.join("status.reserve")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_finds_no_room_takes_the_reserve() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::bare(folder.path());
        let full = || Error::io("write", "x")(std::io::ErrorKind::StorageFull.into());
        let status = |reason: &str| Status {
            state: RecordedState::Failed,
            reason: reason.to_owned(),
            updated: String::new(),
            host: String::new(),
        };
        assert!(
            run_dir
                .write_status_into_reserve(status("a"), full())
                .is_err()
        );
        let too_long = "b".repeat(RESERVED_BYTES);
        for (reason, expected) in [("a", "a"), (&too_long, "cannot write `x`")] {
            run_dir.reserve_status();
            run_dir
                .write_status_into_reserve(status(reason), full())
                .unwrap();
            let read: Status = records::read_toml(&run_dir.status_toml()).unwrap();
            assert_eq!(read.state, RecordedState::Failed);
            assert!(read.reason.starts_with(expected), "{}", read.reason);
            assert!(!run_dir.status_reserve().exists());
        }
    }
}

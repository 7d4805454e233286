//! `metrics.csv` and `steps.csv` of a run in progress: rows are appended as they come, and each checkpoint records the tables as
//! they are by then.

use std::fs;

use sha2::{Digest as _, Sha256};

use super::events;
use crate::{
    config::experiment::Log,
    disk::{files, hash, sealed::FileRecord},
    error::{Error, Result},
    rundir::{
        RunDir,
        records::{self, EpochRow, StepRow},
    },
    tensorboard::EventFiles,
};

pub(super) struct Tables {
    run_dir: RunDir,
    /// All bytes of `metrics.csv`, which are few: one row per epoch.
    metrics: Vec<u8>,
    n_step_bytes: u64,
    /// The running hash of `steps.csv`, which may be too long to be read again for each checkpoint.
    step_hasher: Sha256,
    /// The same rows for TensorBoard, if they are wanted.
    events: Option<EventFiles>,
}

impl Tables {
    /// The tables of a run that has not trained yet, or has been restored to a checkpoint.
    pub(super) fn open(run_dir: &RunDir, log: Log) -> Result<Self> {
        let read = |path: std::path::PathBuf| match fs::read(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("read", path)(error))
            }
            bytes => Ok(bytes.unwrap_or_default()),
        };
        let steps = read(run_dir.steps_csv())?;
        Ok(Self {
            run_dir: run_dir.clone(),
            metrics: read(run_dir.metrics_csv())?,
            n_step_bytes: steps.len() as u64,
            step_hasher: Sha256::new_with_prefix(&steps),
            events: if log.tensorboard {
                Some(events::open(run_dir)?)
            } else {
                None
            },
        })
    }

    pub(super) fn add_epoch(&mut self, row: &EpochRow) -> Result<()> {
        let path = self.run_dir.metrics_csv();
        let bytes = records::csv_bytes(&path, self.metrics.is_empty(), [row])?;
        files::append(&path, &bytes)?;
        self.metrics.extend(bytes);
        match &mut self.events {
            Some(files) => events::add_epoch(files, row).and_then(|()| files.flush()),
            None => Ok(()),
        }
    }

    pub(super) fn add_steps(&mut self, rows: &[StepRow]) -> Result<()> {
        let path = self.run_dir.steps_csv();
        let bytes = records::csv_bytes(&path, self.n_step_bytes == 0, rows)?;
        files::append(&path, &bytes)?;
        self.n_step_bytes += bytes.len() as u64;
        self.step_hasher.update(&bytes);
        match &mut self.events {
            Some(files) => events::add_steps(files, rows).and_then(|()| files.flush()),
            None => Ok(()),
        }
    }

    pub(super) fn metrics(&self) -> &[u8] {
        &self.metrics
    }

    /// The record of `steps.csv` as it is so far.
    pub(super) fn steps(&self) -> FileRecord {
        FileRecord {
            name: "steps.csv".to_owned(),
            bytes: self.n_step_bytes,
            sha256: hash::hex(&self.step_hasher.clone().finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: usize) -> StepRow<'static> {
        StepRow {
            step,
            epoch: 1,
            phase: "head",
            loss: 0.5,
            lr: 1e-3,
        }
    }

    #[test]
    fn rows_share_one_header_and_their_record_is_that_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::bare(folder.path());
        let mut tables = Tables::open(&run_dir, Log { tensorboard: false }).unwrap();
        tables.add_steps(&[step(1)]).unwrap();
        // Another process resumes the run.
        let mut tables = Tables::open(&run_dir, Log { tensorboard: false }).unwrap();
        tables.add_steps(&[step(2), step(3)]).unwrap();
        let text = fs::read_to_string(run_dir.steps_csv()).unwrap();
        assert_eq!(
            text,
            "step,epoch,phase,loss,lr\n1,1,head,0.5,0.001\n2,1,head,0.5,0.001\n3,1,head,0.5,0.001\n"
        );
        assert_eq!(
            tables.steps(),
            FileRecord::of(&run_dir.steps_csv()).unwrap()
        );
    }
}

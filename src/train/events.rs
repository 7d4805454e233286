//! The rows of a run as TensorBoard's charts.

use std::fs;

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    rundir::{
        RunDir, recipe,
        records::{EpochRow, StepRow, read_csv_so_far},
    },
    tensorboard::{EventFiles, Scalars},
    text::moment,
};

/// A row of `steps.csv`, as it is read back.
#[derive(Deserialize)]
struct StepRead {
    step: usize,
    epoch: usize,
    phase: String,
    loss: f64,
    lr: f64,
}

impl StepRead {
    fn row(&self) -> StepRow<'_> {
        StepRow {
            step: self.step,
            epoch: self.epoch,
            phase: &self.phase,
            loss: self.loss,
            lr: self.lr,
        }
    }
}

/// The event files of a run, with the rows that its tables have. What an earlier process wrote beyond them is removed.
pub(super) fn open(run_dir: &RunDir) -> Result<EventFiles> {
    let started = moment::parse(&recipe::manifest(run_dir)?.started);
    let started = started.map_or(0, |time| time.timestamp());
    let path = run_dir.resolved_toml();
    let config = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let mut files = EventFiles::open(run_dir.tensorboard(), started, &config)?;
    let steps: Vec<StepRead> = read_csv_so_far(&run_dir.steps_csv());
    let mut steps = steps.iter().peekable();
    // The rows of an epoch come after those of its steps, as they did when they were written.
    for epoch in read_csv_so_far::<EpochRow>(&run_dir.metrics_csv()) {
        while let Some(step) = steps.next_if(|step| step.epoch <= epoch.epoch) {
            add_steps(&mut files, &[step.row()])?;
        }
        add_epoch(&mut files, &epoch)?;
    }
    for step in steps {
        add_steps(&mut files, &[step.row()])?;
    }
    files.flush()?;
    files.empty_others()?;
    Ok(files)
}

pub(super) fn add_epoch(files: &mut EventFiles, row: &EpochRow) -> Result<()> {
    let mut values = vec![
        ("loss/train", row.train_loss),
        ("loss/valid", row.valid_loss),
        ("accuracy/train", row.train_accuracy),
        ("accuracy/valid", row.valid_accuracy),
        ("learning_rate/epoch", row.lr),
    ];
    values.extend(row.valid_macro_f1.map(|value| ("macro_f1/valid", value)));
    values.extend(row.valid_auc.map(|value| ("auc/valid", value)));
    files.add(&Scalars {
        phase: &row.phase,
        step: row.epoch,
        values: &values,
    })
}

pub(super) fn add_steps(files: &mut EventFiles, rows: &[StepRow]) -> Result<()> {
    rows.iter().try_for_each(|row| {
        files.add(&Scalars {
            phase: row.phase,
            step: row.step,
            values: &[("loss/step", row.loss), ("learning_rate/step", row.lr)],
        })
    })
}

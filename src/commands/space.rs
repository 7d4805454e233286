//! Whether a run fits on the disk: `plan` shows the estimate; `check` and `train` refuse a run whose checkpoints cannot fit.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::prepare::Prepared;
use crate::{
    console::Console,
    disk::space::free_bytes,
    error::Result,
    storage::{self, DiskEstimate, DiskFacts, Verdict},
    text::table::bytes,
};

/// The disk space that a run needs, and the space that is free.
pub(super) struct DiskFit {
    pub(super) estimate: DiskEstimate,
    free: Option<u64>,
    runs_dir: PathBuf,
}

impl DiskFit {
    pub(super) fn of(prepared: &Prepared) -> Self {
        let runs_dir = &prepared.loaded.experiment.runs_dir;
        Self {
            estimate: estimate(prepared),
            free: free_bytes(runs_dir),
            runs_dir: runs_dir.clone(),
        }
    }

    /// The line for `runner plan`.
    pub(super) fn text(&self) -> String {
        let [least, most] = [self.estimate.finished_at_least, self.estimate.finished].map(bytes);
        let finished = if least == most {
            format!("about {most}")
        } else {
            format!("{least} to {most}")
        };
        format!(
            "disk        {finished} when finished, up to {} while it trains; {}\n",
            bytes(self.estimate.peak),
            free_text(self.free, &self.runs_dir.display().to_string())
        )
    }

    pub(super) fn fields(&self) -> Value {
        let mut fields = json!(self.estimate);
        fields["free"] = json!(self.free);
        fields
    }
}

/// `30.1 GiB free in runs`
pub(super) fn free_text(free: Option<u64>, dir: &str) -> String {
    let free = free.map_or_else(|| "unknown space".to_owned(), bytes);
    format!("{free} free in {dir}")
}

pub(super) fn estimate(prepared: &Prepared) -> DiskEstimate {
    let facts = DiskFacts::gather(&prepared.index, &prepared.split);
    storage::estimate(&prepared.loaded.experiment, &prepared.plan, &facts)
}

/// Fails if the checkpoints of a run do not fit; prints a note if the run may not fit.
pub(super) fn check(prepared: &Prepared, console: &Console) -> Result<()> {
    let fit = DiskFit::of(prepared);
    match storage::judge(&fit.estimate, fit.free, &fit.runs_dir) {
        Verdict::Fits => {}
        Verdict::Close(note) => console.note(&note),
        Verdict::TooLarge(error) => return Err(error),
    }
    Ok(())
}

//! Whether a run fits on the disk. Pure.

use std::path::Path;

use super::DiskEstimate;
use crate::{error::Error, text::table::bytes};

/// By what factor files may take less space than their length, on a file system that compresses them.
const DOUBT: f64 = 1.25;

pub(crate) enum Verdict {
    Fits,
    /// The disk may fill up, as this note says.
    Close(String),
    /// The checkpoints that the run must write do not fit.
    TooLarge(Error),
}

/// Compares what a run needs with the free bytes on the disk of `runs_dir`, which are `None` if the system does not report them. Only
/// what the run must write refuses it; the rest of an estimate depends on how training goes.
pub(crate) fn judge(estimate: &DiskEstimate, free: Option<u64>, runs_dir: &Path) -> Verdict {
    let Some(free) = free.filter(|free| *free < estimate.peak) else {
        return Verdict::Fits;
    };
    if estimate.certain as f64 / DOUBT > free as f64 {
        let error = Error::run(
            runs_dir,
            format!(
                "not enough disk space: the checkpoints of the run take at least {}, and {} are free",
                bytes(estimate.certain),
                bytes(free)
            ),
        );
        return Verdict::TooLarge(error.help(
            "free some space, for example with `runner slim` or `runner rm`, or choose another disk with `--set runs_dir=DIR`",
        ));
    }
    Verdict::Close(format!(
        "the disk may fill up: the run takes up to {} while it trains, and {} are free in {}",
        bytes(estimate.peak),
        bytes(free),
        runs_dir.display()
    ))
}

//! `max_gib`: whether the directory of a sweep has room for another trial.

use super::{
    directory::SweepDir,
    record::{SweepRecord, TrialRecord},
};
use crate::{disk::space::size_of, text::table::bytes};

/// Why a trial may not start; `None` if it may. Trials that are at work count in full, because they may still grow.
pub(crate) fn shortage(dir: &SweepDir, sweep: &SweepRecord, trial: &TrialRecord) -> Option<String> {
    let most = sweep.search.max_bytes?;
    let others = sweep.trials.iter().filter(|other| other.name != trial.name);
    let at_work = others.filter(|other| dir.trial(&other.name).place().owner.exists());
    let reserved: u64 = at_work.map(|other| other.bytes).sum();
    let taken = size_of(dir.path());
    let needed = taken.saturating_add(reserved).saturating_add(trial.bytes);
    (needed > most).then(|| {
        format!(
            "`max_gib` allows the sweep {}, it takes {}, and a trial up to {} more",
            bytes(most),
            bytes(taken.saturating_add(reserved)),
            bytes(trial.bytes)
        )
    })
}

/// What to do about it.
pub(crate) const HELP: &str =
    "raise `max_gib`, or delete runs with `runner rm`, and run the same command again";

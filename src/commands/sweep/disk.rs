//! What the trials of a sweep take on the disk together.

use serde_json::{Value, json};

use crate::{
    commands::space::free_text,
    console::Console,
    disk::space::{free_bytes, size_of},
    runs::{RunState, RunView},
    sweep::campaign::Campaign,
    text::table::{bytes, counted},
};

/// The disk space of a sweep in bytes.
pub(super) struct SweepDisk {
    /// All runs when they are finished. Those that are already count by what they take.
    finished: u64,
    /// What `n_at_once` trials take in addition while they train.
    more: u64,
    n_at_once: usize,
    /// What the runs take already.
    taken: u64,
    free: Option<u64>,
    dir: String,
}

impl SweepDisk {
    pub(super) fn of(campaign: &Campaign, n_at_once: usize) -> Self {
        let (mut finished, mut taken) = (0, 0);
        let mut more = Vec::new();
        // Trials that wait for a promotion keep what only training further needs.
        let n_waiting = campaign.view.record.search.ladder();
        let n_waiting = n_waiting.map_or(0, |ladder| campaign.orders.len() / ladder.eta);
        for (standing, order) in campaign.view.standings.iter().zip(&campaign.orders) {
            let estimate = &order.disk;
            let run = standing.run.as_ref();
            let n_bytes = run.map_or(0, |run: &RunView| size_of(run.path()));
            taken += n_bytes;
            if run.is_some_and(|run| run.state == RunState::Finished) {
                finished += n_bytes;
            } else {
                finished += estimate.finished;
                more.push(estimate.peak - estimate.finished);
            }
        }
        more.sort_unstable_by(|a, b| b.cmp(a));
        more.truncate(n_at_once + n_waiting);
        let dir = campaign.view.dir.path();
        Self {
            finished,
            n_at_once: n_at_once.min(more.len()),
            more: more.iter().sum(),
            taken,
            free: free_bytes(dir),
            dir: dir.display().to_string(),
        }
    }

    /// Prints a note if the disk may be too small. A sweep is never refused, because it may be stopped or delete runs before it is full.
    pub(super) fn warn(&self, console: &Console) {
        let needed = (self.finished + self.more).saturating_sub(self.taken);
        if let Some(free) = self.free.filter(|free| *free < needed) {
            console.note(&format!(
                "the disk may fill up: the trials take about {} more, and {} are free in {}",
                bytes(needed),
                bytes(free),
                self.dir
            ));
        }
    }

    /// The line for `--dry-run`: `disk        about 12.3 GiB when finished, ..`.
    pub(super) fn text(&self) -> String {
        let while_training = if self.n_at_once == 0 {
            String::new()
        } else {
            let verb = if self.n_at_once == 1 {
                "trains"
            } else {
                "train"
            };
            format!(
                ", up to {} more while {} {verb}",
                bytes(self.more),
                counted(self.n_at_once, "trial")
            )
        };
        format!(
            "disk        about {} when finished{while_training}; {}",
            bytes(self.finished),
            free_text(self.free, &self.dir)
        )
    }

    pub(super) fn fields(&self) -> Value {
        json!({ "finished": self.finished, "more": self.more, "taken": self.taken, "free": self.free })
    }
}

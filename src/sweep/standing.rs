//! A trial of a sweep and how far it has come. Pure.

use super::climb::Climb;
use crate::{
    rundir::records::EpochRow,
    runs::RunView,
    text::table::{counted, shown},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrialState {
    Waiting,
    Running,
    Finished,
    Interrupted,
    Failed,
    /// It waits at a rung, and continues if it is promoted.
    Paused,
    /// It is at a rung and will not be promoted.
    Stopped,
    /// It waits in the queue of a cluster.
    Queued,
}

impl TrialState {
    const ALL: [Self; 8] = [
        Self::Finished,
        Self::Stopped,
        Self::Paused,
        Self::Running,
        Self::Queued,
        Self::Interrupted,
        Self::Failed,
        Self::Waiting,
    ];

    /// Whether the trial has trained as far as it was to.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Paused | Self::Stopped)
    }
}

impl TrialState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Queued => "queued",
        }
    }
}

/// A trial and how far it has come.
pub(crate) struct TrialStanding {
    pub(crate) number: usize,
    /// The settings that tell it from other trials: `lr=0.001`.
    pub(crate) label: String,
    /// The value of each axis.
    pub(crate) values: Vec<toml::Value>,
    pub(crate) state: TrialState,
    /// Why it failed, or why it waits in a queue; empty otherwise.
    pub(crate) reason: String,
    /// Its run, once it has a directory.
    pub(crate) run: Option<RunView>,
    /// The state and the number of epochs that have been told to the user.
    pub(crate) told: Option<(TrialState, usize)>,
    /// The rung that it is to reach; `None` if every trial is trained to its end.
    pub(crate) climb: Option<Climb>,
}

impl TrialStanding {
    /// The number of rungs that it has reached, and that of all rungs.
    pub(super) fn rungs(&self) -> Option<(usize, usize)> {
        let climb = self.climb?;
        let n_reached = match self.state {
            TrialState::Finished => climb.n_rungs,
            _ if self.is_at_rung() => climb.rung + 1,
            _ => climb.rung,
        };
        Some((n_reached, climb.n_rungs))
    }

    pub(super) fn rows(&self) -> &[EpochRow] {
        self.run.as_ref().map_or(&[], |run| &run.rows)
    }

    pub(crate) fn best(&self) -> Option<&EpochRow> {
        self.run.as_ref()?.best()
    }

    pub(super) fn epochs(&self) -> String {
        shown(self.run.as_ref().map(RunView::epochs))
    }

    /// The time for the remaining epochs, at the pace of the completed ones.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let run = self.run.as_ref()?;
        let n_left = run.n_planned_epochs()?.checked_sub(run.rows.len())?;
        (!run.rows.is_empty()).then(|| run.seconds() / run.rows.len() as f64 * n_left as f64)
    }
}

/// How many trials there are, and how many in each state: `27 trials: 1 finished, 18 stopped, 8 queued`.
pub(crate) fn counts(standings: &[TrialStanding]) -> String {
    let count = |state| {
        standings
            .iter()
            .filter(|trial| trial.state == state)
            .count()
    };
    let counts = TrialState::ALL.map(|state| (count(state), state));
    let counts = counts.iter().filter(|(n, _)| *n > 0);
    let counts: Vec<String> = counts
        .map(|(n, state)| format!("{n} {}", state.name()))
        .collect();
    format!(
        "{}: {}",
        counted(standings.len(), "trial"),
        counts.join(", ")
    )
}

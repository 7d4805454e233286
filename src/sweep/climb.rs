//! A sweep whose trials stop early: which rung each trial is to reach, and which of them continue. The decisions are those of
//! `rungs`, which the trials' own processes make too.

use super::{
    rungs::Rungs,
    standing::{TrialStanding, TrialState},
    view::SweepView,
};
use crate::{claim::Stop, console::Console, error::Result, runs::RunState, train::checkpoint};

/// How far a trial is to train before it pauses, and how far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Climb {
    /// The rung that it is to reach, from 0.
    pub(crate) rung: usize,
    pub(crate) n_rungs: usize,
    /// The epochs of that rung.
    pub(crate) epochs: usize,
    /// Whether it will not be promoted to a further one.
    pub(crate) is_out: bool,
}

impl TrialStanding {
    /// Whether the trial waits at the rung that it was to reach.
    pub(crate) fn is_at_rung(&self) -> bool {
        let n_epochs = self.run.as_ref().map_or(0, |run| run.rows.len());
        self.climb.is_some_and(|climb| n_epochs >= climb.epochs)
    }
}

impl SweepView {
    pub(super) fn rungs(&self) -> Option<Rungs<'_>> {
        Rungs::of(&self.dir, &self.record)
    }

    /// Creates the folders of the rungs, and notes what the runs that there are have reached: a process that was killed may not
    /// have done so.
    pub(crate) fn prepare_rungs(&self) -> Result<()> {
        let Some(rungs) = self.rungs() else {
            return Ok(());
        };
        rungs.create()?;
        rungs.remove_stale()?;
        for (trial, standing) in self.record.trials.iter().zip(&self.standings) {
            let run = standing.run.as_ref();
            if let Some(run) = run.filter(|run| run.state != RunState::Running) {
                rungs.arrive(trial, run)?;
            }
        }
        Ok(())
    }

    /// Removes the optimizer states of trials that will not continue. The processes that demote trials do so, unless they are killed.
    pub(crate) fn slim_demoted(&self, stop: &'static dyn Stop, console: &Console) -> Result<()> {
        let runs = self.standings.iter().filter_map(|standing| {
            let is_out = standing.climb.is_some_and(|climb| climb.is_out);
            standing.run.as_ref().filter(|_| is_out)
        });
        for run in runs.filter(|run| run.state == RunState::Interrupted && !run.is_slim) {
            // A run that somebody else has resumed is theirs.
            if let Ok(_claim) = run.dir.claim(stop, console) {
                checkpoint::slim(&run.dir)?;
            }
        }
        Ok(())
    }

    /// Reads which rung each trial is to reach.
    pub(crate) fn look_at_rungs(&mut self) {
        let Some(rungs) = self.rungs() else {
            return;
        };
        let (targets, epochs) = (rungs.targets(), rungs.ladder.rungs.clone());
        for (standing, (rung, is_out)) in self.standings.iter_mut().zip(targets) {
            standing.climb = Some(Climb {
                rung,
                n_rungs: epochs.len(),
                epochs: epochs[rung],
                is_out,
            });
        }
    }

    /// The trials that a process was told to continue and that it has not brought to their rung. Their runs change although no job
    /// is theirs.
    pub(super) fn is_climbing(&self, at: usize) -> bool {
        let standing = &self.standings[at];
        let is_promoted = standing.climb.is_some_and(|climb| climb.rung > 0);
        let is_finished = standing.state == TrialState::Finished;
        is_promoted && !is_finished && !standing.is_at_rung()
    }

    /// Whether the process that promoted a trial is at work and will run it, or has not come to it.
    pub(super) fn is_promoter_alive(&self, at: usize) -> bool {
        let rungs = self.rungs();
        rungs.is_some_and(|rungs| rungs.is_promoter_alive(&self.record.trials[at]))
    }

    /// Forgets that a trial failed, because it is about to be tried again.
    pub(crate) fn forgive(&self, at: usize) -> Result<()> {
        let rungs = self.rungs();
        rungs.map_or(Ok(()), |rungs| rungs.forgive(&self.record.trials[at]))
    }

    /// The trials that will not be promoted any more, by their index.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn demoted(&self) -> std::collections::BTreeSet<usize> {
        let rungs = self.rungs();
        let known = rungs.as_ref().map(|rungs| (rungs, rungs.read()));
        known.map_or_else(Default::default, |(rungs, known)| {
            rungs.standing(&known).demoted()
        })
    }

    /// Promotes the trial whose turn it is, as its last process would have done.
    pub(crate) fn promote(&mut self) -> Result<Option<usize>> {
        let promoted = match self.rungs() {
            Some(rungs) => rungs.promote()?,
            None => None,
        };
        if promoted.is_some() {
            self.look_at_rungs();
        }
        Ok(promoted)
    }
}

//! Asynchronous successive halving: which trial continues to more epochs (Li et al. 2020, "A System for Massively Parallel
//! Hyperparameter Tuning", arXiv 1810.05934, algorithm 2). Pure: what is known of the rungs is an argument, so that every process
//! that asks with the same knowledge gets the same answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::experiment::Metric,
    scores::ranking::{self, Candidate},
};

#[cfg(test)]
mod tests;

/// The numbers of epochs after which trials are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ladder {
    /// Strictly increasing; the last one is the end of a trial.
    pub(crate) rungs: Vec<usize>,
    /// One in `eta` trials continues. At least 2.
    pub(crate) eta: usize,
}

impl Ladder {
    /// `min_epochs`, and `eta` times as many for each further rung. The last rung has `max_epochs`, and at least `eta` times as many
    /// epochs as the one before, unless it is the second.
    pub(crate) fn new(eta: usize, min_epochs: usize, max_epochs: usize) -> Self {
        let mut rungs = vec![min_epochs];
        let mut next = min_epochs.saturating_mul(eta);
        while next.saturating_mul(eta) <= max_epochs {
            rungs.push(next);
            next = next.saturating_mul(eta);
        }
        if min_epochs < max_epochs {
            rungs.push(max_epochs);
        }
        Self { rungs, eta }
    }
}

/// What is known of the trials at one rung, which go by their index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rung {
    /// The trials that have reached it, with their best epoch up to here; `None` for one that failed on the way.
    pub(crate) settled: BTreeMap<usize, Option<Candidate>>,
    /// The trials that were told to continue to the next rung.
    pub(crate) promoted: BTreeSet<usize>,
}

/// A trial that is to continue to the rung after `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promotion {
    pub(crate) trial: usize,
    pub(crate) from: usize,
}

/// All rungs of a sweep, one for each number of epochs of the ladder.
pub(crate) struct Standing<'a> {
    pub(crate) ladder: &'a Ladder,
    pub(crate) metric: Metric,
    /// The number of trials of the sweep, whether they have started or not.
    pub(crate) n_trials: usize,
    pub(crate) rungs: &'a [Rung],
}

impl Standing<'_> {
    /// The promotion that is due: the best of the highest rung that has one. `None` if new trials come first.
    pub(crate) fn due(&self) -> Option<Promotion> {
        let below_the_top = 0..self.rungs.len().saturating_sub(1);
        below_the_top.rev().find_map(|from| {
            let trial = self.promotable(from)?;
            Some(Promotion { trial, from })
        })
    }

    /// The trials that will not be promoted, however the others end.
    pub(crate) fn demoted(&self) -> BTreeSet<usize> {
        let mut demoted = BTreeSet::new();
        // The most trials that can reach the rung.
        let mut most = self.n_trials;
        for (at, rung) in self.rungs.iter().enumerate() {
            let is_top = at + 1 == self.rungs.len();
            let n_kept = if is_top {
                0
            } else {
                (most / self.ladder.eta).max(1)
            };
            let ranked = self.ranked(rung);
            let out = ranked.iter().skip(n_kept);
            let out: Vec<usize> = out
                .copied()
                .filter(|it| !rung.promoted.contains(it))
                .collect();
            // The promoted ones, those that may still be, and those that have not arrived.
            let n_open = ranked
                .iter()
                .filter(|it| !rung.promoted.contains(it))
                .count()
                - out.len();
            most = rung.promoted.len() + n_open + most.saturating_sub(rung.settled.len());
            if !is_top {
                demoted.extend(out);
            }
        }
        demoted
    }

    /// The best trial of a rung that belongs to its best ones and has not been promoted.
    fn promotable(&self, at: usize) -> Option<usize> {
        let rung = &self.rungs[at];
        let best = self.ranked(rung).into_iter().take(self.quota(at));
        best.into_iter().find(|it| !rung.promoted.contains(it))
    }

    /// The number of trials of a rung that count as its best. At least one once no other trial can arrive: the best trial of a small
    /// sweep is trained to its end.
    fn quota(&self, at: usize) -> usize {
        let n_settled = self.rungs[at].settled.len();
        let quota = n_settled / self.ladder.eta;
        if quota == 0 && n_settled > 0 && self.is_complete(at) {
            1
        } else {
            quota
        }
    }

    /// Whether every trial that can reach a rung has reached it.
    fn is_complete(&self, at: usize) -> bool {
        let settled = &self.rungs[at].settled;
        let Some(below) = at.checked_sub(1) else {
            return settled.len() >= self.n_trials;
        };
        let promoted = &self.rungs[below].promoted;
        self.is_complete(below)
            && self.promotable(below).is_none()
            && promoted.iter().all(|trial| settled.contains_key(trial))
    }

    /// The trials of a rung that did not fail, best first.
    fn ranked(&self, rung: &Rung) -> Vec<usize> {
        let scored = rung.settled.iter();
        let scored = scored.filter_map(|(trial, best)| Some((*trial, best.as_ref()?)));
        let mut scored: Vec<(usize, &Candidate)> = scored.collect();
        // The sort is stable: of equal trials the first one is the best.
        scored.sort_by(|(_, a), (_, b)| ranking::rank(self.metric, a, b));
        scored.into_iter().map(|(trial, _)| trial).collect()
    }
}

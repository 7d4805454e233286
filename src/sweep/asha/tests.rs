//! Simulated sweeps on a synthetic objective, with many workers and trials.

use std::{cmp::Reverse, collections::BinaryHeap};

use rand_chacha::rand_core::Rng as _;

use super::*;
use crate::random;

const METRIC: Metric = Metric::ValidLoss;

/// A simulated sweep. Trial `t` has the loss `floor(t) + gap(t) / epochs`, so that bad trials may lead at first.
struct Simulation {
    ladder: Ladder,
    rungs: Vec<Rung>,
    n_trials: usize,
    seed: u64,
    n_epochs: usize,
    /// Every promotion in its order.
    promotions: Vec<Promotion>,
    /// The trials that were ever demoted; `None` if nobody asks.
    demoted: Option<BTreeSet<usize>>,
}

fn share(seed: u64, trial: usize, what: u64) -> f64 {
    let mut rng = random::rng(seed, "asha", &[trial as u64, what]);
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

impl Simulation {
    fn new(ladder: Ladder, n_trials: usize, seed: u64) -> Self {
        Self {
            rungs: vec![Rung::default(); ladder.rungs.len()],
            ladder,
            n_trials,
            seed,
            n_epochs: 0,
            promotions: Vec::new(),
            demoted: None,
        }
    }

    fn loss(&self, trial: usize, epochs: usize) -> f64 {
        let floor = share(self.seed, trial, 0);
        let gap = share(self.seed, trial, 1) * 0.3;
        floor + gap / epochs as f64
    }

    fn standing(&self) -> Standing<'_> {
        Standing {
            ladder: &self.ladder,
            metric: METRIC,
            n_trials: self.n_trials,
            rungs: &self.rungs,
        }
    }

    /// Runs all trials; a worker that is free takes the next new trial, or else the promotion that is due. Epochs take different
    /// times in different trials.
    fn run(&mut self, n_workers: usize) {
        let mut busy: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
        let (mut now, mut n_started) = (0, 0);
        loop {
            while busy.len() < n_workers {
                let (trial, rung) = if n_started < self.n_trials {
                    n_started += 1;
                    (n_started - 1, 0)
                } else if let Some(promotion) = self.standing().due() {
                    let is_new = self.rungs[promotion.from].promoted.insert(promotion.trial);
                    assert!(is_new, "{promotion:?} twice");
                    let mut demoted = self.demoted.iter();
                    assert!(!demoted.any(|it| it.contains(&promotion.trial)));
                    self.promotions.push(promotion);
                    (promotion.trial, promotion.from + 1)
                } else {
                    break;
                };
                let before = rung.checked_sub(1).map_or(0, |at| self.ladder.rungs[at]);
                let epochs = self.ladder.rungs[rung] - before;
                self.n_epochs += epochs;
                let pace = 100.0 + 100.0 * share(self.seed, trial, 2);
                busy.push(Reverse((now + (pace * epochs as f64) as u64, trial, rung)));
            }
            let Some(Reverse((at, trial, rung))) = busy.pop() else {
                return;
            };
            now = at;
            let epoch = self.ladder.rungs[rung];
            let loss = self.loss(trial, epoch);
            let best = Candidate {
                epoch,
                value: loss,
                loss,
            };
            self.rungs[rung].settled.insert(trial, Some(best));
            let now_demoted = self.demoted.is_some().then(|| self.standing().demoted());
            if let (Some(demoted), Some(now)) = (&mut self.demoted, now_demoted) {
                demoted.extend(now);
            }
        }
    }

    /// The loss at the end of the best trial that was trained to its end.
    fn best(&self) -> f64 {
        let top = self.rungs.last().unwrap().settled.values().flatten();
        top.map(|best| best.loss).fold(f64::INFINITY, f64::min)
    }
}

#[test]
fn a_ladder_ends_with_all_epochs() {
    let rungs = |eta, min, max| Ladder::new(eta, min, max).rungs;
    assert_eq!(rungs(3, 1, 9), [1, 3, 9]);
    assert_eq!(rungs(3, 1, 27), [1, 3, 9, 27]);
    assert_eq!(rungs(3, 1, 10), [1, 3, 10]);
    assert_eq!(rungs(3, 1, 2), [1, 2]);
    assert_eq!(rungs(4, 2, 100), [2, 8, 100]);
    assert_eq!(rungs(3, 5, 5), [5]);
}

/// The epochs that random search, which trains each trial to its end, takes until its best loss is at most `loss`, in the mean over
/// all orders of the trials.
fn epochs_of_random_search(simulation: &Simulation, loss: f64) -> f64 {
    let max = *simulation.ladder.rungs.last().unwrap();
    let trials = 0..simulation.n_trials;
    let n_good = trials
        .filter(|it| simulation.loss(*it, max) <= loss)
        .count();
    // The mean place of the first of k marked cards in a deck of n is (n + 1) / (k + 1).
    (simulation.n_trials + 1) as f64 / (n_good + 1) as f64 * max as f64
}

#[test]
fn a_thousand_trials_take_a_third_of_the_epochs_with_any_number_of_workers() {
    for n_workers in [1, 4, 25, 100, 500] {
        let ratios = (0..5).map(|seed| {
            let mut simulation = Simulation::new(Ladder::new(3, 1, 81), 1000, seed);
            simulation.run(n_workers);
            assert_eq!(simulation.rungs[0].settled.len(), 1000);
            simulation.n_epochs as f64 / epochs_of_random_search(&simulation, simulation.best())
        });
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        assert!(ratios[2] <= 1.0 / 3.0, "{n_workers} workers: {ratios:?}");
    }
}

#[test]
fn small_sweeps_train_their_best_trial_to_the_end() {
    for n_trials in 1..30 {
        for n_workers in [1, 3, 50] {
            let mut simulation = Simulation::new(Ladder::new(3, 1, 27), n_trials, 7);
            simulation.run(n_workers);
            let n_whole = simulation.rungs[3].settled.len();
            assert!(n_whole >= 1, "{n_trials} trials, {n_workers} workers");
        }
    }
}

#[test]
fn a_demoted_trial_is_never_promoted_later() {
    for seed in 0..20 {
        let mut simulation = Simulation::new(Ladder::new(2, 1, 16), 60, seed);
        simulation.demoted = Some(BTreeSet::new());
        simulation.run(7);
        let n_demoted = simulation.demoted.as_ref().unwrap().len();
        // All but those that were promoted to the last rung.
        let n_whole = simulation.rungs[4].settled.len();
        assert_eq!(n_demoted, 60 - n_whole);
    }
}

#[test]
fn failed_trials_are_never_promoted_and_hold_nobody_up() {
    let ladder = Ladder::new(3, 1, 3);
    let score = |loss: f64| {
        Some(Candidate {
            epoch: 1,
            value: loss,
            loss,
        })
    };
    let mut rungs = vec![Rung::default(), Rung::default()];
    rungs[0].settled.extend([(0, None), (1, score(0.9))]);
    let due = |rungs: &[Rung], n_trials| {
        let ladder = &ladder;
        Standing {
            ladder,
            metric: METRIC,
            n_trials,
            rungs,
        }
        .due()
    };
    assert_eq!(due(&rungs, 3), None);
    let promotion = Some(Promotion { trial: 1, from: 0 });
    assert_eq!(due(&rungs, 2), promotion);
    rungs[0].settled.insert(2, None);
    assert_eq!(due(&rungs, 9), promotion);
    rungs[0].promoted.insert(1);
    assert_eq!(due(&rungs, 3), None);
}

//! Predicts how much disk a run will take before it starts: a sum over the files that exist at once. The prediction is pure; nothing here
//! reads the disk. Without hard links, as on some network file systems, the best model takes its space once more.

mod verdict;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub(crate) use self::verdict::{Verdict, judge};
use crate::{
    config::experiment::{CheckpointEvery, Experiment, Keep},
    data::{
        index::DatasetIndex,
        split::{Part, SplitTable},
    },
    plan::{Plan, PlannedPhase},
    report::MOST_TILES,
    train::{
        answers::MOST_CLASSES,
        checkpoint::{self, CheckpointSizes, PhaseSizes},
    },
};

/// How many generations of `last` exist while a new one is written: the new one, the current one and the one before.
const MOST_GENERATIONS: usize = 3;
/// The number of writes in a phase from which on more make no difference: those that exist at once, and a last one without the optimizer.
const MOST_WRITES: usize = MOST_GENERATIONS + 1;

// Typical sizes of everything but the checkpoints, in bytes, from runs on photos.
const CURVES: u64 = 70_000;
const CONFUSION: u64 = 21_000;
const TILE: u64 = 75_000;
/// The recipe and its copy without the tables, logs, status, summary and manifests.
const TEXTS: u64 = 20_000;
const METRICS_ROW: u64 = 170;
const STEPS_ROW: u64 = 36;
/// A probability and its comma.
const PROBABILITY: u64 = 21;
/// The columns of `predictions.csv` besides names and classes: probability, loss and split.
const PREDICTION: u64 = 48;
/// What `split.csv` adds to the names of a file and its class.
const SPLIT_ROW: u64 = 8;
const EVENTS_PER_STEP: u64 = 64;
const EVENTS_PER_EPOCH: u64 = 200;

/// The numbers of images and classes, and the lengths of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskFacts {
    pub(crate) n_classes: usize,
    pub(crate) n_images: usize,
    pub(crate) n_valid: usize,
    pub(crate) n_test: usize,
    /// The total length of the names of all files and of all classes.
    pub(crate) name_bytes: [usize; 2],
}

impl DiskFacts {
    pub(crate) fn gather(index: &DatasetIndex, split: &SplitTable) -> Self {
        let (images, classes) = (&index.images, &index.classes);
        Self {
            n_classes: classes.len(),
            n_images: images.len(),
            n_valid: split.images(Part::Valid).len(),
            n_test: split.images(Part::Test).len(),
            name_bytes: [
                images.iter().map(|image| image.file.len()).sum(),
                classes.iter().map(String::len).sum(),
            ],
        }
    }
}

/// The bytes that a run will take on the disk. The best epoch is assumed not to be the last one if there are several: otherwise `best`
/// and `last` share their model. A run with `training.checkpoint_every` in minutes is assumed to take longer than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DiskEstimate {
    /// The finished run, with what `checkpoints.keep` leaves of its checkpoints.
    pub(crate) finished: u64,
    /// The finished run if its last epoch is the best one, and it ends before the first checkpoint within a phase is due.
    pub(crate) finished_at_least: u64,
    /// The run when it has been stopped and can be resumed: with optimizer state, whatever `checkpoints.keep` says.
    pub(crate) paused: u64,
    /// The most at any time, which is while a checkpoint is written beside the two before it.
    pub(crate) peak: u64,
    /// The size of the checkpoints that the run must write to finish: less space is certainly too little.
    #[serde(skip)]
    pub(crate) certain: u64,
}

/// Estimates a run from its start.
pub(crate) fn estimate(experiment: &Experiment, plan: &Plan, facts: &DiskFacts) -> DiskEstimate {
    let sizes = checkpoint::sizes(plan);
    let writes = Writes::of(experiment, plan, &sizes, number_of_writes);
    let fewest = Writes::of(
        experiment,
        plan,
        &sizes,
        |experiment, planned| match experiment.training.checkpoint_every {
            CheckpointEvery::Time(_) => 1,
            _ if experiment.early_stopping.is_some() => 1,
            CheckpointEvery::Steps(_) | CheckpointEvery::Epochs(_) => {
                number_of_writes(experiment, planned)
            }
        },
    );
    let while_running = tables(experiment, plan, facts);
    let others = while_running + pictures(facts);
    // The model of the best epoch, if it is no other checkpoint's.
    let n_best = usize::from(plan.n_epochs() > 1);
    // Where several epochs pass between two checkpoints, each of them can have a best model of its own.
    let n_best_at_once = match experiment.training.checkpoint_every {
        CheckpointEvery::Epochs(number) if number.get() == 1 => n_best,
        _ => n_best * MOST_GENERATIONS,
    };
    DiskEstimate {
        finished: others + writes.finished(n_best),
        finished_at_least: others + fewest.finished(0),
        paused: while_running + writes.paused(n_best),
        peak: (while_running + writes.peak(n_best_at_once)).max(others + writes.finished(n_best)),
        certain: fewest.peak(0),
    }
}

/// How often a phase writes `last`, up to [`MOST_WRITES`].
fn number_of_writes(experiment: &Experiment, planned: &PlannedPhase) -> usize {
    let n_writes = match experiment.training.checkpoint_every {
        CheckpointEvery::Time(_) => MOST_WRITES,
        CheckpointEvery::Steps(number) => planned.n_steps().div_ceil(number.get()),
        CheckpointEvery::Epochs(number) => planned.phase.epochs.get().div_ceil(number.get()),
    };
    n_writes.clamp(1, MOST_WRITES)
}

/// The generations of `last` that a run writes, in order. Where a phase writes many, only the last of them are listed.
struct Writes {
    base: u64,
    generations: Vec<PhaseSizes>,
    /// Whether the last one is written without the optimizer, and the one before it is removed at the end.
    is_slimmed: bool,
}

impl Writes {
    fn of(
        experiment: &Experiment,
        plan: &Plan,
        sizes: &CheckpointSizes,
        n_writes: impl Fn(&Experiment, &PlannedPhase) -> usize,
    ) -> Self {
        let phases = plan.phases.iter().zip(&sizes.phases);
        let generations = phases
            .flat_map(|(planned, phase)| vec![*phase; n_writes(experiment, planned)])
            .collect();
        Self {
            base: sizes.base,
            generations,
            is_slimmed: experiment.checkpoints.keep == Keep::Best,
        }
    }

    /// The checkpoints of the finished run, if `n_best` models belong to none of its generations.
    fn finished(&self, n_best: usize) -> u64 {
        let n_kept = if self.is_slimmed { 1 } else { 2 };
        let n_generations = self.generations.len();
        self.window(n_generations, n_kept, n_best)
    }

    /// The largest state that the run can be stopped in: a stop writes a generation of the same phase, as the stop before it did.
    fn paused(&self, n_best: usize) -> u64 {
        let phases = self.generations.iter();
        let two = phases.map(|it| 2 * (it.model + it.optimizer) + n_best as u64 * it.model);
        self.base + two.max().unwrap_or_default()
    }

    /// The largest state while a generation is written.
    fn peak(&self, n_best: usize) -> u64 {
        let ends = 1..=self.generations.len();
        let peaks = ends.map(|end| self.window(end, MOST_GENERATIONS, n_best.min(end)));
        peaks.max().unwrap_or(self.base)
    }

    /// The base, up to `n_kept` generations before `end`, and `n_best` models beside them.
    fn window(&self, end: usize, n_kept: usize, n_best: usize) -> u64 {
        let last = self.generations.len();
        let kept = (end.saturating_sub(n_kept)..end).map(|at| {
            let PhaseSizes { model, optimizer } = self.generations[at];
            let is_slim = self.is_slimmed && at + 1 == last;
            model + if is_slim { 0 } else { optimizer }
        });
        let model = end
            .checked_sub(1)
            .map_or(0, |at| self.generations[at].model);
        self.base + kept.sum::<u64>() + n_best as u64 * model
    }
}

/// The size of the tables and texts of a run.
fn tables(experiment: &Experiment, plan: &Plan, facts: &DiskFacts) -> u64 {
    let [files, classes] = facts.name_bytes.map(|n_bytes| n_bytes as u64);
    let (n_images, n_classes) = (facts.n_images as u64, facts.n_classes as u64);
    let file = files / n_images.max(1);
    let class = classes / n_classes.max(1);
    let probabilities = if facts.n_classes <= MOST_CLASSES {
        n_classes * PROBABILITY
    } else {
        0
    };
    let prediction = file + 2 * class + PREDICTION + probabilities;
    // In the run directory, and in the checkpoints.
    let predictions = (2 * facts.n_valid + facts.n_test) as u64 * prediction;
    let split = 2 * (files + n_images * (class + SPLIT_ROW));
    let n_epochs = plan.n_epochs() as u64;
    let n_steps: u64 = plan.phases.iter().map(|it| it.n_steps() as u64).sum();
    let events = if experiment.log.tensorboard {
        n_steps * EVENTS_PER_STEP + n_epochs * EVENTS_PER_EPOCH
    } else {
        0
    };
    // `metrics.csv` is also in both generations of `last`.
    let rows = 3 * n_epochs * METRICS_ROW + n_steps * STEPS_ROW;
    TEXTS + predictions + split + rows + events
}

/// The size of the plots that a run ends with.
fn pictures(facts: &DiskFacts) -> u64 {
    let n_matrices = if facts.n_test > 0 { 2 } else { 1 };
    // Counts of one or two digits.
    let matrix = CONFUSION + 2 * (facts.n_classes * facts.n_classes) as u64;
    let n_tiles = facts.n_valid.min(MOST_TILES) as u64;
    // Of the mistakes there are as many as of the sample, at most.
    CURVES + n_matrices * matrix + 2 * n_tiles * TILE
}

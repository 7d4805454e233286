//! Whether a run fits into memory, and what to change if it does not. Every piece of advice is checked by an estimate of the
//! changed experiment. Pure.

use std::{fmt::Write as _, num::NonZeroUsize};

use super::{Available, Estimate, Facts, Start, estimate};
use crate::{
    config::experiment::{CacheMode, Experiment, OptimizerKind, Phase},
    error::Error,
    model::{paper::is_in, select::Selector},
    plan::Plan,
    text::table::bytes,
};

/// How far an estimate may be off, as a factor: the largest measured deviation is smaller.
const DOUBT: f64 = 1.25;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fits,
    /// The run may not fit, as this note says.
    Close(String),
    /// The run cannot fit.
    TooLarge(Shortage),
}

/// Why a run does not fit, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    message: String,
    facts: Vec<String>,
    help: Vec<String>,
}

impl Shortage {
    pub(crate) fn into_error(self) -> Error {
        let error = Error::memory(self.message);
        let error = self.facts.into_iter().fold(error, Error::fact);
        self.help.into_iter().fold(error, Error::help)
    }
}

/// Compares what a run needs with the available memory.
pub(crate) fn judge(
    experiment: &Experiment,
    facts: &Facts,
    estimate: &Estimate,
    available: Option<&Available>,
) -> Verdict {
    let Some(available) = available else {
        return Verdict::Fits;
    };
    let (needed, there) = (estimate.total() as f64, available.n_bytes as f64);
    if needed / DOUBT > there {
        return Verdict::TooLarge(Shortage {
            message: format!(
                "not enough memory: the run needs about {} {}, and {} are available ({})",
                bytes(estimate.total() as u64),
                estimate.stage.name(),
                bytes(available.n_bytes),
                available.limit
            ),
            facts: vec![estimate.shares_text()],
            help: help(experiment, facts, available),
        });
    }
    if needed * DOUBT > there {
        return Verdict::Close(format!(
            "memory may run out: the run needs about {}, and {} are available ({})",
            bytes(estimate.total() as u64),
            bytes(available.n_bytes),
            available.limit
        ));
    }
    Verdict::Fits
}

/// Judges trials that run in parallel, each of which fits alone. `needed` is what each of them takes, the largest first.
pub(crate) fn judge_together(needed: &[u64], available: Option<&Available>) -> Verdict {
    let Some(available) = available.filter(|available| available.is_shared()) else {
        return Verdict::Fits;
    };
    let (total, there) = (needed.iter().sum::<u64>(), available.n_bytes);
    if needed.len() < 2 || total as f64 * DOUBT <= there as f64 {
        return Verdict::Fits;
    }
    let fact = format!(
        "{} parallel trials need about {}, and {} are available ({})",
        needed.len(),
        bytes(total),
        bytes(there),
        available.limit
    );
    if total as f64 / DOUBT <= there as f64 {
        return Verdict::Close(format!("memory may run out: {fact}"));
    }
    let n_fit = (1..needed.len()).rfind(|n| needed[..*n].iter().sum::<u64>() <= there);
    let n_fit = n_fit.unwrap_or(1);
    Verdict::TooLarge(Shortage {
        message: format!("not enough memory: {fact}"),
        facts: Vec::new(),
        help: vec![
            format!("use `--parallel {n_fit}`"),
            "or use `--set memory=ignore` to start them anyway".to_owned(),
        ],
    })
}

/// A change of the experiment, and what to type for it.
struct Change {
    words: String,
    experiment: Experiment,
}

/// Returns a change if there is one to make. The second argument tells whether an experiment fits.
type Apply = fn(&Experiment, &dyn Fn(&Experiment) -> bool) -> Option<Change>;

/// Changes that are tried one by one.
const ALONE: [Apply; 4] = [smaller_batch, cached, plain_sgd, frozen];
/// Changes that are made one after the other until the run fits, first those that affect the result least.
const TOGETHER: [Apply; 6] = [
    cached,
    smaller_batch,
    frozen,
    smaller_batch,
    plain_sgd,
    frozen,
];

fn help(experiment: &Experiment, facts: &Facts, available: &Available) -> Vec<String> {
    if facts.start == Start::Resumed {
        // The settings that memory depends on cannot be changed on resume.
        return vec![
            "resume on a machine with more memory".to_owned(),
            "or set `memory = \"ignore\"` in that file to resume anyway".to_owned(),
        ];
    }
    let needed = |experiment: &Experiment| {
        let plan = Plan::new(experiment, facts.n_classes, facts.n_train);
        estimate(experiment, &plan, facts).total() as u64
    };
    let fits = |experiment: &Experiment| needed(experiment) <= available.n_bytes;
    let mut help = Vec::new();
    for apply in ALONE {
        if let Some(change) = apply(experiment, &fits)
            && fits(&change.experiment)
        {
            let or = if help.is_empty() { "" } else { "or " };
            let n_bytes = bytes(needed(&change.experiment));
            help.push(format!("{or}use {} ({n_bytes})", change.words));
        }
    }
    if help.is_empty() {
        help.push(together(experiment, &fits, &needed));
    }
    help.push("or use `--set memory=ignore` to start anyway".to_owned());
    help
}

fn together(
    experiment: &Experiment,
    fits: &dyn Fn(&Experiment) -> bool,
    needed: &dyn Fn(&Experiment) -> u64,
) -> String {
    let mut changed = experiment.clone();
    let mut words: Vec<String> = Vec::new();
    for apply in TOGETHER {
        if let Some(change) = apply(&changed, fits) {
            words.push(change.words);
            changed = change.experiment;
        }
        if fits(&changed) {
            break;
        }
    }
    let (n_bytes, words) = (bytes(needed(&changed)), words.join("; "));
    if fits(&changed) {
        format!("use all of these together ({n_bytes}): {words}")
    } else {
        format!(
            "use a smaller architecture or smaller images: the run would still take {n_bytes} with {words}"
        )
    }
}

fn cached(experiment: &Experiment, _fits: &dyn Fn(&Experiment) -> bool) -> Option<Change> {
    let mut changed = experiment.clone();
    changed.cache.mode = CacheMode::Auto;
    (experiment.cache.mode == CacheMode::Off).then(|| Change {
        words: "`--set cache.mode=auto`".to_owned(),
        experiment: changed,
    })
}

const PLAIN_SGD: OptimizerKind = OptimizerKind::Sgd {
    momentum: 0.0,
    dampening: 0.0,
    nesterov: false,
};

/// Halves the batch size until the run fits, and keeps the number of images in a step if that fits too.
fn smaller_batch(experiment: &Experiment, fits: &dyn Fn(&Experiment) -> bool) -> Option<Change> {
    let whole = experiment.data.batch_size.get();
    let sizes = std::iter::successors(Some(whole / 2), |size| Some(size / 2));
    let sizes = sizes.map_while(NonZeroUsize::new);
    let with_size = |size| {
        let mut changed = experiment.clone();
        changed.data.batch_size = size;
        changed
    };
    let mut smaller = sizes.map(with_size).find(fits)?;
    let size = smaller.data.batch_size.get();
    let mut words = format!("`--set data.batch_size={size}`");
    let n_batches = experiment.training.accumulate.get() * whole.div_ceil(size);
    let mut summed = smaller.clone();
    summed.training.accumulate = NonZeroUsize::new(n_batches)?;
    if fits(&summed) {
        let _ = write!(
            words,
            " with `--set training.accumulate={n_batches}`, which keeps the number of images per step"
        );
        smaller = summed;
    }
    Some(Change {
        words,
        experiment: smaller,
    })
}

fn plain_sgd(experiment: &Experiment, _fits: &dyn Fn(&Experiment) -> bool) -> Option<Change> {
    let mut changed = experiment.clone();
    changed.optimizer.kind = PLAIN_SGD;
    for phase in &mut changed.phases {
        phase.optimizer.kind = PLAIN_SGD;
    }
    (experiment.optimizer.kind != PLAIN_SGD).then(|| Change {
        words: "`--set optimizer.kind=sgd`, which has no moments".to_owned(),
        experiment: changed,
    })
}

/// Trains only the top-level module of the head (`classifier`), or only the head (`classifier[6]`) if nothing else is trained already.
fn frozen(experiment: &Experiment, _fits: &dyn Fn(&Experiment) -> bool) -> Option<Change> {
    let arch = experiment.model.arch;
    let head = experiment.paper(1).head().path;
    let (top, index) = head.split_once('.').unwrap_or((&head, ""));
    let trains_below = |phase: &Phase| {
        let mut paths = phase.trainable.iter().flat_map(|it| it.paths(arch));
        paths.any(|path| !is_in(&path, top))
    };
    let trains_any = experiment.phases.iter().any(trains_below);
    let words = if trains_any || index.is_empty() {
        top.to_owned()
    } else {
        format!("{top}[{index}]")
    };
    let selector = Selector::parse(&words).ok()?;
    let mut changed = experiment.clone();
    let mut sets = Vec::new();
    for phase in &mut changed.phases {
        if trains_below(phase) == trains_any && phase.trainable != [selector.clone()] {
            phase.trainable = vec![selector.clone()];
            sets.push(format!(
                "`--set 'phase.{}.trainable=[\"{words}\"]'`",
                phase.name
            ));
        }
    }
    (!sets.is_empty()).then(|| Change {
        words: format!("{}, which trains less", sets.join(" ")),
        experiment: changed,
    })
}

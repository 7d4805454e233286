//! Whether a run fits into memory, and what to change where it does not: every piece of advice is an estimate of the
//! experiment so changed. Pure.

use std::{fmt::Write as _, num::NonZeroUsize};

use super::{Available, Estimate, Facts, Start, estimate};
use crate::{
    config::experiment::{CacheMode, Experiment, OptimizerKind, Phase},
    model::select::Selector,
    plan::Plan,
    text::table::bytes,
};

/// How far an estimate is trusted: the largest deviation that was measured is smaller.
const DOUBT: f64 = 1.25;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fits,
    /// It may not: a note.
    Close(String),
    /// It cannot: fact and help.
    TooLarge(String),
}

/// Compares what a run needs with what there is.
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
        let help = help(experiment, facts, available);
        return Verdict::TooLarge(format!(
            "needs about {estimate}; {} are available ({})\n{help}",
            bytes(available.n_bytes),
            available.limit
        ));
    }
    if needed * DOUBT > there {
        return Verdict::Close(format!(
            "memory may run out: about {} are needed, {} are available ({})",
            bytes(estimate.total() as u64),
            bytes(available.n_bytes),
            available.limit
        ));
    }
    Verdict::Fits
}

/// The same of trials beside each other, of which each alone fits; `needed` is what each takes, the largest first.
pub(crate) fn judge_together(needed: &[u64], available: Option<&Available>) -> Verdict {
    let Some(available) = available.filter(|available| available.is_shared()) else {
        return Verdict::Fits;
    };
    let (total, there) = (needed.iter().sum::<u64>(), available.n_bytes);
    if needed.len() < 2 || total as f64 * DOUBT <= there as f64 {
        return Verdict::Fits;
    }
    let fact = format!(
        "{} trials at once need about {}; {} are available ({})",
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
    Verdict::TooLarge(format!(
        "{fact}\nhelp: `--parallel {n_fit}`; `--set memory=ignore` starts them all the same"
    ))
}

/// What to type, and the experiment that it makes.
struct Change {
    words: String,
    experiment: Experiment,
}

/// A change, if there is one to make; the second argument says whether an experiment would fit.
type Apply = fn(&Experiment, &dyn Fn(&Experiment) -> bool) -> Option<Change>;

/// Each alone.
const ALONE: [Apply; 4] = [smaller_batch, cached, plain_sgd, frozen];
/// One on top of the other until it fits, those that change the result least first.
const TOGETHER: [Apply; 6] = [
    cached,
    smaller_batch,
    frozen,
    smaller_batch,
    plain_sgd,
    frozen,
];

fn help(experiment: &Experiment, facts: &Facts, available: &Available) -> String {
    if facts.start == Start::Resumed {
        // What a run is made of is settled.
        return "help: go on where there is more memory; `memory = \"ignore\"` in that file goes on all the same"
            .to_owned();
    }
    let needed = |experiment: &Experiment| {
        let plan = Plan::new(experiment, facts.n_classes, facts.n_train);
        estimate(experiment, &plan, facts).total() as u64
    };
    let fits = |experiment: &Experiment| needed(experiment) <= available.n_bytes;
    let mut text = String::new();
    for apply in ALONE {
        if let Some(change) = apply(experiment, &fits)
            && fits(&change.experiment)
        {
            let n_bytes = bytes(needed(&change.experiment));
            let _ = write!(text, "\n      {}: {n_bytes}", change.words);
        }
    }
    let text = if text.is_empty() {
        together(experiment, &fits, &needed)
    } else {
        format!("help: each of these would fit:{text}")
    };
    format!("{text}\n      `--set memory=ignore` starts it all the same")
}

fn together(
    experiment: &Experiment,
    fits: &dyn Fn(&Experiment) -> bool,
    needed: &dyn Fn(&Experiment) -> u64,
) -> String {
    let mut changed = experiment.clone();
    let mut words = String::new();
    for apply in TOGETHER {
        if let Some(change) = apply(&changed, fits) {
            let _ = write!(words, "\n      {}", change.words);
            changed = change.experiment;
        }
        if fits(&changed) {
            break;
        }
    }
    let n_bytes = bytes(needed(&changed));
    if fits(&changed) {
        format!("help: these together would fit, with {n_bytes}:{words}")
    } else {
        format!(
            "help: use a smaller architecture or smaller images; it would still take {n_bytes} with{words}"
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

/// The largest batch that fits by halving, and if that fits too with as many images in a step as before.
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
            " with `--set training.accumulate={n_batches}`, which keeps the images of a step"
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
        words: "`--set optimizer.kind=sgd`, which keeps no moments".to_owned(),
        experiment: changed,
    })
}

/// Only the classifier learns, or where that is so already only its last layer.
fn frozen(experiment: &Experiment, _fits: &dyn Fn(&Experiment) -> bool) -> Option<Change> {
    let arch = experiment.model.arch;
    let trains_features = |phase: &Phase| {
        let mut paths = phase.trainable.iter().flat_map(|it| it.paths(arch));
        paths.any(|path| path.starts_with("features."))
    };
    let trains_any = experiment.phases.iter().any(trains_features);
    let words = if trains_any {
        "classifier"
    } else {
        "classifier[6]"
    };
    let selector = Selector::parse(words).ok()?;
    let mut changed = experiment.clone();
    let mut sets = Vec::new();
    for phase in &mut changed.phases {
        if trains_features(phase) == trains_any && phase.trainable != [selector.clone()] {
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

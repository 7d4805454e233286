//! Whether a run fits into this machine's memory: what `plan` says of it, and what `check`, `train` and `resume` refuse.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::prepare::Prepared;
use crate::{
    config::experiment::Experiment,
    console::Console,
    data::{index::DatasetIndex, split::SplitTable},
    error::Result,
    memory::{self, Available, Estimate, Facts, Start, Verdict},
    plan::Plan,
    rundir::RunDir,
    text::table::bytes,
    train::checkpoint::Which,
};

/// What a run needs, and what there is.
pub(super) struct Fit {
    facts: Facts,
    pub(super) estimate: Estimate,
    available: Option<Available>,
}

impl Fit {
    /// Of a run from its start, to which the cache may have nothing to add.
    pub(super) fn of(prepared: &Prepared, is_cache_full: bool) -> Self {
        let experiment = &prepared.loaded.experiment;
        let start = match &prepared.parent {
            Some(_) => Start::Parent,
            None => Start::Weights,
        };
        let facts = Facts {
            is_cache_full,
            ..Facts::gather(experiment, &prepared.index, &prepared.split, start)
        };
        Self::new(experiment, &prepared.plan, facts)
    }

    fn new(experiment: &Experiment, plan: &Plan, facts: Facts) -> Self {
        Self {
            estimate: memory::estimate(experiment, plan, &facts),
            facts,
            available: memory::available(),
        }
    }

    /// An error with advice, where the experiment does not say otherwise; a note where it is close.
    fn enforce(&self, experiment: &Experiment, place: &str, console: &Console) -> Result<()> {
        if !experiment.checks_memory {
            return Ok(());
        }
        let available = self.available.as_ref();
        match memory::judge(experiment, &self.facts, &self.estimate, available) {
            Verdict::Fits => {}
            Verdict::Close(note) => console.note(&note),
            Verdict::TooLarge(shortage) => return Err(shortage.into_error().at(place)),
        }
        Ok(())
    }

    /// The lines of `plan`.
    pub(super) fn text(&self) -> String {
        let mut text = format!("memory      about {}\n", self.estimate);
        if let Some(n_bytes) = self.estimate.on_device {
            let n_bytes = bytes(n_bytes as u64);
            let _ = writeln!(
                text,
                "            and {n_bytes} of the GPU, added up and not measured"
            );
        }
        let available = self.available.as_ref();
        let available = available.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let _ = writeln!(text, "available   {available}");
        text
    }

    pub(super) fn fields(&self) -> Value {
        json!({
            "stage": self.estimate.stage, "parts": self.estimate.shares(), "stages": self.estimate.stages,
            "on_device": self.estimate.on_device,
            "available": self.available.as_ref().map(|available| available.n_bytes),
        })
    }
}

/// Refuses a run that will not fit; `place` is what the user calls it. Supposes that the cache is empty: what is in it
/// takes the weights to know, and reading them is the first thing that may not fit.
pub(super) fn check(prepared: &Prepared, place: &str, console: &Console) -> Result<Estimate> {
    let fit = Fit::of(prepared, false);
    fit.enforce(&prepared.loaded.experiment, place, console)?;
    Ok(fit.estimate)
}

/// Refuses trials that will not fit beside each other; `needed` is what each takes, the largest first.
pub(super) fn check_together(needed: &[u64], console: &Console) -> Result<()> {
    match memory::judge_together(needed, memory::available().as_ref()) {
        Verdict::Fits => {}
        Verdict::Close(note) => console.note(&note),
        Verdict::TooLarge(shortage) => return Err(shortage.into_error()),
    }
    Ok(())
}

/// The same of a run that goes on.
pub(super) fn check_resumed(
    run_dir: &RunDir,
    experiment: &Experiment,
    plan: &Plan,
    (index, split): (&DatasetIndex, &SplitTable),
    console: &Console,
) -> Result<()> {
    let has_checkpoint = run_dir.checkpoints().join(Which::Last.name()).is_dir();
    let start = if has_checkpoint {
        Start::Resumed
    } else {
        Start::Weights
    };
    let facts = Facts::gather(experiment, index, split, start);
    let fit = Fit::new(experiment, plan, facts);
    let place = run_dir.resolved_toml().display().to_string();
    fit.enforce(experiment, &place, console)
}

//! Whether a run fits into memory: `plan` shows the estimate; `check`, `train` and `resume` refuse a run that does not fit.

use std::{fmt::Write as _, path::Path};

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

/// The memory that a run needs, and the memory that is available.
pub(super) struct Fit {
    facts: Facts,
    pub(super) estimate: Estimate,
    available: Option<Available>,
}

impl Fit {
    /// The fit of a run from its start; `is_cache_full` if it has no activations left to compute.
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
        let available = memory::available();
        let fit = |facts: Facts| Self {
            estimate: memory::estimate(experiment, plan, &facts),
            facts,
            available: available.clone(),
        };
        let roomy = fit(facts);
        // Training writes the best model at once if there is no room to hold it, so that it is no reason to refuse a run.
        match roomy.verdict(experiment) {
            Verdict::Fits => roomy,
            Verdict::Close(_) | Verdict::TooLarge(_) => fit(facts.without_held_best()),
        }
    }

    fn verdict(&self, experiment: &Experiment) -> Verdict {
        memory::judge(
            experiment,
            &self.facts,
            &self.estimate,
            self.available.as_ref(),
        )
    }

    /// Fails if the run does not fit, unless the experiment ignores memory; prints a note if it may not fit.
    fn enforce(&self, experiment: &Experiment, file: &Path, console: &Console) -> Result<()> {
        if !experiment.checks_memory {
            return Ok(());
        }
        match self.verdict(experiment) {
            Verdict::Fits => {}
            Verdict::Close(note) => console.note(&note),
            Verdict::TooLarge(shortage) => return Err(shortage.into_error().at(file)),
        }
        Ok(())
    }

    /// The lines for `runner plan`.
    pub(super) fn text(&self) -> String {
        let mut text = format!("memory      about {}\n", self.estimate);
        if let Some(n_bytes) = self.estimate.on_device {
            let n_bytes = bytes(n_bytes as u64);
            let _ = writeln!(
                text,
                "            and {n_bytes} of GPU memory (estimated, never measured)"
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

/// Fails if a run from `file` does not fit. Assumes an empty cache: to know what is cached takes the weights, and reading
/// those is the first thing that may not fit.
pub(super) fn check(prepared: &Prepared, file: &Path, console: &Console) -> Result<Estimate> {
    let fit = Fit::of(prepared, false);
    fit.enforce(&prepared.loaded.experiment, file, console)?;
    Ok(fit.estimate)
}

/// Like [`check`], for a trial of a sweep. Returns the bytes that it needs beside other trials, at least.
pub(super) fn check_trial(prepared: &Prepared, file: &Path, console: &Console) -> Result<u64> {
    let fit = Fit::of(prepared, false);
    fit.enforce(&prepared.loaded.experiment, file, console)?;
    let facts = fit.facts.without_held_best();
    let least = memory::estimate(&prepared.loaded.experiment, &prepared.plan, &facts);
    Ok(least.total() as u64)
}

/// Fails if trials do not fit in parallel; `needed` are the bytes that each takes, the largest first.
pub(super) fn check_together(needed: &[u64], console: &Console) -> Result<()> {
    match memory::judge_together(needed, memory::available().as_ref()) {
        Verdict::Fits => {}
        Verdict::Close(note) => console.note(&note),
        Verdict::TooLarge(shortage) => return Err(shortage.into_error()),
    }
    Ok(())
}

/// Fails if a resumed run does not fit.
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
    fit.enforce(experiment, &run_dir.resolved_toml(), console)
}

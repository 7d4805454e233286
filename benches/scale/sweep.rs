//! A sweep over learning rates on cached activations.

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use super::program::{self, EXPERIMENT};

const EPOCHS: usize = 5;

/// The costs of a sweep, in seconds per trial.
pub(crate) struct SweepCosts {
    pub(crate) n_trials: usize,
    pub(crate) n_epochs: usize,
    pub(crate) n_steps: usize,
    pub(crate) wall: f64,
    pub(crate) training: f64,
    pub(crate) validating: f64,
    pub(crate) waiting: f64,
    pub(crate) saving: f64,
    /// The same for `check` of the experiment alone: reading the remembered scan and splitting, which every trial does.
    pub(crate) checking: f64,
}

impl SweepCosts {
    /// The time of a trial beside its epochs and its checkpoints: the start of its process, checking, plots, the end, and the
    /// sweep's own work.
    pub(crate) fn rest(&self) -> f64 {
        self.wall - self.training - self.validating - self.waiting - self.saving
    }
}

/// Runs the sweep in the folder of an experiment whose cache is full.
pub(crate) fn measure(
    folder: &Path,
    threads: usize,
    n_trials: usize,
) -> Result<SweepCosts, Box<dyn Error>> {
    let mut text = format!(
        "name = \"rates\"\nbase = \"{EXPERIMENT}\"\n[set]\nphase.head.epochs = {EPOCHS}\nthreads = {threads}\n\
         [axes]\noptimizer.lr = ["
    );
    for trial in 0..n_trials {
        // From 1e-5 by factors of a third of a decade and less, so that all differ.
        let _ = write!(text, "{:e}, ", 1e-5 * 1.4_f64.powi(trial as i32));
    }
    text += "]\n";
    fs::write(folder.join("rates.toml"), text)?;
    let checked = program::run(folder, "check", EXPERIMENT, &[])?;
    let finished = program::run(folder, "sweep", "rates.toml", &[])?;
    let summaries = run_dirs(&folder.join("runs/sweep-rates"))?
        .iter()
        .map(|run| program::summary(run))
        .collect::<Result<Vec<_>, _>>()?;
    if summaries.len() != n_trials {
        return Err(format!("{} of {n_trials} trials have finished", summaries.len()).into());
    }
    let mean = |of: fn(&program::Times) -> f64| {
        summaries
            .iter()
            .map(|summary| of(&summary.times))
            .sum::<f64>()
            / n_trials as f64
    };
    Ok(SweepCosts {
        n_trials,
        n_epochs: EPOCHS,
        n_steps: summaries.first().map_or(0, |summary| summary.steps),
        wall: finished.seconds / n_trials as f64,
        training: mean(|times| times.training),
        validating: mean(|times| times.validating),
        waiting: mean(|times| times.waiting),
        saving: mean(|times| times.saving),
        checking: checked.seconds,
    })
}

/// The folders below `folder` with a summary.
fn run_dirs(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.join("summary.toml").is_file() {
            runs.push(path);
        } else if path.is_dir() {
            runs.extend(run_dirs(&path)?);
        }
    }
    Ok(runs)
}

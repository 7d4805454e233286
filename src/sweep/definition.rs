//! The contents of a sweep file: which keys vary over which values, and how they are combined into trials.

use std::{num::NonZeroUsize, ops::Range, path::PathBuf, sync::Arc};

use serde::Deserialize;
use toml::Value;

use super::slurm::settings::SlurmSettings;
use crate::error::Source;

/// A sweep file, checked as far as possible without its base.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    /// The path of the experiment file that the trials vary, relative to the working directory.
    pub(crate) base: PathBuf,
    pub(crate) method: Method,
    pub(crate) search: Search,
    pub(crate) launcher: LauncherSettings,
    /// The most GiB that the directory of the sweep may take. No trial starts that would exceed it.
    pub(crate) max_gib: Option<f64>,
    /// Settings that are the same in every trial.
    pub(crate) fixed: Vec<Setting>,
    /// The keys that vary, in the order of the file. Never empty.
    pub(crate) axes: Vec<Axis>,
    pub(crate) source: Arc<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Every combination.
    Grid,
    /// At most `n_trials` different combinations.
    Random { n_trials: usize, seed: u64 },
    /// Like `Random`, but spread evenly by a scrambled Sobol sequence.
    Sobol { n_trials: usize, seed: u64 },
}

/// How long trials train.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// Every trial trains all of its epochs.
    Full,
    /// Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934).
    Asha(AshaSettings),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AshaSettings {
    /// One of `eta` trials is promoted, to a rung with `eta` times as many epochs. At least 2.
    pub(crate) eta: usize,
    /// The epochs of the first rung. At least 1.
    pub(crate) min_epochs: usize,
    /// The epochs of a trial that reaches the top; `None` for as many as the experiment has.
    pub(crate) max_epochs: Option<usize>,
    /// The place of `max_epochs` in the sweep file, or else that of `kind`.
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LauncherKind {
    /// Processes on this machine.
    Local,
    /// Tasks of job arrays in a cluster that runs Slurm.
    Slurm,
}

impl LauncherKind {
    /// The names that `launcher.kind` takes.
    pub(crate) const NAMES: [&str; 2] = ["local", "slurm"];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => Self::NAMES[0],
            Self::Slurm => Self::NAMES[1],
        }
    }
}

/// Where trials run, and how many at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LauncherSettings {
    pub(crate) kind: LauncherKind,
    pub(crate) max_parallel: Option<NonZeroUsize>,
    /// How often a trial is started that fails by itself.
    pub(crate) max_attempts: NonZeroUsize,
    /// The GPUs that local trials are spread over, one for each trial.
    pub(crate) gpus: Vec<usize>,
    pub(crate) slurm: SlurmSettings,
}

impl LauncherSettings {
    /// The number of trials that run on this machine at once: one, or one for each GPU.
    pub(crate) fn n_at_once(&self) -> usize {
        let default = self.gpus.len().max(1);
        self.max_parallel.map_or(default, NonZeroUsize::get)
    }
}

/// A key that overrides the base, with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    /// The full key, as `--set` takes it.
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) key_span: Range<usize>,
    /// The place in the sweep file of the value, or of the distribution that it was drawn from.
    pub(crate) span: Range<usize>,
}

/// One key that varies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) span: Range<usize>,
    pub(crate) values: Values,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    /// Distinct values with their places in the file. Never empty.
    Choices(Vec<(Value, Range<usize>)>),
    Uniform {
        low: f64,
        high: f64,
    },
    /// Both ends included.
    UniformInteger {
        low: i64,
        high: i64,
    },
    /// Uniform in the logarithm; both ends are above 0.
    LogUniform {
        low: f64,
        high: f64,
    },
}

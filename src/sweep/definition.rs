//! The contents of a sweep file: which keys vary over which values, and how they are combined into trials.

use std::{num::NonZeroUsize, ops::Range, path::PathBuf, sync::Arc};

use toml::Value;

use crate::error::Source;

/// A sweep file, checked as far as possible without its base.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    /// The path of the experiment file that the trials vary, relative to the working directory.
    pub(crate) base: PathBuf,
    pub(crate) method: Method,
    /// The number of trials to run in parallel.
    pub(crate) parallel: NonZeroUsize,
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

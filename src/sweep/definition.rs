//! What a sweep file says: which keys vary over which values, and how trials are made of them.

use std::{num::NonZeroUsize, ops::Range, path::PathBuf, sync::Arc};

use toml::Value;

use crate::error::Source;

/// One sweep file, checked as far as it goes without its base.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    /// The experiment that varies, as the process sees it.
    pub(crate) base: PathBuf,
    pub(crate) method: Method,
    /// Trials at once.
    pub(crate) parallel: NonZeroUsize,
    /// The same in every trial.
    pub(crate) fixed: Vec<Setting>,
    /// Never empty; in the order of the file.
    pub(crate) axes: Vec<Axis>,
    pub(crate) source: Arc<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Every combination.
    Grid,
    /// At most `n_trials` different combinations.
    Random { n_trials: usize, seed: u64 },
}

/// One key laid over the base.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    /// As `--set` takes it.
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) key_span: Range<usize>,
    /// The value's place in the sweep file, or its distribution's.
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
    /// Never empty, all different, each with its place.
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

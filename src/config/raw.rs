//! An experiment as its file has it: flat structs that mirror the tables, read from the merged layers and written to
//! `resolved.toml`. Knows no rules. `Option` is a key that may be left out, or one whose absence `resolve` reports with the
//! rest.

use std::{collections::BTreeMap, num::NonZeroUsize};

use serde::{Deserialize, Serialize};

use super::{
    commented::kinds_of_keys,
    experiment::{
        CacheMode, CacheTrust, Checkpoints, Duplicates, FrozenBatchNorm, Interpolation, Log,
        Metric, OnNan, Precision,
    },
    optimizer::OptimizerSettings,
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub(crate) name: Option<String>,
    pub(crate) init_from: Option<String>,
    pub(crate) allow_other_split: Option<bool>,
    pub(crate) seed: u64,
    pub(crate) device: String,
    pub(crate) threads: usize,
    pub(crate) memory: MemoryName,
    pub(crate) runs_dir: String,
    pub(crate) data: RawData,
    pub(crate) split: RawSplit,
    pub(crate) transforms: RawTransforms,
    pub(crate) augment: RawAugment,
    pub(crate) model: RawModel,
    pub(crate) optimizer: OptimizerSettings,
    pub(crate) schedule: Option<RawSchedule>,
    pub(crate) training: RawTraining,
    pub(crate) early_stopping: Option<RawEarlyStopping>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) cache: RawCache,
    pub(crate) log: Log,
    pub(crate) fetch: Option<RawFetch>,
    pub(crate) phase: Option<Vec<RawPhase>>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemoryName {
    Check,
    Ignore,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawData {
    pub(crate) root: Option<String>,
    pub(crate) manifest: Option<String>,
    pub(crate) class_pattern: Option<String>,
    pub(crate) duplicates: Duplicates,
    pub(crate) batch_size: NonZeroUsize,
    pub(crate) workers: usize,
    pub(crate) max_pixels: u64,
    pub(crate) max_rejected_fraction: f64,
    pub(crate) exif_orientation: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSplit {
    pub(crate) method: SplitMethod,
    pub(crate) valid: Option<f64>,
    pub(crate) test: Option<f64>,
    pub(crate) file: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SplitMethod {
    Auto,
    Random,
    Stratified,
    File,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTransforms {
    /// Height, width.
    pub(crate) resize: Option<[usize; 2]>,
    pub(crate) shorter: Option<usize>,
    pub(crate) crop: Option<usize>,
    pub(crate) interpolation: Interpolation,
    pub(crate) preset: Option<PresetName>,
    pub(crate) normalize: NormalizeName,
    pub(crate) mean: Option<[f64; 3]>,
    pub(crate) std: Option<[f64; 3]>,
}

/// Where the transforms come from instead of the other keys. Never in `resolved.toml`, which spells them out.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PresetName {
    Weights,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NormalizeName {
    Imagenet,
    None,
    Custom,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAugment {
    pub(crate) horizontal_flip: f64,
    pub(crate) crop_scale: Option<[f64; 2]>,
    pub(crate) variants: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawModel {
    pub(crate) arch: String,
    pub(crate) weights: String,
    pub(crate) weights_sha256: Option<String>,
    pub(crate) fresh: Option<Vec<String>>,
    pub(crate) dropout: Option<f64>,
    pub(crate) frozen_batch_norm: Option<FrozenBatchNorm>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSchedule {
    pub(crate) kind: Option<ScheduleName>,
    pub(crate) warmup_epochs: Option<f64>,
    pub(crate) step_epochs: Option<NonZeroUsize>,
    pub(crate) gamma: Option<f64>,
    pub(crate) min_factor: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScheduleName {
    Constant,
    Step,
    Cosine,
}

impl ScheduleName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Step => "step",
            Self::Cosine => "cosine",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTraining {
    pub(crate) label_smoothing: f64,
    pub(crate) accumulate: NonZeroUsize,
    pub(crate) clip_grad_norm: Option<f64>,
    pub(crate) metric: Metric,
    pub(crate) checkpoint_every: String,
    pub(crate) on_nan: OnNan,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEarlyStopping {
    pub(crate) patience: Option<NonZeroUsize>,
    pub(crate) min_delta: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCache {
    pub(crate) mode: CacheMode,
    pub(crate) dir: Option<String>,
    pub(crate) max_gib: f64,
    pub(crate) precision: Precision,
    pub(crate) trust: CacheTrust,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFetch {
    pub(crate) mirror: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPhase {
    pub(crate) name: Option<String>,
    pub(crate) epochs: Option<NonZeroUsize>,
    pub(crate) trainable: Option<Vec<String>>,
    pub(crate) lr: Option<f64>,
    pub(crate) weight_decay: Option<f64>,
    /// Pairs rather than a table, because the last selector that matches wins and TOML tables have no order.
    pub(crate) lr_factors: Option<Vec<(String, f64)>>,
    pub(crate) keep_optimizer: Option<bool>,
    pub(crate) schedule: Option<RawSchedule>,
}

/// The parts of the defaults file that `resolve` itself reads; the rest of it is the lowest layer.
#[derive(Debug, Deserialize)]
pub(crate) struct Defaults {
    pub(crate) runs_dir: String,
    pub(crate) kinds: Kinds,
    /// A phase's own schedule replaces the file's whole and falls back to these.
    pub(crate) schedule: RawSchedule,
    /// The kinds that take a key, by key: `sgd` and `rmsprop` for `optimizer.momentum`. Keys that all kinds take are absent.
    #[serde(skip)]
    pub(crate) kinds_of_keys: BTreeMap<String, Vec<String>>,
}

impl Defaults {
    /// The defaults in the text of a defaults file.
    pub(crate) fn parse(text: &str) -> Self {
        let mut defaults: Self =
            toml::from_str(text).expect("the embedded defaults are tested to parse");
        defaults.kinds_of_keys = kinds_of_keys(text);
        defaults
    }
}

/// The tables `[kinds.*]` of the defaults file: the numbers that a choice brings with it.
#[derive(Debug, Deserialize)]
pub(crate) struct Kinds {
    pub(crate) step: StepNumbers,
    pub(crate) cosine: CosineNumbers,
    pub(crate) imagenet: NormalizeNumbers,
    pub(crate) none: NormalizeNumbers,
    pub(crate) batch_norm: BatchNormChoice,
    pub(crate) early_stopping: EarlyStoppingNumbers,
    pub(crate) init_from: InitFromChoice,
    pub(crate) phase: PhaseChoice,
    /// A layer of its own, for the trials of sweeps.
    pub(crate) sweep: toml::Table,
    /// All others are optimizers, whose numbers are a layer above the defaults.
    #[serde(flatten)]
    pub(crate) optimizers: BTreeMap<String, toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepNumbers {
    pub(crate) step_epochs: NonZeroUsize,
    pub(crate) gamma: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CosineNumbers {
    pub(crate) min_factor: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NormalizeNumbers {
    pub(crate) mean: [f64; 3],
    pub(crate) std: [f64; 3],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchNormChoice {
    pub(crate) frozen_batch_norm: FrozenBatchNorm,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EarlyStoppingNumbers {
    pub(crate) min_delta: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InitFromChoice {
    pub(crate) allow_other_split: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhaseChoice {
    pub(crate) keep_optimizer: bool,
}

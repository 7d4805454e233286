//! What an experiment says once its layers are merged: flat structs that mirror the file.
//! Knows no rules. `Option` is a key that may be left out, or one whose absence `resolve` reports with the rest.

use std::num::NonZeroUsize;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
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
    pub(crate) model: RawModel,
    pub(crate) optimizer: RawOptimizer,
    pub(crate) schedule: RawSchedule,
    pub(crate) training: RawTraining,
    pub(crate) early_stopping: Option<RawEarlyStopping>,
    pub(crate) augment: RawAugment,
    pub(crate) cache: RawCache,
    pub(crate) fetch: Option<RawFetch>,
    pub(crate) phase: Option<Vec<RawPhase>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemoryName {
    Check,
    Ignore,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawData {
    pub(crate) root: Option<String>,
    pub(crate) manifest: Option<String>,
    pub(crate) class_pattern: Option<String>,
    pub(crate) duplicates: DuplicatesName,
    pub(crate) batch_size: NonZeroUsize,
    pub(crate) workers: usize,
    pub(crate) max_pixels: u64,
    pub(crate) max_rejected_fraction: f64,
    pub(crate) exif_orientation: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DuplicatesName {
    Warn,
    Error,
    Together,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSplit {
    pub(crate) method: SplitMethod,
    pub(crate) valid: f64,
    pub(crate) test: f64,
    pub(crate) file: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SplitMethod {
    Auto,
    Random,
    Stratified,
    File,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTransforms {
    /// Height, width.
    pub(crate) resize: [usize; 2],
    pub(crate) normalize: NormalizeName,
    pub(crate) mean: Option<[f64; 3]>,
    pub(crate) std: Option<[f64; 3]>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NormalizeName {
    Imagenet,
    None,
    Custom,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawModel {
    pub(crate) arch: String,
    pub(crate) weights: String,
    pub(crate) weights_sha256: Option<String>,
    pub(crate) fresh: Vec<String>,
    pub(crate) dropout: f64,
    pub(crate) frozen_batch_norm: Option<FrozenBatchNormName>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FrozenBatchNormName {
    Eval,
    Train,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOptimizer {
    pub(crate) kind: OptimizerName,
    pub(crate) lr: f64,
    pub(crate) weight_decay: Option<f64>,
    pub(crate) betas: Option<[f64; 2]>,
    pub(crate) eps: Option<f64>,
    pub(crate) momentum: Option<f64>,
    pub(crate) dampening: Option<f64>,
    pub(crate) nesterov: Option<bool>,
    pub(crate) alpha: Option<f64>,
    pub(crate) centered: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OptimizerName {
    Adam,
    AdamW,
    Sgd,
    RmsProp,
}

impl OptimizerName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Adam => "adam",
            Self::AdamW => "adamw",
            Self::Sgd => "sgd",
            Self::RmsProp => "rmsprop",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSchedule {
    pub(crate) kind: Option<ScheduleName>,
    pub(crate) warmup_epochs: Option<f64>,
    pub(crate) step_epochs: Option<NonZeroUsize>,
    pub(crate) gamma: Option<f64>,
    pub(crate) min_factor: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTraining {
    pub(crate) label_smoothing: f64,
    pub(crate) accumulate: NonZeroUsize,
    pub(crate) clip_grad_norm: Option<f64>,
    pub(crate) metric: MetricName,
    pub(crate) checkpoint_every: String,
    pub(crate) on_nan: OnNanName,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnNanName {
    Stop,
    Skip,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetricName {
    ValidAccuracy,
    ValidLoss,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAugment {
    pub(crate) horizontal_flip: f64,
    pub(crate) crop_scale: Option<[f64; 2]>,
    pub(crate) variants: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCache {
    pub(crate) mode: CacheModeName,
    pub(crate) dir: Option<String>,
    pub(crate) max_gib: f64,
    pub(crate) precision: PrecisionName,
    pub(crate) trust: CacheTrustName,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheTrustName {
    Own,
    All,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheModeName {
    Auto,
    Off,
    Require,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PrecisionName {
    F32,
    F16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFetch {
    pub(crate) mirror: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEarlyStopping {
    pub(crate) patience: Option<NonZeroUsize>,
    pub(crate) min_delta: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPhase {
    pub(crate) name: Option<String>,
    pub(crate) epochs: Option<NonZeroUsize>,
    pub(crate) trainable: Option<Vec<String>>,
    pub(crate) lr: Option<f64>,
    pub(crate) weight_decay: Option<f64>,
    pub(crate) keep_optimizer: Option<bool>,
    /// In file order: the last that matches wins.
    pub(crate) lr_factors: Option<Vec<(String, f64)>>,
    pub(crate) schedule: Option<RawSchedule>,
}

/// What `resolve` itself takes from the defaults file; the rest of it is the lowest layer.
#[derive(Debug, Deserialize)]
pub(crate) struct Defaults {
    pub(crate) runs_dir: String,
    pub(crate) kinds: Kinds,
    /// A phase's own schedule replaces the file's whole and falls back to these.
    pub(crate) schedule: RawSchedule,
}

/// The numbers of `[kinds.*]` in the defaults file: what a choice brings with it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kinds {
    pub(crate) adam: AdamNumbers,
    pub(crate) adamw: AdamNumbers,
    pub(crate) sgd: SgdNumbers,
    pub(crate) rmsprop: RmsPropNumbers,
    pub(crate) step: StepNumbers,
    pub(crate) cosine: CosineNumbers,
    pub(crate) imagenet: NormalizeNumbers,
    pub(crate) none: NormalizeNumbers,
    pub(crate) batch_norm: BatchNormChoice,
    pub(crate) early_stopping: EarlyStoppingNumbers,
    pub(crate) init_from: InitFromChoice,
    pub(crate) phase: PhaseChoice,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdamNumbers {
    pub(crate) betas: [f64; 2],
    pub(crate) eps: f64,
    pub(crate) weight_decay: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SgdNumbers {
    pub(crate) momentum: f64,
    pub(crate) dampening: f64,
    pub(crate) nesterov: bool,
    pub(crate) weight_decay: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RmsPropNumbers {
    pub(crate) alpha: f64,
    pub(crate) eps: f64,
    pub(crate) momentum: f64,
    pub(crate) centered: bool,
    pub(crate) weight_decay: f64,
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
    pub(crate) frozen_batch_norm: FrozenBatchNormName,
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

//! An experiment after every check that needs no disk. A value of these types has passed the checks.
//! Pure; knows neither files nor tensors.

use std::{fmt, num::NonZeroUsize, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use super::{
    optimizer::{OptimizerKind, OptimizerSettings},
    transforms::{Geometry, ImageSize, Interpolation, Normalize, Transforms},
};
use crate::model::{
    families::{Arch, Published},
    paper::Paper,
    select::Selector,
};

/// One checked experiment. Relative paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Experiment {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) device: DeviceChoice,
    /// The number of compute threads; 0 means one per core.
    pub(crate) threads: usize,
    /// Whether a run that will not fit into memory is refused.
    pub(crate) checks_memory: bool,
    pub(crate) runs_dir: PathBuf,
    pub(crate) init_from: Option<InitFrom>,
    /// Whether the split may differ from that of the run in `init_from`.
    pub(crate) allow_other_split: bool,
    pub(crate) data: Data,
    pub(crate) split: Split,
    pub(crate) transforms: Transforms,
    pub(crate) model: Model,
    pub(crate) optimizer: OptimizerSettings,
    pub(crate) training: Training,
    pub(crate) early_stopping: Option<EarlyStopping>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) augment: Augment,
    pub(crate) cache: Cache,
    pub(crate) log: Log,
    /// The base URL of `runner fetch` instead of the official servers; file names are appended to it.
    pub(crate) mirror: Option<String>,
    /// Never empty; names are unique.
    pub(crate) phases: Vec<Phase>,
}

impl Experiment {
    /// The network that this experiment trains, for its image size.
    pub(crate) fn paper(&self, n_classes: usize) -> Paper {
        let ImageSize { height, width } = self.transforms.size();
        self.model.arch.paper(n_classes, height, width)
    }
}

/// The device of tensors: `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    Auto,
    Cpu,
    Cuda(usize),
}

/// The run to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InitFrom {
    /// A run directory.
    Run(PathBuf),
    /// `latest:NAME`: the newest finished run of that name in `runs_dir`.
    Latest(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Data {
    pub(crate) root: PathBuf,
    /// A table of files and classes. Without it and `class_pattern`, folders are classes.
    pub(crate) manifest: Option<PathBuf>,
    /// A regular expression whose one capture group is the class in a file name.
    pub(crate) class_pattern: Option<String>,
    pub(crate) duplicates: Duplicates,
    pub(crate) batch_size: NonZeroUsize,
    /// The number of decoding threads; 0 means as many as compute threads.
    pub(crate) workers: usize,
    /// The number of pixels above which an image is rejected without decoding it.
    pub(crate) max_pixels: u64,
    /// The fraction of unreadable images, `0.0..=1.0`, above which the data set is refused.
    pub(crate) max_rejected_fraction: f64,
    pub(crate) exif_orientation: bool,
}

/// The treatment of byte-identical images in different classes or parts of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Duplicates {
    Warn,
    Error,
    /// All copies are kept in one part of a split that is drawn.
    Together,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Split {
    /// The split of the data set itself if it has one, or else as `Random`.
    Auto { valid: f64, test: f64 },
    /// All images are shuffled and cut by fraction.
    Random { valid: f64, test: f64 },
    /// The images of each class are shuffled and cut by fraction.
    Stratified { valid: f64, test: f64 },
    /// A table with the columns `file,class,split`, like the `split.csv` of a run.
    File(PathBuf),
}

impl Split {
    /// The method that applies to a data set that has its own split or not.
    pub(crate) fn in_force(&self, has_own: bool) -> Self {
        match self {
            Self::Auto { valid, test } if !has_own => Self::Random {
                valid: *valid,
                test: *test,
            },
            other => other.clone(),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto { valid, test } => write!(f, "auto (valid {valid}, test {test})"),
            Self::Random { valid, test } => write!(f, "random (valid {valid}, test {test})"),
            Self::Stratified { valid, test } => {
                write!(f, "stratified (valid {valid}, test {test})")
            }
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Random changes to training images before the transforms; validation and test images are left unchanged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Augment {
    /// The probability of a flip.
    pub(crate) horizontal_flip: f64,
    /// The smallest and largest fraction of the area that a random crop keeps; `None` for whole images.
    pub(crate) crop_scale: Option<[f64; 2]>,
    /// The number of variants per image that epochs use in turn; 0 draws a new one every epoch.
    pub(crate) variants: usize,
}

impl Augment {
    pub(crate) fn is_random(&self) -> bool {
        self.horizontal_flip > 0.0 || self.crop_scale.is_some()
    }
}

/// The activation cache of frozen layers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cache {
    pub(crate) mode: CacheMode,
    /// `None` is the default cache directory.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) max_gib: f64,
    pub(crate) precision: Precision,
    pub(crate) trust: CacheTrust,
}

impl Cache {
    pub(crate) fn max_bytes(&self) -> u64 {
        (self.max_gib * f64::from(1 << 30)) as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheMode {
    /// Caches what can be cached.
    Auto,
    Off,
    /// Refuses an experiment that cannot be cached.
    Require,
}

/// The users whose cache entries are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheTrust {
    /// Only the user and root.
    Own,
    All,
}

/// The precision of stored activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Precision {
    F32,
    F16,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    pub(crate) arch: Arch,
    pub(crate) weights: Weights,
    /// The lower-case hexadecimal digits that the SHA-256 of the file must start with.
    pub(crate) weights_sha256: Option<String>,
    /// Parameters to initialize if they are missing from the weights or have another shape.
    pub(crate) fresh: Vec<Selector>,
    pub(crate) dropout: f64,
    pub(crate) frozen_batch_norm: FrozenBatchNorm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// All parameters are initialized.
    None,
    Known(&'static Published),
    File(PathBuf),
}

/// The behavior of batch norm in frozen layers during training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FrozenBatchNorm {
    /// Uses the running statistics and does not update them.
    Eval,
    /// Uses the statistics of the batch and updates the running ones, as PyTorch does under `train()`.
    Train,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Training {
    /// `0.0..1.0`
    pub(crate) label_smoothing: f64,
    /// The number of batches per optimizer step.
    pub(crate) accumulate: NonZeroUsize,
    /// The largest global L2 norm of the gradients; `None` does not clip.
    pub(crate) clip_grad_norm: Option<f64>,
    /// The metric of the best checkpoint and of early stopping.
    pub(crate) metric: Metric,
    /// The interval between checkpoints, which is the most work that a killed run loses.
    pub(crate) checkpoint_every: CheckpointEvery,
    pub(crate) on_nan: OnNan,
}

/// The checkpoints of a run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoints {
    pub(crate) keep: Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keep {
    /// Everything that training further needs.
    All,
    /// The best and the last model, as `runner slim` does.
    Best,
}

/// What a run records for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// Whether to write event files.
    pub(crate) tensorboard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointEvery {
    Time(Duration),
    Steps(NonZeroUsize),
    Epochs(NonZeroUsize),
}

impl fmt::Display for CheckpointEvery {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(span) => write!(out, "{}s", span.as_secs()),
            Self::Steps(number) => write!(out, "{number} steps"),
            Self::Epochs(number) => write!(out, "{number} epochs"),
        }
    }
}

/// The reaction to a step whose loss or gradients are not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnNan {
    /// Ends the run.
    Stop,
    /// Skips the update.
    Skip,
}

/// A validation metric, which implies whether higher or lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    ValidLoss,
    ValidAccuracy,
    /// The F1 of each class, averaged over the classes.
    ValidMacroF1,
    /// The area under the ROC curve of each class against the others, averaged over the classes.
    ValidAuc,
}

impl Metric {
    pub(crate) const ALL: [Self; 4] = [
        Self::ValidAccuracy,
        Self::ValidLoss,
        Self::ValidMacroF1,
        Self::ValidAuc,
    ];

    /// Whether lower values are better.
    pub(crate) fn falls(self) -> bool {
        match self {
            Self::ValidLoss => true,
            Self::ValidAccuracy | Self::ValidMacroF1 | Self::ValidAuc => false,
        }
    }

    /// Whether `new` beats `old` by more than `min_delta`.
    pub(crate) fn improves(self, new: f64, old: f64, min_delta: f64) -> bool {
        if self.falls() {
            new < old - min_delta
        } else {
            new > old + min_delta
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ValidLoss => "valid_loss",
            Self::ValidAccuracy => "valid_accuracy",
            Self::ValidMacroF1 => "valid_macro_f1",
            Self::ValidAuc => "valid_auc",
        }
    }
}

/// Ends a phase after `patience` epochs without an improvement of the metric by more than `min_delta`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EarlyStopping {
    pub(crate) patience: NonZeroUsize,
    pub(crate) min_delta: f64,
}

/// A number of epochs with one set of trainable parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) epochs: NonZeroUsize,
    /// Never empty.
    pub(crate) trainable: Vec<Selector>,
    /// The optimizer of the file with this phase's own `lr` and `weight_decay`.
    pub(crate) optimizer: OptimizerSettings,
    /// Factors of the learning rate of selected parameters; the last match wins.
    pub(crate) lr_factors: Vec<(Selector, f64)>,
    pub(crate) schedule: Schedule,
    /// Whether to continue with the moments of the previous phase.
    pub(crate) keep_optimizer: bool,
}

/// The factor of a phase's learning rate at each step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) kind: ScheduleKind,
    /// The number of epochs, also a fraction, over which the factor first rises linearly from 0.
    pub(crate) warmup_epochs: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ScheduleKind {
    Constant,
    /// Multiplies by `gamma` every `step_epochs`.
    Step {
        step_epochs: NonZeroUsize,
        gamma: f64,
    },
    /// Falls along half a cosine to `min_factor` at the end of the phase.
    Cosine {
        min_factor: f64,
    },
}

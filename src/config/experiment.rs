//! What an experiment file means, after every check that needs no disk: the types carry the proof.
//! Pure; knows neither files nor tensors.

use std::{fmt, num::NonZeroUsize, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use super::optimizer::{Optimizer, OptimizerKind};
use crate::model::{layout::Arch, select::Selector};

/// One experiment, checked. Paths are as the process sees them (already relative to the working directory).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Experiment {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) device: DeviceChoice,
    /// Threads for computing; 0 is one per core.
    pub(crate) threads: usize,
    /// Whether a run that will not fit into memory is refused.
    pub(crate) checks_memory: bool,
    pub(crate) runs_dir: PathBuf,
    pub(crate) init_from: Option<InitFrom>,
    /// With `init_from`: uses this experiment's own split instead of that run's.
    pub(crate) allow_other_split: bool,
    pub(crate) data: Data,
    pub(crate) split: Split,
    pub(crate) transforms: Transforms,
    pub(crate) model: Model,
    pub(crate) optimizer: Optimizer,
    pub(crate) training: Training,
    pub(crate) early_stopping: Option<EarlyStopping>,
    pub(crate) augment: Augment,
    pub(crate) cache: Cache,
    /// Where `runner fetch` looks instead of the official places: an address that file names are put behind.
    pub(crate) mirror: Option<String>,
    /// Never empty; names are unique.
    pub(crate) phases: Vec<Phase>,
}

/// Where tensors live: `auto`, `cpu`, `cuda` or `cuda:N`.
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
    /// A table of files and classes; without it and a pattern, folders are classes.
    pub(crate) manifest: Option<PathBuf>,
    /// Its one capture group finds the class in a file's name.
    pub(crate) class_pattern: Option<String>,
    pub(crate) duplicates: Duplicates,
    pub(crate) batch_size: NonZeroUsize,
    /// Decoding threads; 0 is as many as for computing.
    pub(crate) workers: usize,
    /// Width times height above which a file is rejected unread.
    pub(crate) max_pixels: u64,
    /// More than this share of unreadable files is an error, `0.0..=1.0`.
    pub(crate) max_rejected_fraction: f64,
    pub(crate) exif_orientation: bool,
}

/// What becomes of images that are the same, byte for byte, in different classes or parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Duplicates {
    Warn,
    Error,
    /// They stay in one part of a split that is drawn.
    Together,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Split {
    /// The data set's own parts where it has such, else as `Random`.
    Auto { valid: f64, test: f64 },
    /// Shuffle all images, cut by fraction.
    Random { valid: f64, test: f64 },
    /// The same inside each class.
    Stratified { valid: f64, test: f64 },
    /// Columns `file,class,split`, as `split.csv` of a run.
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transforms {
    pub(crate) resize: ImageSize,
    pub(crate) normalize: Normalize,
}

impl Split {
    /// What the split comes to for a data set with or without one of its own.
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

/// Pixels, height first as in torchvision's `Resize((h, w))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageSize {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// `(value - mean) / std` per RGB channel, on values in `0..=1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Normalize {
    pub(crate) mean: [f32; 3],
    pub(crate) std: [f32; 3],
}

/// What training images randomly go through before the transforms; images that measure do not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Augment {
    /// Probability of a mirror image.
    pub(crate) horizontal_flip: f64,
    /// Smallest and largest share of the area that a random crop keeps; whole images without.
    pub(crate) crop_scale: Option<[f64; 2]>,
    /// Draws per image that all epochs share; 0 is a new draw each epoch.
    pub(crate) variants: usize,
}

impl Augment {
    pub(crate) fn is_random(&self) -> bool {
        self.horizontal_flip > 0.0 || self.crop_scale.is_some()
    }
}

/// What becomes of the frozen layers' activations.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cache {
    pub(crate) mode: CacheMode,
    /// The user's cache directory if absent.
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
    /// Where it is possible.
    Auto,
    Off,
    /// An error where it is not possible.
    Require,
}

/// Whose entries are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheTrust {
    /// The user's and root's.
    Own,
    All,
}

/// Of stored activations.
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
    /// Lower-case hexadecimal digits the file's SHA-256 must begin with.
    pub(crate) weights_sha256: Option<String>,
    /// Parameters that may be absent from the weights (or of another shape) and then start fresh.
    pub(crate) fresh: Vec<Selector>,
    pub(crate) dropout: f64,
    pub(crate) frozen_batch_norm: FrozenBatchNorm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// Nothing is loaded; everything starts fresh.
    None,
    Known(KnownWeights),
    File(PathBuf),
}

/// Weight sets known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownWeights {
    /// torchvision's `IMAGENET1K_V1`.
    Imagenet1kV1,
    /// torchvision's `IMAGENET1K_FEATURES`: no classifier. VGG16 only.
    Imagenet1kFeatures,
    /// The small backbone inside the binary. `vgg16_slim` only.
    DrawingsV1,
}

/// What the batch norm of a frozen layer does while training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FrozenBatchNorm {
    /// Uses its running statistics, which stay as they are.
    Eval,
    /// Uses the batch's statistics and updates the running ones, as PyTorch does under `train()`.
    Train,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Training {
    /// `0.0..1.0`
    pub(crate) label_smoothing: f64,
    /// Batches per optimizer step.
    pub(crate) accumulate: NonZeroUsize,
    /// Largest allowed global L2 norm of the gradient.
    pub(crate) clip_grad_norm: Option<f64>,
    /// What "best" means, for the best checkpoint and for early stopping.
    pub(crate) metric: Metric,
    /// When the last checkpoint is replaced; also the work that a killed run repeats at most.
    pub(crate) checkpoint_every: CheckpointEvery,
    pub(crate) on_nan: OnNan,
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

/// What a step does whose loss or gradients are not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnNan {
    /// Ends the run.
    Stop,
    /// Updates nothing.
    Skip,
}

/// A validation metric and, implied by it, a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    ValidLoss,
    ValidAccuracy,
}

impl Metric {
    /// Whether `new` beats `old` by more than `min_delta`.
    pub(crate) fn improves(self, new: f64, old: f64, min_delta: f64) -> bool {
        match self {
            Self::ValidLoss => new < old - min_delta,
            Self::ValidAccuracy => new > old + min_delta,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ValidLoss => "valid_loss",
            Self::ValidAccuracy => "valid_accuracy",
        }
    }

    /// Which of an epoch's two validation scores it is.
    pub(crate) fn of(self, valid_loss: f64, valid_accuracy: f64) -> f64 {
        match self {
            Self::ValidLoss => valid_loss,
            Self::ValidAccuracy => valid_accuracy,
        }
    }
}

/// Ends a phase after `patience` epochs without improvement of the metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EarlyStopping {
    pub(crate) patience: NonZeroUsize,
    pub(crate) min_delta: f64,
}

/// A stretch of epochs with one set of trainable parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) epochs: NonZeroUsize,
    /// Never empty.
    pub(crate) trainable: Vec<Selector>,
    /// The optimizer of the file with this phase's own `lr` and `weight_decay`.
    pub(crate) optimizer: Optimizer,
    /// Learning-rate factors of selected parameters; the last that matches wins.
    pub(crate) lr_factors: Vec<(Selector, f64)>,
    pub(crate) schedule: Schedule,
    /// Goes on with the moments of the phase before.
    pub(crate) keep_optimizer: bool,
}

/// The learning rate as a factor of the phase's own, step by step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) kind: ScheduleKind,
    /// Epochs (fractions allowed) over which the factor rises linearly from 0, before the schedule proper.
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
    /// Half a cosine down to `min_factor` at the end of the phase.
    Cosine {
        min_factor: f64,
    },
}

//! The keys themselves, table by table, in the order of the defaults file.

use super::{Effect, Key, KeyKind, MAX, Range, Recheck, Resume, key};
use crate::{
    config::experiment::{Metric, OptimizerKind},
    model::families::Arch,
};

const ANY_COUNT: KeyKind = KeyKind::Count { min: 0, max: MAX };
const AT_LEAST_ONE: KeyKind = KeyKind::Count { min: 1, max: MAX };
/// For numbers that are multiplied to steps, images and bytes: more than any run needs, and no product overflows.
const UP_TO_A_MILLION: KeyKind = KeyKind::Count {
    min: 1,
    max: 1_000_000,
};
/// More threads than any machine has would exhaust it before the first image.
const THREADS: KeyKind = KeyKind::Count { min: 0, max: 4096 };

pub(crate) static TOP: &[Key] = &[
    key("name", KeyKind::Text).effect(Effect::Naming),
    key("extends", KeyKind::Text).effect(Effect::Layering),
    key("init_from", KeyKind::Text).recheck(Recheck::Weights),
    key("allow_other_split", KeyKind::Flag).recheck(Recheck::Inputs),
    key("seed", ANY_COUNT).recheck(Recheck::Inputs),
    key("device", KeyKind::Text)
        .resume(Resume::Free)
        .recheck(Recheck::Inputs)
        .for_evaluation(),
    key("threads", THREADS)
        .effect(Effect::Work)
        .resume(Resume::Free)
        .for_evaluation(),
    key(
        "memory",
        KeyKind::Choice("memory policy", || vec!["check", "ignore"]),
    )
    .effect(Effect::Work)
    .resume(Resume::Free)
    .recheck(Recheck::Inputs),
    key("runs_dir", KeyKind::Text)
        .effect(Effect::Naming)
        .resume(Resume::Free),
    key("data", KeyKind::Table(DATA)),
    key("split", KeyKind::Table(SPLIT)),
    key("transforms", KeyKind::Table(TRANSFORMS)),
    key("augment", KeyKind::Table(AUGMENT)),
    key("model", KeyKind::Table(MODEL)),
    key("optimizer", KeyKind::Table(OPTIMIZER)),
    key("schedule", KeyKind::Table(SCHEDULE)).resume(Resume::InPhases),
    key("training", KeyKind::Table(TRAINING)),
    key("early_stopping", KeyKind::Table(EARLY_STOPPING)).resume(Resume::FromNowOn),
    key("checkpoints", KeyKind::Table(CHECKPOINTS)),
    key("cache", KeyKind::Table(CACHE)),
    key("log", KeyKind::Table(LOG)),
    key("fetch", KeyKind::Table(FETCH)),
    key("phase", KeyKind::Tables(PHASE)),
];

static DATA: &[Key] = &[
    key("root", KeyKind::Text)
        .resume(Resume::Free)
        .recheck(Recheck::Inputs)
        .required()
        .for_evaluation(),
    key("manifest", KeyKind::Text)
        .resume(Resume::Free)
        .recheck(Recheck::Inputs)
        .for_evaluation(),
    key("class_pattern", KeyKind::Text).recheck(Recheck::Inputs),
    key(
        "duplicates",
        KeyKind::Choice("duplicates policy", || vec!["warn", "error", "together"]),
    )
    .recheck(Recheck::Inputs),
    key("batch_size", UP_TO_A_MILLION)
        .recheck(Recheck::Inputs)
        .for_evaluation(),
    key("workers", THREADS)
        .effect(Effect::Work)
        .resume(Resume::Free)
        .for_evaluation(),
    key("max_pixels", AT_LEAST_ONE).recheck(Recheck::Inputs),
    key("max_rejected_fraction", KeyKind::Number(Range::FRACTION)).recheck(Recheck::Inputs),
    key("exif_orientation", KeyKind::Flag).recheck(Recheck::Inputs),
];

static SPLIT: &[Key] = &[
    key(
        "method",
        KeyKind::Choice("split method", || {
            vec!["auto", "random", "stratified", "file"]
        }),
    )
    .recheck(Recheck::Inputs),
    key("file", KeyKind::Text).recheck(Recheck::Inputs),
    key("valid", KeyKind::Number(Range::PART)).recheck(Recheck::Inputs),
    key("test", KeyKind::Number(Range::BELOW_ONE)).recheck(Recheck::Inputs),
];

/// Five poolings halve each side to at least one pixel; above 4096, no batch fits into memory.
const MIN_SIDE: u64 = 32;
const MAX_SIDE: u64 = 4096;
const SIDE: KeyKind = KeyKind::Count {
    min: MIN_SIDE,
    max: MAX_SIDE,
};

static TRANSFORMS: &[Key] = &[
    key(
        "resize",
        KeyKind::Counts {
            len: 2,
            min: MIN_SIDE,
            max: MAX_SIDE,
        },
    )
    .recheck(Recheck::Inputs)
    .for_evaluation(),
    key("shorter", SIDE)
        .recheck(Recheck::Inputs)
        .for_evaluation(),
    key("crop", SIDE).recheck(Recheck::Inputs).for_evaluation(),
    key(
        "interpolation",
        KeyKind::Choice("interpolation", || vec!["bilinear", "bicubic"]),
    )
    .recheck(Recheck::Inputs)
    .for_evaluation(),
    key("preset", KeyKind::Choice("preset", || vec!["weights"]))
        .recheck(Recheck::Inputs)
        .for_evaluation(),
    key(
        "normalize",
        KeyKind::Choice("normalization", || vec!["imagenet", "none", "custom"]),
    )
    .recheck(Recheck::Inputs),
    key(
        "mean",
        KeyKind::Numbers {
            len: 3,
            range: Range::ANY,
        },
    )
    .recheck(Recheck::Inputs),
    key(
        "std",
        KeyKind::Numbers {
            len: 3,
            range: Range::POSITIVE,
        },
    )
    .recheck(Recheck::Inputs),
];

static AUGMENT: &[Key] = &[
    key("horizontal_flip", KeyKind::Number(Range::FRACTION)),
    key(
        "crop_scale",
        KeyKind::Numbers {
            len: 2,
            range: Range::SHRINKING,
        },
    ),
    key("variants", KeyKind::Count { min: 0, max: 1000 }),
];

/// What messages call the values of `model.arch`, of which there are too many to list.
pub(crate) const ARCHITECTURE: &str = "architecture";

static MODEL: &[Key] = &[
    key(
        "arch",
        KeyKind::Choice(ARCHITECTURE, || Arch::all().map(Arch::name).collect()),
    )
    .recheck(Recheck::Weights),
    key("weights", KeyKind::Text)
        .resume(Resume::Free)
        .recheck(Recheck::Weights)
        .inherited(),
    key("weights_sha256", KeyKind::Text)
        .recheck(Recheck::Weights)
        .inherited(),
    key("fresh", KeyKind::Texts)
        .recheck(Recheck::Weights)
        .inherited(),
    key("dropout", KeyKind::Number(Range::BELOW_ONE)),
    key(
        "frozen_batch_norm",
        KeyKind::Choice("batch norm mode", || vec!["eval", "train"]),
    )
    .recheck(Recheck::Weights),
];

static OPTIMIZER: &[Key] = &[
    // The moments that an optimizer keeps take memory.
    key(
        "kind",
        KeyKind::Choice("optimizer", || OptimizerKind::NAMES.to_vec()),
    )
    .recheck(Recheck::Inputs),
    key("lr", KeyKind::Number(Range::POSITIVE)).resume(Resume::InPhases),
    key("weight_decay", KeyKind::Number(Range::NOT_NEGATIVE)).resume(Resume::InPhases),
    key(
        "betas",
        KeyKind::Numbers {
            len: 2,
            range: Range::BELOW_ONE,
        },
    ),
    key("eps", KeyKind::Number(Range::POSITIVE)),
    key("momentum", KeyKind::Number(Range::BELOW_ONE)).recheck(Recheck::Inputs),
    key("dampening", KeyKind::Number(Range::FRACTION)),
    key("nesterov", KeyKind::Flag),
    key("alpha", KeyKind::Number(Range::BELOW_ONE)),
    key("centered", KeyKind::Flag).recheck(Recheck::Inputs),
];

/// The keys of `[schedule]` and of `[phase.schedule]`.
static SCHEDULE: &[Key] = &[
    key(
        "kind",
        KeyKind::Choice("schedule", || vec!["constant", "step", "cosine"]),
    ),
    key("warmup_epochs", KeyKind::Number(Range::NOT_NEGATIVE)),
    key("step_epochs", UP_TO_A_MILLION),
    key("gamma", KeyKind::Number(Range::SHRINKING)),
    key("min_factor", KeyKind::Number(Range::FRACTION)),
];

static TRAINING: &[Key] = &[
    key("label_smoothing", KeyKind::Number(Range::BELOW_ONE)),
    key("accumulate", UP_TO_A_MILLION),
    // How often checkpoints are written, and how many epochs a run has, decides what it takes on the disk.
    key("checkpoint_every", KeyKind::Text)
        .recheck(Recheck::Inputs)
        .effect(Effect::Work)
        .resume(Resume::Free),
    key(
        "on_nan",
        KeyKind::Choice("NaN policy", || vec!["stop", "skip"]),
    )
    .resume(Resume::FromNowOn),
    key("clip_grad_norm", KeyKind::Number(Range::POSITIVE)).resume(Resume::FromNowOn),
    key(
        "metric",
        KeyKind::Choice("metric", || Metric::ALL.map(Metric::name).to_vec()),
    ),
];

static EARLY_STOPPING: &[Key] = &[
    key("patience", AT_LEAST_ONE),
    key("min_delta", KeyKind::Number(Range::NOT_NEGATIVE)),
];

static CHECKPOINTS: &[Key] = &[key(
    "keep",
    KeyKind::Choice("checkpoints policy", || vec!["all", "best"]),
)
.recheck(Recheck::Inputs)
.effect(Effect::Work)
.resume(Resume::Free)];

static LOG: &[Key] = &[key("tensorboard", KeyKind::Flag)
    .recheck(Recheck::Inputs)
    .effect(Effect::Work)
    .resume(Resume::Free)];

static CACHE: &[Key] = &[
    key(
        "mode",
        KeyKind::Choice("cache mode", || vec!["auto", "off", "require"]),
    )
    .effect(Effect::Work)
    .resume(Resume::Free),
    key("dir", KeyKind::Text)
        .effect(Effect::Work)
        .resume(Resume::Free),
    key("max_gib", KeyKind::Number(Range::POSITIVE))
        .effect(Effect::Work)
        .resume(Resume::Free),
    key(
        "precision",
        KeyKind::Choice("precision", || vec!["f32", "f16"]),
    ),
    key(
        "trust",
        KeyKind::Choice("trust policy", || vec!["own", "all"]),
    )
    .effect(Effect::Work)
    .resume(Resume::Free),
];

static FETCH: &[Key] = &[key("mirror", KeyKind::Text).effect(Effect::Download)];

/// The keys that differ between phases.
static PHASE: &[Key] = &[
    key("name", KeyKind::Text).required(),
    key("epochs", UP_TO_A_MILLION)
        .recheck(Recheck::Inputs)
        .resume(Resume::FromNowOn)
        .required(),
    // Trained parameters have gradients and moments, which take memory.
    key("trainable", KeyKind::Texts)
        .recheck(Recheck::Inputs)
        .required(),
    key("lr", KeyKind::Number(Range::POSITIVE)).resume(Resume::FromNowOn),
    key("weight_decay", KeyKind::Number(Range::NOT_NEGATIVE)).resume(Resume::FromNowOn),
    key("lr_factors", KeyKind::Factors(Range::POSITIVE)).resume(Resume::FromNowOn),
    key("keep_optimizer", KeyKind::Flag).recheck(Recheck::Inputs),
    key("schedule", KeyKind::Table(SCHEDULE)).resume(Resume::FromNowOn),
];

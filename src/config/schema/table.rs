//! The keys themselves, table by table, in the order of the defaults file.

use super::{Effect, Key, Kind, MAX, Range, Recheck, Resume, key};
use crate::{config::experiment::OptimizerKind, model::layout::Arch};

const ANY_COUNT: Kind = Kind::Count { min: 0, max: MAX };
const AT_LEAST_ONE: Kind = Kind::Count { min: 1, max: MAX };
/// For numbers that are multiplied to steps, images and bytes: more than any run needs, and no product overflows.
const UP_TO_A_MILLION: Kind = Kind::Count {
    min: 1,
    max: 1_000_000,
};
/// More threads than any machine has would exhaust it before the first image.
const THREADS: Kind = Kind::Count { min: 0, max: 4096 };

pub(crate) static TOP: &[Key] = &[
    key("name", Kind::Text).effect(Effect::Naming),
    key("extends", Kind::Text).effect(Effect::Layering),
    key("init_from", Kind::Text).recheck(Recheck::Weights),
    key("allow_other_split", Kind::Flag).recheck(Recheck::Inputs),
    key("seed", ANY_COUNT).recheck(Recheck::Inputs),
    key("device", Kind::Text)
        .resume(Resume::Free)
        .recheck(Recheck::Inputs)
        .for_evaluation(),
    key("threads", THREADS)
        .effect(Effect::Work)
        .resume(Resume::Free)
        .for_evaluation(),
    key(
        "memory",
        Kind::Choice("memory policy", || vec!["check", "ignore"]),
    )
    .effect(Effect::Work)
    .resume(Resume::Free)
    .recheck(Recheck::Inputs),
    key("runs_dir", Kind::Text)
        .effect(Effect::Naming)
        .resume(Resume::Free),
    key("data", Kind::Table(DATA)),
    key("split", Kind::Table(SPLIT)),
    key("transforms", Kind::Table(TRANSFORMS)),
    key("augment", Kind::Table(AUGMENT)),
    key("model", Kind::Table(MODEL)),
    key("optimizer", Kind::Table(OPTIMIZER)),
    key("schedule", Kind::Table(SCHEDULE)).resume(Resume::InPhases),
    key("training", Kind::Table(TRAINING)),
    key("early_stopping", Kind::Table(EARLY_STOPPING)).resume(Resume::FromNowOn),
    key("cache", Kind::Table(CACHE)),
    key("fetch", Kind::Table(FETCH)),
    key("phase", Kind::Tables(PHASE)),
];

static DATA: &[Key] = &[
    key("root", Kind::Text)
        .resume(Resume::Free)
        .recheck(Recheck::Inputs)
        .required()
        .for_evaluation(),
    key("manifest", Kind::Text)
        .resume(Resume::Free)
        .recheck(Recheck::Inputs)
        .for_evaluation(),
    key("class_pattern", Kind::Text).recheck(Recheck::Inputs),
    key(
        "duplicates",
        Kind::Choice("duplicates policy", || vec!["warn", "error", "together"]),
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
    key("max_rejected_fraction", Kind::Number(Range::FRACTION)).recheck(Recheck::Inputs),
    key("exif_orientation", Kind::Flag).recheck(Recheck::Inputs),
];

static SPLIT: &[Key] = &[
    key(
        "method",
        Kind::Choice("split method", || {
            vec!["auto", "random", "stratified", "file"]
        }),
    )
    .recheck(Recheck::Inputs),
    key("file", Kind::Text).recheck(Recheck::Inputs),
    key("valid", Kind::Number(Range::PART)).recheck(Recheck::Inputs),
    key("test", Kind::Number(Range::BELOW_ONE)).recheck(Recheck::Inputs),
];

static TRANSFORMS: &[Key] = &[
    // Five poolings halve each side to at least one pixel; above 4096, no batch fits into memory.
    key(
        "resize",
        Kind::Counts {
            len: 2,
            min: 32,
            max: 4096,
        },
    )
    .recheck(Recheck::Inputs)
    .for_evaluation(),
    key(
        "normalize",
        Kind::Choice("normalization", || vec!["imagenet", "none", "custom"]),
    )
    .recheck(Recheck::Inputs),
    key(
        "mean",
        Kind::Numbers {
            len: 3,
            range: Range::ANY,
        },
    )
    .recheck(Recheck::Inputs),
    key(
        "std",
        Kind::Numbers {
            len: 3,
            range: Range::POSITIVE,
        },
    )
    .recheck(Recheck::Inputs),
];

static AUGMENT: &[Key] = &[
    key("horizontal_flip", Kind::Number(Range::FRACTION)),
    key(
        "crop_scale",
        Kind::Numbers {
            len: 2,
            range: Range::SHRINKING,
        },
    ),
    key("variants", Kind::Count { min: 0, max: 1000 }),
];

static MODEL: &[Key] = &[
    key(
        "arch",
        Kind::Choice("architecture", || Arch::ALL.map(Arch::name).to_vec()),
    )
    .recheck(Recheck::Weights),
    key("weights", Kind::Text)
        .resume(Resume::Free)
        .recheck(Recheck::Weights)
        .inherited(),
    key("weights_sha256", Kind::Text)
        .recheck(Recheck::Weights)
        .inherited(),
    key("fresh", Kind::Texts)
        .recheck(Recheck::Weights)
        .inherited(),
    key("dropout", Kind::Number(Range::BELOW_ONE)),
    key(
        "frozen_batch_norm",
        Kind::Choice("batch norm mode", || vec!["eval", "train"]),
    )
    .recheck(Recheck::Weights),
];

static OPTIMIZER: &[Key] = &[
    // The moments that an optimizer keeps take memory.
    key(
        "kind",
        Kind::Choice("optimizer", || OptimizerKind::NAMES.to_vec()),
    )
    .recheck(Recheck::Inputs),
    key("lr", Kind::Number(Range::POSITIVE)).resume(Resume::InPhases),
    key("weight_decay", Kind::Number(Range::NOT_NEGATIVE)).resume(Resume::InPhases),
    key(
        "betas",
        Kind::Numbers {
            len: 2,
            range: Range::BELOW_ONE,
        },
    ),
    key("eps", Kind::Number(Range::POSITIVE)),
    key("momentum", Kind::Number(Range::BELOW_ONE)),
    key("dampening", Kind::Number(Range::FRACTION)),
    key("nesterov", Kind::Flag),
    key("alpha", Kind::Number(Range::BELOW_ONE)),
    key("centered", Kind::Flag),
];

/// The keys of `[schedule]` and of `[phase.schedule]`.
static SCHEDULE: &[Key] = &[
    key(
        "kind",
        Kind::Choice("schedule", || vec!["constant", "step", "cosine"]),
    ),
    key("warmup_epochs", Kind::Number(Range::NOT_NEGATIVE)),
    key("step_epochs", UP_TO_A_MILLION),
    key("gamma", Kind::Number(Range::SHRINKING)),
    key("min_factor", Kind::Number(Range::FRACTION)),
];

static TRAINING: &[Key] = &[
    key("label_smoothing", Kind::Number(Range::BELOW_ONE)),
    key("accumulate", UP_TO_A_MILLION),
    key("checkpoint_every", Kind::Text)
        .effect(Effect::Work)
        .resume(Resume::Free),
    key(
        "on_nan",
        Kind::Choice("NaN policy", || vec!["stop", "skip"]),
    )
    .resume(Resume::FromNowOn),
    key("clip_grad_norm", Kind::Number(Range::POSITIVE)).resume(Resume::FromNowOn),
    key(
        "metric",
        Kind::Choice("metric", || vec!["valid_accuracy", "valid_loss"]),
    ),
];

static EARLY_STOPPING: &[Key] = &[
    key("patience", AT_LEAST_ONE),
    key("min_delta", Kind::Number(Range::NOT_NEGATIVE)),
];

static CACHE: &[Key] = &[
    key(
        "mode",
        Kind::Choice("cache mode", || vec!["auto", "off", "require"]),
    )
    .effect(Effect::Work)
    .resume(Resume::Free),
    key("dir", Kind::Text)
        .effect(Effect::Work)
        .resume(Resume::Free),
    key("max_gib", Kind::Number(Range::POSITIVE))
        .effect(Effect::Work)
        .resume(Resume::Free),
    key(
        "precision",
        Kind::Choice("precision", || vec!["f32", "f16"]),
    ),
    key("trust", Kind::Choice("trust policy", || vec!["own", "all"]))
        .effect(Effect::Work)
        .resume(Resume::Free),
];

static FETCH: &[Key] = &[key("mirror", Kind::Text).effect(Effect::Download)];

/// What a phase has of its own; the rest is the same in all phases.
static PHASE: &[Key] = &[
    key("name", Kind::Text).required(),
    key("epochs", UP_TO_A_MILLION)
        .resume(Resume::FromNowOn)
        .required(),
    // What is trained has gradients and moments, which take memory.
    key("trainable", Kind::Texts)
        .recheck(Recheck::Inputs)
        .required(),
    key("lr", Kind::Number(Range::POSITIVE)).resume(Resume::FromNowOn),
    key("weight_decay", Kind::Number(Range::NOT_NEGATIVE)).resume(Resume::FromNowOn),
    key("lr_factors", Kind::Factors(Range::POSITIVE)).resume(Resume::FromNowOn),
    key("keep_optimizer", Kind::Flag),
    key("schedule", Kind::Table(SCHEDULE)).resume(Resume::FromNowOn),
];

//! The one table of keys: every key an experiment may set, with its type and the range it lives in.
//! Pure; knows neither files nor what a key does. What two keys mean to each other is `resolve`'s.

use crate::model::layout::Arch;

/// One key of one table.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// What a key holds.
pub(crate) enum Kind {
    Text,
    Flag,
    /// A whole number, both ends included.
    Count {
        min: u64,
        max: u64,
    },
    Number(Range),
    Choice(fn() -> Vec<&'static str>),
    /// An array of texts.
    Texts,
    /// An array of exactly `len` whole numbers.
    Counts {
        len: usize,
        min: u64,
        max: u64,
    },
    /// An array of exactly `len` numbers.
    Numbers {
        len: usize,
        range: Range,
    },
    /// A table of selector to factor, in which the order counts; or an array of such pairs.
    Factors(Range),
    Table(&'static [Key]),
    /// `[[name]]`
    Tables(&'static [Key]),
}

/// An interval of finite numbers.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    low: End,
    high: End,
}

#[derive(Clone, Copy)]
pub(crate) enum End {
    Free,
    Included(f64),
    Excluded(f64),
}

impl Range {
    const ANY: Self = Self {
        low: End::Free,
        high: End::Free,
    };
    const POSITIVE: Self = Self {
        low: End::Excluded(0.0),
        high: End::Free,
    };
    const NOT_NEGATIVE: Self = Self {
        low: End::Included(0.0),
        high: End::Free,
    };
    /// `0.0..=1.0`
    const FRACTION: Self = Self {
        low: End::Included(0.0),
        high: End::Included(1.0),
    };
    /// `0.0..1.0`
    const BELOW_ONE: Self = Self {
        low: End::Included(0.0),
        high: End::Excluded(1.0),
    };
    /// Neither 0 nor 1.
    const PART: Self = Self {
        low: End::Excluded(0.0),
        high: End::Excluded(1.0),
    };
    /// Above 0, up to 1.
    const SHRINKING: Self = Self {
        low: End::Excluded(0.0),
        high: End::Included(1.0),
    };

    pub(crate) fn contains(self, value: f64) -> bool {
        let above = match self.low {
            End::Free => true,
            End::Included(low) => value >= low,
            End::Excluded(low) => value > low,
        };
        let below = match self.high {
            End::Free => true,
            End::Included(high) => value <= high,
            End::Excluded(high) => value < high,
        };
        above && below && value.is_finite()
    }

    /// Whether `value` is still in the range once it is rounded to an `f32`, and keeps its precision there: what becomes 0 is
    /// divided by, and what becomes infinite is multiplied with.
    pub(crate) fn contains_single(self, value: f64) -> bool {
        let single = value as f32;
        (single.is_normal() || value == 0.0) && self.contains(f64::from(single))
    }

    /// Lower and upper end.
    pub(crate) fn ends(self) -> (End, End) {
        (self.low, self.high)
    }

    /// `above 0 and below 1`
    pub(crate) fn words(self) -> String {
        let low = match self.low {
            End::Free => None,
            End::Included(low) => Some(format!("at least {low}")),
            End::Excluded(low) => Some(format!("above {low}")),
        };
        let high = match self.high {
            End::Free => None,
            End::Included(high) => Some(format!("at most {high}")),
            End::Excluded(high) => Some(format!("below {high}")),
        };
        match (low, high) {
            (Some(low), Some(high)) => format!("{low} and {high}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "a finite number".to_owned(),
        }
    }
}

/// What TOML's own integers reach.
pub(super) const MAX: u64 = i64::MAX as u64;
const ANY_COUNT: Kind = Kind::Count { min: 0, max: MAX };
const AT_LEAST_ONE: Kind = Kind::Count { min: 1, max: MAX };
/// Of what is multiplied to steps, images and bytes: more than anybody waits for, and no product overflows.
const UP_TO_A_MILLION: Kind = Kind::Count {
    min: 1,
    max: 1_000_000,
};

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

pub(crate) static TOP: &[Key] = &[
    key("name", Kind::Text),
    key("extends", Kind::Text),
    key("init_from", Kind::Text),
    key("allow_other_split", Kind::Flag),
    key("seed", ANY_COUNT),
    key("device", Kind::Text),
    // More threads than any machine has would exhaust it before the first image.
    key("threads", Kind::Count { min: 0, max: 4096 }),
    key("memory", Kind::Choice(|| vec!["check", "ignore"])),
    key("runs_dir", Kind::Text),
    key("data", Kind::Table(DATA)),
    key("split", Kind::Table(SPLIT)),
    key("transforms", Kind::Table(TRANSFORMS)),
    key("model", Kind::Table(MODEL)),
    key("optimizer", Kind::Table(OPTIMIZER)),
    key("schedule", Kind::Table(SCHEDULE)),
    key("training", Kind::Table(TRAINING)),
    key("early_stopping", Kind::Table(EARLY_STOPPING)),
    key("augment", Kind::Table(AUGMENT)),
    key("cache", Kind::Table(CACHE)),
    key("fetch", Kind::Table(FETCH)),
    key("phase", Kind::Tables(PHASE)),
];

static DATA: &[Key] = &[
    key("root", Kind::Text),
    key("manifest", Kind::Text),
    key("class_pattern", Kind::Text),
    key(
        "duplicates",
        Kind::Choice(|| vec!["warn", "error", "together"]),
    ),
    key("batch_size", UP_TO_A_MILLION),
    key("workers", Kind::Count { min: 0, max: 4096 }),
    key("max_pixels", AT_LEAST_ONE),
    key("max_rejected_fraction", Kind::Number(Range::FRACTION)),
    key("exif_orientation", Kind::Flag),
];

static SPLIT: &[Key] = &[
    key(
        "method",
        Kind::Choice(|| vec!["auto", "random", "stratified", "file"]),
    ),
    key("valid", Kind::Number(Range::PART)),
    key("test", Kind::Number(Range::BELOW_ONE)),
    key("file", Kind::Text),
];

static TRANSFORMS: &[Key] = &[
    // Five poolings halve each side to at least one pixel; above, a batch no longer fits anywhere.
    key(
        "resize",
        Kind::Counts {
            len: 2,
            min: 32,
            max: 4096,
        },
    ),
    key(
        "normalize",
        Kind::Choice(|| vec!["imagenet", "none", "custom"]),
    ),
    key(
        "mean",
        Kind::Numbers {
            len: 3,
            range: Range::ANY,
        },
    ),
    key(
        "std",
        Kind::Numbers {
            len: 3,
            range: Range::POSITIVE,
        },
    ),
];

static MODEL: &[Key] = &[
    key("arch", Kind::Choice(|| Arch::ALL.map(Arch::name).to_vec())),
    key("weights", Kind::Text),
    key("weights_sha256", Kind::Text),
    key("fresh", Kind::Texts),
    key("dropout", Kind::Number(Range::BELOW_ONE)),
    key("frozen_batch_norm", Kind::Choice(|| vec!["eval", "train"])),
];

static OPTIMIZER: &[Key] = &[
    key(
        "kind",
        Kind::Choice(|| vec!["adam", "adamw", "sgd", "rmsprop"]),
    ),
    key("lr", Kind::Number(Range::POSITIVE)),
    key("weight_decay", Kind::Number(Range::NOT_NEGATIVE)),
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

pub(super) static SCHEDULE: &[Key] = &[
    key("kind", Kind::Choice(|| vec!["constant", "step", "cosine"])),
    key("warmup_epochs", Kind::Number(Range::NOT_NEGATIVE)),
    key("step_epochs", UP_TO_A_MILLION),
    key("gamma", Kind::Number(Range::SHRINKING)),
    key("min_factor", Kind::Number(Range::FRACTION)),
];

static TRAINING: &[Key] = &[
    key("label_smoothing", Kind::Number(Range::BELOW_ONE)),
    key("accumulate", UP_TO_A_MILLION),
    key("clip_grad_norm", Kind::Number(Range::POSITIVE)),
    key(
        "metric",
        Kind::Choice(|| vec!["valid_accuracy", "valid_loss"]),
    ),
    key("checkpoint_every", Kind::Text),
    key("on_nan", Kind::Choice(|| vec!["stop", "skip"])),
];

static EARLY_STOPPING: &[Key] = &[
    key("patience", AT_LEAST_ONE),
    key("min_delta", Kind::Number(Range::NOT_NEGATIVE)),
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

static CACHE: &[Key] = &[
    key("mode", Kind::Choice(|| vec!["auto", "off", "require"])),
    key("dir", Kind::Text),
    key("max_gib", Kind::Number(Range::POSITIVE)),
    key("precision", Kind::Choice(|| vec!["f32", "f16"])),
    key("trust", Kind::Choice(|| vec!["own", "all"])),
];

static FETCH: &[Key] = &[key("mirror", Kind::Text)];

/// What each `[[phase]]` must say.
pub(super) const REQUIRED_IN_PHASE: [&str; 3] = ["name", "epochs", "trainable"];

static PHASE: &[Key] = &[
    key("name", Kind::Text),
    key("epochs", UP_TO_A_MILLION),
    key("trainable", Kind::Texts),
    key("lr", Kind::Number(Range::POSITIVE)),
    key("weight_decay", Kind::Number(Range::NOT_NEGATIVE)),
    key("keep_optimizer", Kind::Flag),
    key("lr_factors", Kind::Factors(Range::POSITIVE)),
    key("schedule", Kind::Table(SCHEDULE)),
];

pub(crate) fn find<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
    keys.iter().find(|key| key.name == name)
}

/// All keys as `--set` takes them, but for those of phases, whose names only an experiment knows.
pub(crate) fn names() -> Vec<String> {
    let keys = TOP.iter().filter(|key| key.name != "extends");
    keys.flat_map(|key| match &key.kind {
        Kind::Table(inner) => inner
            .iter()
            .map(|inner| format!("{}.{}", key.name, inner.name))
            .collect(),
        Kind::Tables(_) => Vec::new(),
        _ => vec![key.name.to_owned()],
    })
    .collect()
}

/// The tables that have a key of this name, as headers: for keys that stand in the wrong table.
pub(crate) fn homes(name: &str) -> Vec<String> {
    let mut homes = Vec::new();
    if find(TOP, name).is_some() {
        homes.push("the top of the file".to_owned());
    }
    for table in TOP {
        if let Kind::Table(keys) = &table.kind
            && find(keys, name).is_some()
        {
            homes.push(format!("[{}]", table.name));
        }
        if let Kind::Tables(keys) = &table.kind
            && find(keys, name).is_some()
        {
            homes.push(format!("[[{}]]", table.name));
        }
    }
    homes
}

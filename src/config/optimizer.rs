//! The optimizers that an experiment can choose, with the numbers that each of them takes. Knows no formulas.
//!
//! The defaults file has a table `[kinds.NAME]` for each of them, which tells the keys that it takes and their defaults.

use serde::{Deserialize, Serialize};

/// An optimizer with every number settled; PyTorch's names and formulas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OptimizerSettings {
    #[serde(flatten)]
    pub(crate) kind: OptimizerKind,
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum OptimizerKind {
    Adam {
        betas: [f64; 2],
        eps: f64,
    },
    AdamW {
        betas: [f64; 2],
        eps: f64,
    },
    Sgd {
        momentum: f64,
        dampening: f64,
        nesterov: bool,
    },
    RmsProp {
        alpha: f64,
        eps: f64,
        momentum: f64,
        centered: bool,
    },
    Lion {
        betas: [f64; 2],
    },
}

impl OptimizerKind {
    /// The names that `optimizer.kind` takes.
    pub(crate) const NAMES: [&str; 5] = ["adam", "adamw", "sgd", "rmsprop", "lion"];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Adam { .. } => "adam",
            Self::AdamW { .. } => "adamw",
            Self::Sgd { .. } => "sgd",
            Self::RmsProp { .. } => "rmsprop",
            Self::Lion { .. } => "lion",
        }
    }
}

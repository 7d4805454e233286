//! The parts of a split, and the names that data sets give them.

use serde::{Deserialize, Serialize};

/// A part of the split, which determines what an image is used for.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    Train,
    Valid,
    Test,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Train, Self::Valid, Self::Test];

    /// The name in `split.csv`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }

    /// Parses the name of a folder or a cell of a table, in the spellings that published data sets use.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" | "train_set" | "training_set" => Some(Self::Train),
            "val" | "valid" | "validation" | "dev" | "val_set" | "validation_set" => {
                Some(Self::Valid)
            }
            "test" | "testing" | "test_set" => Some(Self::Test),
            _ => None,
        }
    }
}

//! How a metric is named, written and compared in a picture of trials.

use super::{panel::Panel, text};

/// The metric that trials are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Score {
    Accuracy,
    Loss,
    MacroF1,
    Auc,
}

impl Score {
    pub(super) fn panel(self) -> Panel {
        match self {
            // All three are shares of 1.
            Self::Accuracy | Self::MacroF1 | Self::Auc => Panel::Accuracy,
            Self::Loss => Panel::Loss,
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Accuracy | Self::Loss => self.panel().title(),
            Self::MacroF1 => "Macro F1",
            Self::Auc => "AUC",
        }
    }

    pub(super) fn best_name(self) -> &'static str {
        match self {
            Self::Accuracy => "Best accuracy",
            Self::Loss => "Lowest loss",
            Self::MacroF1 => "Best macro F1",
            Self::Auc => "Best AUC",
        }
    }

    pub(super) fn is_better(self, value: f64, than: f64) -> bool {
        match self {
            Self::Accuracy | Self::MacroF1 | Self::Auc => value > than,
            Self::Loss => value < than,
        }
    }

    pub(super) fn write(self, value: f64) -> String {
        match self {
            Self::Accuracy => text::percent(value, 1),
            Self::Loss | Self::MacroF1 | Self::Auc => format!("{value:.4}"),
        }
    }

    /// The index of the best number, or the first of equal ones.
    pub(super) fn best(self, values: impl Iterator<Item = f64>) -> Option<usize> {
        let numbers = values.enumerate().filter(|(_, value)| value.is_finite());
        let best = numbers.reduce(|best, next| {
            if self.is_better(next.1, best.1) {
                next
            } else {
                best
            }
        });
        best.map(|(at, _)| at)
    }
}

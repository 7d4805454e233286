//! Evaluation of predictions: confusion matrices and scores, the ranking of epochs, confidence intervals and significance tests.
//! Pure.

pub(crate) mod confusion;
pub(crate) mod label_issues;
pub(crate) mod ranking;
pub(crate) mod statistics;
pub(crate) mod thresholds;

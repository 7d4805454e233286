//! Evaluation of predictions: confusion matrices and scores, the ranking of epochs, confidence intervals and significance tests.
//! Pure.

pub(crate) mod confusion;
pub(crate) mod ranking;
pub(crate) mod statistics;

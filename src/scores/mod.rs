//! Evaluation of predictions: confusion matrices and scores, the ranking of epochs, confidence intervals and significance tests.
//! Pure.

mod agreement;
mod bootstrap;
pub(crate) mod calibration;
pub(crate) mod classification;
pub(crate) mod confusion;
pub(crate) mod curves;
pub(crate) mod evaluation;
pub(crate) mod label_issues;
pub(crate) mod operating_point;
pub(crate) mod ranking;
pub(crate) mod statistics;
pub(crate) mod thresholds;

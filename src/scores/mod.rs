//! What predictions are worth: confusion and the scores from it, which epoch is better, and whether a difference is
//! significant. Pure.

pub(crate) mod confusion;
pub(crate) mod ranking;
pub(crate) mod statistics;

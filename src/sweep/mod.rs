//! Sweeps: one experiment with many settings. A sweep file (`definition`, read by `file`) is expanded to trials (`trials`), each
//! of which is validated before any starts (`validate`). `campaign` starts them through a `launcher` and watches them; `board` has
//! the standings, and `live` shows them on a terminal. Trains nothing: a trial is an ordinary run of another process.

pub(crate) mod asha;
pub(crate) mod board;
pub(crate) mod campaign;
mod climb;
pub(crate) mod definition;
pub(crate) mod directory;
mod draws;
pub(crate) mod file;
mod json_schema;
mod keys;
mod launch_keys;
pub(crate) mod launcher;
pub(crate) mod live;
mod matching;
mod method;
pub(crate) mod outside;
mod reading;
pub(crate) mod record;
pub(crate) mod room;
pub(crate) mod rungs;
mod search;
pub(crate) mod slurm;
pub(crate) mod standing;
mod text;
pub(crate) mod trial_dir;
pub(crate) mod trials;
pub(crate) mod validate;
pub(crate) mod view;

pub(crate) use json_schema::json_schema;

/// Every default of a sweep, as a commented sweep file.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");

#[cfg(test)]
mod tests;

//! Sweeps: one experiment many times, with other values. What a sweep file says (`definition`, read by `file`), the trials
//! it comes to (`trials`), whether each of them is right (`validate`), where they run (`launcher`), the watch over them
//! (`campaign`), how they stand (`board`) and how that is shown meanwhile (`live`).
//! Trains nothing: a trial is an ordinary run of another process.

pub(crate) mod board;
pub(crate) mod campaign;
pub(crate) mod definition;
pub(crate) mod directory;
pub(crate) mod file;
mod json_schema;
mod keys;
pub(crate) mod launcher;
mod live;
mod method;
mod reading;
mod text;
pub(crate) mod trials;
pub(crate) mod validate;

pub(crate) use json_schema::json_schema;

/// Every default of a sweep, as a commented sweep file.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");

#[cfg(test)]
mod tests;

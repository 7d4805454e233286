//! Atomic files, hashes, seals and CSV tables. Knows nothing of runs, images or models.

pub(crate) mod cells;
pub(crate) mod files;
pub(crate) mod hash;
pub(crate) mod sealed;
pub(crate) mod user_dirs;

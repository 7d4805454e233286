//! Atomic files, hashes, seals, CSV tables and the space that files take. Knows nothing of runs, images or models.

pub(crate) mod cells;
pub(crate) mod files;
pub(crate) mod hash;
pub(crate) mod sealed;
pub(crate) mod space;
pub(crate) mod user_dirs;

//! Files that are whole or absent, hashes of them, and tables in them. Knows nothing of runs, images or models.

pub(crate) mod cells;
pub(crate) mod files;
pub(crate) mod hash;
pub(crate) mod sealed;

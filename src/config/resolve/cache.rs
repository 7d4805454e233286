//! Resolves `[cache]`.

use std::path::PathBuf;

use crate::config::{experiment::Cache, origins::Origins, raw::RawCache};

pub(super) fn resolve(raw: RawCache, origins: &mut Origins) -> Cache {
    if raw.dir.as_ref().is_some_and(String::is_empty) {
        let help = "remove it to use the default cache directory";
        origins.report("cache.dir", "`cache.dir` must not be empty", help);
    }
    Cache {
        mode: raw.mode,
        dir: raw.dir.map(PathBuf::from),
        max_gib: raw.max_gib,
        precision: raw.precision,
        trust: raw.trust,
    }
}

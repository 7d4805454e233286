//! `[cache]` and `[augment]`.

use std::path::PathBuf;

use crate::config::{
    experiment::{Augment, Cache, CacheMode, CacheTrust, Precision},
    origins::Origins,
    raw::{CacheModeName, CacheTrustName, PrecisionName, RawAugment, RawCache},
};

pub(super) fn resolve(raw: RawCache, origins: &mut Origins) -> Cache {
    if raw.dir.as_ref().is_some_and(String::is_empty) {
        let help = "remove it to use the user's own cache directory";
        origins.report("cache.dir", "must not be empty", help);
    }
    Cache {
        mode: match raw.mode {
            CacheModeName::Auto => CacheMode::Auto,
            CacheModeName::Off => CacheMode::Off,
            CacheModeName::Require => CacheMode::Require,
        },
        dir: raw.dir.map(PathBuf::from),
        max_gib: raw.max_gib,
        precision: match raw.precision {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::F16 => Precision::F16,
        },
        trust: match raw.trust {
            CacheTrustName::Own => CacheTrust::Own,
            CacheTrustName::All => CacheTrust::All,
        },
    }
}

pub(super) fn augment(raw: &RawAugment, origins: &mut Origins) -> Augment {
    let augment = Augment {
        horizontal_flip: raw.horizontal_flip,
        crop_scale: raw.crop_scale,
        variants: raw.variants,
    };
    if let Some([low, high]) = augment.crop_scale
        && low > high
    {
        let fact = format!("begins above its end: `{low}` is more than `{high}`");
        let help =
            "give the smallest and the largest share of the image's area, such as [0.5, 1.0]";
        origins.report("augment.crop_scale", fact, help);
    }
    if !augment.is_random() && raw.variants > 0 {
        let help = "remove it, or set horizontal_flip or crop_scale";
        origins.report_inert("augment.variants", "where nothing is random", help);
    }
    augment
}

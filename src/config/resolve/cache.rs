//! `[cache]` and `[augment]`.

use std::path::PathBuf;

use crate::config::{
    experiment::{Augment, Cache},
    origins::Origins,
    raw::{RawAugment, RawCache},
};

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

pub(super) fn augment(raw: &RawAugment, origins: &mut Origins) -> Augment {
    let augment = Augment {
        horizontal_flip: raw.horizontal_flip,
        crop_scale: raw.crop_scale,
        // Only `resolved.toml` leaves it out, where nothing is random.
        variants: raw.variants.unwrap_or_default(),
    };
    if let Some([low, high]) = augment.crop_scale
        && low > high
    {
        let message = format!("the lower end `{low}` is above the upper end `{high}`");
        let help =
            "give the smallest and the largest share of the image's area, for example [0.5, 1.0]";
        origins.report("augment.crop_scale", message, help);
    }
    if !augment.is_random() && augment.variants > 0 {
        let help = "remove it, or set horizontal_flip or crop_scale";
        origins.report_inert("augment.variants", "without a random augmentation", help);
    }
    augment
}

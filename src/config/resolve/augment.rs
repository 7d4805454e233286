//! Resolves `[augment]`.

use crate::config::{experiment::Augment, origins::Origins, raw::RawAugment};

pub(super) fn resolve(raw: &RawAugment, origins: &mut Origins) -> Augment {
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

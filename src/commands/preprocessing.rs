//! The transforms of an experiment, as `plan` and `check` show them.

use serde_json::{Value, json};

use crate::config::experiment::{Experiment, Geometry, ImageSize};

/// One line for people. Training images differ from the others if they are cropped at random.
pub(super) fn text(experiment: &Experiment) -> String {
    let transforms = &experiment.transforms;
    if experiment.augment.crop_scale.is_none() {
        return transforms.to_string();
    }
    let ImageSize { height, width } = transforms.size();
    format!("{transforms}; training images: random crops resized to {height} x {width}")
}

/// The same for programs: `shorter` is null if both sides are resized to `input_size`.
pub(super) fn fields(experiment: &Experiment) -> Value {
    let transforms = &experiment.transforms;
    let ImageSize { height, width } = transforms.size();
    let shorter = match transforms.geometry {
        Geometry::Squash(_) => None,
        Geometry::ShorterThenCrop { shorter, .. } => Some(shorter),
    };
    json!({
        "input_size": [height, width], "shorter": shorter, "interpolation": transforms.interpolation,
    })
}

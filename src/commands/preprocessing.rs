//! The transforms of an experiment, as `plan` and `check` show them.

use serde_json::{Value, json};

use crate::config::experiment::{Experiment, Geometry, ImageSize};

/// One line for people. Training images differ from the others if they are cropped at random.
pub(super) fn text(experiment: &Experiment) -> String {
    let transforms = &experiment.transforms;
    let mut text = transforms.to_string();
    if experiment.augment.crop_scale.is_some() {
        let ImageSize { height, width } = transforms.size();
        text += &format!("; training images: random crops resized to {height} x {width}");
    }
    text
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

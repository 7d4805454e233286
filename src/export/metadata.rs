//! The metadata of an export, from which a program learns how to use the model. docs/files.md describes the keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Exported, Format};
use crate::config::experiment::{Geometry, ImageSize, Normalize, Transforms};

/// The metadata of an export in this format: texts by key. Lists and objects are JSON.
pub(crate) fn metadata(exported: &Exported, format: Format) -> BTreeMap<&'static str, String> {
    let Exported {
        experiment,
        manifest,
        ..
    } = exported;
    let transforms = &experiment.transforms;
    let Normalize { mean, std } = transforms.normalize;
    let ImageSize { height, width } = transforms.size();
    let mut metadata = BTreeMap::from([
        ("arch", experiment.model.arch.name().to_owned()),
        ("classes", json!(manifest.classes).to_string()),
        ("input_size", json!([height, width]).to_string()),
        ("resize", resize_text(transforms)),
        ("interpolation", transforms.interpolation.name().to_owned()),
        ("antialias", true.to_string()),
        (
            "exif_orientation",
            experiment.data.exif_orientation.to_string(),
        ),
        ("mean", numbers(mean)),
        ("std", numbers(std)),
        ("runner_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("run", exported.run.clone()),
        ("checkpoint", exported.which.name().to_owned()),
        ("epoch", exported.epoch.to_string()),
        ("model_sha256", exported.model_sha256.clone()),
        ("weights_sha256", manifest.weights_sha256.clone()),
        ("data_sha256", manifest.data_sha256.clone()),
        ("split_sha256", manifest.split_sha256.clone()),
        ("metrics", metrics(exported).to_string()),
    ]);
    match format {
        Format::Safetensors => {
            // `safetensors.torch` and the Hugging Face Hub look for this key.
            metadata.insert("format", "pt".to_owned());
            metadata.insert("normalized_by", "caller".to_owned());
        }
        Format::Onnx => {
            metadata.insert("normalized_by", "graph".to_owned());
        }
    }
    if let Geometry::ShorterThenCrop { shorter, .. } = transforms.geometry {
        metadata.insert("shorter", shorter.to_string());
    }
    metadata
}

/// The scores by part of the split.
fn metrics(exported: &Exported) -> Value {
    let parts = exported.scores.iter().map(|scores| {
        let fields = json!({
            "images": scores.images, "accuracy": scores.accuracy, "accuracy_interval": scores.interval(),
            "loss": scores.loss,
        });
        (scores.part.name().to_owned(), fields)
    });
    Value::Object(parts.collect())
}

/// How an image gets the size of the network's input, for people; describes `data::transform`.
pub(super) fn resize_text(transforms: &Transforms) -> String {
    let how = match transforms.geometry {
        Geometry::Squash(_) => "stretch to input_size".to_owned(),
        Geometry::ShorterThenCrop { shorter, .. } => {
            format!("shorter side to {shorter}, center crop to input_size")
        }
    };
    format!("{how}, {}, antialiased", transforms.interpolation.name())
}

/// The numbers as a JSON array, with the digits of the experiment file: by way of `f64`, 0.485 would become
/// 0.48500001430511475.
fn numbers(values: [f32; 3]) -> String {
    format!("[{}]", values.map(|value| value.to_string()).join(","))
}

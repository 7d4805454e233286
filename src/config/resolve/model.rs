//! `[model]`: the architecture, and weights that exist for it. Opens no weights; whether a file is there is found later.

use std::path::PathBuf;

use crate::{
    config::{
        experiment::{FrozenBatchNorm, Geometry, ImageSize, Model, Transforms, Weights},
        origins::Origins,
        raw::{Defaults, RawModel},
    },
    model::{families::Arch, select::Selector},
    text::suggest::{list, nearest},
};

/// The value of `model.weights` that stands for freshly initialised parameters.
const NONE: &str = "none";

/// The architecture, if it is known. It is resolved before the rest of the model, so that selectors are checked even if the
/// weights are wrong.
pub(super) fn arch(raw: &RawModel, origins: &Origins) -> Option<Arch> {
    if origins.is_broken("model.arch") {
        return None;
    }
    Arch::find(&raw.arch)
}

pub(super) fn resolve(
    raw: RawModel,
    arch: Arch,
    defaults: &Defaults,
    origins: &mut Origins,
) -> Option<Model> {
    let weights = resolve_weights(&raw.weights, arch, origins);
    // `resolved.toml` leaves it out where there are no weights.
    let fresh = raw.fresh.unwrap_or_default();
    if weights == Some(Weights::None) {
        let help = "remove it, or name the weights";
        origins.report_inert("model.weights_sha256", "with weights = \"none\"", help);
        if !fresh.is_empty() {
            let help = "remove it: without weights all parameters are initialized";
            origins.report_inert("model.fresh", "with weights = \"none\"", help);
        }
    }
    let weights_sha256 = raw.weights_sha256.map(|digits| digits.to_lowercase());
    if let Some(digits) = &weights_sha256 {
        let is_hex = digits.chars().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex || !(8..=64).contains(&digits.len()) {
            let message = format!("expected 8 to 64 hexadecimal digits, found `{digits}`");
            let help = "use the first digits that `sha256sum FILE` prints";
            origins.report("model.weights_sha256", message, help);
        }
    }
    let fresh = selectors("model.fresh", &fresh, Some(arch), origins);
    let frozen_batch_norm = match raw.frozen_batch_norm {
        Some(_) if !arch.names().has_batch_norm() => {
            let why = format!("with arch = \"{}\", which has no batch norm", arch.name());
            origins.report_inert("model.frozen_batch_norm", &why, "remove it");
            FrozenBatchNorm::Eval
        }
        choice => choice.unwrap_or(defaults.kinds.batch_norm.frozen_batch_norm),
    };
    let dropout = match raw.dropout {
        Some(_) if arch.dropout().is_none() => {
            let why = format!("with arch = \"{}\", which has no dropout", arch.name());
            origins.report_inert("model.dropout", &why, "remove it");
            0.0
        }
        choice => choice.or(arch.dropout()).unwrap_or(0.0),
    };
    Some(Model {
        arch,
        weights: weights?,
        weights_sha256,
        fresh,
        dropout,
        frozen_batch_norm,
    })
}

/// Reports images that are too small for the architecture.
pub(super) fn check_size(arch: Arch, transforms: &Transforms, origins: &mut Origins) {
    let smallest = arch.min_size();
    let ImageSize { height, width } = transforms.size();
    if height.min(width) < smallest {
        let name = arch.name();
        let key = match transforms.geometry {
            Geometry::Squash(_) => "transforms.resize",
            Geometry::ShorterThenCrop { .. } => "transforms.crop",
        };
        let message = format!("images of {height} x {width} pixels are too small for `{name}`");
        let help = format!("use at least {smallest} pixels for both sides");
        origins.report(key, message, help);
    }
}

fn resolve_weights(text: &str, arch: Arch, origins: &mut Origins) -> Option<Weights> {
    let published = arch.weights();
    if text == NONE {
        return Some(Weights::None);
    }
    if let Some(known) = published.iter().find(|known| known.name == text) {
        return Some(Weights::Known(known));
    }
    let has_extension = [".pth", ".pt", ".safetensors"]
        .iter()
        .any(|extension| text.ends_with(extension));
    if text.contains('/') || has_extension {
        return Some(Weights::File(PathBuf::from(text)));
    }
    if origins.is_broken("model.weights") {
        return None;
    }
    let names = published.iter().map(|known| known.name);
    let names: Vec<&str> = names.chain([NONE]).collect();
    let arch = arch.name();
    let expected = format!(
        "expected {} for `{arch}`, or a file (a path with a `/`, or ending in .pth, .pt or .safetensors)",
        list(&names, "or")
    );
    let mut all = Arch::all().flat_map(Arch::weights);
    let exists_elsewhere = all.any(|known| known.name == text);
    let message = if !origins.is_set("model.weights") {
        format!("missing key `model.weights`: the default `{text}` does not exist for `{arch}`")
    } else if exists_elsewhere {
        format!("weights `{text}` do not exist for `{arch}`")
    } else {
        format!("unknown weights `{text}`")
    };
    let help = match nearest(text, &names) {
        Some(near) if !exists_elsewhere => format!("did you mean `{near}`? {expected}"),
        Some(_) | None => expected,
    };
    origins.report("model.weights", message, help);
    None
}

/// Parses selectors and, where the architecture is known, checks that each selects something.
pub(super) fn selectors(
    path: &str,
    texts: &[String],
    arch: Option<Arch>,
    origins: &mut Origins,
) -> Vec<Selector> {
    let mut selectors = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        selectors.extend(selector(&path, text, arch, origins));
    }
    selectors
}

/// Parses one selector; `None` after a problem.
pub(super) fn selector(
    path: &str,
    text: &str,
    arch: Option<Arch>,
    origins: &mut Origins,
) -> Option<Selector> {
    match Selector::parse(text) {
        Err(fact) => {
            let help = "use head, all, a module such as classifier, features[24:] or layer4[-1].conv2, or the path of a parameter";
            origins.report(path, fact, help);
            None
        }
        Ok(selector) => {
            if let Some(arch) = arch
                && selector.paths(arch).is_empty()
            {
                let message = format!("`{text}` selects no parameters");
                origins.report(path, message, selector.alternatives(arch));
                return None;
            }
            Some(selector)
        }
    }
}

//! `[model]`: the architecture, and weights that exist for it. Opens no weights; whether a file is there is found later.

use std::path::PathBuf;

use crate::{
    config::{
        experiment::{FrozenBatchNorm, KnownWeights, Model, Weights},
        origins::Origins,
        raw::{Defaults, RawModel},
    },
    model::{layout::Arch, select::Selector},
    text::suggest::{list, nearest},
};

/// The architecture, if it is known. It is resolved before the rest of the model, so that selectors are checked even if the
/// weights are wrong.
pub(super) fn arch(raw: &RawModel, origins: &Origins) -> Option<Arch> {
    if origins.is_broken("model.arch") {
        return None;
    }
    Arch::ALL.into_iter().find(|arch| arch.name() == raw.arch)
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
        Some(_) if !arch.has_batch_norm() => {
            let why = format!("with arch = \"{}\", which has no batch norm", arch.name());
            origins.report_inert("model.frozen_batch_norm", &why, "remove it");
            FrozenBatchNorm::Eval
        }
        choice => choice.unwrap_or(defaults.kinds.batch_norm.frozen_batch_norm),
    };
    Some(Model {
        arch,
        weights: weights?,
        weights_sha256,
        fresh,
        dropout: raw.dropout,
        frozen_batch_norm,
    })
}

/// The published weights of an architecture, by name.
fn known(arch: Arch) -> Vec<(&'static str, Weights)> {
    let imagenet = ("imagenet1k_v1", Weights::Known(KnownWeights::Imagenet1kV1));
    let features = (
        "imagenet1k_features",
        Weights::Known(KnownWeights::Imagenet1kFeatures),
    );
    let drawings = ("drawings_v1", Weights::Known(KnownWeights::DrawingsV1));
    let none = ("none", Weights::None);
    match arch {
        Arch::Vgg16 => vec![imagenet, features, none],
        Arch::Vgg16Slim => vec![drawings, none],
        Arch::Vgg11
        | Arch::Vgg13
        | Arch::Vgg19
        | Arch::Vgg11Bn
        | Arch::Vgg13Bn
        | Arch::Vgg16Bn
        | Arch::Vgg19Bn => vec![imagenet, none],
    }
}

fn resolve_weights(text: &str, arch: Arch, origins: &mut Origins) -> Option<Weights> {
    let known = known(arch);
    if let Some((_, weights)) = known.iter().find(|(name, _)| *name == text) {
        return Some(weights.clone());
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
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let arch = arch.name();
    let expected = format!(
        "expected {} for `{arch}`, or a file (a path with a `/`, or ending in .pth, .pt or .safetensors)",
        list(&names, "or")
    );
    let exists_elsewhere = ["imagenet1k_v1", "imagenet1k_features", "drawings_v1"].contains(&text);
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
            let help = "use features[24:], features[10:17], features[28], classifier, all, or the path of a parameter";
            origins.report(path, fact, help);
            None
        }
        Ok(selector) => {
            if let Some(arch) = arch
                && selector.paths(arch).is_empty()
            {
                let message = format!("`{text}` selects no parameters");
                origins.report(path, message, crate::model::select::inventory(arch));
                return None;
            }
            Some(selector)
        }
    }
}

//! Selectors: PyTorch's notation for parts of a model, for example `features[24:]`.
//! Pure; knows the layout of an architecture, not its tensors.

use std::fmt;

use serde::{Serialize, Serializer};

use super::layout::Arch;

/// Selects some of a model's parameters. Displayed exactly as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    text: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    All,
    /// `features`: a whole module.
    Module(String),
    /// `features[28]`; a negative index counts from the end.
    Layer(String, i64),
    /// `features[10:17]`; either end may be open.
    Layers(String, Option<i64>, Option<i64>),
    /// `features.28.weight`
    Parameter(String),
}

impl Selector {
    /// Parses the text alone; whether it selects anything depends on the architecture.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let what = parse_what(text.trim()).ok_or_else(|| format!("invalid selector `{text}`"))?;
        Ok(Self {
            text: text.trim().to_owned(),
            what,
        })
    }

    /// Whether this selects the tensor with this torchvision name.
    pub(crate) fn matches(&self, path: &str, arch: Arch) -> bool {
        let mut parts = path.splitn(3, '.');
        let (Some(module), Some(index)) = (parts.next(), parts.next()) else {
            return false;
        };
        let Ok(index) = index.parse::<i64>() else {
            return false;
        };
        let n_layers = n_layers(module, arch);
        // As in Python: -1 is the last element, and an end beyond the list is the end of the list.
        let wrap = |at: i64| if at < 0 { at + n_layers } else { at };
        match &self.what {
            What::All => true,
            What::Module(name) => name == module,
            What::Layer(name, at) => name == module && index == wrap(*at),
            What::Layers(name, from, to) => {
                name == module && index >= from.map_or(0, wrap) && index < to.map_or(n_layers, wrap)
            }
            What::Parameter(name) => name == path,
        }
    }

    /// The selected parameters, in the model's order. Buffers are not parameters.
    pub(crate) fn paths(&self, arch: Arch) -> Vec<String> {
        parameters(arch)
            .filter(|path| self.matches(path, arch))
            .collect()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// What can be selected: ``vgg16 has features[0..=30] (parameters at 0, 2, ..) and classifier[0..=6] (..)``.
pub(crate) fn inventory(arch: Arch) -> String {
    let (n_features, n_classifier) = arch.n_layers();
    format!(
        "{} has features[0..={}] (parameters at {}) and classifier[0..={}] (parameters at {})",
        arch.name(),
        n_features - 1,
        layers_with_parameters("features", arch),
        n_classifier - 1,
        layers_with_parameters("classifier", arch),
    )
}

fn layers_with_parameters(module: &str, arch: Arch) -> String {
    let mut layers: Vec<String> = parameters(arch)
        .filter_map(|path| {
            let (index, _) = path
                .strip_prefix(module)?
                .strip_prefix('.')?
                .split_once('.')?;
            Some(index.to_owned())
        })
        .collect();
    layers.dedup();
    layers.join(", ")
}

fn parameters(arch: Arch) -> impl Iterator<Item = String> {
    // The names are the same for any number of classes.
    let tensors = arch.tensors(1).into_iter();
    tensors
        .filter(|tensor| !tensor.is_buffer)
        .map(|tensor| tensor.path)
}

fn n_layers(module: &str, arch: Arch) -> i64 {
    let (n_features, n_classifier) = arch.n_layers();
    let n_layers = match module {
        "features" => n_features,
        "classifier" => n_classifier,
        _ => 0,
    };
    i64::try_from(n_layers).unwrap_or(i64::MAX)
}

fn parse_what(text: &str) -> Option<What> {
    if text == "all" {
        return Some(What::All);
    }
    if let Some((module, rest)) = text.split_once('[') {
        let inside = rest.strip_suffix(']')?;
        if !is_word(module) {
            return None;
        }
        let module = module.to_owned();
        return match inside.split_once(':') {
            Some((from, to)) => Some(What::Layers(module, parse_end(from)?, parse_end(to)?)),
            None => Some(What::Layer(module, parse_index(inside)?)),
        };
    }
    let is_path = text.contains('.');
    if !text.split('.').all(is_word) {
        None
    } else if is_path {
        Some(What::Parameter(text.to_owned()))
    } else {
        Some(What::Module(text.to_owned()))
    }
}

/// One end of a slice: `Some(None)` if it is open, `None` if it is not a number.
#[expect(
    clippy::option_option,
    reason = "absent and wrong are different answers"
)]
fn parse_end(text: &str) -> Option<Option<i64>> {
    if text.trim().is_empty() {
        return Some(None);
    }
    parse_index(text).map(Some)
}

fn parse_index(text: &str) -> Option<i64> {
    // A bound beyond any model that keeps counting from the end from overflowing.
    text.trim()
        .parse()
        .ok()
        .filter(|index: &i64| index.unsigned_abs() < 1_000_000)
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, arch: Arch, expected: &[&str]) {
        assert_eq!(
            Selector::parse(text).unwrap().paths(arch),
            expected,
            "{text}"
        );
    }

    #[test]
    fn the_last_block_of_vgg16_is_six_tensors_of_seven_million_parameters() {
        let selector = Selector::parse("features[24:]").unwrap();
        let tensors = Arch::Vgg16.tensors(2);
        let selected: Vec<_> = tensors
            .iter()
            .filter(|tensor| selector.matches(&tensor.path, Arch::Vgg16))
            .collect();
        assert_eq!(selected.len(), 6);
        let n_parameters: usize = selected.iter().map(|tensor| tensor.n_elements()).sum();
        assert_eq!(n_parameters, 7_079_424);
    }

    #[test]
    fn indices_and_slices_are_those_of_python() {
        let last = ["features.28.weight", "features.28.bias"];
        check("features[28]", Arch::Vgg16, &last);
        check("features[-3]", Arch::Vgg16, &last);
        check("features[-4:]", Arch::Vgg16, &last);
        check("features[28:999]", Arch::Vgg16, &last);
        check(
            "features[:2]",
            Arch::Vgg16,
            &["features.0.weight", "features.0.bias"],
        );
        check(
            "features[-999:1]",
            Arch::Vgg16,
            &["features.0.weight", "features.0.bias"],
        );
        check(
            "classifier[-1]",
            Arch::Vgg16,
            &["classifier.6.weight", "classifier.6.bias"],
        );
        check("features.28.bias", Arch::Vgg16, &["features.28.bias"]);
        check("features[17:10]", Arch::Vgg16, &[]);
    }

    #[test]
    fn all_is_every_parameter_and_no_buffer() {
        let n_paths = |arch| Selector::parse("all").unwrap().paths(arch).len();
        assert_eq!(n_paths(Arch::Vgg16), 32);
        assert_eq!(n_paths(Arch::Vgg16Bn), 58);
    }

    #[test]
    fn layers_without_parameters_select_nothing() {
        for text in [
            "features[1]",
            "features[31:]",
            "features[-32]",
            "head",
            "classifier[7]",
        ] {
            check(text, Arch::Vgg16, &[]);
        }
    }

    #[test]
    fn what_is_no_selector_does_not_parse() {
        for text in [
            "",
            "features[",
            "features[a]",
            "features[1:2:3]",
            "a..b",
            "[1]",
            "features]",
            "features[24:",
        ] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}

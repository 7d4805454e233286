//! Selectors: PyTorch's notation for parts of a model, such as `features[24:]`, `layer4[-1].conv2` or `head`.
//! Pure; knows networks on paper, not their tensors.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{
    families::Arch,
    paper::{Module, Paper, TensorSpec, is_in},
};

/// Selects some of a model's parameters. Displayed exactly as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    text: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    All,
    /// The layer that is replaced for the user's classes.
    Head,
    /// A module, some members of a module, or a parameter.
    Path {
        parts: Vec<Part>,
        slice: Option<Slice>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A module, or a parameter at the end of the path.
    Name(String),
    /// A member of a sequence; a negative index counts from the end.
    Index(i64),
}

/// The two ends of `[10:17]`; either may be open.
type Slice = (Option<i64>, Option<i64>);

/// The path of a module, below which a part of a selector is not found.
struct NotFound {
    below: String,
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

    /// The selected parameters, in the model's order. Buffers are not parameters.
    pub(crate) fn paths(&self, arch: Arch) -> Vec<String> {
        let tensors = self.tensors(arch).unwrap_or_default().into_iter();
        let parameters = tensors.filter(|spec| !spec.is_buffer);
        parameters.map(|spec| spec.path.clone()).collect()
    }

    /// The paths of the selected parameters and of the buffers beside them.
    pub(crate) fn paths_with_buffers(&self, arch: Arch) -> Vec<String> {
        let tensors = self.tensors(arch).unwrap_or_default().into_iter();
        tensors.map(|spec| spec.path.clone()).collect()
    }

    /// What could be selected instead of this, which selects nothing: the parts that there are at the place where it goes wrong.
    pub(crate) fn alternatives(&self, arch: Arch) -> String {
        let below = match self.tensors(arch) {
            Ok(_) => String::new(),
            Err(NotFound { below }) => below,
        };
        let root = &arch.names().root;
        match root.at(&below) {
            Some(module) if below.contains('.') => {
                let members = members_text(arch.names(), module, &below);
                format!(
                    "in {}, {} has {members}",
                    arch.name(),
                    indexed(root, &below)
                )
            }
            Some(_) | None => format!(
                "{} has {}",
                arch.name(),
                members_text(arch.names(), root, "")
            ),
        }
    }

    fn tensors(&self, arch: Arch) -> Result<Vec<&'static TensorSpec>, NotFound> {
        let paper = arch.names();
        let modules = match &self.what {
            What::All => return Ok(paper.tensors.iter().collect()),
            What::Head if paper.root.get("head").is_none() => vec![paper.head().path],
            What::Head => vec!["head".to_owned()],
            What::Path { parts, slice } => modules(paper, parts, *slice)?,
        };
        let is_selected =
            |spec: &&TensorSpec| modules.iter().any(|module| is_in(&spec.path, module));
        Ok(paper.tensors.iter().filter(is_selected).collect())
    }
}

/// The paths of the modules, or of the parameter, that a selector names.
fn modules(paper: &Paper, parts: &[Part], slice: Option<Slice>) -> Result<Vec<String>, NotFound> {
    let mut module = &paper.root;
    let mut path = String::new();
    for (index, part) in parts.iter().enumerate() {
        let name = match part {
            Part::Name(name) => name.clone(),
            Part::Index(at) => member_name(module, *at).ok_or_else(|| NotFound {
                below: path.clone(),
            })?,
        };
        let longer = join(&path, &name);
        match module.get(&name) {
            Some(member) => module = member,
            None if index + 1 == parts.len() && slice.is_none() => {
                let mut parameters = paper.parameters();
                return match parameters.find(|spec| spec.path == longer) {
                    Some(_) => Ok(vec![longer]),
                    None => Err(NotFound { below: path }),
                };
            }
            None => return Err(NotFound { below: path }),
        }
        path = longer;
    }
    let Some((from, to)) = slice else {
        return Ok(vec![path]);
    };
    let Some(length) = module.sequence else {
        return Err(NotFound { below: path });
    };
    let range = wrap(from.unwrap_or(0), length)..to.map_or(length as i64, |to| wrap(to, length));
    let members = module.members.iter();
    let members = members.filter(|member| range.contains(&(member.index as i64)));
    Ok(members.map(|member| join(&path, &member.name)).collect())
}

/// The name of a sequence's member at an index.
fn member_name(module: &Module, at: i64) -> Option<String> {
    let at = wrap(at, module.sequence?);
    let mut members = module.members.iter();
    let member = members.find(|member| member.index as i64 == at)?;
    Some(member.name.clone())
}

/// As in Python: -1 is the last member, and an index beyond the sequence is beyond it.
fn wrap(at: i64, length: usize) -> i64 {
    if at < 0 { at + length as i64 } else { at }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
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

/// The members of a module that have parameters: `features[0..=30] (parameters at 0, 2, ..) and classifier[0..=6] (..)`.
fn members_text(paper: &Paper, module: &Module, path: &str) -> String {
    let has_parameters = |path: &str| paper.tensors.iter().any(|spec| spec.is_in(path));
    let members = module.members.iter();
    let members = members.map(|member| (member, join(path, &member.name)));
    let texts = members
        .filter(|(_, path)| has_parameters(path))
        .map(|(member, path)| {
            let Some(length) = member.module.sequence else {
                return member.name.clone();
            };
            let text = format!("{}[0..={}]", member.name, length - 1);
            let within = member.module.members.iter();
            let within = within.filter(|inner| has_parameters(&join(&path, &inner.name)));
            let places: Vec<String> = within.map(|inner| inner.index.to_string()).collect();
            if places.len() == length {
                text
            } else {
                format!("{text} (parameters at {})", places.join(", "))
            }
        });
    let texts: Vec<String> = texts.collect();
    match texts.as_slice() {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => texts.concat(),
    }
}

/// A path with the members of sequences in brackets: `layer4[0]`.
fn indexed(root: &Module, path: &str) -> String {
    let mut module = root;
    let mut text = String::new();
    for name in path.split('.') {
        if module.sequence.is_some() {
            let member = module.members.iter().find(|member| member.name == name);
            text = format!("{text}[{}]", member.map_or(0, |member| member.index));
        } else {
            text = join(&text, name);
        }
        module = module.get(name).unwrap_or(module);
    }
    text
}

fn parse_what(text: &str) -> Option<What> {
    match text {
        "all" => return Some(What::All),
        "head" => return Some(What::Head),
        _ => {}
    }
    let mut parts = Vec::new();
    for (place, word) in text.split('.').enumerate() {
        let (name, mut rest) = match word.find('[') {
            Some(at) => word.split_at(at),
            None => (word, ""),
        };
        if !is_word(name) {
            return None;
        }
        parts.push(Part::Name(name.to_owned()));
        while !rest.is_empty() {
            let (inside, after) = rest.strip_prefix('[')?.split_once(']')?;
            if let Some((from, to)) = inside.split_once(':') {
                let is_last = after.is_empty() && text.split('.').count() == place + 1;
                let slice = Some((parse_end(from)?, parse_end(to)?));
                return is_last.then_some(What::Path { parts, slice });
            }
            parts.push(Part::Index(parse_index(inside)?));
            rest = after;
        }
    }
    Some(What::Path { parts, slice: None })
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

/// RegNet's blocks have a hyphen in their names.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, arch: &str, expected: &[&str]) {
        let arch = Arch::find(arch).unwrap();
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.paths(arch), expected, "{text}");
    }

    #[test]
    fn the_last_block_of_vgg16_is_six_tensors_of_seven_million_parameters() {
        let arch = Arch::find("vgg16").unwrap();
        let selected = Selector::parse("features[24:]").unwrap().paths(arch);
        assert_eq!(selected.len(), 6);
        let tensors = arch.tensors(2).into_iter();
        let selected = tensors.filter(|spec| selected.contains(&spec.path));
        let n_parameters: usize = selected.map(|spec| spec.n_elements()).sum();
        assert_eq!(n_parameters, 7_079_424);
    }

    #[test]
    fn indices_and_slices_are_those_of_python() {
        let last = ["features.28.weight", "features.28.bias"];
        let first = ["features.0.weight", "features.0.bias"];
        check("features[28]", "vgg16", &last);
        check("features[-3]", "vgg16", &last);
        check("features[-4:]", "vgg16", &last);
        check("features[28:999]", "vgg16", &last);
        check("features[:2]", "vgg16", &first);
        check("features[-999:1]", "vgg16", &first);
        let head = ["classifier.6.weight", "classifier.6.bias"];
        check("classifier[-1]", "vgg16", &head);
        check("classifier.6", "vgg16", &head);
        check("features.28.bias", "vgg16", &["features.28.bias"]);
        check("features[28].bias", "vgg16", &["features.28.bias"]);
        check("features[17:10]", "vgg16", &[]);
    }

    #[test]
    fn all_is_every_parameter_and_no_buffer() {
        let n_paths = |arch| {
            let arch = Arch::find(arch).unwrap();
            Selector::parse("all").unwrap().paths(arch).len()
        };
        assert_eq!(n_paths("vgg16"), 32);
        assert_eq!(n_paths("vgg16_bn"), 58);
    }

    #[test]
    fn head_is_the_replaced_layer() {
        check(
            "head",
            "vgg16",
            &["classifier.6.weight", "classifier.6.bias"],
        );
    }

    #[test]
    fn layers_without_parameters_select_nothing() {
        for text in [
            "features[1]",
            "features[31:]",
            "features[-32]",
            "avgpool",
            "neck",
            "classifier[7]",
            "features.0.scale",
            "features[0][0]",
            "features[0][0:]",
            "features.0.weight[0:]",
        ] {
            check(text, "vgg16", &[]);
        }
        check("features.1.running_mean", "vgg11_bn", &[]);
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
            "features[24:].weight",
            "features[1:2][0]",
            "a.[1]",
            "a b",
        ] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}

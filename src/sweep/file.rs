//! From a sweep file to its `Definition`, with all that is wrong with it reported at once.
//! Knows the sweep's own keys; whether an experiment takes the values is `validate`'s.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    DEFAULTS,
    definition::{Axis, Definition, Setting},
    keys,
    method::{Defaults, method},
    reading::{Reading, in_order},
};
use crate::{
    config::{
        layers::{one_line, similar_file},
        resolve::{NAME_HELP, is_plain_name},
        schema,
    },
    error::{Diagnostic, Error, Result, Source, SourceSpan},
    text::suggest::{list, nearest},
};

const KEYS: [&str; 8] = [
    "name",
    "base",
    "method",
    "max_trials",
    "seed",
    "parallel",
    "set",
    "axes",
];

/// Reads `text`, which is what `file` holds; looks whether the base is there.
pub(crate) fn read(file: &Path, text: &str) -> Result<Definition> {
    let label = file.display().to_string();
    let source = Arc::new(Source::new(&label, Some(text), 0, false));
    let (document, errors) = DeTable::parse_recoverable(text);
    let has = |key| document.get_ref().contains_key(key);
    if has("phase") && !has("base") && !has("axes") {
        return Err(Error::usage(format!(
            "{0}: is an experiment, not a sweep\nhelp: `runner {0}` runs it once; a sweep file names it as its `base`, see \
             `runner sweep --defaults`",
            source.label
        )));
    }
    let torn = |error: &toml::de::Error| {
        let place = SourceSpan {
            source: Arc::clone(&source),
            span: error.span(),
        };
        let message = format!("invalid TOML: {}", one_line(error.message()));
        Diagnostic::of_key(place, None, message, None)
    };
    let mut reading = Reading {
        source: Arc::clone(&source),
        problems: errors.iter().map(torn).collect(),
    };
    let definition = if errors.is_empty() {
        definition(&mut reading, file, document.get_ref())
    } else {
        None
    };
    match definition.filter(|_| reading.problems.is_empty()) {
        Some(definition) => Ok(definition),
        None => Err(Error::config(source.label.clone(), reading.problems)),
    }
}

fn definition(reading: &mut Reading, file: &Path, document: &DeTable<'_>) -> Option<Definition> {
    let defaults: Defaults =
        toml::from_str(DEFAULTS).expect("the embedded defaults are tested to parse");
    let misspelt = unknown_keys(reading, document);
    let name = name(reading, file, document.get("name"));
    let base = base(reading, file, document.get("base"), &misspelt);
    let parallel = match document.get("parallel") {
        Some(value) => reading
            .count("parallel", value, (1, 1024))
            .and_then(|count| NonZeroUsize::new(count as usize)),
        None => Some(defaults.parallel),
    };
    let mut fixed = Vec::new();
    if let Some(table) = table(reading, "set", document.get("set")) {
        keys::settings(reading, "", table, &mut fixed);
        fixed.sort_by_key(|setting: &Setting| setting.key_span.start);
    }
    let mut axes = Vec::new();
    if let Some(table) = table(reading, "axes", document.get("axes")) {
        let n_problems = reading.problems.len();
        keys::axes(reading, "", table, &mut axes);
        // Dotted keys of one table may stand apart.
        axes.sort_by_key(|axis: &Axis| axis.key_span.start);
        // A table that holds only what was refused has been spoken of.
        if axes.is_empty() && reading.problems.len() == n_problems {
            let span = document.get("axes").map(Spanned::span).unwrap_or_default();
            reading.refuse::<()>("axes", &span, "has no keys", AXES_HELP);
        }
    } else if !document.contains_key("axes") && !misspelt.contains(&"axes") {
        reading.refuse_absence::<()>("axes", AXES_HELP);
    }
    for setting in &fixed {
        if axes.iter().any(|axis| axis.key == setting.key) {
            let help = "what varies has no fixed value: remove it from [set] or from [axes]";
            reading.refuse::<()>(&setting.key, &setting.key_span, "is an axis too", help);
        }
    }
    let method = method(reading, document, &defaults, &axes, &misspelt);
    Some(Definition {
        name: name?,
        base: base?,
        method: method?,
        parallel: parallel?,
        fixed,
        axes,
        source: Arc::clone(&reading.source),
    })
}

const AXES_HELP: &str = "add [axes] with what varies, such as optimizer.lr = [1e-4, 1e-3]";

/// Reports keys that no sweep has; gives those that were meant.
fn unknown_keys(reading: &mut Reading, document: &DeTable<'_>) -> Vec<&'static str> {
    let mut meant = Vec::new();
    for (key, _) in in_order(document) {
        let name: &str = key.get_ref().as_ref();
        if KEYS.contains(&name) {
            continue;
        }
        let takes = format!("a sweep takes {}", list(&KEYS, "and"));
        let first_word = name.split('.').next().unwrap_or(name);
        let help = if schema::find(schema::TOP, first_word).is_some() {
            format!("`{name}` belongs in [set] or [axes]")
        } else if let Some(near) = nearest(name, &KEYS) {
            meant.push(near);
            format!("did you mean `{near}`? {takes}")
        } else {
            takes
        };
        reading.refuse::<()>(name, &key.span(), "unknown key", help);
    }
    meant
}

fn table<'a, 'i>(
    reading: &mut Reading,
    key: &str,
    value: Option<&'a Spanned<DeValue<'i>>>,
) -> Option<&'a DeTable<'i>> {
    let value = value?;
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => reading.mistyped(key, value, "a table", None),
    }
}

fn name(
    reading: &mut Reading,
    file: &Path,
    value: Option<&Spanned<DeValue<'_>>>,
) -> Option<String> {
    let Some(value) = value else {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        if is_plain_name(&stem) {
            return Some(stem.into_owned());
        }
        return reading.refuse_absence(
            "name",
            format!("the file's own name cannot name a directory; {NAME_HELP}"),
        );
    };
    let name = reading.text("name", value)?;
    if is_plain_name(&name) {
        return Some(name);
    }
    let fact = format!("cannot name a directory: `{name}`");
    reading.refuse("name", &value.span(), fact, NAME_HELP)
}

/// `configs/demo.toml` for `configs/sweeps/../demo.toml`, where that is the same file.
fn tidy(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir
            && matches!(short.components().next_back(), Some(Component::Normal(_)))
        {
            short.pop();
        } else {
            short.push(part);
        }
    }
    // A folder that is a link has another parent.
    let is_same = fs::canonicalize(&short).ok() == fs::canonicalize(path).ok();
    if is_same { short } else { path.to_owned() }
}

fn base(
    reading: &mut Reading,
    file: &Path,
    value: Option<&Spanned<DeValue<'_>>>,
    misspelt: &[&str],
) -> Option<PathBuf> {
    let Some(value) = value else {
        if misspelt.contains(&"base") {
            return None;
        }
        let help = "add base = \"experiment.toml\", the experiment that varies; the path is relative to the sweep file";
        return reading.refuse_absence("base", help);
    };
    let text = reading.text("base", value)?;
    let base = file.parent().unwrap_or(Path::new("")).join(&text);
    if base.is_file() {
        return Some(tidy(&base));
    }
    let fact = format!("there is no file `{}`", base.display());
    let help = match similar_file(&base) {
        Some(near) => format!("did you mean `{near}`? `base` is relative to the sweep file"),
        None => "`base` is relative to the sweep file".to_owned(),
    };
    reading.refuse("base", &value.span(), fact, help)
}

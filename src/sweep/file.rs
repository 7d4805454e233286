//! From a sweep file to its `Definition`, with all of its problems reported at once.
//! Knows the sweep's own keys; whether an experiment takes the values is checked by `validate`.

use std::{
    fs,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use figment::{Figment, providers::Serialized, value::Dict};
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    DEFAULTS,
    definition::{Axis, Definition, Setting},
    keys,
    launch_keys::{LAUNCHER, RawLauncher, launcher},
    method::{MOST_TRIALS, MethodName, method},
    search::{RawSearch, SEARCH, search},
};
use crate::{
    config::{
        layers::{one_line, similar_file},
        origins::Origins,
        resolve::{NAME_HELP, is_plain_name},
        schema::{self, Key, KeyKind, Range, key},
        walk::Walk,
    },
    error::{Diagnostic, Error, Result, Source, SourceSpan},
};

/// The keys of a sweep file.
pub(super) static KEYS: &[Key] = &[
    key("name", KeyKind::Text),
    key("base", KeyKind::Text).required(),
    key(
        "method",
        KeyKind::Choice("method", || MethodName::NAMES.to_vec()),
    ),
    key(
        "max_trials",
        KeyKind::Count {
            min: 1,
            max: MOST_TRIALS,
        },
    ),
    key(
        "seed",
        KeyKind::Count {
            min: 0,
            max: schema::MAX,
        },
    ),
    key("max_gib", KeyKind::Number(Range::POSITIVE)),
    key("search", KeyKind::Table(SEARCH)),
    key("launcher", KeyKind::Table(LAUNCHER)),
    key("set", KeyKind::Settings),
    key("axes", KeyKind::Settings).required(),
];

/// The keys of a sweep file as merged with their defaults; `[set]` and `[axes]` are read apart.
#[derive(Deserialize)]
pub(super) struct RawSweep {
    name: Option<String>,
    base: Option<String>,
    pub(super) method: MethodName,
    pub(super) max_trials: Option<u64>,
    pub(super) seed: u64,
    max_gib: Option<f64>,
    search: RawSearch,
    launcher: RawLauncher,
}

/// Reads `text`, which is the content of `file`, and checks that the base exists.
pub(crate) fn read(file: &Path, text: &str) -> Result<Definition> {
    let label = file.display().to_string();
    let source = Arc::new(Source::new(&label, Some(text), 0, false));
    let (document, errors) = DeTable::parse_recoverable(text);
    let has = |key| document.get_ref().contains_key(key);
    if has("phase") && !has("base") && !has("axes") {
        return Err(
            Error::usage(format!("`{label}` is an experiment file, not a sweep file"))
                .at(file)
                .help(format!("run it once with `runner {label}`"))
                .help("or name it as the `base` of a sweep file; see `runner sweep --defaults`"),
        );
    }
    let torn = |error: &toml::de::Error| {
        let place = SourceSpan {
            source: Arc::clone(&source),
            span: error.span(),
        };
        let message = format!("invalid TOML: {}", one_line(error.message()));
        Diagnostic::of_key(place, None, message, None)
    };
    let mut origins = Origins::new(Arc::clone(&source));
    origins.problems = errors.iter().map(torn).collect();
    let definition = if errors.is_empty() {
        let mut walk = Walk::with_homes(Arc::clone(&source), &mut origins, homes);
        definition(&mut walk, file, document.get_ref())
    } else {
        None
    };
    match definition.filter(|_| origins.problems.is_empty()) {
        Some(definition) => Ok(definition),
        None => Err(Error::config(label, origins.problems)),
    }
}

/// The tables for a key of experiments, which is unknown at the top of a sweep file.
fn homes(name: &str) -> Vec<String> {
    let first_word = name.split('.').next().unwrap_or(name);
    if name == "parallel" {
        vec!["[launcher], where it is `max_parallel`".to_owned()]
    } else if schema::find(schema::TOP, first_word).is_some() {
        vec!["[set]".to_owned(), "[axes]".to_owned()]
    } else {
        Vec::new()
    }
}

fn definition(walk: &mut Walk<'_>, file: &Path, document: &DeTable<'_>) -> Option<Definition> {
    let keys = walk.table("", document, KEYS);
    let raw = merged(keys);
    let name = name(walk, file, raw.name.as_deref());
    let base = base(walk, file, raw.base.as_deref());
    let mut fixed = Vec::new();
    if let Some(table) = table(document, "set") {
        keys::settings(walk, "", table, &mut fixed);
        fixed.sort_by_key(|setting: &Setting| setting.key_span.start);
    }
    let mut axes = Vec::new();
    if let Some(table) = table(document, "axes") {
        let n_problems = walk.origins.problems.len();
        keys::axes(walk, "", table, &mut axes);
        // The dotted keys of one table may be apart in the file.
        axes.sort_by_key(|axis: &Axis| axis.key_span.start);
        // If the table holds only keys that were refused, their problems are enough.
        if axes.is_empty() && walk.origins.problems.len() == n_problems {
            walk.origins.report("axes", "`axes` has no keys", AXES_HELP);
        }
    } else {
        walk.origins.report_missing("axes", AXES_HELP);
    }
    for setting in &fixed {
        if axes.iter().any(|axis| axis.key == setting.key) {
            let message = format!("`{}` is both set and an axis", setting.key);
            let help = "remove it from [set] or from [axes]".to_owned();
            walk.refuse::<()>(&setting.key, &setting.key_span, message, Some(help));
        }
    }
    let method = method(walk, &raw, &axes);
    let search = search(walk, &raw.search);
    let launcher = launcher(walk, raw.launcher);
    Some(Definition {
        name: name?,
        base: base?,
        method: method?,
        search: search?,
        launcher: launcher?,
        max_gib: raw.max_gib,
        fixed,
        axes,
        source: Arc::clone(&walk.source),
    })
}

const AXES_HELP: &str =
    "add [axes] with the keys that vary, for example optimizer.lr = [1e-4, 1e-3]";

/// The checked keys over the defaults.
fn merged(keys: Dict) -> RawSweep {
    let defaults: toml::Table = DEFAULTS
        .parse()
        .expect("the embedded defaults are tested to parse");
    Figment::from(Serialized::defaults(defaults))
        .merge(Serialized::defaults(keys))
        .extract()
        .expect("the walk leaves only values of the types of the keys")
}

fn table<'a, 'i>(document: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    document
        .get(key)
        .map(Spanned::get_ref)
        .and_then(DeValue::as_table)
}

fn name(walk: &mut Walk<'_>, file: &Path, name: Option<&str>) -> Option<String> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    match name {
        Some(name) if is_plain_name(name) => Some(name.to_owned()),
        Some(name) => {
            let message = format!("invalid sweep name `{name}`");
            walk.origins.report("name", message, NAME_HELP);
            None
        }
        None if walk.origins.is_broken("name") => None,
        None if is_plain_name(&stem) => Some(stem.into_owned()),
        None => {
            let message =
                format!("missing key `name`: the file name `{stem}` is not a valid sweep name");
            walk.origins.report("name", message, NAME_HELP);
            None
        }
    }
}

/// The path without `..`, as far as that is the same file: `configs/demo.toml` for `configs/sweeps/../demo.toml`.
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
    // The parent of a linked folder is another one.
    let is_same = fs::canonicalize(&short).ok() == fs::canonicalize(path).ok();
    if is_same { short } else { path.to_owned() }
}

fn base(walk: &mut Walk<'_>, file: &Path, base: Option<&str>) -> Option<PathBuf> {
    const RELATIVE: &str = "`base` is relative to the sweep file";
    let Some(text) = base else {
        let help = format!("add base = \"experiment.toml\", the experiment to vary; {RELATIVE}");
        walk.origins.report_missing("base", help);
        return None;
    };
    let base = file.parent().unwrap_or(Path::new("")).join(text);
    if base.is_file() {
        return Some(tidy(&base));
    }
    let message = format!("the file `{}` does not exist", base.display());
    let help = match similar_file(&base) {
        Some(near) => format!("did you mean `{near}`? {RELATIVE}"),
        None => RELATIVE.to_owned(),
    };
    walk.origins.report("base", message, help);
    None
}

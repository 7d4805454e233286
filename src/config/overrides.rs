//! `RUNNER_OPTIMIZER__LR=1e-4` and `--set optimizer.lr=1e-4`: single keys that override the files and are checked like them.
//! Reads neither the environment nor the command line; both are passed in.

use std::sync::Arc;

use figment::value::{Dict, Value};
use toml::{Spanned, de::DeValue};

use super::{
    layers::{Layers, parse_value},
    origins::Origins,
    schema::{self, Key, KeyKind},
    walk::{Walk, join},
};

use crate::{
    error::{Diagnostic, Source, SourceSpan},
    text::suggest::{list, nearest},
};

const PREFIX: &str = "RUNNER_";

/// Whether a variable sets a key. All with the prefix do, except for those that control the program itself.
pub(crate) fn is_key(variable: &str) -> bool {
    variable.starts_with(PREFIX)
        && variable != "RUNNER_LOG"
        && !variable.starts_with("RUNNER_TEST_")
}

/// Applies the variables that set keys; one that names no known key is a problem.
pub(crate) fn environment(layers: &mut Layers, env: &[(String, String)]) {
    let mut variables: Vec<&(String, String)> =
        env.iter().filter(|(name, _)| is_key(name)).collect();
    variables.sort();
    for (name, value) in variables {
        let source = layers.source(&format!("{name}={value}"), None, false);
        let words: Vec<String> = name[PREFIX.len()..]
            .split("__")
            .map(str::to_lowercase)
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        apply(layers, &source, &words, value);
    }
}

pub(crate) fn arguments(layers: &mut Layers, sets: &[String]) {
    for set in sets {
        let source = layers.source(&format!("--set {set}"), None, false);
        let Some((key, value)) = set
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
        else {
            let place = SourceSpan { source, span: None };
            let help = "name a key and its value, for example `--set optimizer.lr=1e-4`";
            layers.origins.problems.push(Diagnostic::of_key(
                place,
                None,
                "expected KEY=VALUE",
                Some(help.to_owned()),
            ));
            continue;
        };
        let words: Vec<&str> = key.split('.').map(str::trim).collect();
        apply(layers, &source, &words, value.trim());
    }
}

fn apply(layers: &mut Layers, source: &Arc<Source>, words: &[&str], value: &str) {
    match words {
        ["extends", ..] => {
            let help = "set it in the experiment file".to_owned();
            let place = whole(source);
            let message = "`extends` can only be set in a file";
            layers
                .origins
                .report_at(place, "extends", message, Some(help));
        }
        ["phase", name, rest @ ..] if !rest.is_empty() => {
            apply_to_phase(layers, source, name, rest, value);
        }
        _ => {
            let Some((path, kind)) = find(&mut layers.origins, source, "", words, schema::TOP)
            else {
                return;
            };
            if let Some(value) = check(&mut layers.origins, source, &path, value, kind) {
                layers.merge(&source.label, nest(words, value));
            }
        }
    }
}

/// Changes the named phase in a copy of all phases, because a layer replaces an array as a whole.
fn apply_to_phase(
    layers: &mut Layers,
    source: &Arc<Source>,
    name: &str,
    words: &[&str],
    value: &str,
) {
    let names = &layers.origins.phase_names;
    let position = names.iter().position(|phase| {
        phase.as_ref().is_some_and(|phase| {
            // Variables are in upper case, names of phases may not be.
            phase == name || (source.label.starts_with(PREFIX) && phase.to_lowercase() == name)
        })
    });
    let Some(index) = position else {
        if !layers.is_torn {
            let names: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
            let help = match (nearest(name, &names), names.as_slice()) {
                (_, []) => "give the phase a `name` in the experiment file".to_owned(),
                (Some(near), [_]) => format!("did you mean `{near}`?"),
                (Some(near), _) => format!(
                    "did you mean `{near}`? the phases are {}",
                    list(&names, "and")
                ),
                (None, [only]) => format!("the only phase is `{only}`"),
                (None, _) => format!("the phases are {}", list(&names, "and")),
            };
            let key = format!("phase.{name}.{}", words.join("."));
            let message = format!("unknown phase `{name}`");
            let problem = Diagnostic::of_key(whole(source), Some(key), message, Some(help));
            layers.origins.problems.push(problem);
        }
        return;
    };
    let Some(KeyKind::Tables(keys)) = schema::find(schema::TOP, "phase").map(|key| &key.kind)
    else {
        return;
    };
    let path = format!("phase[{index}]");
    let Some((path, kind)) = find(&mut layers.origins, source, &path, words, keys) else {
        return;
    };
    let Some(value) = check(&mut layers.origins, source, &path, value, kind) else {
        return;
    };
    let mut phases = layers.phases();
    if let Some(Value::Dict(_, phase)) = phases.get_mut(index) {
        put(phase, words, value);
        let dict = nest(&["phase"], Value::from(phases));
        layers.merge(&source.label, dict);
    }
}

/// The path and the kind of the key that the words name; `None` after a problem.
fn find(
    origins: &mut Origins,
    source: &Arc<Source>,
    path: &str,
    words: &[&str],
    keys: &'static [Key],
) -> Option<(String, &'static KeyKind)> {
    let (name, rest) = words.split_first()?;
    let here = join(path, name);
    let Some(key) = schema::find(keys, name) else {
        let mut walk = Walk::new(Arc::clone(source), origins);
        walk.unknown(path, name, &(0..0), keys);
        return None;
    };
    if rest.is_empty() {
        return Some((here, &key.kind));
    }
    if let KeyKind::Table(keys) = &key.kind {
        return find(origins, source, &here, rest, keys);
    }
    let message = format!("`{here}` has no key `{}`", rest.join("."));
    let help = matches!(key.kind, KeyKind::Tables(_))
        .then(|| format!("set a key of one {name} with `--set {name}.NAME.KEY=VALUE`"));
    origins.report_at(whole(source), &here, message, help);
    None
}

/// The value of an override; `None` after a problem.
fn check(
    origins: &mut Origins,
    source: &Arc<Source>,
    path: &str,
    text: &str,
    kind: &KeyKind,
) -> Option<Value> {
    let literal = Spanned::new(0..text.len(), DeValue::String(text.into()));
    // `--set name=2024` and `--set model.weights=none` need no quotes.
    let wants_text = matches!(kind, KeyKind::Text | KeyKind::Choice(..));
    let value = parse_value(text)
        .filter(|value| value.get_ref().is_str() || !wants_text)
        .unwrap_or(literal);
    let mut walk = Walk::new(Arc::clone(source), origins);
    walk.value(path, &value, kind)
}

fn nest(words: &[&str], value: Value) -> Dict {
    let mut dict = Dict::new();
    put(&mut dict, words, value);
    dict
}

fn put(dict: &mut Dict, words: &[&str], value: Value) {
    match words {
        [] => {}
        [last] => {
            dict.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => {
            let inner = dict
                .entry((*first).to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn whole(source: &Arc<Source>) -> SourceSpan {
    SourceSpan {
        source: Arc::clone(source),
        span: None,
    }
}

//! The settings in which runs differ. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use serde::Serialize;
use toml::{Table, Value};

use crate::{
    config::{
        self,
        schema::{self, Effect, Resume},
    },
    text::table::short_number,
};

/// A key of the experiment whose value is not the same in all runs.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub(crate) key: String,
    /// The value for each run; `None` if the run does not have the key.
    pub(crate) values: Vec<Option<String>>,
}

/// Whether the key is never a difference: names and places of the runs, the download mirror, which older versions recorded, and the
/// defaults for phases, since every phase has its own values.
fn is_silent(key: &str) -> bool {
    let effect = schema::by_label(key).map(|key| key.effect);
    matches!(effect, Some(Effect::Naming | Effect::Download))
        || schema::resume_of(key) == Some(Resume::InPhases)
}

/// The differences of the runs, with keys as `--set` takes them. An empty experiment, of a copy without its file, differs from
/// none.
pub(crate) fn differences(experiments: &[&Table]) -> Vec<Difference> {
    let flat: Vec<Vec<(String, String)>> = experiments.iter().map(|table| own(table)).collect();
    let by_key: Vec<HashMap<&str, &str>> = flat
        .iter()
        .map(|pairs| {
            // Of several phases with the same name, the first one counts.
            let pairs = pairs.iter().rev();
            pairs
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect()
        })
        .collect();
    let defaults = defaults();
    let mut seen = BTreeSet::new();
    let keys: Vec<&String> = flat
        .iter()
        .flatten()
        .map(|(key, _)| key)
        .filter(|key| !is_silent(key))
        .filter(|key| seen.insert(key.as_str()))
        .collect();
    keys.into_iter()
        .filter_map(|key| {
            let values: Vec<Option<String>> = by_key
                .iter()
                .map(|values| values.get(key.as_str()).map(|value| (*value).to_owned()))
                .collect();
            let known = flat.iter().zip(&values);
            let known: Vec<Option<&str>> = known
                .filter(|(pairs, _)| !pairs.is_empty())
                .map(|(_, value)| value.as_deref())
                .collect();
            let differs = known.iter().any(|value| *value != known[0]);
            (differs && !is_noise(key, &known, &defaults)).then(|| Difference {
                key: key.clone(),
                values,
            })
        })
        .collect()
}

/// Whether a difference is meaningless: only some runs have the key, and its value is the default or a detail of an extra phase.
fn is_noise(key: &str, values: &[Option<&str>], defaults: &BTreeSet<(String, String)>) -> bool {
    let mut given = values.iter().flatten();
    let Some(first) = given.next() else {
        return true;
    };
    let is_one_sided = values.contains(&None) && given.all(|value| value == first);
    let (_, leaf) = key.rsplit_once('.').unwrap_or(("", key));
    let is_default = defaults.contains(&(leaf.to_owned(), (*first).to_owned()));
    let is_own = match key.strip_prefix("phase.") {
        Some(_) => !["epochs", "lr", "trainable"].contains(&leaf),
        None => is_default,
    };
    is_one_sided && is_own
}

/// The last words of all keys with their default values, for all kinds of optimizers and schedules.
fn defaults() -> BTreeSet<(String, String)> {
    let defaults: Table = config::DEFAULTS.parse().unwrap_or_default();
    let pairs = flat(&defaults).into_iter();
    pairs
        .map(|(key, value)| match key.rsplit_once('.') {
            Some((_, leaf)) => (leaf.to_owned(), value),
            None => (key, value),
        })
        .collect()
}

/// The settings that differ from their defaults, or have none: key, value and default.
pub(crate) fn from_defaults(experiment: &Table) -> Vec<(String, String, Option<String>)> {
    let defaults: Table = config::DEFAULTS.parse().unwrap_or_default();
    let mut defaults: HashMap<String, String> = flat(&defaults).into_iter().collect();
    let own = own(experiment);
    let values: HashMap<String, String> = own.iter().cloned().collect();
    defaults.extend(resolved_defaults(&values));
    let chosen = own.into_iter().filter(|(key, _)| !is_silent(key));
    let with_default = chosen.map(|(key, value)| {
        let default = default(&key, &values, &defaults);
        (key, value, default)
    });
    with_default
        .filter(|(_, value, default)| default.as_ref() != Some(value))
        .collect()
}

/// The defaults as a resolved experiment of this architecture and optimizer has them: in its notation, and with those that depend
/// on the two.
fn resolved_defaults(values: &HashMap<String, String>) -> Vec<(String, String)> {
    const FILE: &str = "name = \"a\"\ndata.root = \"a\"\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"head\"]\n";
    let of_run = ["model.arch", "optimizer.kind"];
    let sets = of_run
        .iter()
        .filter_map(|key| Some(format!("{key}={}", values.get(*key)?)));
    let sets: Vec<String> = sets.chain(["model.weights=none".to_owned()]).collect();
    let Ok(loaded) = config::from_text(Path::new("a.toml"), FILE.to_owned(), &sets, &[]) else {
        return Vec::new();
    };
    let mut pairs = flat(&loaded.resolved);
    pairs.retain(|(key, _)| {
        let is_made_up = ["name", "data.root", "model.weights"].contains(&key.as_str());
        !is_made_up && !of_run.contains(&key.as_str()) && !key.starts_with("phase.")
    });
    pairs
}

/// The default of a key, which may depend on other values.
fn default(
    key: &str,
    values: &HashMap<String, String>,
    defaults: &HashMap<String, String>,
) -> Option<String> {
    let of_kind = |kind: &str, leaf: &str| defaults.get(&format!("kinds.{kind}.{leaf}")).cloned();
    let (table, leaf) = key.rsplit_once('.').unwrap_or(("", key));
    let kind = |key: String| values.get(&key).map_or("", String::as_str);
    if let Some(phase) = table.strip_prefix("phase.") {
        return match phase.strip_suffix(".schedule") {
            Some(_) => of_kind(kind(format!("{table}.kind")), leaf)
                .or_else(|| defaults.get(&format!("schedule.{leaf}")).cloned()),
            // A phase without its own has those of the experiment.
            None => {
                of_kind("phase", leaf).or_else(|| values.get(&format!("optimizer.{leaf}")).cloned())
            }
        };
    }
    let of_table = match table {
        "optimizer" => of_kind(kind("optimizer.kind".to_owned()), leaf),
        "transforms" => of_kind(kind("transforms.normalize".to_owned()), leaf),
        "model" => of_kind("batch_norm", leaf),
        "early_stopping" => of_kind("early_stopping", leaf),
        "" => of_kind("init_from", leaf),
        _ => None,
    };
    of_table.or_else(|| defaults.get(key).cloned())
}

/// The settings that are in effect: a run with `init_from` uses the parameters of its parent.
fn own(experiment: &Table) -> Vec<(String, String)> {
    let mut pairs = flat(experiment);
    if experiment.contains_key("init_from") {
        pairs.retain(|(key, _)| !schema::by_label(key).is_some_and(|key| key.is_inherited));
    }
    pairs
}

fn flat(table: &Table) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    collect("", table, &mut pairs);
    pairs
}

fn collect(prefix: &str, table: &Table, pairs: &mut Vec<(String, String)>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) => collect(&format!("{key}."), inner, pairs),
            Value::Array(phases) if key == "phase" => {
                for phase in phases.iter().filter_map(Value::as_table) {
                    let name = phase.get("name").and_then(Value::as_str).unwrap_or("?");
                    let mut phase = phase.clone();
                    phase.remove("name");
                    collect(&format!("phase.{name}."), &phase, pairs);
                }
            }
            Value::String(text) => pairs.push((key, text.clone())),
            Value::Float(number) => pairs.push((key, short_number(*number))),
            Value::Array(_) | Value::Integer(_) | Value::Boolean(_) | Value::Datetime(_) => {
                pairs.push((key, value.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_a_parent_stands_for_are_no_difference() {
        let a: Table = "[model]\nweights = 'a.pth'\nfresh = ['classifier']\ndropout = 0.5"
            .parse()
            .unwrap();
        let b: Table = "init_from = 'a'\n[model]\nweights = 'vgg16'\nfresh = []\ndropout = 0.1"
            .parse()
            .unwrap();
        let found = differences(&[&a, &b]);
        let keys: Vec<&str> = found.iter().map(|it| it.key.as_str()).collect();
        // Keys that only one of them has are listed too.
        assert_eq!(
            keys,
            ["model.dropout", "model.fresh", "model.weights", "init_from"]
        );
    }

    #[test]
    fn only_what_differs_is_named_and_phases_by_their_names() {
        let a: Table = "name = 'a'\nseed = 1\n[optimizer]\nlr = 1e-3\neps = 1e-8\n[[phase]]\nname = 'head'\nepochs = 2\ntrainable = ['x']"
            .parse()
            .unwrap();
        let b: Table = "name = 'b'\nseed = 1\n[optimizer]\nlr = 1e-5\neps = 0.001\n[[phase]]\nname = 'head'\nepochs = 2\ntrainable = ['x']\n\
            [[phase]]\nname = 'all'\nepochs = 1\nweight_decay = 0.0"
            .parse()
            .unwrap();
        let found: Vec<(String, Vec<Option<String>>)> = differences(&[&a, &b])
            .into_iter()
            .map(|difference| (difference.key, difference.values))
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("optimizer.eps".to_owned(), vec![text("1e-8"), text("1e-3")]),
                ("phase.all.epochs".to_owned(), vec![None, text("1")]),
            ]
        );
        assert!(differences(&[&a, &a]).is_empty());
    }

    fn check(experiments: &[&str], expected: &[&str]) {
        let tables: Vec<Table> = experiments
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let tables: Vec<&Table> = tables.iter().collect();
        let keys: Vec<String> = differences(&tables)
            .into_iter()
            .map(|difference| difference.key)
            .collect();
        assert_eq!(keys, expected, "{experiments:?}");
    }

    #[test]
    fn defaults_that_only_one_kind_has_are_no_difference() {
        let adam = "optimizer.kind = 'adam'\noptimizer.betas = [0.9, 0.999]\noptimizer.eps = 1e-8";
        let sgd = "optimizer.kind = 'sgd'\noptimizer.momentum = 0.0\noptimizer.nesterov = false";
        let heavy = "optimizer.kind = 'sgd'\noptimizer.momentum = 0.9\noptimizer.nesterov = false";
        check(&[adam, sgd], &["optimizer.kind"]);
        check(&[adam, heavy], &["optimizer.kind", "optimizer.momentum"]);
        check(&["seed = 42", "seed = 42\naugment.variants = 0"], &[]);
        check(
            &["seed = 42", "seed = 42\naugment.variants = 2"],
            &["augment.variants"],
        );
    }

    #[test]
    fn a_run_without_its_experiment_differs_from_none() {
        check(&["seed = 1", "", "seed = 1"], &[]);
        check(&["", "seed = 1", "seed = 2"], &["seed"]);
        check(&["seed = 1", ""], &[]);
    }
}

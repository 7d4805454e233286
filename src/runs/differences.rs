//! What runs were asked to do differently, and what else makes their numbers hard to compare. Pure.

use std::collections::BTreeSet;

use serde::Serialize;
use toml::{Table, Value};

use super::RunView;
use crate::table::short_number;

/// A key of the experiment that is not the same in all runs.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub(crate) key: String,
    /// By run; absent where the run has no such key.
    pub(crate) values: Vec<Option<String>>,
}

/// Names and places of the runs themselves are no difference; nor are rates that every phase has its own of.
const SILENT: [&str; 4] = ["name", "runs_dir", "optimizer.lr", "optimizer.weight_decay"];

/// Keys as `--set` takes them.
pub(crate) fn differences(experiments: &[&Table]) -> Vec<Difference> {
    let flat: Vec<Vec<(String, String)>> = experiments.iter().map(|table| flat(table)).collect();
    let mut seen = BTreeSet::new();
    let keys: Vec<&String> = flat
        .iter()
        .flatten()
        .map(|(key, _)| key)
        .filter(|key| !SILENT.contains(&key.as_str()))
        .filter(|key| seen.insert(key.as_str()))
        .collect();
    keys.into_iter()
        .map(|key| Difference {
            key: key.clone(),
            values: flat.iter().map(|pairs| value_of(pairs, key)).collect(),
        })
        .filter(|difference| {
            let (first, values) = (&difference.values[0], &difference.values);
            values.iter().any(|value| value != first) && !is_noise(difference)
        })
        .collect()
}

/// What a phase or a start has by itself says nothing where the other run has no such phase or start.
fn is_noise(difference: &Difference) -> bool {
    let mut given = difference.values.iter().flatten();
    let first = given.next();
    let is_one_sided = difference.values.contains(&None) && given.all(|value| Some(value) == first);
    let is_own = match difference.key.strip_prefix("phase.") {
        Some(key) => !["epochs", "lr", "trainable"]
            .iter()
            .any(|telling| key.ends_with(&format!(".{telling}"))),
        None => {
            difference.key == "allow_other_split" && first.is_some_and(|value| value == "false")
        }
    };
    is_one_sided && is_own
}

fn value_of(pairs: &[(String, String)], key: &str) -> Option<String> {
    let pair = pairs.iter().find(|(found, _)| found == key);
    pair.map(|(_, value)| value.clone())
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

/// What besides the experiments keeps the runs' numbers from meaning the same.
pub(crate) fn cautions(runs: &[RunView], letters: &[String]) -> Vec<String> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    let mut cautions = Vec::new();
    for (run, letter) in runs.iter().zip(letters).skip(1) {
        let (a, b) = (&first.manifest, &run.manifest);
        let from = &letters[0];
        if a.classes != b.classes {
            cautions.push(format!(
                "classes: {from} has {}, {letter} has {}",
                a.classes.join(", "),
                b.classes.join(", ")
            ));
        }
        if a.data_sha256 != b.data_sha256 {
            cautions.push(format!(
                "data: {letter} has other images than {from} ({} against {}); photos are paired by their names",
                n_images(run),
                n_images(first)
            ));
        }
        if a.split_sha256 != b.split_sha256 {
            cautions.push(format!(
                "split: {letter} has {} train and {} valid images, {from} {} and {}, and not the same ones",
                b.n_train, b.n_valid, a.n_train, a.n_valid
            ));
        }
        if a.weights_sha256 != b.weights_sha256 {
            cautions.push(weights(first, run, from, letter));
        }
    }
    cautions
}

fn n_images(run: &RunView) -> usize {
    run.manifest.n_train + run.manifest.n_valid + run.manifest.n_test
}

fn weights(first: &RunView, run: &RunView, from: &str, letter: &str) -> String {
    if is_parent(first, run) {
        return format!("weights: {letter} goes on from {from}");
    }
    if is_parent(run, first) {
        return format!("weights: {from} goes on from {letter}");
    }
    let source = |run: &RunView| match run.manifest.weights.as_str() {
        "" => "none".to_owned(),
        weights => weights.to_owned(),
    };
    format!(
        "weights: {letter} began with {}, {from} with {}",
        source(run),
        source(first)
    )
}

/// By the directory's own name, so that runs copied from elsewhere are known too.
fn is_parent(parent: &RunView, child: &RunView) -> bool {
    let place = child.parent();
    place.is_some_and(|place| place.file_name() == parent.path().file_name())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

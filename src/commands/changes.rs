//! What `runner resume --set ..` may change in a run that has begun: who does the work and where things lie, and what its
//! next steps do; never what its past steps were made of. Pure.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use crate::{
    config::{Loaded, experiment::Experiment},
    error::{Error, Result},
    rundir::{RunDir, records::ResumeChange},
    train::progress::Progress,
};

/// Who does the work and where things lie. What they point at is held against the hashes of the run's beginning.
const FREE: [&str; 13] = [
    "device",
    "threads",
    "memory",
    "data.root",
    "data.manifest",
    "data.workers",
    "model.weights",
    "training.checkpoint_every",
    "cache.mode",
    "cache.dir",
    "cache.max_gib",
    "cache.trust",
    "runs_dir",
];
/// Keys that only steps to come depend on.
const FROM_NOW_ON: [&str; 4] = [
    "training.on_nan",
    "training.clip_grad_norm",
    "early_stopping.patience",
    "early_stopping.min_delta",
];
/// The same in a phase that is not over.
const FROM_NOW_ON_IN_A_PHASE: [&str; 5] =
    ["epochs", "lr", "weight_decay", "lr_factors", "schedule"];

/// What `now` says otherwise than `then`, at the place that the run has come to; an error that names all that can't be.
pub(super) fn allowed(
    run_dir: &RunDir,
    then: &Loaded,
    now: &Loaded,
    progress: &Progress,
) -> Result<Vec<ResumeChange>> {
    let changes = between(then, now, progress);
    let mut text = String::new();
    for ResumeChange { key, from, to, .. } in &changes {
        if let Some(reason) = obstacle(key, &now.experiment, progress) {
            let place = run_dir.path().display();
            let _ = writeln!(
                text,
                "{place}: {key} was {from} and can't become {to}: {reason}"
            );
        }
    }
    if text.is_empty() {
        return Ok(changes);
    }
    Err(Error::usage(format!(
        "{text}help: a new run may say anything; one that goes on may have another {}, and in the phases to come other {}",
        FREE.join(", "),
        FROM_NOW_ON_IN_A_PHASE.join(", ")
    )))
}

/// The rows of `changes.csv` that came into force: of a process that died before it wrote the experiment, a row says what
/// the experiment `then` does not.
pub(super) fn in_force(mut rows: Vec<ResumeChange>, then: &Loaded) -> Vec<ResumeChange> {
    let mut seen = HashSet::new();
    // The last row of a key is the one that counts.
    rows.reverse();
    rows.retain(|row| {
        let is_in_force = seen.contains(&row.key) || value(then, &row.key) == row.to;
        if is_in_force {
            seen.insert(row.key.clone());
        }
        is_in_force
    });
    rows.reverse();
    rows
}

fn value(of: &Loaded, key: &str) -> String {
    let mut rows = of.origins.iter();
    let row = rows.find(|(found, _, _)| found == key);
    row.map_or_else(|| "absent".to_owned(), |(_, value, _)| value.clone())
}

/// Whether they may give a finished run something to do.
pub(super) fn make_longer(changes: &[ResumeChange]) -> bool {
    let mut keys = changes.iter().map(|change| change.key.as_str());
    keys.any(|key| key.ends_with(".epochs") || key.starts_with("early_stopping."))
}

fn between(then: &Loaded, now: &Loaded, progress: &Progress) -> Vec<ResumeChange> {
    let values = |of: &Loaded| -> HashMap<String, String> {
        let rows = of.origins.iter().cloned();
        // Of phases that have one name, the first.
        rows.rev().map(|(key, value, _)| (key, value)).collect()
    };
    let (values_then, values_now) = (values(then), values(now));
    let value = |of: &HashMap<String, String>, key: &str| {
        of.get(key)
            .map_or_else(|| "absent".to_owned(), String::clone)
    };
    let before = then.origins.iter().map(|(key, _, _)| key);
    let mut keys: Vec<&String> = before
        .chain(now.origins.iter().map(|(key, _, _)| key))
        .collect();
    // Where to download from is no part of a run.
    keys.retain(|key| !key.starts_with("fetch."));
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| ResumeChange {
            epoch: progress.epoch,
            step: progress.step,
            key: key.clone(),
            from: value(&values_then, key),
            to: value(&values_now, key),
        })
        .filter(|change| change.from != change.to)
        .collect()
}

/// Why a key can't change.
fn obstacle(key: &str, now: &Experiment, progress: &Progress) -> Option<String> {
    if FREE.contains(&key) || FROM_NOW_ON.contains(&key) {
        return None;
    }
    if ["optimizer.lr", "optimizer.weight_decay"].contains(&key) || key.starts_with("schedule.") {
        return Some(format!(
            "each phase of a run has its own (`phase.NAME.{}`)",
            key.trim_start_matches("optimizer.")
        ));
    }
    let parts = key
        .strip_prefix("phase.")
        .and_then(|key| key.split_once('.'));
    let may_come = |key: &str| {
        let first = key.split('.').next().unwrap_or(key);
        FROM_NOW_ON_IN_A_PHASE.contains(&first)
    };
    let Some((name, rest)) = parts.filter(|(_, key)| may_come(key)) else {
        return Some("what has been trained depends on it".to_owned());
    };
    let Some(position) = now.phases.iter().position(|phase| phase.name == name) else {
        return Some("its phases are those it began with".to_owned());
    };
    if position < progress.phase {
        return Some(format!("phase `{name}` is over"));
    }
    let n_begun = progress.epoch_in_phase + usize::from(progress.partial.is_some());
    let n_epochs = now.phases[position].epochs.get();
    if rest == "epochs" && position == progress.phase && n_epochs < n_begun {
        return Some(format!("{n_begun} have begun"));
    }
    None
}

//! The settings that `runner resume --set ..` may change in a run that has started: where and with what resources it runs, and
//! what its next steps do, but never what its past steps depended on. Pure.

use std::collections::{HashMap, HashSet};

use crate::{
    config::{
        Loaded,
        experiment::Experiment,
        schema::{self, Effect, Resume},
    },
    error::{Error, Result},
    rundir::{RunDir, records::ResumeChange},
    train::progress::Progress,
};

/// The settings in which `now` differs from `then`. Fails with every one that cannot change at this point of the run.
pub(super) fn allowed(
    run_dir: &RunDir,
    then: &Loaded,
    now: &Loaded,
    progress: &Progress,
) -> Result<Vec<ResumeChange>> {
    let changes = between(then, now, progress);
    let refused = changes.iter().filter_map(|change| {
        let ResumeChange { key, from, to, .. } = change;
        let reason = obstacle(key, &now.experiment, progress)?;
        Some(format!("`{key}` from {from} to {to}: {reason}"))
    });
    let refused: Vec<String> = refused.collect();
    if refused.is_empty() {
        return Ok(changes);
    }
    let error = Error::usage("these settings of the run cannot change on resume");
    let error = refused
        .into_iter()
        .fold(error.at(run_dir.path()), Error::fact);
    Err(error
        .help(format!(
            "these keys can change on resume: {}",
            changeable().join(", ")
        ))
        .help(format!(
            "these keys of a phase can change until the phase has ended: {}",
            changeable_in_a_phase().join(", ")
        ))
        .help("start a new run to change others"))
}

/// The labels of the keys that may change at any time, without those of phases.
fn changeable() -> Vec<String> {
    let mut keys = schema::labels("NAME", |_| true);
    keys.retain(|key| {
        let resume = schema::resume_of(key);
        matches!(resume, Some(Resume::Free | Resume::FromNowOn)) && !key.starts_with("phase.")
    });
    keys
}

/// The keys of a phase that only its future steps depend on.
fn changeable_in_a_phase() -> Vec<&'static str> {
    let keys = schema::keys_of("phase").iter();
    let keys = keys.filter(|key| key.resume == Resume::FromNowOn);
    keys.map(|key| key.name).collect()
}

/// The rows of `changes.csv` that took effect. A process that died before it wrote the experiment leaves rows whose value
/// is not the one in `then`.
pub(super) fn in_force(mut rows: Vec<ResumeChange>, then: &Loaded) -> Vec<ResumeChange> {
    let mut seen = HashSet::new();
    // Only the last row of a key is compared: earlier ones were overridden by it.
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

/// Whether the changes may give a finished run more epochs to train.
pub(super) fn make_longer(changes: &[ResumeChange]) -> bool {
    let mut keys = changes.iter().map(|change| change.key.as_str());
    keys.any(|key| key.ends_with(".epochs") || key.starts_with("early_stopping."))
}

fn between(then: &Loaded, now: &Loaded, progress: &Progress) -> Vec<ResumeChange> {
    let values = |of: &Loaded| -> HashMap<String, String> {
        let rows = of.origins.iter().cloned();
        // If several phases have the same name, the first one wins.
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
    // Where files are downloaded from is not part of a run.
    keys.retain(|key| !schema::by_label(key).is_some_and(|key| key.effect == Effect::Download));
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

/// Why a key cannot change; `None` if it can.
fn obstacle(key: &str, now: &Experiment, progress: &Progress) -> Option<String> {
    let in_phase = key
        .strip_prefix("phase.")
        .and_then(|key| key.split_once('.'));
    match schema::resume_of(key) {
        Some(Resume::Free) => None,
        Some(Resume::InPhases) => Some(format!(
            "each phase has its own value; set `phase.NAME.{}`",
            key.trim_start_matches("optimizer.")
        )),
        Some(Resume::FromNowOn) => {
            let (phase, key) = in_phase?;
            obstacle_in_phase(phase, key, now, progress)
        }
        Some(Resume::Never) | None => Some("the training so far depends on it".to_owned()),
    }
}

/// Why a key of a phase that only its future steps depend on cannot change; `None` if it can.
fn obstacle_in_phase(
    phase: &str,
    key: &str,
    now: &Experiment,
    progress: &Progress,
) -> Option<String> {
    let Some(position) = now.phases.iter().position(|it| it.name == phase) else {
        return Some("phases cannot be added or removed".to_owned());
    };
    if position < progress.phase {
        return Some(format!("phase `{phase}` has ended"));
    }
    let n_begun = progress.epoch_in_phase + usize::from(progress.partial.is_some());
    let n_epochs = now.phases[position].epochs.get();
    if key == "epochs" && position == progress.phase && n_epochs < n_begun {
        return Some(format!("{n_begun} epochs have already started"));
    }
    None
}

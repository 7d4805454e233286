//! Resolves every trial to an experiment before the first one starts. Problems point into the sweep file. Reads the base for each
//! trial; runs nothing.

use std::{collections::HashMap, fmt::Write as _, ops::Range, sync::Arc};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{
    definition::{Definition, Setting},
    keys,
    trials::{Trial, axis_labels},
};
use crate::{
    config::{Loaded, OF_SWEEPS, TrialBase, experiment::Experiment},
    error::{Diagnostic, Error, Kind, Place, Result, Source, SourceSpan},
};

/// The settings of one trial as `--set` takes them, lowest precedence first. Its `name` is added on top of these.
pub(crate) fn sets_of(
    definition: &Definition,
    trial: &Trial,
    extra_sets: &[String],
) -> Vec<String> {
    // If the command line sets the same value, a problem should be shown there, since that is what the user typed.
    let fixed = definition
        .fixed
        .iter()
        .map(Setting::as_set)
        .filter(|set| !extra_sets.contains(set));
    let axes = trial.settings.iter().map(Setting::as_set);
    fixed
        .chain(extra_sets.iter().cloned())
        .chain(axes)
        .collect()
}

/// The experiments of all trials in order, or all problems of all of them. Of their origins, only the defaults of sweeps are kept.
///
/// `extra_sets` come from the command line: they override `[set]` and must not set an axis.
pub(crate) fn experiments(
    definition: &Definition,
    trials: &[Trial],
    extra_sets: &[String],
    env: &[(String, String)],
) -> Result<Vec<Loaded>> {
    let mut problems = refused_sets(definition, extra_sets);
    let mut found = Vec::new();
    let mut experiments = Vec::new();
    let base = TrialBase::read(&definition.base, env)?;
    let outcomes: Vec<Result<Loaded>> = trials
        .par_iter()
        .map(|trial| {
            let mut sets = sets_of(definition, trial, extra_sets);
            sets.push(format!("name={}", trial.name));
            let mut loaded = base.trial(&sets)?;
            // The rows of all other layers are the same in every trial, and thousands of trials are held in memory at once.
            loaded.origins.retain(|(_, _, origin)| origin == OF_SWEEPS);
            Ok(loaded)
        })
        .collect();
    for (trial, outcome) in trials.iter().zip(outcomes) {
        match outcome {
            Ok(loaded) => experiments.push(loaded),
            Err(wrong) if wrong.kind() == Kind::Config => {
                let settings = settings_by_label(definition, trial, extra_sets);
                for problem in wrong.into_diagnostics() {
                    let setting = settings
                        .iter()
                        .find(|(known, _)| problem.source_label() == Some(known));
                    let setting = setting.map(|(_, setting)| *setting);
                    let pair = (quote_the_sweep(definition, problem, &settings), setting);
                    if !found.contains(&pair) {
                        found.push(pair);
                    }
                }
            }
            Err(other) => return Err(other),
        }
    }
    problems.extend(into_the_sweep(definition, &found));
    if problems.is_empty() {
        problems = twins(definition, trials, &experiments);
    }
    if problems.is_empty() {
        return Ok(experiments);
    }
    let subject = definition.source.label.clone();
    Err(Error::config(subject, problems))
}

/// Arguments that set an axis or the name of a trial.
fn refused_sets(definition: &Definition, extra_sets: &[String]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for set in extra_sets {
        let Some((key, _)) = set.split_once('=') else {
            // Resolving the trials reports it.
            continue;
        };
        let words: Vec<&str> = key.split('.').map(str::trim).collect();
        let key = words.join(".");
        let (message, help) = if definition.axes.iter().any(|axis| axis.key == key) {
            let help = format!(
                "remove it, or move the key from [axes] of {} to [set]",
                definition.source.label
            );
            (format!("`{key}` is an axis of the sweep"), help)
        } else if key == "name" {
            let help = format!("remove it, or set `name` in {}", definition.source.label);
            (
                "`name` cannot be set in a sweep: each trial has its own name".to_owned(),
                help,
            )
        } else {
            continue;
        };
        let label = format!("--set {set}");
        let source = Arc::new(Source::new(&label, None, usize::MAX, false));
        let place = SourceSpan { source, span: None };
        problems.push(Diagnostic::of_key(place, Some(key), message, Some(help)));
    }
    problems
}

/// The settings with the labels that problems name them by, the longest first so that none is a prefix of a later one.
fn settings_by_label<'a>(
    definition: &'a Definition,
    trial: &'a Trial,
    extra_sets: &[String],
) -> Vec<(String, &'a Setting)> {
    let mut settings: Vec<(String, &Setting)> = definition
        .fixed
        .iter()
        .chain(&trial.settings)
        .map(|setting| (setting.as_set(), setting))
        .filter(|(set, _)| !extra_sets.contains(set))
        .map(|(set, setting)| (format!("--set {set}"), setting))
        .collect();
    settings.sort_by_key(|(label, _)| std::cmp::Reverse(label.len()));
    settings
}

/// Replaces `--set` arguments in a problem by places in the sweep file: the user did not type these arguments.
fn quote_the_sweep(
    definition: &Definition,
    mut problem: Diagnostic,
    settings: &[(String, &Setting)],
) -> Diagnostic {
    for (label, setting) in settings {
        let short = place(definition, &setting.span).short();
        problem.message = problem.message.replace(label, &short);
        for help in &mut problem.help {
            *help = help.replace(label, &short);
        }
    }
    problem
}

/// Moves each problem of a setting to the place of the setting in the sweep file, and drops duplicates.
fn into_the_sweep(
    definition: &Definition,
    found: &[(Diagnostic, Option<&Setting>)],
) -> Vec<Diagnostic> {
    let same_mistake = |a: &Diagnostic, b: &Diagnostic| {
        a.key == b.key && a.message == b.message && a.help == b.help
    };
    let mut problems: Vec<Diagnostic> = Vec::new();
    for (problem, setting) in found {
        let Some(setting) = setting else {
            problems.push(problem.clone());
            continue;
        };
        // A problem that several values of a key have is a problem of the key.
        let is_everywhere = found.iter().any(|(other, place)| {
            same_mistake(problem, other)
                && place.is_some_and(|it| it.key == setting.key && it.span != setting.span)
        });
        let span = if is_everywhere || keys::kind(&setting.key).is_none() {
            &setting.key_span
        } else {
            &setting.span
        };
        let moved = Diagnostic {
            place: Some(Place::Source(place(definition, span))),
            ..problem.clone()
        };
        // One bad draw of a distribution is enough: the next would be the same problem with another number.
        let is_drawn = definition.axes.iter().any(|axis| axis.span == setting.span);
        let is_known = problems.iter().any(|other| {
            other.place == moved.place
                && (same_mistake(other, &moved) || (is_drawn && other.key == moved.key))
        });
        if !is_known {
            problems.push(moved);
        }
    }
    problems
}

fn place(definition: &Definition, span: &Range<usize>) -> SourceSpan {
    SourceSpan {
        source: Arc::clone(&definition.source),
        span: Some(span.clone()),
    }
}

/// Trials with different settings that resolve to the same experiment.
fn twins(definition: &Definition, trials: &[Trial], experiments: &[Loaded]) -> Vec<Diagnostic> {
    let mut first_of = HashMap::new();
    let labels = axis_labels(definition);
    let mut problems: Vec<Diagnostic> = Vec::new();
    let meanings: Vec<[u8; 32]> = experiments
        .par_iter()
        .map(|loaded| meaning(&loaded.experiment))
        .collect();
    for (index, (trial, meaning)) in trials.iter().zip(meanings).enumerate() {
        let earlier = *first_of.entry(meaning).or_insert(index);
        if earlier == index {
            continue;
        }
        let twin = &trials[earlier];
        let pairs = trial.settings.iter().zip(&twin.settings);
        let Some((setting, _)) = pairs
            .into_iter()
            .find(|(own, other)| own.value != other.value)
        else {
            continue;
        };
        let place = place(definition, &setting.span);
        let shown = Some(Place::Source(place.clone()));
        // An axis without effect makes many such trials, all for the same reason.
        if problems.iter().any(|problem| problem.place == shown) {
            continue;
        }
        let message = format!(
            "trial {} ({}) is the same experiment as trial {} ({})",
            trial.number,
            trial.label(&labels),
            twin.number,
            twin.label(&labels)
        );
        let help = "remove one of the values; or remove the axis if another key overrides it, for example a phase's own `lr`";
        let key = Some(setting.key.clone());
        problems.push(Diagnostic::of_key(
            place,
            key,
            message,
            Some(help.to_owned()),
        ));
    }
    problems
}

/// A hash of everything that a trial's results depend on: not its name, not the download mirror, and not the optimizer that only
/// phases without their own would inherit.
fn meaning(experiment: &Experiment) -> [u8; 32] {
    let mut meaning = experiment.clone();
    meaning.name.clear();
    meaning.mirror = None;
    if let Some(phase) = meaning.phases.first() {
        meaning.optimizer = phase.optimizer.clone();
    }
    let mut hasher = TextHasher(Sha256::new());
    write!(hasher, "{meaning:?}").expect("hashing does not fail");
    hasher.0.finalize().into()
}

/// Hashes text as it is formatted.
struct TextHasher(Sha256);

impl std::fmt::Write for TextHasher {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.update(text);
        Ok(())
    }
}

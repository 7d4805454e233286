//! Expands axes to trials: every combination of a grid, or seeded draws. Names and labels them. Pure.

use std::{collections::HashSet, ops::Range};

use sha2::{Digest, Sha256};
use toml::Value;

use super::{
    definition::{Axis, Definition, Method, Setting, Values},
    draws::{self, Sequence},
    text,
};
use crate::disk::hash;

/// The most bytes of a trial's name: longer names make paths that no terminal shows in full.
const LONGEST_NAME: usize = 80;

/// One of the experiments of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trial {
    /// The number of the trial, from 1.
    pub(crate) number: usize,
    /// The name of the trial's run. Unique within the sweep.
    pub(crate) name: String,
    /// One setting for each axis, in the same order.
    pub(crate) settings: Vec<Setting>,
}

impl Trial {
    /// `lr=0.001 dropout=0.3`, with the labels of `axis_labels`.
    pub(crate) fn label(&self, axis_labels: &[String]) -> String {
        let parts: Vec<String> = axis_labels
            .iter()
            .zip(&self.settings)
            .map(|(label, setting)| format!("{label}={}", setting.cell()))
            .collect();
        parts.join(" ")
    }
}

impl Axis {
    /// The setting of this axis to a value from this place in the file.
    pub(super) fn setting(&self, value: Value, span: Range<usize>) -> Setting {
        Setting {
            key: self.key.clone(),
            value,
            key_span: self.key_span.clone(),
            span,
        }
    }
}

impl Setting {
    /// `optimizer.lr=0.001`, as `--set` takes it; the value reads back exactly.
    pub(crate) fn as_set(&self) -> String {
        format!("{}={}", self.key, text::to_toml(&self.value))
    }

    /// The value for a cell of a table: `classifier, features[24:]`.
    pub(crate) fn cell(&self) -> String {
        text::to_cell(&self.value)
    }
}

/// The shortest names that tell the axes apart: `lr`, or `head.lr` where another key ends in `lr` too.
pub(crate) fn axis_labels(definition: &Definition) -> Vec<String> {
    let keys = definition.axes.iter().map(|axis| axis.key.clone());
    labels(&keys.collect::<Vec<_>>())
}

/// Like [`axis_labels`], for the full keys of axes.
pub(crate) fn labels(keys: &[String]) -> Vec<String> {
    fn ending(key: &str, n_words: usize) -> String {
        let words: Vec<&str> = key.split('.').collect();
        words[words.len().saturating_sub(n_words)..].join(".")
    }
    let is_unique = |key: &str, n_words: usize| {
        let same = |other: &&String| ending(other, n_words) == ending(key, n_words);
        keys.iter().filter(same).count() == 1
    };
    keys.iter()
        .map(|key| {
            let n_words = (1..=key.split('.').count()).find(|n_words| is_unique(key, *n_words));
            n_words.map_or_else(|| key.to_owned(), |n_words| ending(key, n_words))
        })
        .collect()
}

/// All trials, numbered from 1 without gaps.
///
/// A drawn sweep has fewer trials than requested if the axes do not have that many combinations.
pub(crate) fn trials(definition: &Definition) -> Vec<Trial> {
    let combinations = match definition.method {
        Method::Grid => grid(&definition.axes),
        Method::Random { n_trials, seed } => {
            draws::draws(&definition.axes, n_trials, Sequence::Random { seed })
        }
        Method::Sobol { n_trials, seed } => {
            draws::draws(&definition.axes, n_trials, Sequence::Sobol { seed })
        }
    };
    let labels = axis_labels(definition);
    // Compared in lower case, because file systems may not distinguish `A` from `a`.
    let mut taken = HashSet::new();
    let mut trials = Vec::with_capacity(combinations.len());
    for (index, settings) in combinations.into_iter().enumerate() {
        let mut name = name(&definition.name, &labels, &settings);
        if name.len() > LONGEST_NAME || taken.contains(&name.to_lowercase()) {
            name = with_hash(&name, &settings);
        }
        taken.insert(name.to_lowercase());
        trials.push(Trial {
            number: index + 1,
            name,
            settings,
        });
    }
    trials
}

/// All combinations in the order of the file; the last axis varies fastest.
fn grid(axes: &[Axis]) -> Vec<Vec<Setting>> {
    let mut combinations = vec![Vec::new()];
    for axis in axes {
        let Values::Choices(choices) = &axis.values else {
            // A distribution in a grid was rejected when the file was read.
            continue;
        };
        combinations = combinations
            .iter()
            .flat_map(|before: &Vec<Setting>| {
                choices.iter().map(|(value, span)| {
                    let mut settings = before.clone();
                    settings.push(axis.setting(value.clone(), span.clone()));
                    settings
                })
            })
            .collect();
    }
    combinations
}

pub(super) fn sets(settings: &[Setting]) -> Vec<String> {
    settings.iter().map(Setting::as_set).collect()
}

/// `lr-lr_0.001-trainable_classifier_features24`
fn name(sweep: &str, labels: &[String], settings: &[Setting]) -> String {
    let mut name = sweep.to_owned();
    for (label, setting) in labels.iter().zip(settings) {
        name.push('-');
        name.push_str(&text::plain(label));
        name.push('_');
        name.push_str(&text::to_name(&setting.value));
    }
    name
}

/// The name, shortened if necessary, with eight digits of a hash of the settings, which makes it unique.
fn with_hash(name: &str, settings: &[Setting]) -> String {
    let digits = hash::hex(&Sha256::digest(sets(settings).join("\n")));
    // Names are ASCII, so cutting between any two bytes is safe.
    let kept = name[..name.len().min(LONGEST_NAME - 9)].trim_end_matches(['-', '_', '.']);
    format!("{kept}-{}", &digits[..8])
}

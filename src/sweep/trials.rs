//! Expands axes to trials: every combination of a grid, or seeded draws. Pure.
//!
//! A draw depends on the seed, its own number and its axis, never on the number of draws, so that raising `max_trials` keeps the
//! earlier trials. Drawn numbers have four significant digits, so that they are easy to read and type.

use std::collections::HashSet;

use rand_chacha::rand_core::Rng;
use sha2::{Digest, Sha256};
use toml::Value;

use super::{
    definition::{Axis, Definition, Method, Setting, Values},
    text,
};
use crate::{disk::hash, random};

/// The most bytes of a trial's name: longer names make paths that no terminal shows in full.
const LONGEST_NAME: usize = 80;

/// After at least this many consecutive repeated draws, all combinations are assumed to be drawn.
const FEWEST_REPEATS: u64 = 1000;

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
    fn ending(key: &str, n_words: usize) -> String {
        let words: Vec<&str> = key.split('.').collect();
        words[words.len().saturating_sub(n_words)..].join(".")
    }
    let keys = || definition.axes.iter().map(|axis| axis.key.as_str());
    let is_unique = |key: &str, n_words: usize| {
        let same = |other: &&str| ending(other, n_words) == ending(key, n_words);
        keys().filter(same).count() == 1
    };
    keys()
        .map(|key| {
            let n_words = (1..=key.split('.').count()).find(|n_words| is_unique(key, *n_words));
            n_words.map_or_else(|| key.to_owned(), |n_words| ending(key, n_words))
        })
        .collect()
}

/// All trials, numbered from 1 without gaps.
///
/// A random sweep has fewer trials than requested if the axes do not have that many combinations.
pub(crate) fn trials(definition: &Definition) -> Vec<Trial> {
    let combinations = match definition.method {
        Method::Grid => grid(&definition.axes),
        Method::Random { n_trials, seed } => draws(&definition.axes, n_trials, seed),
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
                    settings.push(setting(axis, value.clone(), span.clone()));
                    settings
                })
            })
            .collect();
    }
    combinations
}

/// Draws different combinations; a repeated one is skipped, and the next draw takes its place.
fn draws(axes: &[Axis], n_trials: usize, seed: u64) -> Vec<Vec<Setting>> {
    let n_different = axes.iter().fold(1_u64, |product, axis| {
        product.saturating_mul(n_different(axis))
    });
    let n_trials = n_trials.min(usize::try_from(n_different).unwrap_or(usize::MAX));
    // The chance that a remaining combination does not turn up in this many draws is e^-64.
    let most_repeats = FEWEST_REPEATS.max(64 * n_different.min(n_trials as u64));
    let mut drawn = HashSet::new();
    let mut combinations = Vec::new();
    let (mut draw, mut n_repeats) = (0, 0);
    while combinations.len() < n_trials && n_repeats < most_repeats {
        let settings: Vec<Setting> = (0_u64..)
            .zip(axes)
            .map(|(index, axis)| {
                let mut rng = random::rng(seed, "sweep", &[draw, index]);
                sample(axis, &mut rng)
            })
            .collect();
        if drawn.insert(sets(&settings)) {
            combinations.push(settings);
            n_repeats = 0;
        } else {
            n_repeats += 1;
        }
        draw += 1;
    }
    combinations
}

/// The number of different values of an axis; `u64::MAX` for an interval.
fn n_different(axis: &Axis) -> u64 {
    match &axis.values {
        Values::Choices(choices) => choices.len() as u64,
        Values::UniformInteger { low, high } => high.abs_diff(*low).saturating_add(1),
        Values::Uniform { .. } | Values::LogUniform { .. } => u64::MAX,
    }
}

fn sample(axis: &Axis, rng: &mut impl Rng) -> Setting {
    let bits = rng.next_u64();
    // The upper 53 bits, uniform in 0.0..1.0 at the precision of an `f64`.
    let share = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    // The high half of the product is uniform in 0..n, apart from a bias below n in 2^64.
    let below = |n: u128| (u128::from(bits) * n) >> 64;
    let value = match &axis.values {
        Values::Choices(choices) => {
            let (value, span) = &choices[below(choices.len() as u128) as usize];
            return setting(axis, value.clone(), span.clone());
        }
        Values::Uniform { low, high } => {
            // Not `low + share * (high - low)`, because `high - low` may overflow to infinity.
            Value::from(legible(low * (1.0 - share) + high * share, *low, *high))
        }
        Values::UniformInteger { low, high } => {
            let offset = below(u128::from(high.abs_diff(*low)) + 1);
            Value::from((i128::from(*low) + offset as i128) as i64)
        }
        Values::LogUniform { low, high } => {
            let exponent = low.ln() * (1.0 - share) + high.ln() * share;
            Value::from(legible(exponent.exp(), *low, *high))
        }
    };
    setting(axis, value, axis.span.clone())
}

/// Rounds to four significant digits, but never beyond the interval.
fn legible(value: f64, low: f64, high: f64) -> f64 {
    let rounded = format!("{value:.3e}").parse().unwrap_or(value);
    rounded.clamp(low, high)
}

fn setting(axis: &Axis, value: Value, span: std::ops::Range<usize>) -> Setting {
    Setting {
        key: axis.key.clone(),
        value,
        key_span: axis.key_span.clone(),
        span,
    }
}

fn sets(settings: &[Setting]) -> Vec<String> {
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

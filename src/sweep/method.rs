//! `method` and the keys that go with it: how many trials there are and how they are chosen.
//! Knows the axes by their values, not what they set.

use std::{num::NonZeroUsize, ops::Range};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    definition::{Axis, Method, Values},
    reading::Reading,
};
use crate::text::suggest::nearest;

/// More trials than anybody waits for, and few enough to hold all of them.
const MOST_TRIALS: u64 = 10_000;

pub(super) const METHODS: [&str; 2] = ["grid", "random"];

#[derive(Deserialize)]
pub(super) struct Defaults {
    method: MethodName,
    seed: u64,
    pub(super) parallel: NonZeroUsize,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MethodName {
    Grid,
    Random,
}

/// The method with its own keys, and whether the axes go with it.
pub(super) fn method(
    reading: &mut Reading,
    document: &DeTable<'_>,
    defaults: &Defaults,
    axes: &[Axis],
    misspelt: &[&str],
) -> Option<Method> {
    let name = match document.get("method") {
        Some(value) => method_name(reading, value),
        None => Some(defaults.method).filter(|_| !misspelt.contains(&"method")),
    };
    let max_trials = document.get("max_trials").map(|value| {
        let count = reading.count("max_trials", value, (1, MOST_TRIALS));
        (count, value.span())
    });
    let seed = match document.get("seed") {
        Some(value) => reading.count("seed", value, (0, i64::MAX as u64)),
        None => Some(defaults.seed),
    };
    match name? {
        MethodName::Grid => {
            if let Some(value) = document.get("seed").filter(|_| seed.is_some()) {
                let help = "remove it, or set method = \"random\"";
                let fact = "has no effect with method = \"grid\"";
                reading.refuse::<()>("seed", &value.span(), fact, help);
            }
            check_grid(reading, document, axes, max_trials);
            Some(Method::Grid)
        }
        MethodName::Random => match max_trials {
            Some((count, _)) => Some(Method::Random {
                n_trials: count? as usize,
                seed: seed?,
            }),
            None if misspelt.contains(&"max_trials") => None,
            None => reading.refuse_absence(
                "max_trials",
                "add max_trials = 20: method = \"random\" has no end of its own",
            ),
        },
    }
}

fn method_name(reading: &mut Reading, value: &Spanned<DeValue<'_>>) -> Option<MethodName> {
    let text = reading.text("method", value)?;
    match text.as_str() {
        "grid" => Some(MethodName::Grid),
        "random" => Some(MethodName::Random),
        _ => {
            let help = match nearest(&text, &METHODS) {
                Some(near) => format!("did you mean `{near}`? there are `grid` and `random`"),
                None => "there are `grid` and `random`".to_owned(),
            };
            let fact = format!("does not know `{text}`");
            reading.refuse("method", &value.span(), fact, help)
        }
    }
}

/// A grid has only choices, and not too many.
fn check_grid(
    reading: &mut Reading,
    document: &DeTable<'_>,
    axes: &[Axis],
    max_trials: Option<(Option<u64>, Range<usize>)>,
) {
    let mut n_trials = 1_u64;
    for axis in axes {
        if let Values::Choices(choices) = &axis.values {
            // Axes whose values are wrong have none here.
            n_trials = n_trials.saturating_mul(choices.len().max(1) as u64);
        } else {
            let fact = "cannot be drawn with method = \"grid\"";
            let help = "set method = \"random\", or write a list such as [1e-4, 1e-3]";
            reading.refuse::<()>(&axis.key, &axis.span, fact, help);
        }
    }
    match max_trials {
        Some((Some(most), span)) if n_trials > most => {
            let fact = format!("must be at least {n_trials}, the trials of the grid, is `{most}`");
            let help = format!("raise it, or set method = \"random\" to draw {most} of them");
            reading.refuse::<()>("max_trials", &span, fact, help);
        }
        None if n_trials > MOST_TRIALS => {
            let span = document.get("axes").map(Spanned::span).unwrap_or_default();
            let fact = format!("make a grid of {n_trials} trials, more than {MOST_TRIALS}");
            let help = "set method = \"random\" and max_trials to draw some of them";
            reading.refuse::<()>("axes", &span, fact, help);
        }
        Some(_) | None => {}
    }
}

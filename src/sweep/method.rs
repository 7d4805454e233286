//! `method` and the keys that go with it: how many trials there are and how they are chosen.
//! Knows the axes by their values, not by the keys that they set.

use serde::Deserialize;

use super::{
    definition::{Axis, Method, Values},
    file::RawSweep,
};
use crate::config::walk::Walk;

/// More trials than anybody runs, and few enough to hold all of them in memory.
pub(super) const MOST_TRIALS: u64 = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MethodName {
    Grid,
    Random,
    Sobol,
}

impl MethodName {
    /// The names that `method` takes.
    pub(super) const NAMES: [&str; 3] = ["grid", "random", "sobol"];
}

/// The method with its own keys; whether the axes go with it is checked too.
pub(super) fn method(walk: &mut Walk<'_>, raw: &RawSweep, axes: &[Axis]) -> Option<Method> {
    if walk.origins.is_broken("method") {
        return None;
    }
    match raw.method {
        MethodName::Grid => {
            if !walk.origins.is_broken("seed") {
                let help = "remove it, or set method = \"random\"";
                walk.origins
                    .report_inert("seed", "with method = \"grid\"", help);
            }
            check_grid(walk, raw, axes);
            Some(Method::Grid)
        }
        name @ (MethodName::Random | MethodName::Sobol) => {
            let Some(n_trials) = raw.max_trials else {
                let help = "add max_trials = 20, the number of trials to draw";
                walk.origins.report_missing("max_trials", help);
                return None;
            };
            let (n_trials, seed) = (n_trials as usize, raw.seed);
            Some(match name {
                MethodName::Sobol => Method::Sobol { n_trials, seed },
                _ => Method::Random { n_trials, seed },
            })
        }
    }
}

/// Checks that a grid has only lists of values, and not too many trials.
fn check_grid(walk: &mut Walk<'_>, raw: &RawSweep, axes: &[Axis]) {
    let mut n_trials = 1_u64;
    for axis in axes {
        if let Values::Choices(choices) = &axis.values {
            // An axis whose values are wrong has none here.
            n_trials = n_trials.saturating_mul(choices.len().max(1) as u64);
        } else {
            let message =
                "an interval needs method = \"random\" or \"sobol\", but the method is \"grid\"";
            let help = "set method = \"random\", or list the values, for example [1e-4, 1e-3]";
            walk.refuse::<()>(&axis.key, &axis.span, message, Some(help.to_owned()));
        }
    }
    match raw.max_trials {
        Some(most) if n_trials > most => {
            let message = format!("the grid has {n_trials} trials, more than max_trials = {most}");
            let help =
                format!("raise `max_trials`, or set method = \"random\" to draw {most} of them");
            walk.origins.report("max_trials", message, help);
        }
        None if n_trials > MOST_TRIALS && !walk.origins.is_broken("max_trials") => {
            let message = format!("the grid has {n_trials} trials, more than {MOST_TRIALS}");
            let help = "set method = \"random\" and `max_trials` to draw some of them";
            walk.origins.report("axes", message, help);
        }
        Some(_) | None => {}
    }
}

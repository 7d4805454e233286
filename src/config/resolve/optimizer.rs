//! `[optimizer]` and `[schedule]`: a kind and the numbers that it takes. Knows no formulas.

use crate::{
    config::{
        experiment::{OptimizerKind, OptimizerSettings, Schedule, ScheduleKind},
        origins::Origins,
        raw::{Defaults, RawSchedule, ScheduleName},
        schema,
        walk::join,
    },
    text::suggest::list,
};

pub(super) fn resolve(
    optimizer: OptimizerSettings,
    defaults: &Defaults,
    origins: &mut Origins,
) -> Option<OptimizerSettings> {
    if origins.is_broken("optimizer.kind") {
        return None;
    }
    report_foreign("optimizer", optimizer.kind.name(), defaults, origins);
    if let OptimizerKind::Sgd {
        momentum,
        dampening,
        nesterov,
    } = optimizer.kind
    {
        check_momentum(momentum, dampening, nesterov, origins);
    }
    Some(optimizer)
}

fn check_momentum(momentum: f64, dampening: f64, nesterov: bool, origins: &mut Origins) {
    if origins.is_broken("optimizer.momentum") || origins.is_broken("optimizer.dampening") {
        return;
    }
    if nesterov && (momentum == 0.0 || dampening != 0.0) {
        let message = format!(
            "`nesterov` requires momentum > 0 and dampening = 0 (got {momentum} and {dampening})"
        );
        origins.report("optimizer.nesterov", message, "set momentum = 0.9");
    } else if momentum == 0.0 && dampening != 0.0 {
        let help = "remove it, or set momentum = 0.9";
        origins.report_inert("optimizer.dampening", "without `momentum`", help);
    }
}

/// Resolves a schedule; `path` is `schedule`, or the one of a phase.
pub(super) fn resolve_schedule(
    path: &str,
    raw: &RawSchedule,
    defaults: &Defaults,
    origins: &mut Origins,
) -> Option<Schedule> {
    if origins.is_broken(&format!("{path}.kind")) {
        return None;
    }
    // The schedule of the defaults file is complete.
    let name = raw.kind.or(defaults.schedule.kind)?;
    let warmup_epochs = raw.warmup_epochs.or(defaults.schedule.warmup_epochs)?;
    report_foreign(path, name.name(), defaults, origins);
    let kinds = &defaults.kinds;
    let kind = match name {
        ScheduleName::Constant => ScheduleKind::Constant,
        ScheduleName::Step => ScheduleKind::Step {
            step_epochs: raw.step_epochs.unwrap_or(kinds.step.step_epochs),
            gamma: raw.gamma.unwrap_or(kinds.step.gamma),
        },
        ScheduleName::Cosine => ScheduleKind::Cosine {
            min_factor: raw.min_factor.unwrap_or(kinds.cosine.min_factor),
        },
    };
    Some(Schedule {
        kind,
        warmup_epochs,
    })
}

/// Reports the keys that the user set and that the chosen kind does not take. `path` is the table's.
fn report_foreign(path: &str, kind: &str, defaults: &Defaults, origins: &mut Origins) {
    // A phase's own schedule has the keys of `[schedule]`.
    let (_, table) = path.rsplit_once('.').unwrap_or(("", path));
    let keys = || {
        schema::keys_of(table).iter().filter_map(|key| {
            let kinds = defaults.kinds_of_keys.get(&join(table, key.name))?;
            Some((key.name, kinds))
        })
    };
    let is_own = |kinds: &[String]| kinds.iter().any(|it| it == kind);
    let own: Vec<&str> = keys()
        .filter(|(_, kinds)| is_own(kinds))
        .map(|(name, _)| name)
        .collect();
    for (name, kinds) in keys().filter(|(_, kinds)| !is_own(kinds)) {
        let options = match own.as_slice() {
            [] => String::new(),
            own => format!("; options of `{kind}`: {}", list(own, "and")),
        };
        let help = format!("remove it, or set kind to {}{options}", list(kinds, "or"));
        let key = join(path, name);
        let why = format!(
            "with kind = \"{kind}\"{}",
            origin_of_kind(path, &key, origins)
        );
        origins.report_inert(&key, &why, help);
    }
}

/// Where the kind was chosen, if the file that sets the key does not show it.
fn origin_of_kind(path: &str, key: &str, origins: &Origins) -> String {
    let kind = format!("{path}.kind");
    let (Some(key), Some(kind)) = (origins.exact(key), origins.exact(&kind)) else {
        return ", the default".to_owned();
    };
    if kind.source.is_defaults {
        ", the default".to_owned()
    } else if kind.source == key.source {
        String::new()
    } else {
        format!(", from {}", kind.short())
    }
}

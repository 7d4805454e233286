//! `[optimizer]` and `[schedule]`: a kind and the numbers that kind has. Knows no formulas.

use crate::{
    config::{
        experiment::{Optimizer, OptimizerKind, Schedule, ScheduleKind},
        origins::Origins,
        raw::{Defaults, OptimizerName, RawOptimizer, RawSchedule, ScheduleName},
    },
    text::suggest::list,
};

/// Every key of `[optimizer]` that belongs to some kinds only, with these kinds.
const OPTIMIZER_KEYS: [(&str, &[&str]); 7] = [
    ("betas", &["adam", "adamw"]),
    ("eps", &["adam", "adamw", "rmsprop"]),
    ("momentum", &["sgd", "rmsprop"]),
    ("dampening", &["sgd"]),
    ("nesterov", &["sgd"]),
    ("alpha", &["rmsprop"]),
    ("centered", &["rmsprop"]),
];

/// The same for `[schedule]`.
const SCHEDULE_KEYS: [(&str, &[&str]); 3] = [
    ("step_epochs", &["step"]),
    ("gamma", &["step"]),
    ("min_factor", &["cosine"]),
];

pub(super) fn resolve(
    raw: &RawOptimizer,
    defaults: &Defaults,
    origins: &mut Origins,
) -> Option<Optimizer> {
    if origins.is_broken("optimizer.kind") {
        return None;
    }
    report_foreign("optimizer", raw.kind.name(), &OPTIMIZER_KEYS, origins);
    let kinds = &defaults.kinds;
    let (kind, weight_decay) = match raw.kind {
        OptimizerName::Adam => {
            let betas = raw.betas.unwrap_or(kinds.adam.betas);
            let eps = raw.eps.unwrap_or(kinds.adam.eps);
            (OptimizerKind::Adam { betas, eps }, kinds.adam.weight_decay)
        }
        OptimizerName::AdamW => {
            let betas = raw.betas.unwrap_or(kinds.adamw.betas);
            let eps = raw.eps.unwrap_or(kinds.adamw.eps);
            (
                OptimizerKind::AdamW { betas, eps },
                kinds.adamw.weight_decay,
            )
        }
        OptimizerName::Sgd => (resolve_sgd(raw, defaults, origins), kinds.sgd.weight_decay),
        OptimizerName::RmsProp => {
            let kind = OptimizerKind::RmsProp {
                alpha: raw.alpha.unwrap_or(kinds.rmsprop.alpha),
                eps: raw.eps.unwrap_or(kinds.rmsprop.eps),
                momentum: raw.momentum.unwrap_or(kinds.rmsprop.momentum),
                centered: raw.centered.unwrap_or(kinds.rmsprop.centered),
            };
            (kind, kinds.rmsprop.weight_decay)
        }
    };
    Some(Optimizer {
        kind,
        lr: raw.lr,
        weight_decay: raw.weight_decay.unwrap_or(weight_decay),
    })
}

fn resolve_sgd(raw: &RawOptimizer, defaults: &Defaults, origins: &mut Origins) -> OptimizerKind {
    let numbers = &defaults.kinds.sgd;
    let momentum = raw.momentum.unwrap_or(numbers.momentum);
    let dampening = raw.dampening.unwrap_or(numbers.dampening);
    let nesterov = raw.nesterov.unwrap_or(numbers.nesterov);
    let is_known =
        !origins.is_broken("optimizer.momentum") && !origins.is_broken("optimizer.dampening");
    if nesterov && is_known && (momentum == 0.0 || dampening != 0.0) {
        let fact = format!(
            "needs a momentum above 0 and no dampening, is with momentum `{momentum}` and dampening `{dampening}`"
        );
        origins.report("optimizer.nesterov", fact, "set momentum = 0.9");
    } else if momentum == 0.0 && dampening != 0.0 && is_known {
        let help = "remove it, or set momentum = 0.9";
        origins.report_inert("optimizer.dampening", "without `momentum`", help);
    }
    OptimizerKind::Sgd {
        momentum,
        dampening,
        nesterov,
    }
}

/// `path` is `schedule`, or a phase's own.
pub(super) fn resolve_schedule(
    path: &str,
    raw: &RawSchedule,
    defaults: &Defaults,
    origins: &mut Origins,
) -> Option<Schedule> {
    if origins.is_broken(&format!("{path}.kind")) {
        return None;
    }
    // The defaults' own schedule is complete.
    let name = raw.kind.or(defaults.schedule.kind)?;
    let warmup_epochs = raw.warmup_epochs.or(defaults.schedule.warmup_epochs)?;
    report_foreign(path, name.name(), &SCHEDULE_KEYS, origins);
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

/// Reports the keys that the user set and the kind does not have.
fn report_foreign(path: &str, kind: &str, keys: &[(&str, &[&str])], origins: &mut Origins) {
    let own: Vec<&str> = keys
        .iter()
        .filter(|(_, kinds)| kinds.contains(&kind))
        .map(|(key, _)| *key)
        .collect();
    for (key, kinds) in keys {
        if !kinds.contains(&kind) {
            let takes = match own.as_slice() {
                [] => String::new(),
                own => format!("; what `{kind}` has of its own: {}", list(own, "and")),
            };
            let help = format!("remove it, or set kind to {}{takes}", list(kinds, "or"));
            let key = format!("{path}.{key}");
            let why = format!("with kind = \"{kind}\"{}", whose_kind(path, &key, origins));
            origins.report_inert(&key, &why, help);
        }
    }
}

/// Who chose the kind, where the reader of the key's own line would not see it.
fn whose_kind(path: &str, key: &str, origins: &Origins) -> String {
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

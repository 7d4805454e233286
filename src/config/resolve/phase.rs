//! `[[phase]]`: what each phase trains, and how, with what the file says for all of them.
//! Knows the layout of the model, not its tensors.

use std::collections::HashSet;

use crate::{
    config::{
        experiment::{Optimizer, Phase, Schedule},
        origins::{Origins, is_phase_name},
        raw::{Defaults, RawPhase, RawSchedule},
        schema,
        walk::join,
    },
    model::{layout::Arch, select::Selector},
};

use super::{
    model::{selector, selectors},
    optimizer::resolve_schedule,
};

/// What the file says for all phases; absent where it is wrong.
pub(super) struct File<'a> {
    pub(super) arch: Option<Arch>,
    pub(super) optimizer: Option<&'a Optimizer>,
    pub(super) schedule: &'a RawSchedule,
    pub(super) defaults: &'a Defaults,
}

pub(super) fn resolve(
    raw: Option<Vec<RawPhase>>,
    file: &File<'_>,
    origins: &mut Origins,
) -> Option<Vec<Phase>> {
    let file_schedule = resolve_schedule("schedule", file.schedule, file.defaults, origins);
    let raw = raw.unwrap_or_default();
    if raw.is_empty() {
        let help =
            "add a [[phase]] with name = \"head\", epochs = 10 and trainable = [\"classifier\"]";
        origins.report_missing("phase", help);
        return None;
    }
    let mut phases = Vec::new();
    let mut names: HashSet<String> = HashSet::new();
    let n_phases = raw.len();
    report_unused_overrides(&raw, origins);
    for (index, raw) in raw.into_iter().enumerate() {
        let path = format!("phase[{index}]");
        check_name(&path, raw.name.as_deref(), &names, origins);
        names.extend(raw.name.clone());
        phases.extend(resolve_one(
            &path,
            raw,
            file,
            file_schedule.as_ref(),
            origins,
        ));
    }
    (phases.len() == n_phases).then_some(phases)
}

/// What phases say themselves, the file's word for all of them does not reach.
fn report_unused_overrides(phases: &[RawPhase], origins: &mut Origins) {
    let name = phases[0].name.as_deref().unwrap_or("NAME").to_owned();
    let mut report = |path: &str, key: &str, has_own: &dyn Fn(&RawPhase) -> bool| {
        if phases.iter().all(has_own) {
            let own = key.split('.').next().unwrap_or(key);
            let why = format!("where every phase has its own `{own}`");
            let help = format!("set that of a phase, such as `--set phase.{name}.{key}=..`");
            origins.report_inert_override(path, &why, help);
        }
    };
    report("optimizer.lr", "lr", &|phase| phase.lr.is_some());
    report("optimizer.weight_decay", "weight_decay", &|phase| {
        phase.weight_decay.is_some()
    });
    for key in schema::keys_of("schedule") {
        let key = join("schedule", key.name);
        report(&key, &key, &|phase| phase.schedule.is_some());
    }
}

fn resolve_one(
    path: &str,
    raw: RawPhase,
    file: &File<'_>,
    file_schedule: Option<&Schedule>,
    origins: &mut Origins,
) -> Option<Phase> {
    let key = |name: &str| format!("{path}.{name}");
    if raw.epochs.is_none() {
        origins.report_missing(&key("epochs"), "add epochs = 10");
    }
    let trainable = resolve_trainable(&key("trainable"), raw.trainable, file.arch, origins);
    let is_trainable_broken = origins.is_broken(&key("trainable"));
    let lr_factors = resolve_factors(
        &key("lr_factors"),
        raw.lr_factors.unwrap_or_default(),
        &trainable,
        // Where the trainable ones are wrong themselves, nothing more can be said about a factor.
        file.arch.filter(|_| !is_trainable_broken),
        origins,
    );
    let schedule = match &raw.schedule {
        Some(own) => resolve_schedule(&key("schedule"), own, file.defaults, origins),
        None => file_schedule.cloned(),
    };
    if let (Some(schedule), Some(epochs)) = (&schedule, raw.epochs)
        && schedule.warmup_epochs >= epochs.get() as f64
    {
        let place = match &raw.schedule {
            Some(_) => key("schedule.warmup_epochs"),
            None => "schedule.warmup_epochs".to_owned(),
        };
        let name = raw.name.as_deref().unwrap_or("without a name");
        let fact = format!(
            "must be below the {epochs} epochs of phase `{name}`, is `{}`",
            schedule.warmup_epochs
        );
        origins.report(&place, fact, "after the warmup comes the schedule itself");
    }
    let keep_optimizer = raw
        .keep_optimizer
        .unwrap_or(file.defaults.kinds.phase.keep_optimizer);
    if keep_optimizer && path == "phase[0]" {
        let help = "remove it: there is no phase before whose optimizer could be kept";
        origins.report_inert(&key("keep_optimizer"), "in the first phase", help);
    }
    let base = file.optimizer?;
    let lr = raw.lr.unwrap_or(base.lr);
    for (index, (_, factor)) in lr_factors.iter().enumerate() {
        if !((lr * factor) as f32).is_normal() {
            let fact = format!("gives a learning rate of `{}`", lr * factor);
            let help = "choose a factor with which it is between 1.2e-38 and 3.4e38";
            origins.report(&key(&format!("lr_factors[{index}]")), fact, help);
        }
    }
    Some(Phase {
        name: raw.name?,
        epochs: raw.epochs?,
        trainable,
        optimizer: Optimizer {
            kind: base.kind,
            lr,
            weight_decay: raw.weight_decay.unwrap_or(base.weight_decay),
        },
        lr_factors,
        schedule: schedule?,
        keep_optimizer,
    })
}

fn check_name(path: &str, name: Option<&str>, before: &HashSet<String>, origins: &mut Origins) {
    let path = format!("{path}.name");
    let Some(name) = name else {
        origins.report_missing(
            &path,
            "add a name such as \"head\": `--set` and the tables of the run use it",
        );
        return;
    };
    if !is_phase_name(name) {
        let fact = format!("cannot name a phase: `{name}`");
        origins.report(
            &path,
            fact,
            "a name has at least one letter, digit, `-` or `_` and nothing else",
        );
    } else if before.contains(name) {
        let fact = format!("is taken by an earlier phase: `{name}`");
        origins.report(&path, fact, "each phase needs a name of its own");
    }
}

fn resolve_trainable(
    path: &str,
    texts: Option<Vec<String>>,
    arch: Option<Arch>,
    origins: &mut Origins,
) -> Vec<Selector> {
    const HELP: &str =
        "name what this phase trains, such as trainable = [\"classifier\", \"features[24:]\"]";
    let Some(texts) = texts else {
        origins.report_missing(path, HELP);
        return Vec::new();
    };
    if texts.is_empty() {
        origins.report(path, "must not be empty", HELP);
    }
    selectors(path, &texts, arch, origins)
}

fn resolve_factors(
    path: &str,
    pairs: Vec<(String, f64)>,
    trainable: &[Selector],
    arch: Option<Arch>,
    origins: &mut Origins,
) -> Vec<(Selector, f64)> {
    let mut factors = Vec::new();
    for (index, (text, factor)) in pairs.into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(selector) = selector(&path, &text, arch, origins) else {
            continue;
        };
        if let Some(arch) = arch {
            let trains = |name: &String| trainable.iter().any(|it| it.matches(name, arch));
            if !selector.paths(arch).iter().any(trains) {
                let help = format!("add \"{text}\" to trainable, or remove the factor");
                let why = "in this phase, which trains none of it";
                origins.report(&path, format!("`{text}` has no effect {why}"), help);
            }
        }
        factors.push((selector, factor));
    }
    factors
}

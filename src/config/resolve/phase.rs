//! `[[phase]]`: the parameters that each phase trains, and how, with the keys that the file sets for all phases.
//! Knows the layout of the model, not its tensors.

use std::collections::HashSet;

use crate::{
    config::{
        experiment::{OptimizerSettings, Phase, Schedule},
        origins::{Origins, is_phase_name},
        raw::{Defaults, RawPhase, RawSchedule},
        schema,
        walk::join,
    },
    model::{families::Arch, select::Selector},
};

use super::{
    model::{selector, selectors},
    optimizer::resolve_schedule,
};

/// The keys outside of phases that phases depend on; `None` after a problem.
pub(super) struct SharedByPhases<'a> {
    pub(super) arch: Option<Arch>,
    pub(super) optimizer: Option<&'a OptimizerSettings>,
    pub(super) schedule: &'a RawSchedule,
    pub(super) defaults: &'a Defaults,
}

pub(super) fn resolve(
    raw: Option<Vec<RawPhase>>,
    file: &SharedByPhases<'_>,
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

/// Reports overrides of keys that every phase sets itself.
fn report_unused_overrides(phases: &[RawPhase], origins: &mut Origins) {
    let name = phases[0].name.as_deref().unwrap_or("NAME").to_owned();
    let mut report = |path: &str, key: &str, has_own: &dyn Fn(&RawPhase) -> bool| {
        if phases.iter().all(has_own) {
            let own = key.split('.').next().unwrap_or(key);
            let why = format!("because every phase has its own `{own}`");
            let help = format!("set it for a phase: `--set phase.{name}.{key}=..`");
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
    file: &SharedByPhases<'_>,
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
        // If `trainable` is wrong, a factor without an effect follows from that problem.
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
        let message = format!(
            "the warmup of {} epochs leaves none of the {epochs} epochs of phase `{name}`",
            schedule.warmup_epochs
        );
        origins.report(&place, message, "set `warmup_epochs` below `epochs`");
    }
    let keep_optimizer = raw
        .keep_optimizer
        .unwrap_or(file.defaults.kinds.phase.keep_optimizer);
    if keep_optimizer && path == "phase[0]" {
        let help = "remove it: no earlier phase has an optimizer to keep";
        origins.report_inert(&key("keep_optimizer"), "in the first phase", help);
    }
    let base = file.optimizer?;
    let lr = raw.lr.unwrap_or(base.lr);
    for (index, (_, factor)) in lr_factors.iter().enumerate() {
        if !((lr * factor) as f32).is_normal() {
            let message = format!("the factor gives a learning rate of `{}`", lr * factor);
            let help = "choose a factor that keeps the learning rate between 1.2e-38 and 3.4e38";
            origins.report(&key(&format!("lr_factors[{index}]")), message, help);
        }
    }
    Some(Phase {
        name: raw.name?,
        epochs: raw.epochs?,
        trainable,
        optimizer: OptimizerSettings {
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
            "add a name, for example name = \"head\": `--set` and the tables of the run use it",
        );
        return;
    };
    if !is_phase_name(name) {
        let message = format!("invalid phase name `{name}`");
        let help = "use only letters, digits, `-` and `_`, and at least one of them";
        origins.report(&path, message, help);
    } else if before.contains(name) {
        let message = format!("duplicate phase name `{name}`");
        origins.report(&path, message, "give each phase a different name");
    }
}

fn resolve_trainable(
    path: &str,
    texts: Option<Vec<String>>,
    arch: Option<Arch>,
    origins: &mut Origins,
) -> Vec<Selector> {
    const HELP: &str = "select the parameters to train, for example trainable = [\"classifier\", \"features[24:]\"]";
    let Some(texts) = texts else {
        origins.report_missing(path, HELP);
        return Vec::new();
    };
    if texts.is_empty() {
        origins.report(path, "`trainable` must not be empty", HELP);
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
            let trained: HashSet<String> = trainable.iter().flat_map(|it| it.paths(arch)).collect();
            if !selector
                .paths(arch)
                .iter()
                .any(|name| trained.contains(name))
            {
                let help = format!("add \"{text}\" to `trainable`, or remove the factor");
                let message =
                    format!("the factor of `{text}` has no effect: the phase trains none of it");
                origins.report(&path, message, help);
            }
        }
        factors.push((selector, factor));
    }
    factors
}

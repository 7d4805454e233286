use super::*;
use crate::config::{DEFAULTS, optimizer::OptimizerKind, raw::Defaults};

fn resumable(wanted: Resume) -> Vec<String> {
    let mut keys = labels("NAME", |_| true);
    keys.retain(|key| resume_of(key) == Some(wanted));
    keys
}

/// A change of the table changes what resumed runs accept, so it shows here.
#[test]
fn the_keys_that_may_change_on_resume_are_these() {
    let free = [
        "device",
        "threads",
        "memory",
        "runs_dir",
        "data.root",
        "data.manifest",
        "data.workers",
        "model.weights",
        "training.checkpoint_every",
        "checkpoints.keep",
        "cache.mode",
        "cache.dir",
        "cache.max_gib",
        "cache.trust",
        "log.tensorboard",
    ];
    assert_eq!(resumable(Resume::Free), free);
    let from_now_on = [
        "training.on_nan",
        "training.clip_grad_norm",
        "early_stopping.patience",
        "early_stopping.min_delta",
        "phase.NAME.epochs",
        "phase.NAME.lr",
        "phase.NAME.weight_decay",
        "phase.NAME.lr_factors",
        "phase.NAME.schedule.kind",
        "phase.NAME.schedule.warmup_epochs",
        "phase.NAME.schedule.step_epochs",
        "phase.NAME.schedule.gamma",
        "phase.NAME.schedule.min_factor",
    ];
    assert_eq!(resumable(Resume::FromNowOn), from_now_on);
    let in_phases = ["optimizer.lr", "optimizer.weight_decay", "schedule.kind"];
    assert_eq!(resumable(Resume::InPhases)[..3], in_phases);
}

#[test]
fn results_do_not_depend_on_these_keys() {
    let others = labels("NAME", |key| key.effect != Effect::Results);
    let expected = [
        "name",
        "extends",
        "threads",
        "memory",
        "runs_dir",
        "data.workers",
        "training.checkpoint_every",
        "checkpoints.keep",
        "cache.mode",
        "cache.dir",
        "cache.max_gib",
        "cache.trust",
        "log.tensorboard",
        "fetch.mirror",
    ];
    assert_eq!(others, expected);
}

#[test]
fn the_policies_of_a_key_do_not_contradict_each_other() {
    for label in labels("NAME", |_| true) {
        let key = by_label(&label).unwrap_or_else(|| panic!("{label}"));
        let resume = resume_of(&label);
        if key.effect == Effect::Work {
            assert_eq!(resume, Some(Resume::Free), "{label}");
        }
        if matches!(key.effect, Effect::Download | Effect::Layering) {
            assert_eq!(resume, Some(Resume::Never), "{label}");
        }
        if key.recheck == Recheck::Weights {
            assert_eq!(key.effect, Effect::Results, "{label}");
        }
    }
    assert!(by_label("phase.head").is_none() && by_label("data.roots").is_none());
    assert!(by_label("phase.any.schedule.kind").is_some());
}

#[test]
fn every_optimizer_has_a_table_of_its_keys_in_the_defaults() {
    let defaults = Defaults::parse(DEFAULTS);
    let mut names = OptimizerKind::NAMES;
    names.sort_unstable();
    let tables: Vec<&String> = defaults.kinds.optimizers.keys().collect();
    assert_eq!(tables, names);
    for (name, numbers) in &defaults.kinds.optimizers {
        let mut table = numbers.clone();
        table.insert("kind".to_owned(), name.as_str().into());
        table.entry("lr").or_insert(1.0.into());
        let optimizer: crate::config::optimizer::OptimizerSettings =
            table.clone().try_into().unwrap();
        assert_eq!(optimizer.kind.name(), name);
        // Each number of the table is one that the optimizer takes.
        assert_eq!(toml::Table::try_from(optimizer).unwrap(), table);
    }
}

#[test]
fn a_table_without_kept_keys_is_removed_with_them() {
    let mut table: Table =
        "name = 'a'\nseed = 1\nnovel = 2\n[cache]\nmode = 'off'\n[data]\nworkers = 3\nroot = 'p'\n\
        [[phase]]\nname = 'x'\nlr = 0.1"
            .parse()
            .unwrap();
    retain(&mut table, &|key| {
        key.is_none_or(|key| key.effect == Effect::Results)
    });
    let expected: Table =
        "seed = 1\nnovel = 2\n[data]\nroot = 'p'\n[[phase]]\nname = 'x'\nlr = 0.1"
            .parse()
            .unwrap();
    assert_eq!(table, expected);
}

//! `runner plan CONFIG`: what would happen, without training.

use std::fmt::Write as _;

use serde_json::json;

use super::{
    fit::Fit,
    plan_cache::{self, CachePlan},
    prepare::{self, ExperimentRequest},
};
use crate::{
    console::Console,
    data::split::Part,
    device,
    error::Result,
    plan::{self, Plan, with_commas},
};

/// Epochs whose learning rates are listed before the rest is cut.
const N_EPOCHS_SHOWN: usize = 12;

pub(crate) fn plan(request: &ExperimentRequest, console: &Console) -> Result<()> {
    let prepared = prepare::prepare(request, console)?;
    let experiment = &prepared.loaded.experiment;
    let count = |part| prepared.split.images(part).len();
    let (n_train, n_valid, n_test) = (count(Part::Train), count(Part::Valid), count(Part::Test));

    let cache = plan_cache::of(&prepared)?;
    let fit = Fit::of(&prepared, cache.iter().all(CachePlan::is_full));

    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: {} on {}",
        experiment.name,
        experiment.model.arch.name(),
        device::name(experiment.device)
    );
    let _ = writeln!(
        text,
        "images      {n_train} train, {n_valid} valid, {n_test} test; {} classes",
        prepared.index.classes.len()
    );
    let _ = writeln!(
        text,
        "parameters  {}",
        with_commas(prepared.plan.n_parameters)
    );
    let _ = write!(text, "{}", fit.text());
    for (index, line) in cache.iter().map(CachePlan::text).enumerate() {
        let label = if index == 0 { "cache" } else { "" };
        let _ = writeln!(text, "{label:<12}{line}");
    }
    let _ = write!(
        text,
        "\n{}\n{}",
        plan::group_table(&prepared.plan),
        rates(&prepared.plan)
    );
    let groups: Vec<_> = prepared
        .plan
        .phases
        .iter()
        .flat_map(|planned| &planned.groups)
        .collect();
    let fields = json!({
        "name": experiment.name, "n_train": n_train, "n_valid": n_valid, "n_test": n_test,
        "classes": prepared.index.classes, "parameters": prepared.plan.n_parameters,
        "memory_bytes": fit.estimate.total(), "memory": fit.fields(), "cache": cache, "groups": groups,
    });
    console.answer("plan", fields, text.trim_end());
    Ok(())
}

/// The learning rate at the first and last step of each epoch.
fn rates(plan: &Plan) -> String {
    let mut text = format!(
        "{:<12} {:>5} {:>6} {:>10} {:>10}\n",
        "phase", "epoch", "steps", "first lr", "last lr"
    );
    for planned in &plan.phases {
        let n_epochs = planned.phase.epochs.get();
        for epoch in 0..n_epochs.min(N_EPOCHS_SHOWN) {
            let first = epoch * planned.steps_per_epoch;
            let (first_lr, last_lr) = (
                planned.base_lr(first),
                planned.base_lr(first + planned.steps_per_epoch - 1),
            );
            let number = planned.first_epoch + epoch + 1;
            let (name, n_steps) = (&planned.phase.name, planned.steps_per_epoch);
            let _ = writeln!(
                text,
                "{name:<12} {number:>5} {n_steps:>6} {first_lr:>10.2e} {last_lr:>10.2e}"
            );
        }
        if n_epochs > N_EPOCHS_SHOWN {
            let last = planned.base_lr(planned.n_steps() - 1);
            let _ = writeln!(
                text,
                "{:<12} .. {} more epochs, the last step at {last:.2e}",
                planned.phase.name,
                n_epochs - N_EPOCHS_SHOWN
            );
        }
    }
    text
}

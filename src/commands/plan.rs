//! `runner plan CONFIG`: shows what a run would do, without training.

use std::fmt::Write as _;

use serde_json::json;

use super::{
    fit::Fit,
    plan_cache::{self, CachePlan},
    prepare::{self},
    preprocessing,
    space::DiskFit,
};
use crate::{
    commands::args::ExperimentArgs,
    commands::context::Context,
    data::split::Part,
    device,
    error::Result,
    plan::{self, Plan, with_commas},
    text::table::{Align, Table},
};

/// The epochs of a phase that get a row each; the others share one.
const N_EPOCHS_SHOWN: usize = 12;

pub(crate) fn run(args: &ExperimentArgs, cx: &Context) -> Result<()> {
    let (request, console) = (&cx.request(args), &cx.console);
    let prepared = prepare::prepare(request, console)?;
    let experiment = &prepared.loaded.experiment;
    let count = |part| prepared.split.images(part).len();
    let (n_train, n_valid, n_test) = (count(Part::Train), count(Part::Valid), count(Part::Test));

    let cache = plan_cache::of(&prepared)?;
    let fit = Fit::of(&prepared, cache.iter().all(CachePlan::is_full));
    let disk = DiskFit::of(&prepared);

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
    let _ = writeln!(text, "transforms  {}", preprocessing::text(experiment));
    let _ = writeln!(
        text,
        "parameters  {}",
        with_commas(prepared.plan.n_parameters)
    );
    let _ = write!(text, "{}{}", fit.text(), disk.text());
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
        "classes": prepared.index.classes, "transforms": preprocessing::fields(experiment), "parameters": prepared.plan.n_parameters,
        "memory_bytes": fit.estimate.total(), "memory": fit.fields(), "disk": disk.fields(), "cache": cache, "groups": groups,
    });
    console.answer("plan", fields, text.trim_end());
    Ok(())
}

/// The learning rates at the first and last step of each epoch.
fn rates(plan: &Plan) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("phase", Align::Left),
        ("epoch", right),
        ("steps", right),
        ("first lr", right),
        ("last lr", right),
    ]);
    for planned in &plan.phases {
        let (n_epochs, n_steps) = (planned.phase.epochs.get(), planned.steps_per_epoch);
        // A row for the epochs from `first` on, both counted from 0 within the phase.
        let mut row = |first: usize, end: usize| {
            let number = |epoch: usize| planned.first_epoch + epoch + 1;
            let epochs = if end - first == 1 {
                number(first).to_string()
            } else {
                format!("{}-{}", number(first), number(end - 1))
            };
            table.row(vec![
                planned.phase.name.clone(),
                epochs,
                ((end - first) * n_steps).to_string(),
                format!("{:.2e}", planned.base_lr(first * n_steps)),
                format!("{:.2e}", planned.base_lr(end * n_steps - 1)),
            ]);
        };
        let n_shown = n_epochs.min(N_EPOCHS_SHOWN);
        (0..n_shown).for_each(|epoch| row(epoch, epoch + 1));
        if n_shown < n_epochs {
            row(n_shown, n_epochs);
        }
    }
    table.text()
}

//! `runner check CONFIG`: checks that a run could start: config, images, weights, device and memory. Trains nothing.

use serde_json::json;

use super::{
    data_report::ClassCounts,
    fit,
    prepare::{self},
    preprocessing, space,
};
use crate::{
    commands::args::ExperimentArgs, commands::context::Context, data::split::Part, device,
    error::Result, text::table::bytes,
};

pub(crate) fn run(args: &ExperimentArgs, cx: &Context) -> Result<()> {
    let (request, console) = (&cx.request(args), &cx.console);
    let prepared = prepare::prepare(request, console)?;
    let experiment = &prepared.loaded.experiment;
    device::open(experiment.device)?;
    let estimate = fit::check(&prepared, &request.file, console)?;
    space::check(&prepared, console)?;
    let initial = prepare::initial(&prepared)?;
    let count = |part| prepared.split.images(part).len();
    let classes = ClassCounts::new(&prepared.index, &prepared.split);
    console.note(&classes.table());
    let text = format!(
        "{} is ready to train: {} train, {} valid, {} test images; transforms: {}; weights: {}; device: {}; memory: about {}",
        request.file.display(),
        count(Part::Train),
        count(Part::Valid),
        count(Part::Test),
        preprocessing::text(experiment),
        initial.weights,
        device::name(experiment.device),
        bytes(estimate.total() as u64),
    );
    let fields = json!({
        "n_train": count(Part::Train), "n_valid": count(Part::Valid), "n_test": count(Part::Test),
        "rejected": prepared.index.rejected.len(), "ignored": prepared.index.ignored.len(),
        "classes": classes.json(), "transforms": preprocessing::fields(experiment), "weights": initial.weights,
        "fresh_parameters": initial.fresh_parameters, "device": device::name(experiment.device),
        "memory_bytes": estimate.total(),
    });
    console.answer("ready", fields, &text);
    Ok(())
}

//! What training prints: phases, steps and epochs.

use serde_json::json;

use super::evaluate::Scores;
use crate::{
    console::Console,
    plan::{PlannedPhase, with_commas},
    rundir::records::EpochRow,
    scores::ranking,
    text::table::counted,
};

pub(super) fn phase(console: &Console, planned: &PlannedPhase) {
    let phase = &planned.phase;
    let (n, parameters) = (
        planned.trainable.len(),
        with_commas(planned.n_trainable_params),
    );
    let text = format!(
        "phase `{}`: {}, {} with {parameters} parameters",
        phase.name,
        counted(phase.epochs.get(), "epoch"),
        counted(n, "trainable tensor")
    );
    let fields = json!({
        "phase": phase.name, "epochs": phase.epochs, "trainable_tensors": n, "trainable_params": planned.n_trainable_params,
    });
    console.event("phase", fields, &text);
}

pub(super) fn step(console: &Console, n_images: usize, scores: Scores) {
    console.step(n_images, || {
        format!(
            "loss {:.4}  accuracy {:.2} %",
            scores.loss,
            scores.accuracy * 100.0
        )
    });
}

pub(super) fn epoch_ends(console: &Console, row: &EpochRow) {
    console.epoch_ends();
    let further = ranking::recorded_metric(row);
    let further = further.map_or_else(String::new, |(name, value)| format!("  {name} {value:.4}"));
    let text = format!(
        "epoch {:>3}  {:<10}  train loss {:.4}  accuracy {:.2} %   valid loss {:.4}  accuracy {:.2} %{further}   {:.0} s  {:.1} images/s",
        row.epoch,
        row.phase,
        row.train_loss,
        row.train_accuracy * 100.0,
        row.valid_loss,
        row.valid_accuracy * 100.0,
        row.seconds,
        row.images_per_second,
    );
    console.event("epoch", json!(row), &text);
}

//! The rows of short measurements: the classifier step beside a bare pass over its memory, VGG16's features, and decoding.

use std::{error::Error, path::Path};

use serde_json::json;

use super::{
    super::{
        Sitting,
        ours::{self, Cache, Ours},
        table::Row,
        torch::number,
    },
    BATCH, CACHED, HEAD_LR, NOTEBOOK, OURS, Opponent,
    jobs::head,
    row,
};

/// The number of photos that the project's own measurement of decoding uses.
const DECODED_PHOTOS: usize = 200;

/// The rows of a classifier step, of a bare pass over parameters and moments, and of their ratio. Our time is the training time of a
/// run with cached activations, divided by its steps.
pub(crate) fn classifier_step(
    ours: &Ours,
    sitting: &mut Sitting,
    opponents: &[Opponent],
) -> Result<[Row; 3], Box<dyn Error>> {
    let (pairs, threads) = (sitting.options.pairs, sitting.options.threads);
    let repeats = if sitting.options.quick { 2 } else { 10 };
    let cache = Cache::In(sitting.folder.join("steps"));
    let sets = head(1, HEAD_LR);
    // Fills the cache.
    ours.train("head_only", &cache, &sets)?.remove()?;
    let mut rows = [
        row(
            format!("classifier step, batch {BATCH}, 119.5 M parameters"),
            "ms",
        ),
        row(
            "a bare pass over parameters and two moments (119.5 M each): read and written once, nothing else",
            "ms",
        ),
        row("classifier step / bare pass", "ratio"),
    ];
    for _ in 0..pairs {
        eprintln!("classifier step");
        let before = ours::bare_pass(threads)?;
        let run = ours.train("head_only", &cache, &sets)?;
        let after = ours::bare_pass(threads)?;
        run.remove()?;
        rows[1].add(OURS, before);
        rows[1].add(OURS, after);
        let mut steps = vec![(OURS, run.step_milliseconds())];
        for (opponent, series) in opponents.iter().zip(CACHED) {
            let request = json!({
                "job": "cached_step", "phase": "head", "batch": BATCH, "step": opponent.head_step, "lr": HEAD_LR,
                "repeats": repeats, "threads": threads,
            });
            let (answer, _) = opponent.ask(sitting, &request)?;
            steps.push((series, number(&answer, "milliseconds")?));
        }
        if let Some(torch) = &mut sitting.torch {
            let request = json!({
                "job": "classifier_step", "batch": BATCH, "threads": threads, "repeats": repeats,
            });
            steps.push((NOTEBOOK, torch.number(&request, "milliseconds")?));
        }
        for (series, milliseconds) in steps {
            rows[0].add(series, milliseconds);
            rows[2].add(series, milliseconds / f64::midpoint(before, after));
        }
    }
    Ok(rows)
}

pub(crate) fn features_forward(sitting: &mut Sitting) -> Result<Row, Box<dyn Error>> {
    let (pairs, threads) = (sitting.options.pairs, sitting.options.threads);
    let repeats = if sitting.options.quick { 1 } else { 3 };
    let variants = [
        (CACHED[0], true, "f32"),
        (CACHED[1], true, "bf16"),
        (NOTEBOOK, false, "f32"),
    ];
    let what = format!("VGG16 features forward, batch {BATCH}, per photo");
    let mut row = row(what, "ms");
    for _ in 0..pairs {
        eprintln!("features forward");
        row.add(OURS, ours::features_forward(threads)?);
        for (series, channels_last, precision) in variants {
            let request = json!({
                "job": "features_forward", "batch": BATCH, "threads": threads, "repeats": repeats,
                "channels_last": channels_last, "precision": precision,
            });
            if let Some(torch) = &mut sitting.torch {
                row.add(series, torch.number(&request, "milliseconds")?);
            }
        }
    }
    Ok(row)
}

pub(crate) fn decode(sitting: &mut Sitting, data: &Path) -> Result<[Row; 2], Box<dyn Error>> {
    let mut rows = [
        row("decode, per photo on one core", "ms"),
        row("resize and normalize, per photo on one core", "ms"),
    ];
    for _ in 0..sitting.options.pairs {
        eprintln!("decode");
        if let Some((decode, prepare)) = ours::decode(data)? {
            rows[0].add(OURS, decode);
            rows[1].add(OURS, prepare);
        }
        let request = json!({
            "job": "decode", "threads": 1, "root": data.join("pets"), "photos": DECODED_PHOTOS,
        });
        if let Some(torch) = &mut sitting.torch {
            let answer = torch.ask(&request)?;
            for (series, prepare) in [
                (CACHED[0], "prepare_fast"),
                (CACHED[1], "prepare_fast"),
                (NOTEBOOK, "prepare"),
            ] {
                rows[0].add(series, number(&answer, "decode")?);
                rows[1].add(series, number(&answer, prepare)?);
            }
        }
    }
    Ok(rows)
}

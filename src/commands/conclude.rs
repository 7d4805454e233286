//! The end of a run: test scores, pictures and `summary.toml`. Works from the run directory alone, so that a resumed
//! run ends as one that never stopped.

use std::fmt::Display;

use image::RgbImage;

use crate::{
    confusion::{Confusion, macro_average},
    data::{
        decode::{self, DecodeOptions},
        split::Part,
    },
    error::{Error, Result},
    files::write_atomic,
    memory,
    records::{self, EpochRow, FORMAT, PredictionRow, Scored, Summary, TestScores},
    report::{self, CurvePoint, Tile},
    sealed, table,
    train::{self, Setup, answers::Answers, checkpoint, evaluate, progress::Progress},
};

pub(crate) fn conclude(setup: &Setup, progress: &Progress) -> Result<()> {
    let run_dir = setup.run_dir;
    checkpoint::tidy(run_dir)?;
    // The checkpoint's copies are checked; those beside it may have been damaged since they were written.
    let [metrics, table] = checkpoint::tables(run_dir)?;
    setup.ensure_ours()?;
    write_atomic(&run_dir.metrics_csv(), &metrics)?;
    write_atomic(&run_dir.predictions_csv(), &table)?;
    let rows: Vec<EpochRow> = records::read_csv(&run_dir.metrics_csv())?;
    let predictions: Vec<PredictionRow> = records::read_csv(&run_dir.predictions_csv())?;
    let confusion = Confusion::of(&setup.index.classes, &predictions);
    records::write_csv(&run_dir.confusion_csv(), confusion.table())?;
    let classes = confusion.scores();
    let best_epoch = progress
        .best
        .as_ref()
        .map_or(progress.epoch, |best| best.epoch);
    draw_curves(setup, &rows, best_epoch)?;
    draw_predictions(setup, &predictions)?;
    write_atomic(
        &run_dir.confusion_png(),
        &report::confusion(&confusion.counts, confusion.classes)?,
    )?;
    let test = test_scores(setup, &table)?;
    let summary = Summary {
        format: FORMAT,
        name: setup.experiment.name.clone(),
        epochs: progress.epoch,
        steps: progress.step,
        skipped_steps: progress.skipped.steps,
        stopped_early: progress.stopped_early.clone(),
        images: setup.index.images.len(),
        rejected: setup.index.rejected.len(),
        seconds: progress.times.total(),
        times: progress.times,
        peak_memory_bytes: memory::peak(),
        bottleneck: progress.times.bottleneck(),
        best: scored(&rows, best_epoch)?,
        last: scored(&rows, progress.epoch)?,
        test,
        macro_average: Some(macro_average(&classes)),
        classes,
        files: run_dir.result_records()?,
    };
    setup.ensure_ours()?;
    sealed::write_toml(&run_dir.summary_toml(), &summary)?;
    let best = &summary.best;
    let memory = summary.peak_memory_bytes.map(table::bytes);
    let memory = memory.map_or_else(String::new, |memory| format!("; {memory} of memory"));
    setup.console.note(&format!(
        "best: epoch {} ({}), valid loss {:.4}, accuracy {:.2} %; {:.0} s in all{memory}; {}",
        best.epoch,
        best.phase,
        best.valid_loss,
        best.valid_accuracy * 100.0,
        summary.seconds,
        summary.bottleneck
    ));
    Ok(())
}

fn scored(rows: &[EpochRow], epoch: usize) -> Result<Scored> {
    let row = rows.iter().find(|row| row.epoch == epoch);
    let row =
        row.ok_or_else(|| Error::Training(format!("metrics.csv has no row for epoch {epoch}")))?;
    Ok(Scored {
        epoch,
        phase: row.phase.clone(),
        valid_loss: row.valid_loss,
        valid_accuracy: row.valid_accuracy,
    })
}

fn draw_curves(setup: &Setup, rows: &[EpochRow], best_epoch: usize) -> Result<()> {
    let points: Vec<CurvePoint> = rows.iter().map(curve_point).collect();
    write_atomic(
        &setup.run_dir.curves_png(),
        &report::curves(&points, Some(best_epoch))?,
    )
}

fn draw_predictions(setup: &Setup, predictions: &[PredictionRow]) -> Result<()> {
    // Spread over the whole split: the rows are in the order of the classes.
    let n_tiles = predictions.len().min(report::MOST_TILES);
    let chosen = (0..n_tiles).map(|tile| &predictions[tile * predictions.len() / n_tiles]);
    let mut shown = Vec::new();
    for row in chosen {
        // A photo that has gone since it was predicted is no reason to lose the run.
        match open_photo(setup, row) {
            Ok(image) => shown.push((row, image)),
            Err(error) => setup
                .console
                .note(&format!("left out of predictions.png: {error}")),
        }
    }
    let tiles: Vec<Tile> = shown
        .iter()
        .map(|(row, image)| Tile {
            rgb: image.as_raw(),
            width: image.width(),
            height: image.height(),
            predicted: &row.predicted,
            probability: row.probability,
            truth: &row.class,
        })
        .collect();
    write_atomic(
        &setup.run_dir.predictions_png(),
        &report::prediction_grid(&tiles)?,
    )
}

/// A photo at the size of its tile, so that one at a time is there in full.
fn open_photo(setup: &Setup, row: &PredictionRow) -> Result<RgbImage> {
    let index = &setup.index;
    let path = index.root.join(&row.file);
    let refused = |problem: &dyn Display| Error::Data(format!("{}: {problem}", path.display()));
    let image = index.images.iter().find(|image| image.file == row.file);
    let image = image.ok_or_else(|| refused(&"is not one of the images"))?;
    let bytes = index
        .read_photo(image)
        .map_err(|problem| refused(&problem))?;
    let decoded = decode::decode_rgb(&bytes, &DecodeOptions::of(&setup.experiment.data));
    let photo = decoded.map_err(|problem| refused(&problem))?;
    let (width, height) = (photo.width as u32, photo.height as u32);
    let tile = report::letterboxed(&photo.pixels, width, height);
    tile.ok_or_else(|| refused(&"has no pixels"))
}

pub(crate) fn curve_point(row: &EpochRow) -> CurvePoint {
    CurvePoint {
        epoch: row.epoch,
        phase: row.phase.clone(),
        train_loss: row.train_loss,
        train_accuracy: row.train_accuracy,
        valid_loss: row.valid_loss,
        valid_accuracy: row.valid_accuracy,
        lr: row.lr,
    }
}

/// Scores of the best checkpoint on the test images, whose rows come behind `table` in `predictions.csv`.
fn test_scores(setup: &Setup, table: &[u8]) -> Result<Option<TestScores>> {
    if setup.split.images(Part::Test).is_empty() {
        return Ok(None);
    }
    let best = checkpoint::read_best(setup.run_dir, &setup.specs())?;
    let model = train::build_evaluation_model(setup, best.state);
    let predictions = train::predict_part(setup, &model, Part::Test)?.ok_or(Error::Interrupted)?;
    setup.console.evaluation_ends();
    setup.ensure_ours()?;
    let answers = Answers {
        predictions: &predictions,
        part: Part::Test,
        index: &setup.index,
    };
    answers.save_behind(table, &setup.run_dir.predictions_csv())?;
    let scores = evaluate::scores(&predictions);
    Ok(Some(TestScores {
        loss: scores.loss,
        accuracy: scores.accuracy,
    }))
}

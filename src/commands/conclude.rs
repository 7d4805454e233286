//! The end of a run: test scores, pictures and `summary.toml`. Works from the run directory alone, so that a resumed run
//! ends like one that was never interrupted.

use std::path::Path;

use super::pictures;
use crate::{
    data::split::Part,
    disk::{files::write_atomic, sealed},
    error::{Error, Result},
    memory,
    report::{self, CurvePoint, Numbers},
    rundir::records::{self, EpochRow, FORMAT, PredictionRow, ScoredEpoch, Summary, TestScores},
    scores::{
        confusion::{Confusion, macro_average},
        ranking,
    },
    text::table,
    train::{self, Setup, answers::Answers, checkpoint, evaluate, progress::Progress},
};

pub(crate) fn conclude(setup: &Setup, progress: &Progress) -> Result<()> {
    let run_dir = setup.run_dir;
    checkpoint::tidy(run_dir)?;
    // The copies in the checkpoint are verified; the tables in the run directory may have been damaged since.
    let [metrics, valid] = checkpoint::tables(run_dir)?;
    setup.ensure_ours()?;
    write_atomic(&run_dir.metrics_csv(), &metrics)?;
    write_atomic(&run_dir.predictions_csv(), &valid)?;
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
    pictures::draw_predictions(setup, &predictions)?;
    pictures::draw_mistakes(setup, &predictions)?;
    draw_confusion(&confusion, "validation images", &run_dir.confusion_png())?;
    let test = test_scores(setup, &valid)?;
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
    let memory = memory.map_or_else(String::new, |memory| format!("; {memory} peak memory"));
    setup.console.note(&format!(
        "best epoch: {} ({}), valid loss {:.4}, accuracy {:.2} %; {:.0} s in total{memory}; {}",
        best.epoch,
        best.phase,
        best.valid_loss,
        best.valid_accuracy * 100.0,
        summary.seconds,
        summary.bottleneck
    ));
    Ok(())
}

fn scored(rows: &[EpochRow], epoch: usize) -> Result<ScoredEpoch> {
    let row = rows.iter().find(|row| row.epoch == epoch);
    let row =
        row.ok_or_else(|| Error::training(format!("`metrics.csv` has no row for epoch {epoch}")))?;
    Ok(ScoredEpoch {
        epoch,
        phase: row.phase.clone(),
        valid_loss: row.valid_loss,
        valid_accuracy: row.valid_accuracy,
        valid_macro_f1: row.valid_macro_f1,
        valid_auc: row.valid_auc,
    })
}

fn draw_confusion(confusion: &Confusion, images: &str, path: &Path) -> Result<()> {
    let picture = report::confusion(
        &confusion.counts,
        confusion.classes,
        Numbers::Counts,
        images,
    )?;
    write_atomic(path, &picture)
}

fn draw_curves(setup: &Setup, rows: &[EpochRow], best_epoch: usize) -> Result<()> {
    let points: Vec<CurvePoint> = rows.iter().map(curve_point).collect();
    write_atomic(
        &setup.run_dir.curves_png(),
        &report::curves(&points, Some(best_epoch))?,
    )
}

pub(crate) fn curve_point(row: &EpochRow) -> CurvePoint {
    CurvePoint {
        epoch: row.epoch,
        phase: row.phase.clone(),
        train_loss: row.train_loss,
        train_accuracy: row.train_accuracy,
        valid_loss: row.valid_loss,
        valid_accuracy: row.valid_accuracy,
        metric: ranking::recorded_metric(row),
        lr: row.lr,
    }
}

/// The scores of the best checkpoint on the test images, whose rows follow those of `valid` in `predictions.csv`.
fn test_scores(setup: &Setup, valid: &[u8]) -> Result<Option<TestScores>> {
    let n_images = setup.split.images(Part::Test).len();
    if n_images == 0 {
        return Ok(None);
    }
    setup.console.note(&format!(
        "evaluating the best checkpoint on {}",
        table::counted(n_images, "test image")
    ));
    let best = checkpoint::read_best(setup.run_dir, &setup.specs())?;
    let model = train::build_evaluation_model(setup, best.state);
    let predictions = train::predict_part(setup, &model, Part::Test)?.ok_or(Error::interrupted())?;
    setup.console.evaluation_ends();
    setup.ensure_ours()?;
    let answers = Answers {
        predictions: &predictions,
        part: Part::Test,
        index: &setup.index,
    };
    answers.save_behind(valid, &setup.run_dir.predictions_csv())?;
    let run_dir = setup.run_dir;
    let confusion = evaluate::confusion(&predictions, &setup.index.classes);
    records::write_csv(&run_dir.confusion_test_csv(), confusion.table())?;
    draw_confusion(&confusion, "test images", &run_dir.confusion_test_png())?;
    let scores = evaluate::scores(&predictions);
    let classes = confusion.scores();
    Ok(Some(TestScores {
        loss: scores.loss,
        accuracy: scores.accuracy,
        macro_average: Some(macro_average(&classes)),
        classes,
    }))
}

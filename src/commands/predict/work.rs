//! The predictions of `runner predict` themselves: batch by batch, until all are there or the user stops them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use super::{Files, PredictArgs, counter::Counter, summary::Summary};
use crate::{
    console::Console,
    error::{Diagnostic, Error, Kind, Result},
    inference::{
        ActivationStore, Counts, Output, Predictions, Target, TrainedModel,
        embeddings::EmbeddingsFile,
    },
    rundir::RunDir,
    system::stop,
    text::table::counted,
};

/// Everything that the predictions need once they have begun.
pub(super) struct Work<'a> {
    pub(super) args: &'a PredictArgs,
    pub(super) model: &'a TrainedModel,
    pub(super) console: &'a Console,
    pub(super) output: Output<'a>,
    pub(super) embeddings: Option<EmbeddingsFile>,
    pub(super) counts: Counts,
    /// The rows that an interrupted command had written.
    pub(super) n_kept: usize,
}

impl Work<'_> {
    pub(super) fn run(
        mut self,
        files: Files,
        store: Option<&ActivationStore>,
        run_dir: &RunDir,
    ) -> Result<()> {
        let stop = stop::on_signals();
        let started = Instant::now();
        let has_embeddings = self.embeddings.is_some();
        let mut predictions =
            Predictions::new(self.model, files, store, has_embeddings, self.console)?;
        let counter = Counter::start(self.args, self.console);
        let outcome = self.predict(&mut predictions, &counter, stop);
        self.console.evaluation_ends();
        let is_stopped = stop.load(Ordering::Relaxed);
        if is_stopped || !matches!(outcome, Ok(true)) {
            self.leave();
            // Who closed the pipe has read enough, and does not ask for the rest.
            return match outcome {
                Ok(_) if is_stopped => Err(Error::interrupted()),
                outcome => outcome.map(drop),
            };
        }
        let seconds = started.elapsed().as_secs_f64();
        if let Some(embeddings) = self.embeddings.take() {
            embeddings.finish()?;
        }
        if let Target::File(table, _) = self.output.target {
            table.finish()?;
        }
        let summary = Summary {
            counts: self.counts,
            n_new: self.counts.rows - self.n_kept,
            seconds,
        };
        self.console.event(
            "predicted",
            summary.fields(self.args, self.model, run_dir),
            &summary.text(),
        );
        match self.counts.errors {
            0 => Ok(()),
            n_errors => Err(unreadable(n_errors, self.counts.rows)),
        }
    }

    /// Predicts all files, or until a stop; `false` if nobody reads the table any more.
    fn predict(
        &mut self,
        predictions: &mut Predictions,
        counter: &Counter,
        stop: &AtomicBool,
    ) -> Result<bool> {
        if !self.output.begin()? {
            return Ok(false);
        }
        let mut n_done = 0;
        while !stop.load(Ordering::Relaxed)
            && let Some(batch) = predictions.next_batch()?
        {
            let rows = batch.predictions.iter();
            let rows: Vec<_> = rows
                .map(|prediction| self.output.options.row(prediction, self.model))
                .collect();
            // The embeddings come first, because a resumed command drops rows without them, but not the other way round.
            if let Some(embeddings) = &mut self.embeddings {
                embeddings.append(&batch.embeddings)?;
            }
            if !self.output.write(&rows)? {
                return Ok(false);
            }
            for row in &rows {
                self.counts.add(row);
            }
            self.counts.skipped += batch.n_skipped;
            n_done += rows.len() + batch.n_skipped;
            let n_files = counter.n_files();
            let n_files = n_files.map(|n_files| n_files.saturating_sub(self.n_kept));
            self.console.predicted(n_done, n_files);
        }
        Ok(true)
    }

    /// Says what is left of unfinished outputs, or deletes what cannot be continued.
    fn leave(&mut self) {
        match &self.output.target {
            Target::File(table, _) => self.console.note(&format!(
                "kept {} in `{}`; repeat the command with `--resume` to continue",
                counted(self.counts.rows, "row"),
                table.partial().display()
            )),
            _ => {
                if let Some(embeddings) = self.embeddings.take() {
                    embeddings.discard();
                }
            }
        }
    }
}

fn unreadable(n_errors: usize, n_rows: usize) -> Error {
    let message = format!(
        "{n_errors} of {} could not be read",
        counted(n_rows, "file")
    );
    Error::new(Kind::Io, vec![Diagnostic::new(message)]).help("see the column `error` of the table")
}

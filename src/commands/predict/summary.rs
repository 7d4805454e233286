//! The last line of `runner predict`, and the event `predicted`.

use serde_json::{Value, json};

use super::PredictArgs;
use crate::{
    inference::{Counts, TrainedModel},
    rundir::RunDir,
    text::table::counted,
};

pub(super) struct Summary {
    pub(super) counts: Counts,
    /// The rows that were not there already.
    pub(super) n_new: usize,
    pub(super) seconds: f64,
}

impl Summary {
    fn images_per_second(&self) -> f64 {
        self.n_new as f64 / self.seconds.max(1e-9)
    }

    fn accuracy(&self) -> Option<f64> {
        let Counts {
            labelled, correct, ..
        } = self.counts;
        (labelled > 0).then(|| correct as f64 / labelled as f64)
    }

    pub(super) fn fields(&self, args: &PredictArgs, model: &TrainedModel, run: &RunDir) -> Value {
        let counts = self.counts;
        let shown = |path: &Option<std::path::PathBuf>| {
            path.as_ref()
                .map(|path| path.to_string_lossy().into_owned())
        };
        json!({
            "run": run.path().to_string_lossy(), "checkpoint": model.which.name(), "epoch": model.epoch,
            "model_sha256": model.model_sha256, "classes": model.classes(),
            "file": shown(&args.output), "embeddings": shown(&args.embeddings),
            "rows": counts.rows, "errors": counts.errors, "unknown": counts.unknown,
            "skipped": counts.skipped, "labelled": counts.labelled, "correct": counts.correct,
            "accuracy": self.accuracy(),
            "seconds": self.seconds, "images_per_second": self.images_per_second(),
        })
    }

    pub(super) fn text(&self) -> String {
        let counts = self.counts;
        let mut parts = vec![format!(
            "predicted {} in {:.1} s ({:.1} images/s)",
            counted(self.n_new, "image"),
            self.seconds,
            self.images_per_second()
        )];
        let n_kept = counts.rows - self.n_new;
        if n_kept > 0 {
            parts.push(format!("{n_kept} were done before"));
        }
        if counts.errors > 0 {
            parts.push(format!(
                "{} could not be read",
                counted(counts.errors, "file")
            ));
        }
        if counts.skipped > 0 {
            parts.push(match counts.skipped {
                1 => "skipped 1 file that is not an image".to_owned(),
                n => format!("skipped {n} files that are not images"),
            });
        }
        if counts.unknown > 0 {
            parts.push(format!("{} unknown", counts.unknown));
        }
        if let Some(accuracy) = self.accuracy() {
            parts.push(format!(
                "{:.2} % of {} with a known class are correct",
                accuracy * 100.0,
                counts.labelled
            ));
        }
        parts.join("; ")
    }
}

//! `runner compare RUN RUN..`: what runs scored, what was done differently, and whether the difference is more than
//! chance.

mod tables;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::conclude::curve_point;
use crate::{
    console::{Console, print_csv},
    error::{Error, Result},
    files::write_atomic,
    report::{self, RunCurve},
    runs::{
        self, RunView,
        compare::{self, Difference, Pair, Share},
    },
};

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Markdown,
    /// A row for each run.
    Csv,
}

/// What is said about one run; a row of `--csv`.
#[derive(Serialize)]
struct Row {
    letter: String,
    run: String,
    name: String,
    state: &'static str,
    epochs: usize,
    planned_epochs: Option<usize>,
    best_epoch: Option<usize>,
    best_valid_accuracy: Option<f64>,
    best_valid_loss: Option<f64>,
    valid_images: Option<usize>,
    valid_accuracy_low: Option<f64>,
    valid_accuracy_high: Option<f64>,
    last_valid_accuracy: Option<f64>,
    last_valid_loss: Option<f64>,
    last_train_loss: Option<f64>,
    test_accuracy: Option<f64>,
    trainable_params: Option<usize>,
    seconds: f64,
    reason: String,
}

/// Everything there is to say, before it is written in one form or another.
struct Comparison {
    views: Vec<RunView>,
    rows: Vec<Row>,
    letters: Vec<String>,
    differences: Vec<Difference>,
    pairs: Vec<Pair>,
    cautions: Vec<String>,
}

pub(crate) fn compare(
    words: &[String],
    runs_dir: &Path,
    form: Form,
    picture: Option<&Path>,
    console: &Console,
) -> Result<()> {
    let comparison = gather(words, runs_dir)?;
    if let Some(path) = picture {
        write_picture(&comparison, path)?;
    }
    match form {
        Form::Csv => print_csv(&comparison.rows)?,
        Form::Text | Form::Markdown => {
            let text = if form == Form::Text {
                tables::text(&comparison)
            } else {
                tables::markdown(&comparison)
            };
            let fields = json!({
                "runs": comparison.rows, "differences": comparison.differences, "pairs": comparison.pairs,
                "cautions": comparison.cautions,
            });
            console.answer("comparison", fields, text.trim_end());
        }
    }
    if let Some(path) = picture {
        console.note(&format!("curves: {}", path.display()));
    }
    Ok(())
}

fn gather(words: &[String], runs_dir: &Path) -> Result<Comparison> {
    let dirs = runs::find(words, runs_dir)?;
    if dirs.len() < 2 {
        let text = "compare needs two runs or more\nhelp: runner compare RUN RUN.., each a directory, a pattern, or latest:NAME";
        return Err(Error::Usage(text.to_owned()));
    }
    let views: Vec<RunView> = dirs.into_iter().map(RunView::read).collect::<Result<_>>()?;
    let letters: Vec<String> = (0..views.len()).map(letter).collect();
    let predictions: Vec<_> = views.iter().map(RunView::predictions).collect();
    let rows: Vec<Row> = views
        .iter()
        .zip(&letters)
        .zip(&predictions)
        .map(|((view, letter), predictions)| row(view, letter, compare::share(predictions)))
        .collect();
    let experiments: Vec<&toml::Table> = views.iter().map(|view| &view.resolved).collect();
    Ok(Comparison {
        differences: compare::differences(&experiments),
        pairs: compare::pairs(&predictions, best(&rows)),
        cautions: compare::cautions(&views, &letters),
        views,
        rows,
        letters,
    })
}

/// A to Z, then AA, AB, ..
fn letter(at: usize) -> String {
    let last = char::from(b'A' + (at % 26) as u8);
    match at / 26 {
        0 => last.to_string(),
        before => format!("{}{last}", letter(before - 1)),
    }
}

fn best(rows: &[Row]) -> Option<usize> {
    let scored = rows
        .iter()
        .enumerate()
        .filter_map(|(at, row)| Some((at, row.best_valid_accuracy?)));
    scored
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
        .map(|(at, _)| at)
}

fn row(view: &RunView, letter: &str, share: Option<Share>) -> Row {
    let (best, last) = (view.best(), view.last());
    Row {
        letter: letter.to_owned(),
        run: view.id(),
        name: view.manifest.name.clone(),
        state: view.state.name(),
        epochs: view.rows.len(),
        planned_epochs: view.n_planned_epochs(),
        best_epoch: best.map(|row| row.epoch),
        best_valid_accuracy: best.map(|row| row.valid_accuracy),
        best_valid_loss: best.map(|row| row.valid_loss),
        valid_images: share.map(|share| share.n_images),
        valid_accuracy_low: share.map(|share| share.low),
        valid_accuracy_high: share.map(|share| share.high),
        last_valid_accuracy: last.map(|row| row.valid_accuracy),
        last_valid_loss: last.map(|row| row.valid_loss),
        last_train_loss: last.map(|row| row.train_loss),
        test_accuracy: view
            .summary
            .as_ref()
            .and_then(|summary| Some(summary.test.as_ref()?.accuracy)),
        trainable_params: last.map(|row| row.trainable_params),
        seconds: view.seconds(),
        reason: view.reason.clone(),
    }
}

fn write_picture(comparison: &Comparison, path: &Path) -> Result<()> {
    let curves: Vec<RunCurve> = comparison
        .views
        .iter()
        .zip(&comparison.letters)
        .map(|(view, letter)| RunCurve {
            label: format!("{letter}  {}", view.id()),
            rows: view.rows.iter().map(curve_point).collect(),
            best_epoch: view.best().map(|row| row.epoch),
        })
        .collect();
    let folder: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    if !folder.as_os_str().is_empty() {
        std::fs::create_dir_all(&folder).map_err(Error::io("creating", &folder))?;
    }
    write_atomic(path, &report::overlay(&curves)?)
}

//! `runner compare RUN RUN..`: the scores of runs, the settings in which they differ, and whether their scores differ
//! significantly.

mod epochs;
mod page;
mod tables;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use self::epochs::Origin;
pub(super) use self::page::report;
use super::conclude::curve_point;
use crate::{
    commands::args::RunsArgs,
    commands::context::Context,
    config::experiment::Metric,
    console::{Console, answer_width, print_csv},
    disk::files::write_atomic,
    error::{Error, Result},
    report::{self, CurvePoint, RunCurve},
    runs::{
        self, Admit, RunView,
        compare::{self, CorrectShare, Difference, Pairs},
    },
    scores::{
        ranking::{self, Candidate},
        statistics::wilson,
    },
};

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Markdown,
    /// One row per run.
    Csv,
}

/// The results of one run; a row of `--csv`.
#[derive(Serialize)]
struct CompareRow {
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
    /// In the best epoch, if it is the metric of the run, like `best_valid_auc`.
    best_valid_macro_f1: Option<f64>,
    best_valid_auc: Option<f64>,
}

/// The whole comparison, before it is formatted.
struct Comparison {
    views: Vec<RunView>,
    rows: Vec<CompareRow>,
    letters: Vec<String>,
    differences: Vec<Difference>,
    pairs: Pairs,
    cautions: Vec<String>,
    origins: Vec<Option<Origin>>,
    /// The epochs before the first one of each run, on the common axis of the plots.
    offsets: Vec<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Run directories, folders of runs, glob patterns, or latest:NAME
    #[arg(required = true)]
    pub(crate) runs: Vec<String>,
    /// Also plot the curves to this PNG file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print CSV, one row per run
    #[arg(long, conflicts_with_all = ["markdown", "json"])]
    pub(crate) csv: bool,
    /// Print the tables as Markdown
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
    #[command(flatten)]
    pub(crate) folder: RunsArgs,
}

pub(crate) fn run(args: &CompareArgs, cx: &Context) -> Result<()> {
    let (words, runs_dir) = (&args.runs, &cx.runs_dir(&args.folder));
    let (picture, console) = (args.output.as_deref(), &cx.console);
    let form = match (args.csv, args.markdown) {
        (true, _) => Form::Csv,
        (false, true) => Form::Markdown,
        (false, false) => Form::Text,
    };
    if let Some(path) = picture {
        check_is_png(path)?;
    }
    let comparison = gather(words, runs_dir, console)?;
    match form {
        Form::Csv => print_csv(&comparison.rows)?,
        Form::Text | Form::Markdown => {
            let text = if form == Form::Text {
                tables::text(&comparison, answer_width())
            } else {
                tables::markdown(&comparison)
            };
            let fields = json!({
                "runs": comparison.rows, "differences": comparison.differences, "pairs": comparison.pairs.shown,
                "pairs_tested": comparison.pairs.n_all, "cautions": comparison.cautions,
            });
            console.answer("comparison", fields, text.trim_end());
        }
    }
    if let Some(path) = picture {
        write_picture(&comparison, path)?;
        console.note(&format!("curves: {}", path.display()));
    }
    Ok(())
}

fn gather(words: &[String], runs_dir: &Path, console: &Console) -> Result<Comparison> {
    let found = runs::find(words, runs_dir, Admit::Bare)?;
    for error in &found.left_out {
        console.note(&format!("skipped: {error}"));
    }
    if let [only] = &found.runs[..] {
        return Err(
            Error::usage("`runner compare` needs at least two runs, but found only one")
                .at(only.path())
                .help("pass several run directories, a glob pattern, or `latest:NAME`"),
        );
    }
    let views = found.runs.into_iter().map(RunView::read);
    let views: Vec<RunView> = views.collect::<Result<_>>()?;
    let letters: Vec<String> = (0..views.len()).map(letter).collect();
    let predictions: Vec<_> = views.iter().map(RunView::predictions).collect();
    let shares: Vec<Option<CorrectShare>> = predictions
        .iter()
        .map(|rows| compare::share(rows))
        .collect();
    let mut rows: Vec<CompareRow> = views
        .iter()
        .zip(&letters)
        .zip(&shares)
        .map(|((view, letter), share)| row(view, letter, *share))
        .collect();
    tell_apart(&mut rows, &views);
    let experiments: Vec<&toml::Table> = views.iter().map(|view| &view.resolved).collect();
    let origins = epochs::origins(&views);
    Ok(Comparison {
        differences: compare::differences(&experiments),
        pairs: compare::pairs(&predictions, best(&rows)),
        cautions: compare::cautions(&views, &letters, &shares),
        offsets: epochs::offsets(&origins),
        views,
        rows,
        letters,
        origins,
    })
}

/// Replaces names that several runs share by their whole paths: a copy may have the name of its original.
fn tell_apart(rows: &mut [CompareRow], views: &[RunView]) {
    let names: Vec<String> = rows.iter().map(|row| row.run.clone()).collect();
    for (row, view) in rows.iter_mut().zip(views) {
        if names.iter().filter(|name| **name == row.run).count() > 1 {
            row.run = view.path().display().to_string();
        }
    }
}

/// A to Z, then AA, AB, ..
fn letter(at: usize) -> String {
    let last = char::from(b'A' + (at % 26) as u8);
    match at / 26 {
        0 => last.to_string(),
        before => format!("{}{last}", letter(before - 1)),
    }
}

/// By accuracy, which runs of different metrics have in common.
fn best(rows: &[CompareRow]) -> Option<usize> {
    const METRIC: Metric = Metric::ValidAccuracy;
    let scored = rows.iter().enumerate().filter_map(|(at, row)| {
        let value = row.best_valid_accuracy.filter(|it| !it.is_nan())?;
        // A bare copy may have predictions alone.
        let loss = row.best_valid_loss.unwrap_or(f64::NAN);
        let epoch = row.best_epoch.unwrap_or(usize::MAX);
        Some((at, Candidate { epoch, value, loss }))
    });
    scored
        .min_by(|a, b| ranking::rank(METRIC, &a.1, &b.1))
        .map(|(at, _)| at)
}

fn row(view: &RunView, letter: &str, share: Option<CorrectShare>) -> CompareRow {
    let (best, last) = (view.best(), view.last());
    // A bare copy may have one of the two tables alone.
    let accuracy = best.map(|row| row.valid_accuracy);
    let accuracy = accuracy.or_else(|| share.map(CorrectShare::accuracy));
    let n_images = share.map_or(view.manifest.n_valid, |share| share.n_images);
    let interval = accuracy.filter(|_| n_images > 0).map(|accuracy| {
        let n_right = (accuracy * n_images as f64).round();
        wilson(n_right as usize, n_images)
    });
    CompareRow {
        letter: letter.to_owned(),
        run: view.id(),
        name: view.manifest.name.clone(),
        state: view.state_name(),
        epochs: view.rows.len(),
        planned_epochs: view.n_planned_epochs(),
        best_epoch: best.map(|row| row.epoch),
        best_valid_accuracy: accuracy,
        best_valid_loss: best.map(|row| row.valid_loss),
        valid_images: interval.map(|_| n_images),
        valid_accuracy_low: interval.map(|(low, _)| low),
        valid_accuracy_high: interval.map(|(_, high)| high),
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
        best_valid_macro_f1: best.and_then(|row| row.valid_macro_f1),
        best_valid_auc: best.and_then(|row| row.valid_auc),
    }
}

/// Fails unless the file is named as PNG: another extension promises another format, and may be a file that the user did
/// not mean to overwrite.
fn check_is_png(path: &Path) -> Result<()> {
    if path
        .extension()
        .is_some_and(|it| it.eq_ignore_ascii_case("png"))
    {
        return Ok(());
    }
    Err(Error::usage(format!(
        "unsupported picture format of `{}`: curves are written as PNG",
        path.display()
    ))
    .at(path)
    .help(format!("use `{}`", path.with_extension("png").display())))
}

fn write_picture(comparison: &Comparison, path: &Path) -> Result<()> {
    let runs = comparison.views.iter().zip(&comparison.rows);
    let origins = comparison.origins.iter().zip(&comparison.offsets);
    let curves: Vec<RunCurve> = runs
        .zip(origins)
        .map(|((view, row), (origin, offset))| {
            let shifted = |epoch: usize| epoch + offset;
            let points = view.rows.iter().map(|row| CurvePoint {
                epoch: shifted(row.epoch),
                ..curve_point(row)
            });
            let from = origin.map_or_else(String::new, |Origin { run, epoch }| {
                format!(" (from {}, epoch {epoch})", comparison.letters[run])
            });
            RunCurve {
                label: format!("{}  {}{from}", row.letter, row.run),
                rows: points.collect(),
                best_epoch: view.best().map(|row| shifted(row.epoch)),
                goes_on_from: origin.map(|origin| (origin.run, *offset)),
            }
        })
        .collect();
    let folder: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    if !folder.as_os_str().is_empty() {
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    }
    write_atomic(path, &report::overlay(&curves)?)
}

//! `runner list`: the runs in a folder, one line each.

use std::{cmp::Ordering, path::Path};

use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::{
    commands::args::RunsArgs,
    commands::context::Context,
    config::experiment::Metric,
    console::{answer_width, print_csv},
    disk::space::size_of,
    error::{Error, Result},
    runs::{self, RunView},
    scores::ranking::{self, Candidate},
    text::{
        moment,
        table::{Align, Table, duration, percent, shown, size},
    },
};

/// The order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SortOrder {
    /// Oldest first
    Started,
    /// In alphabetical order
    Name,
    /// Best validation accuracy first
    Accuracy,
    /// Lowest validation loss first
    Loss,
    /// Longest first
    Time,
}

#[derive(Serialize)]
struct RunRow {
    run: String,
    state: &'static str,
    damaged: bool,
    name: String,
    started: String,
    epochs: usize,
    planned_epochs: Option<usize>,
    best_epoch: Option<usize>,
    valid_accuracy: Option<f64>,
    valid_loss: Option<f64>,
    seconds: f64,
    bytes: u64,
    parent: String,
    slim: bool,
    /// In the best epoch, if it is the metric of the run, like `valid_auc`.
    valid_macro_f1: Option<f64>,
    valid_auc: Option<f64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// List only runs whose name contains this text
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Order of the runs
    #[arg(long, value_enum, default_value = "started")]
    pub(crate) sort: SortOrder,
    /// Print the list as CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) folder: RunsArgs,
}

pub(crate) fn run(args: &ListArgs, cx: &Context) -> Result<()> {
    let folder = &cx.runs_dir(&args.folder);
    let (name, order, is_csv) = (args.name.as_deref(), args.sort, args.csv);
    let console = &cx.console;
    if !folder.is_dir() {
        return Err(Error::usage(format!(
            "the folder of runs `{}` does not exist",
            folder.display()
        ))
        .at(folder)
        .help("train an experiment first, or pass another folder with `--runs-dir`"));
    }
    let found = runs::listing(folder);
    for error in &found.left_out {
        console.note(&format!("skipped: {error}"));
    }
    for start in &found.starts {
        let place = start.path().display();
        console.note(&format!(
            "{place} is left over from a run that was killed while it started; run `runner rm {place}` to delete it"
        ));
    }
    let rows = found.runs.into_par_iter().map(|dir| {
        // A run that is being created or deleted at this moment must not hide the others.
        let view = RunView::read(dir).ok()?;
        let is_listed = name.is_none_or(|name| view.manifest.name.contains(name));
        is_listed.then(|| (row(&view, folder), view.epochs()))
    });
    let rows: Vec<Option<(RunRow, String)>> = rows.collect();
    let mut rows: Vec<(RunRow, String)> = rows.into_iter().flatten().collect();
    sort(&mut rows, order);
    if is_csv {
        let rows: Vec<&RunRow> = rows.iter().map(|(row, _)| row).collect();
        return print_csv(rows);
    }
    let text = if rows.is_empty() {
        let named = name.map_or_else(String::new, |name| format!(" with `{name}` in their name"));
        format!("no runs{named} in {}", folder.display())
    } else {
        let mut table = table(&rows);
        let least = ["valid loss", "best epoch", "time", "size", "parent"];
        table.fit(answer_width(), &least, "run");
        table.text()
    };
    let rows: Vec<&RunRow> = rows.iter().map(|(row, _)| row).collect();
    console.answer("runs", json!({ "runs": rows }), text.trim_end());
    Ok(())
}

fn row(view: &RunView, folder: &Path) -> RunRow {
    let best = view.best();
    let place = view.path().strip_prefix(folder).unwrap_or(view.path());
    let parent = view.parent();
    let parent = parent.as_ref().and_then(|parent| parent.file_name());
    RunRow {
        run: place.display().to_string(),
        state: view.state_name(),
        damaged: !view.damages.is_empty(),
        name: view.manifest.name.clone(),
        started: view.manifest.started.clone(),
        epochs: view.rows.len(),
        planned_epochs: view.n_planned_epochs(),
        best_epoch: best.map(|row| row.epoch),
        valid_accuracy: best.map(|row| row.valid_accuracy),
        valid_loss: best.map(|row| row.valid_loss),
        seconds: view.seconds(),
        bytes: size_of(view.path()),
        parent: parent.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        slim: view.is_slim,
        valid_macro_f1: best.and_then(|row| row.valid_macro_f1),
        valid_auc: best.and_then(|row| row.valid_auc),
    }
}

/// Sorts by `order`. With a metric, runs without an epoch, and those whose best score is not a number, come last.
fn sort(rows: &mut [(RunRow, String)], order: SortOrder) {
    rows.sort_by(|(a, _), (b, _)| match order {
        SortOrder::Started => moment::parse(&a.started).cmp(&moment::parse(&b.started)),
        SortOrder::Name => {
            let key = |row: &RunRow| (row.name.clone(), moment::parse(&row.started));
            key(a).cmp(&key(b))
        }
        SortOrder::Accuracy => by_metric(Metric::ValidAccuracy, a, b),
        SortOrder::Loss => by_metric(Metric::ValidLoss, a, b),
        SortOrder::Time => b.seconds.total_cmp(&a.seconds),
    });
}

/// `finished`, `finished, slim, damaged`
fn state(row: &RunRow) -> String {
    let more = [(row.slim, ", slim"), (row.damaged, ", damaged")];
    let more = more.iter().filter(|(is_so, _)| *is_so);
    row.state.to_owned() + &more.map(|(_, word)| *word).collect::<String>()
}

/// Compares two runs by their best epochs, each chosen by the metric of its run.
fn by_metric(metric: Metric, a: &RunRow, b: &RunRow) -> Ordering {
    let candidate = |row: &RunRow| {
        let (epoch, loss, accuracy) = (row.best_epoch?, row.valid_loss?, row.valid_accuracy?);
        let value = if metric.falls() { loss } else { accuracy };
        Some(Candidate { epoch, value, loss })
    };
    ranking::rank_some(metric, candidate(a).as_ref(), candidate(b).as_ref())
}

fn table(rows: &[(RunRow, String)]) -> Table {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("state", Align::Left),
        ("epochs", Align::Right),
        ("best epoch", Align::Right),
        ("valid accuracy", Align::Right),
        ("valid loss", Align::Right),
        ("time", Align::Right),
        ("size", Align::Right),
        ("parent", Align::Left),
    ]);
    let metrics = rows
        .iter()
        .map(|(row, _)| ranking::shown_metric(row.valid_macro_f1, row.valid_auc));
    let metrics: Vec<Option<String>> = metrics.collect();
    let has_metrics = metrics.iter().any(Option::is_some);
    if has_metrics {
        table.column("metric", Align::Left);
    }
    for ((row, epochs), metric) in rows.iter().zip(metrics) {
        let mut cells = vec![
            row.run.clone(),
            state(row),
            epochs.clone(),
            shown(row.best_epoch.map(|epoch| epoch.to_string())),
            shown(row.valid_accuracy.map(percent)),
            shown(row.valid_loss.map(|loss| format!("{loss:.4}"))),
            duration(row.seconds),
            size(row.bytes),
            row.parent.clone(),
        ];
        if has_metrics {
            cells.push(shown(metric));
        }
        table.row(cells);
    }
    table
}

//! `runner show RUN`: prints one run in detail.

use std::{fmt::Write as _, fs};

use serde_json::json;

use super::wrapped;
use crate::{
    commands::args::RunsArgs,
    commands::context::Context,
    console::answer_width,
    disk::space::size_of,
    error::Result,
    plan::with_commas,
    rundir::records::{self, ClassScores, MacroAverage, Manifest, ResumeChange},
    runs::{self, Admit, RunState, RunView},
    scores::ranking,
    text::{
        moment,
        table::{Align, Table, bytes, duration, percent, shown, size},
    },
};

/// The number of epochs that are shown, apart from the best one.
const N_EPOCHS_SHOWN: usize = 20;
/// The column in which the values of the head start.
const VALUE_COLUMN: usize = 12;

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Run directory, or latest:NAME
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) folder: RunsArgs,
}

pub(crate) fn run(args: &ShowArgs, cx: &Context) -> Result<()> {
    let (word, runs_dir) = (&args.run, &cx.runs_dir(&args.folder));
    let console = &cx.console;
    let view = RunView::read(runs::find_single(word, runs_dir, Admit::Bare)?)?;
    let text = page(&view, answer_width());
    let fields = json!({
        "run": view.path().to_string_lossy(), "state": view.state_name(), "slim": view.is_slim, "damages": view.all_damages(), "reason": view.reason, "manifest": view.manifest, "epochs": view.rows,
        "summary": view.summary, "experiment": view.resolved,
    });
    console.answer("run", fields, text.trim_end());
    Ok(())
}

/// Everything about a run; lines are wrapped, and tables lose columns, where the terminal is narrower than they are.
pub(crate) fn page(view: &RunView, columns: Option<usize>) -> String {
    let mut text = head(view, columns);
    if !view.rows.is_empty() {
        let _ = write!(text, "\n{}", epochs(view, columns));
    }
    if let Some(summary) = &view.summary {
        let title = "class (validation)";
        let table = class_table(title, &summary.classes, summary.macro_average, columns);
        let _ = write!(text, "\n{table}");
        if let Some(test) = summary
            .test
            .as_ref()
            .filter(|test| !test.classes.is_empty())
        {
            let table = class_table("class (test)", &test.classes, test.macro_average, columns);
            let _ = write!(text, "\n{table}");
        }
    }
    for part in [experiment(view, columns), next_steps(view)] {
        if !part.is_empty() {
            let _ = write!(text, "\n{part}");
        }
    }
    text
}

fn head(view: &RunView, columns: Option<usize>) -> String {
    let mut state = view.state_name().to_owned();
    if view.is_slim {
        state.push_str(", slim (cannot be resumed)");
    }
    if !view.reason.is_empty() {
        let _ = write!(state, ": {}", view.reason);
    }
    let mut lines = vec![("run", view.path().display().to_string()), ("state", state)];
    let damages = view.all_damages();
    if !damages.is_empty() {
        lines.extend(damages.into_iter().map(|damage| ("damage", damage)));
        let place = view.path().display();
        lines.push((
            "",
            format!("run `runner verify {place}` to check every file"),
        ));
    }
    if view.has_manifest {
        lines.extend(origin(&view.manifest));
    }
    lines.push((
        "time",
        format!("{} for {} epochs", duration(view.seconds()), view.epochs()),
    ));
    let changes: Vec<ResumeChange> = records::read_csv_so_far(&view.dir.changes_csv());
    lines.extend(changes.iter().map(|change| {
        let ResumeChange {
            epoch,
            key,
            from,
            to,
            ..
        } = change;
        let text = format!("{key}: from {from} to {to} after epoch {epoch}");
        ("changed", text)
    }));
    lines.extend(memory(view).map(|text| ("memory", text)));
    if let Some(summary) = &view.summary {
        lines.push(("bottleneck", summary.bottleneck.clone()));
        if let Some(test) = &summary.test {
            let (accuracy, loss) = (percent(test.accuracy), test.loss);
            lines.push(("test", format!("accuracy {accuracy}, loss {loss:.4}")));
        }
    }
    lines.push(("size", size(size_of(view.path()))));
    let mut text = String::new();
    for (label, value) in lines {
        // The lines of a reason stand below each other, in the column of the values.
        let mut label = label;
        for line in value.split('\n') {
            let line = format!("{label:<VALUE_COLUMN$}{line}");
            text.push_str(&wrapped(&line, columns, VALUE_COLUMN));
            label = "";
        }
    }
    text
}

/// How the run was started: when, where, with what command, images and weights.
fn origin(manifest: &Manifest) -> [(&'static str, String); 4] {
    let commit = match manifest.git_commit.get(..12) {
        Some(commit) => format!(", git commit {commit}"),
        None => String::new(),
    };
    let started = moment::shown(&manifest.started);
    [
        (
            "started",
            format!(
                "{} on {} ({}, {} threads), runner {}{commit}",
                started, manifest.host, manifest.device, manifest.threads, manifest.runner_version
            ),
        ),
        ("command", manifest.command.join(" ")),
        (
            "images",
            format!(
                "{} train, {} valid, {} test; {}",
                manifest.n_train,
                manifest.n_valid,
                manifest.n_test,
                manifest.classes.join(", ")
            ),
        ),
        ("weights", manifest.weights.clone()),
    ]
}

/// `2.9 GiB (predicted 3.0 GiB)`
fn memory(view: &RunView) -> Option<String> {
    let peak = view.summary.as_ref()?.peak_memory_bytes?;
    let predicted = view.manifest.predicted_memory_bytes.map(bytes);
    let predicted = predicted.map_or_else(String::new, |text| format!(" (predicted {text})"));
    Some(format!("{}{predicted}", bytes(peak)))
}

fn epochs(view: &RunView, columns: Option<usize>) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("epoch", right),
        ("phase", Align::Left),
        ("train loss", right),
        ("train accuracy", right),
        ("valid loss", right),
        ("valid accuracy", right),
        ("lr", right),
        ("trainable", right),
        ("time", right),
        ("", Align::Left),
    ]);
    let metric = view.rows.iter().find_map(ranking::recorded_metric);
    if let Some((name, _)) = metric {
        table.column(&format!("valid {name}"), right);
    }
    let best = view.best().map(|row| row.epoch);
    let n_left_out = view.rows.len().saturating_sub(N_EPOCHS_SHOWN);
    for row in &view.rows {
        let is_best = best == Some(row.epoch);
        if row.epoch <= n_left_out && !is_best {
            continue;
        }
        let mut cells = vec![
            row.epoch.to_string(),
            row.phase.clone(),
            format!("{:.4}", row.train_loss),
            percent(row.train_accuracy),
            format!("{:.4}", row.valid_loss),
            percent(row.valid_accuracy),
            format!("{:e}", row.lr),
            with_commas(row.trainable_params),
            duration(row.seconds),
            if is_best {
                "best".to_owned()
            } else {
                String::new()
            },
        ];
        if metric.is_some() {
            let value = ranking::recorded_metric(row).map(|(_, value)| format!("{value:.4}"));
            cells.push(shown(value));
        }
        table.row(cells);
    }
    let note = match n_left_out {
        0 => String::new(),
        _ => format!(
            "(the last {N_EPOCHS_SHOWN} of {} epochs, and the best one)\n",
            view.rows.len()
        ),
    };
    // Dropped from the last one on.
    let dispensable = ["train accuracy", "train loss", "time", "lr", "trainable"];
    table.fit(columns, &dispensable, "phase");
    table.text() + &note
}

/// The scores by class on one part of the split; `-` means that a score is undefined.
pub(super) fn class_table(
    title: &str,
    classes: &[ClassScores],
    average: Option<MacroAverage>,
    columns: Option<usize>,
) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        (title, Align::Left),
        ("images", right),
        ("precision", right),
        ("recall", right),
        ("F1", right),
    ]);
    let mut row = |name: &str, images: String, precision: Option<f64>, recall, f1: Option<f64>| {
        table.row(vec![
            name.to_owned(),
            images,
            shown(precision.map(percent)),
            shown(Option::map(recall, percent)),
            shown(f1.map(|f1| format!("{f1:.4}"))),
        ]);
    };
    for class in classes {
        let images = class.images.to_string();
        row(&class.name, images, class.precision, class.recall, class.f1);
    }
    if let Some(average) = average {
        let n_images: usize = classes.iter().map(|class| class.images).sum();
        let MacroAverage {
            precision,
            recall,
            f1,
        } = average;
        row("macro average", n_images.to_string(), precision, recall, f1);
    }
    table.fit(columns, &[], title);
    table.text()
}

/// The experiment file as the user wrote it; the overrides are in the command, above.
fn experiment(view: &RunView, columns: Option<usize>) -> String {
    let source = fs::read_to_string(view.dir.source_toml()).unwrap_or_default();
    let lines = source.trim().lines();
    let lines: String = lines
        .map(|line| wrapped(format!("  {line}").trim_end(), columns, 6))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("experiment (source.toml; resolved.toml has every key)\n{lines}")
}

fn next_steps(view: &RunView) -> String {
    let place = view.path().display();
    match view.state {
        RunState::Interrupted | RunState::Failed | RunState::Killed => {
            if view.is_resumable() {
                format!("to resume, run `runner resume {place}`\n")
            } else {
                "this copy has no checkpoints, so it cannot be resumed\n".to_owned()
            }
        }
        RunState::Finished | RunState::Running => String::new(),
    }
}

//! A comparison as text and as Markdown. Pure.

use std::collections::BTreeSet;

use super::{super::wrapped, CompareRow, Comparison, epochs::Origin};
use crate::{
    report,
    rundir::records::EpochRow,
    scores::ranking,
    text::table::{Align, Table, duration, markdown_text, percent, shown},
};

/// The width of plots if the output is not a terminal.
const PLOT_WIDTH: usize = 78;
/// The maximum width of plots, however wide the terminal is.
const MAX_PLOT_WIDTH: usize = 120;
/// The lines of a plot.
const PLOT_HEIGHT: usize = 12;
/// The width of tables if the output is not a terminal.
const PAGE_WIDTH: usize = 120;
/// Differences with a smaller p-value are reported as significant.
const SIGNIFICANT: f64 = 0.05;

/// The line below the table of runs.
const LEGEND: &str =
    "accuracy and loss are on the validation images, at the best epoch and at the last epoch";

/// The comparison as text; `width` is the width of the terminal, if there is one.
pub(super) fn text(comparison: &Comparison, width: Option<usize>) -> String {
    let mut runs = run_table(comparison);
    runs.fit(
        width,
        &[
            "best epoch",
            "loss",
            "95 % CI",
            "last accuracy",
            "last loss",
        ],
        "run",
    );
    let mut parts = vec![runs.text() + &wrapped(LEGEND, width, 0)];
    parts.extend(reasons(comparison));
    if !comparison.cautions.is_empty() {
        let cautions = comparison.cautions.iter();
        let lines = cautions.map(|text| wrapped(&format!("  {text}"), width, 4));
        parts.push(format!("caveats\n{}", lines.collect::<String>()));
    }
    if comparison.differences.is_empty() {
        parts.push("the experiments have the same settings\n".to_owned());
    } else {
        let differences = differences(comparison, width.unwrap_or(PAGE_WIDTH));
        parts.push(format!("settings that differ\n{differences}"));
    }
    parts.extend(plots(comparison, width).into_iter().map(|plot| plot + "\n"));
    if !comparison.pairs.shown.is_empty() {
        let (title, mut table) = (pairs_title(comparison), pair_table(comparison));
        table.fit(width, &["p", "both wrong", "both correct"], "");
        parts.push(wrapped(&title, width, 0) + &table.text());
    }
    parts.join("\n")
}

pub(super) fn markdown(comparison: &Comparison) -> String {
    let mut parts = vec![format!(
        "{}\n{}.\n",
        run_table(comparison).markdown(),
        capitalised(LEGEND)
    )];
    parts.extend(reasons(comparison).map(|text| {
        let lines: Vec<String> = text.lines().map(markdown_text).collect();
        lines.join("\n") + "\n"
    }));
    if !comparison.cautions.is_empty() {
        let cautions = comparison.cautions.iter().map(|text| markdown_text(text));
        let cautions: Vec<String> = cautions.collect();
        parts.push(format!("Caveats:\n\n- {}\n", cautions.join("\n- ")));
    }
    if !comparison.differences.is_empty() {
        parts.push(format!(
            "Settings that differ:\n\n{}",
            difference_table(comparison).markdown()
        ));
    }
    if !comparison.pairs.shown.is_empty() {
        let title = capitalised(&pairs_title(comparison));
        let table = pair_table(comparison).markdown();
        parts.push(format!("{title}:\n\n{table}"));
    }
    parts.join("\n")
}

pub(super) fn run_table(comparison: &Comparison) -> Table {
    let has_test = comparison
        .rows
        .iter()
        .any(|row| row.test_accuracy.is_some());
    let right = Align::Right;
    let mut table = Table::new(&[
        ("", Align::Left),
        ("run", Align::Left),
        ("state", Align::Left),
        ("epochs", right),
        ("best epoch", right),
        ("accuracy", right),
        ("95 % CI", right),
        ("loss", right),
        ("last accuracy", right),
        ("last loss", right),
        ("time", right),
    ]);
    if has_test {
        table.column("test accuracy", right);
    }
    let metric =
        |row: &CompareRow| ranking::shown_metric(row.best_valid_macro_f1, row.best_valid_auc);
    let has_metric = comparison.rows.iter().any(|row| metric(row).is_some());
    if has_metric {
        table.column("metric", Align::Left);
    }
    for (row, view) in comparison.rows.iter().zip(&comparison.views) {
        let interval = row.valid_accuracy_low.zip(row.valid_accuracy_high);
        let mut cells = vec![
            row.letter.clone(),
            row.run.clone(),
            row.state.to_owned(),
            view.epochs(),
            shown(row.best_epoch.map(|epoch| epoch.to_string())),
            shown(row.best_valid_accuracy.map(percent)),
            shown(interval.map(|(low, high)| format!("{:.1} to {:.1}", low * 100.0, high * 100.0))),
            shown(row.best_valid_loss.map(|loss| format!("{loss:.4}"))),
            shown(row.last_valid_accuracy.map(percent)),
            shown(row.last_valid_loss.map(|loss| format!("{loss:.4}"))),
            duration(row.seconds),
        ];
        if has_test {
            cells.push(shown(row.test_accuracy.map(percent)));
        }
        if has_metric {
            cells.push(shown(metric(row)));
        }
        table.row(cells);
    }
    table
}

/// A table with a column for each run; if that does not fit, a row for each value with the runs that have it.
fn differences(comparison: &Comparison, width: usize) -> String {
    let table = difference_table(comparison);
    let hides_some = comparison
        .differences
        .iter()
        .any(|difference| hides_difference(&difference.values));
    if table.width() <= width && !hides_some {
        return table.text();
    }
    let columns = ["key", "value", "runs"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for difference in &comparison.differences {
        let mut key = difference.key.clone();
        for (value, letters) in by_value(&difference.values, &comparison.letters) {
            table.row(vec![std::mem::take(&mut key), value, letters.join(", ")]);
        }
    }
    table.text()
}

/// The values of a setting, each with the runs that have it. Runs without a value are not listed: they are the rest.
fn by_value<'a>(values: &[Option<String>], letters: &'a [String]) -> Vec<(String, Vec<&'a str>)> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (value, letter) in values.iter().zip(letters) {
        let Some(value) = value else { continue };
        match groups.iter_mut().find(|(found, _)| found == value) {
            Some((_, letters)) => letters.push(letter),
            None => groups.push((value.clone(), vec![letter])),
        }
    }
    groups
}

/// Whether two values look alike when they are shortened.
fn hides_difference(values: &[Option<String>]) -> bool {
    let values: BTreeSet<String> = values.iter().cloned().map(shown).collect();
    let short: BTreeSet<String> = values.iter().map(|value| shortened(value)).collect();
    short.len() < values.len()
}

pub(super) fn difference_table(comparison: &Comparison) -> Table {
    let mut table = Table::new(&[("key", Align::Left)]);
    for letter in &comparison.letters {
        table.column(letter, Align::Left);
    }
    for difference in &comparison.differences {
        let mut cells = vec![difference.key.clone()];
        cells.extend(
            difference
                .values
                .iter()
                .cloned()
                .map(shown)
                .map(|cell| shortened(&cell)),
        );
        table.row(cells);
    }
    table
}

/// Shortens a cell: a path keeps its end, which tells most, and anything else its start.
fn shortened(cell: &str) -> String {
    const MAX_WIDTH: usize = 44;
    let n_letters = cell.chars().count();
    if n_letters <= MAX_WIDTH {
        return cell.to_owned();
    }
    if cell.starts_with('/') {
        let end: String = cell.chars().skip(n_letters - MAX_WIDTH + 2).collect();
        format!("..{end}")
    } else {
        let start: String = cell.chars().take(MAX_WIDTH - 2).collect();
        format!("{start}..")
    }
}

/// The line above the table of pairs.
pub(super) fn pairs_title(comparison: &Comparison) -> String {
    let title = "pairwise tests on the validation images that both runs share, best epochs (McNemar's exact test";
    let (n_shown, n_all) = (comparison.pairs.shown.len(), comparison.pairs.n_all);
    if n_shown == n_all {
        format!("{title})")
    } else {
        format!(
            "{title}; only pairs with the best run, p adjusted for all {n_all} pairs by Holm's method)"
        )
    }
}

pub(super) fn pair_table(comparison: &Comparison) -> Table {
    let right = Align::Right;
    let is_adjusted = comparison.pairs.n_all > 1;
    let mut table = Table::new(&[
        ("pair", Align::Left),
        ("images", right),
        ("both correct", right),
        ("only first", right),
        ("only second", right),
        ("both wrong", right),
        ("p", right),
    ]);
    if is_adjusted {
        table.column("p (Holm)", right);
    }
    table.column("", Align::Left);
    for pair in &comparison.pairs.shown {
        let (a, b) = (&comparison.letters[pair.a], &comparison.letters[pair.b]);
        let mut cells = vec![format!("{a} - {b}"), pair.n_images().to_string()];
        let counts = [pair.both_right, pair.only_a, pair.only_b, pair.both_wrong];
        cells.extend(counts.iter().map(ToString::to_string));
        cells.push(p_value(pair.p));
        if is_adjusted {
            cells.push(p_value(pair.p_holm));
        }
        cells.push(if pair.p_holm >= SIGNIFICANT {
            "not significant".to_owned()
        } else {
            let better = if pair.only_a > pair.only_b { a } else { b };
            format!("{better} is better")
        });
        table.row(cells);
    }
    table
}

fn p_value(p: f64) -> String {
    // A p-value that underflows is tiny, but never 0.
    if p < f64::MIN_POSITIVE {
        "<1e-307".to_owned()
    } else if p < 1e-3 {
        format!("{p:.1e}")
    } else {
        format!("{p:.3}")
    }
}

pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

pub(super) fn reasons(comparison: &Comparison) -> Option<String> {
    let lines: Vec<String> = comparison
        .rows
        .iter()
        .filter(|row| !row.reason.is_empty())
        .map(|row| {
            let reason = row.reason.lines().next().unwrap_or_default();
            format!("{} {}: {reason}\n", row.letter, row.state)
        })
        .collect();
    (!lines.is_empty()).then(|| lines.concat())
}

fn plots(comparison: &Comparison, width: Option<usize>) -> Vec<String> {
    if comparison.views.iter().all(|view| view.rows.is_empty()) {
        return Vec::new();
    }
    let series = |value: fn(&EpochRow) -> f64| -> Vec<(char, Vec<(usize, f64)>)> {
        let runs = comparison.views.iter().zip(&comparison.letters);
        runs.zip(&comparison.offsets)
            .map(|((view, letter), offset)| {
                // Labels after Z have two letters, but a plot has room for one.
                let mark = letter.chars().next().filter(|_| letter.len() == 1);
                let points = view.rows.iter().map(|row| (row.epoch + offset, value(row)));
                (mark.unwrap_or('+'), points.collect())
            })
            .collect()
    };
    let width = width.map_or(PLOT_WIDTH, |width| width.min(MAX_PLOT_WIDTH));
    let plot = |name: &str, value: fn(&EpochRow) -> f64, as_percent: bool| {
        let title = format!("{name}{}", ways(comparison));
        report::terminal_plot(&title, &series(value), width, PLOT_HEIGHT, as_percent)
    };
    vec![
        plot("validation accuracy", |row| row.valid_accuracy, true),
        plot("validation loss", |row| row.valid_loss, false),
    ]
}

/// ` (B continues A after epoch 5)`
fn ways(comparison: &Comparison) -> String {
    let origins = comparison.letters.iter().zip(&comparison.origins);
    let ways: Vec<String> = origins
        .filter_map(|(letter, origin)| {
            let Origin { run, epoch } = (*origin)?;
            let from = &comparison.letters[run];
            Some(format!("{letter} continues {from} after epoch {epoch}"))
        })
        .collect();
    if ways.is_empty() {
        String::new()
    } else {
        format!(" ({})", ways.join(", "))
    }
}

//! A comparison as text and as Markdown. Pure.

use super::Comparison;
use crate::{
    records::EpochRow,
    report,
    table::{Align, Table, duration, percent, shown},
};

/// Columns and lines of a plot in the terminal.
const PLOT_SIZE: (usize, usize) = (78, 12);
/// Below this, chance is the lesser explanation.
const SIGNIFICANT: f64 = 0.05;

/// Below the runs.
const LEGEND: &str =
    "accuracy and loss are those of the validation images, in the best epoch and in the last";
/// Above the pairs.
const PAIRS_TITLE: &str =
    "photo by photo, on what both validated, best epochs (McNemar's exact test)";

pub(super) fn text(comparison: &Comparison) -> String {
    let mut parts = vec![format!("{}{LEGEND}\n", run_table(comparison).text())];
    parts.extend(reasons(comparison));
    if !comparison.cautions.is_empty() {
        parts.push(format!("careful\n  {}\n", comparison.cautions.join("\n  ")));
    }
    if comparison.differences.is_empty() {
        parts.push("the experiments do not differ\n".to_owned());
    } else {
        parts.push(format!(
            "what differs\n{}",
            difference_table(comparison).text()
        ));
    }
    parts.extend(plots(comparison).into_iter().map(|plot| plot + "\n"));
    if !comparison.pairs.is_empty() {
        parts.push(format!("{PAIRS_TITLE}\n{}", pair_table(comparison).text()));
    }
    parts.join("\n")
}

pub(super) fn markdown(comparison: &Comparison) -> String {
    let mut parts = vec![format!(
        "{}\n{}.\n",
        run_table(comparison).markdown(),
        capitalised(LEGEND)
    )];
    parts.extend(reasons(comparison));
    if !comparison.cautions.is_empty() {
        parts.push(format!(
            "Careful:\n\n- {}\n",
            comparison.cautions.join("\n- ")
        ));
    }
    if !comparison.differences.is_empty() {
        parts.push(format!(
            "What differs:\n\n{}",
            difference_table(comparison).markdown()
        ));
    }
    if !comparison.pairs.is_empty() {
        let (title, table) = (capitalised(PAIRS_TITLE), pair_table(comparison).markdown());
        parts.push(format!("{title}:\n\n{table}"));
    }
    parts.join("\n")
}

fn run_table(comparison: &Comparison) -> Table {
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
        ("best", right),
        ("accuracy", right),
        ("95 %", right),
        ("loss", right),
        ("last accuracy", right),
        ("last loss", right),
        ("time", right),
    ]);
    if has_test {
        table.column("test accuracy", right);
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
        table.row(cells);
    }
    table
}

fn difference_table(comparison: &Comparison) -> Table {
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

/// Of a long path the end tells most, of a long list the start.
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

fn pair_table(comparison: &Comparison) -> Table {
    let right = Align::Right;
    let is_adjusted = comparison.pairs.len() > 1;
    let mut table = Table::new(&[
        ("pair", Align::Left),
        ("photos", right),
        ("both right", right),
        ("only first", right),
        ("only second", right),
        ("both wrong", right),
        ("p", right),
    ]);
    if is_adjusted {
        table.column("p (Holm)", right);
    }
    table.column("", Align::Left);
    for pair in &comparison.pairs {
        let (a, b) = (&comparison.letters[pair.a], &comparison.letters[pair.b]);
        let mut cells = vec![format!("{a} - {b}"), pair.n_images().to_string()];
        let counts = [pair.both_right, pair.only_a, pair.only_b, pair.both_wrong];
        cells.extend(counts.iter().map(ToString::to_string));
        cells.push(p_value(pair.p));
        if is_adjusted {
            cells.push(p_value(pair.p_holm));
        }
        cells.push(if pair.p_holm >= SIGNIFICANT {
            "chance would do".to_owned()
        } else {
            let better = if pair.only_a > pair.only_b { a } else { b };
            format!("{better} is better")
        });
        table.row(cells);
    }
    table
}

fn p_value(p: f64) -> String {
    if p < 1e-3 {
        format!("{p:.1e}")
    } else {
        format!("{p:.3}")
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

fn reasons(comparison: &Comparison) -> Option<String> {
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

fn plots(comparison: &Comparison) -> Vec<String> {
    let series = |value: fn(&EpochRow) -> f64| -> Vec<(char, Vec<(usize, f64)>)> {
        let pairs = comparison.views.iter().zip(&comparison.letters);
        pairs
            .map(|(view, letter)| {
                // Beyond Z a mark is all there is room for.
                let mark = letter.chars().next().filter(|_| letter.len() == 1);
                let points = view.rows.iter().map(|row| (row.epoch, value(row)));
                (mark.unwrap_or('+'), points.collect())
            })
            .collect()
    };
    if comparison.views.iter().all(|view| view.rows.is_empty()) {
        return Vec::new();
    }
    let (width, height) = PLOT_SIZE;
    vec![
        report::terminal_plot(
            "validation accuracy",
            &series(|row| row.valid_accuracy),
            width,
            height,
            true,
        ),
        report::terminal_plot(
            "validation loss",
            &series(|row| row.valid_loss),
            width,
            height,
            false,
        ),
    ]
}

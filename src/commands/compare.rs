//! `runner compare RUN RUN..`: what runs scored, what was done differently, and whether the difference is more than
//! chance.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::conclude::curve_point;
use crate::{
    console::{Console, print_line},
    error::{Error, Result},
    files::write_atomic,
    records,
    report::{self, RunCurve},
    runs::{
        self, RunView,
        compare::{self, Difference, Pair, Share},
    },
    table::{Align, Table, duration, percent},
};

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Markdown,
    /// A row for each run.
    Csv,
}

/// Columns and lines of a plot in the terminal.
const PLOT_SIZE: (usize, usize) = (78, 12);
/// Below this, chance is the lesser explanation.
const SIGNIFICANT: f64 = 0.05;

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
        Form::Csv => {
            let bytes = records::csv_bytes(Path::new("stdout"), true, &comparison.rows)?;
            print_line(String::from_utf8_lossy(&bytes).trim_end());
        }
        Form::Text | Form::Markdown => {
            let text = if form == Form::Text {
                text(&comparison)
            } else {
                markdown(&comparison)
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
        ("best epoch", right),
        ("valid accuracy", right),
        ("95 % interval", right),
        ("valid loss", right),
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

fn shown(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
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

const PAIRS_TITLE: &str =
    "photo by photo, on what both validated, best epochs (McNemar's exact test)";

fn text(comparison: &Comparison) -> String {
    let mut parts = vec![run_table(comparison).text()];
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
    parts.extend(plots(comparison));
    if !comparison.pairs.is_empty() {
        parts.push(format!("{PAIRS_TITLE}\n{}", pair_table(comparison).text()));
    }
    parts.join("\n")
}

fn markdown(comparison: &Comparison) -> String {
    let mut parts = vec![run_table(comparison).markdown()];
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
    let series = |value: fn(&records::EpochRow) -> f64| -> Vec<(char, Vec<(usize, f64)>)> {
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

//! How the trials of a sweep stand: the live table, the leaderboard as text and as CSV, and the picture. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::text::to_cell;
use crate::{
    config::experiment::Metric,
    error::Result,
    records::EpochRow,
    report::{self, AxisValue, Score, TrialPoint},
    runs::RunView,
    statistics::wilson,
    table::{Align, Table, duration, percent, shown},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrialState {
    Waiting,
    Running,
    Finished,
    Interrupted,
    Failed,
}

impl TrialState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// A trial and how far it has come.
pub(crate) struct Standing {
    pub(crate) number: usize,
    /// What it varies, as text: `lr=0.001`.
    pub(crate) label: String,
    /// Of each axis.
    pub(crate) values: Vec<toml::Value>,
    pub(crate) state: TrialState,
    /// Why it failed.
    pub(crate) reason: String,
    /// Once it has a directory.
    pub(crate) run: Option<RunView>,
    /// Epochs that the user has heard of.
    pub(crate) n_epochs_told: usize,
}

impl Standing {
    fn rows(&self) -> &[EpochRow] {
        self.run.as_ref().map_or(&[], |run| &run.rows)
    }

    pub(crate) fn best(&self) -> Option<&EpochRow> {
        self.run.as_ref()?.best()
    }

    fn epochs(&self) -> String {
        shown(self.run.as_ref().map(RunView::epochs))
    }

    /// Of the epochs still to do, at the pace of the ones that are done.
    fn seconds_left(&self) -> Option<f64> {
        let run = self.run.as_ref()?;
        let n_left = run.n_planned_epochs()?.checked_sub(run.rows.len())?;
        (!run.rows.is_empty()).then(|| run.seconds() / run.rows.len() as f64 * n_left as f64)
    }
}

/// Positions of the trials, best first, those without an epoch last. Of equal accuracies the one of lower loss is better.
pub(crate) fn ranked(standings: &[Standing], metric: Metric) -> Vec<usize> {
    // The smaller, the better.
    let key = |at: &usize| match (standings[*at].best(), metric) {
        (None, _) => (f64::INFINITY, f64::INFINITY),
        (Some(row), Metric::ValidAccuracy) => (-row.valid_accuracy, row.valid_loss),
        (Some(row), Metric::ValidLoss) => (row.valid_loss, -row.valid_accuracy),
    };
    let mut order: Vec<usize> = (0..standings.len()).collect();
    order.sort_by(|a, b| {
        let ((a_first, a_second), (b_first, b_second)) = (key(a), key(b));
        a_first
            .total_cmp(&b_first)
            .then(a_second.total_cmp(&b_second))
    });
    order
}

/// `2 of 9 done, 1 running, 1 failed, about 4m05 left`
pub(crate) fn progress(standings: &[Standing], n_at_once: usize) -> String {
    let count = |state| {
        standings
            .iter()
            .filter(|trial| trial.state == state)
            .count()
    };
    let mut text = format!(
        "{} of {} done",
        count(TrialState::Finished),
        standings.len()
    );
    for state in [
        TrialState::Running,
        TrialState::Interrupted,
        TrialState::Failed,
    ] {
        if count(state) > 0 {
            let _ = write!(text, ", {} {}", count(state), state.name());
        }
    }
    if let Some(seconds) = seconds_left(standings, n_at_once) {
        let _ = write!(text, ", about {} left", duration(seconds));
    }
    text
}

/// Trials without an epoch are taken to be as long as the mean of the others.
fn seconds_left(standings: &[Standing], n_at_once: usize) -> Option<f64> {
    let started: Vec<f64> = standings
        .iter()
        .filter_map(|trial| Some(trial.seconds_left()? + trial.run.as_ref()?.seconds()))
        .collect();
    let mean = started.iter().sum::<f64>() / started.len().max(1) as f64;
    let is_open =
        |trial: &&Standing| matches!(trial.state, TrialState::Waiting | TrialState::Running);
    let left: f64 = standings
        .iter()
        .filter(is_open)
        .map(|trial| trial.seconds_left().unwrap_or(mean))
        .sum();
    (!started.is_empty() && left > 0.0).then_some(left / n_at_once as f64)
}

/// What there is to say of a trial that has started, done an epoch or ended.
pub(crate) fn news(trial: &Standing) -> (Value, String) {
    let (number, label, state) = (trial.number, &trial.label, trial.state.name());
    let (best, last) = (trial.best(), trial.rows().last());
    let row = if trial.state == TrialState::Running {
        last
    } else {
        best
    };
    let mut text = format!("trial {number} ({label}) {state}");
    if !trial.reason.is_empty() {
        let _ = write!(text, ": {}", trial.reason);
    } else if let Some(row) = row {
        let (epoch, accuracy) = (row.epoch, percent(row.valid_accuracy));
        let _ = write!(text, ": valid accuracy {accuracy} in epoch {epoch}");
    }
    let fields = json!({
        "trial": number, "label": label, "state": state, "last": last, "best": best, "reason": trial.reason,
    });
    (fields, text)
}

/// The table while the sweep runs: what runs first, then the best, in at most `n_lines` lines.
pub(crate) fn live(
    standings: &[Standing],
    metric: Metric,
    n_at_once: usize,
    n_lines: usize,
) -> String {
    let running = (0..standings.len()).filter(|at| standings[*at].state == TrialState::Running);
    let others = ranked(standings, metric)
        .into_iter()
        .filter(|at| standings[*at].state != TrialState::Running);
    let order: Vec<usize> = running.chain(others).collect();
    // The line of progress and the header.
    let n_shown = n_lines.saturating_sub(3).max(1);
    let mut text = progress(standings, n_at_once) + "\n";
    text += &table(standings, order.iter().take(n_shown), true).text();
    if order.len() > n_shown {
        let _ = write!(text, ".. and {} more", order.len() - n_shown);
    }
    text.trim_end().to_owned()
}

/// The table at the end.
pub(crate) fn leaderboard(standings: &[Standing], metric: Metric) -> Table {
    table(standings, ranked(standings, metric).iter(), false)
}

fn table<'a>(
    standings: &[Standing],
    order: impl Iterator<Item = &'a usize>,
    is_live: bool,
) -> Table {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("trial", right),
        ("varies", Align::Left),
        ("state", Align::Left),
        ("epochs", right),
        ("best epoch", right),
        ("valid accuracy", right),
        ("valid loss", right),
        (if is_live { "left" } else { "time" }, right),
        ("", Align::Left),
    ]);
    for at in order {
        let trial = &standings[*at];
        let best = trial.best();
        let time = if is_live {
            let is_running = trial.state == TrialState::Running;
            trial.seconds_left().filter(|_| is_running).map(duration)
        } else {
            trial.run.as_ref().map(|run| duration(run.seconds()))
        };
        table.row(vec![
            trial.number.to_string(),
            trial.label.clone(),
            trial.state.name().to_owned(),
            trial.epochs(),
            shown(best.map(|row| row.epoch.to_string())),
            shown(best.map(|row| percent(row.valid_accuracy))),
            shown(best.map(|row| format!("{:.4}", row.valid_loss))),
            shown(time),
            trial.reason.lines().next().unwrap_or_default().to_owned(),
        ]);
    }
    table
}

/// `leaderboard.csv`: the header, then a row for each trial, best first.
pub(crate) fn csv_rows(
    standings: &[Standing],
    axes: &[String],
    metric: Metric,
) -> Vec<Vec<String>> {
    let mut header = vec!["rank", "trial", "state"];
    header.extend(axes.iter().map(String::as_str));
    header.extend([
        "best_epoch",
        "valid_accuracy",
        "valid_loss",
        "last_valid_accuracy",
        "last_valid_loss",
        "epochs",
        "seconds",
        "run",
        "reason",
    ]);
    let mut rows = vec![header.into_iter().map(str::to_owned).collect()];
    for (rank, at) in ranked(standings, metric).into_iter().enumerate() {
        let trial = &standings[at];
        let (best, last) = (trial.best(), trial.rows().last());
        let mut row = vec![
            Option::unwrap_or_default(best.map(|_| (rank + 1).to_string())),
            trial.number.to_string(),
            trial.state.name().to_owned(),
        ];
        row.extend(trial.values.iter().map(to_cell));
        row.extend([
            Option::unwrap_or_default(best.map(|row| row.epoch.to_string())),
            Option::unwrap_or_default(best.map(|row| row.valid_accuracy.to_string())),
            Option::unwrap_or_default(best.map(|row| row.valid_loss.to_string())),
            Option::unwrap_or_default(last.map(|row| row.valid_accuracy.to_string())),
            Option::unwrap_or_default(last.map(|row| row.valid_loss.to_string())),
            trial.rows().len().to_string(),
            Option::unwrap_or_default(trial.run.as_ref().map(|run| run.seconds().to_string())),
            Option::unwrap_or_default(trial.run.as_ref().map(RunView::id)),
            trial.reason.clone(),
        ]);
        rows.push(row);
    }
    rows
}

pub(crate) fn json(standings: &[Standing], axes: &[String], metric: Metric) -> Value {
    let trials = ranked(standings, metric).into_iter().map(|at| {
        let trial = &standings[at];
        let values: serde_json::Map<String, Value> = axes
            .iter()
            .zip(&trial.values)
            .map(|(axis, value)| (axis.clone(), json!(value)))
            .collect();
        json!({
            "trial": trial.number, "state": trial.state.name(), "values": values, "best": trial.best(),
            "epochs": trial.rows().len(), "run": trial.run.as_ref().map(RunView::path), "reason": trial.reason,
        })
    });
    Value::Array(trials.collect())
}

/// `leaderboard.png`.
pub(crate) fn picture(
    name: &str,
    axes: &[String],
    standings: &[Standing],
    metric: Metric,
) -> Result<Vec<u8>> {
    let points: Vec<TrialPoint> = standings
        .iter()
        .map(|trial| {
            let best = trial.best();
            TrialPoint {
                label: trial.label.clone(),
                values: trial.values.iter().map(axis_value).collect(),
                score: best.map(|row| metric.of(row.valid_loss, row.valid_accuracy)),
                interval: best.and_then(|row| interval(trial, row, metric)),
                curve: trial
                    .rows()
                    .iter()
                    .map(|row| (row.epoch, metric.of(row.valid_loss, row.valid_accuracy)))
                    .collect(),
            }
        })
        .collect();
    let score = match metric {
        Metric::ValidAccuracy => Score::Accuracy,
        Metric::ValidLoss => Score::Loss,
    };
    report::sweep(name, axes, &points, score)
}

/// Wilson's, of an accuracy; a loss has none that its mean would tell.
fn interval(trial: &Standing, best: &EpochRow, metric: Metric) -> Option<(f64, f64)> {
    let n_valid = trial.run.as_ref()?.manifest.n_valid;
    match metric {
        Metric::ValidAccuracy => {
            let n_right = (best.valid_accuracy * n_valid as f64).round() as usize;
            Some(wilson(n_right, n_valid))
        }
        Metric::ValidLoss => None,
    }
}

fn axis_value(value: &toml::Value) -> AxisValue {
    let number = value
        .as_float()
        .or(value.as_integer().map(|number| number as f64));
    match number {
        Some(number) => AxisValue::Number(number),
        None => AxisValue::Word(to_cell(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: usize) -> Standing {
        Standing {
            number,
            label: format!("lr={number}"),
            values: vec![toml::Value::from(number as i64)],
            state: TrialState::Waiting,
            reason: String::new(),
            run: None,
            n_epochs_told: 0,
        }
    }

    #[test]
    fn the_live_table_shows_what_runs_first_in_the_lines_there_are() {
        let mut trials: Vec<Standing> = (1..=20).map(waiting).collect();
        trials[6].state = TrialState::Running;
        trials[2].state = TrialState::Failed;
        let text = live(&trials, Metric::ValidAccuracy, 2, 8);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 8, "{text}");
        assert_eq!(lines[0], "0 of 20 done, 1 running, 1 failed");
        assert!(lines[2].contains("lr=7"), "{text}");
        assert_eq!(lines[7], ".. and 15 more");
    }

    #[test]
    fn trials_without_a_run_have_rows_without_a_rank() {
        let trials = [waiting(1), waiting(2)];
        let rows = csv_rows(&trials, &["optimizer.lr".to_owned()], Metric::ValidLoss);
        assert_eq!(rows[0][..4], ["rank", "trial", "state", "optimizer.lr"]);
        assert_eq!(rows[2][..4], ["", "2", "waiting", "2"]);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    }
}

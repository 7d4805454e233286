//! The standings of a sweep's trials: the leaderboard as text, as CSV and as a picture. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    standing::{TrialStanding, TrialState},
    text::to_cell,
};
use crate::{
    config::experiment::Metric,
    error::Result,
    report::{self, AxisValue, RungMark, Score, TrialPoint},
    rundir::records::EpochRow,
    scores::{
        ranking::{self, Candidate},
        statistics::wilson,
    },
    text::table::{Align, Table, duration, percent, shortened, shown},
};

/// The most letters of a reason that the table shows.
const MOST_OF_A_REASON: usize = 72;

/// The indices of the trials, best first, those without an epoch last.
pub(crate) fn ranked(standings: &[TrialStanding], metric: Metric) -> Vec<usize> {
    let best = standings.iter().map(|trial| {
        let row = trial.best()?;
        Some(Candidate::of_row(metric, row))
    });
    let best: Vec<Option<Candidate>> = best.collect();
    let mut order: Vec<usize> = (0..standings.len()).collect();
    order.sort_by(|a, b| ranking::rank_some(metric, best[*a].as_ref(), best[*b].as_ref()));
    order
}

/// The event and the line of text for a trial that has started, completed an epoch or ended.
pub(crate) fn news(trial: &TrialStanding) -> (Value, String) {
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

/// The table that is printed at the end.
pub(crate) fn leaderboard(standings: &[TrialStanding], metric: Metric) -> Table {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("trial", right),
        ("settings", Align::Left),
        ("state", Align::Left),
        ("epochs", right),
        ("best epoch", right),
        ("valid accuracy", right),
        ("valid loss", right),
        ("time", right),
    ]);
    let further = further(metric);
    let has_rungs = standings.iter().any(|trial| trial.climb.is_some());
    if has_rungs {
        table.column("rung", right);
    }
    if further.is_some() {
        table.column(&metric.name().replace('_', " "), right);
    }
    table.column("", Align::Left);
    for at in ranked(standings, metric) {
        let trial = &standings[at];
        let best = trial.best();
        let time = trial.run.as_ref().map(|run| duration(run.seconds()));
        let mut cells = vec![
            trial.number.to_string(),
            trial.label.clone(),
            trial.state.name().to_owned(),
            trial.epochs(),
            shown(best.map(|row| row.epoch.to_string())),
            shown(best.map(|row| percent(row.valid_accuracy))),
            shown(best.map(|row| format!("{:.4}", row.valid_loss))),
            shown(time),
        ];
        if has_rungs {
            let rungs = trial.rungs();
            cells.push(shown(
                rungs.map(|(reached, all)| format!("{reached}/{all}")),
            ));
        }
        if let Some(metric) = further {
            cells.push(shown(
                best.map(|row| format!("{:.4}", ranking::value(metric, row))),
            ));
        }
        // `leaderboard.csv` has the whole reason.
        cells.push(shortened(
            trial.reason.lines().next().unwrap_or_default(),
            MOST_OF_A_REASON,
        ));
        table.row(cells);
    }
    table
}

/// `leaderboard.csv`: the header, then a row for each trial, best first.
pub(crate) fn csv_rows(
    standings: &[TrialStanding],
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
    header.extend(further(metric).map(Metric::name));
    let has_rungs = standings.iter().any(|trial| trial.climb.is_some());
    header.extend(has_rungs.then_some("rung"));
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
            // An empty sum of floats is -0.0, which would be written as `-0`.
            Option::unwrap_or_default(
                trial
                    .run
                    .as_ref()
                    .map(|run| (run.seconds() + 0.0).to_string()),
            ),
            Option::unwrap_or_default(trial.run.as_ref().and_then(|run| {
                let name = run.path().file_name()?;
                Some(name.to_string_lossy().into_owned())
            })),
            on_one_line(&trial.reason),
        ]);
        if let Some(metric) = further(metric) {
            let value = best.map(|row| ranking::value(metric, row).to_string());
            row.push(value.unwrap_or_default());
        }
        if has_rungs {
            let reached = trial.rungs().map(|(reached, _)| reached.to_string());
            row.push(reached.unwrap_or_default());
        }
        rows.push(row);
    }
    rows
}

/// The metric, if the columns for loss and accuracy do not show it.
fn further(metric: Metric) -> Option<Metric> {
    match metric {
        Metric::ValidLoss | Metric::ValidAccuracy => None,
        Metric::ValidMacroF1 | Metric::ValidAuc => Some(metric),
    }
}

fn on_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

pub(crate) fn json(standings: &[TrialStanding], axes: &[String], metric: Metric) -> Value {
    let trials = ranked(standings, metric).into_iter().map(|at| {
        let trial = &standings[at];
        let values: serde_json::Map<String, Value> = axes
            .iter()
            .zip(&trial.values)
            .map(|(axis, value)| (axis.clone(), json!(value)))
            .collect();
        json!({
            "trial": trial.number, "state": trial.state.name(), "values": values, "best": trial.best(),
            "epochs": trial.rows().len(), "run": trial.run.as_ref().map(|run| run.path().to_string_lossy()), "reason": trial.reason,
            "rung": trial.rungs().map(|(reached, _)| reached),
        })
    });
    Value::Array(trials.collect())
}

/// `leaderboard.png`.
pub(crate) fn picture(
    name: &str,
    axes: &[String],
    standings: &[TrialStanding],
    rungs: &[usize],
    metric: Metric,
) -> Result<Vec<u8>> {
    let first = ranked(standings, metric).first().copied();
    let points: Vec<TrialPoint> = standings
        .iter()
        .enumerate()
        .map(|(at, trial)| {
            let best = trial.best();
            TrialPoint {
                label: trial.label.clone(),
                values: trial.values.iter().map(axis_value).collect(),
                score: best.map(|row| ranking::value(metric, row)),
                is_best: first == Some(at),
                interval: best.and_then(|row| interval(trial, row, metric)),
                curve: trial
                    .rows()
                    .iter()
                    .map(|row| (row.epoch, ranking::value(metric, row)))
                    .collect(),
            }
        })
        .collect();
    let score = match metric {
        Metric::ValidAccuracy => Score::Accuracy,
        Metric::ValidLoss => Score::Loss,
        Metric::ValidMacroF1 => Score::MacroF1,
        Metric::ValidAuc => Score::Auc,
    };
    let reached: Vec<usize> = standings
        .iter()
        .filter_map(|trial| Some(trial.rungs()?.0))
        .collect();
    let marks = rungs.iter().enumerate().map(|(at, epochs)| RungMark {
        epochs: *epochs,
        n_trials: reached.iter().filter(|n_reached| **n_reached > at).count(),
    });
    let marks: Vec<RungMark> = marks.collect();
    report::sweep(name, axes, &points, &marks, score)
}

/// Wilson's interval of an accuracy. The value of another metric alone gives no interval.
fn interval(trial: &TrialStanding, best: &EpochRow, metric: Metric) -> Option<(f64, f64)> {
    let n_valid = trial.run.as_ref()?.manifest.n_valid;
    match metric {
        Metric::ValidAccuracy => {
            let n_right = (best.valid_accuracy * n_valid as f64).round() as usize;
            Some(wilson(n_right, n_valid))
        }
        Metric::ValidLoss | Metric::ValidMacroF1 | Metric::ValidAuc => None,
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
pub(super) mod tests {
    use super::*;

    pub(in crate::sweep) fn waiting(number: usize) -> TrialStanding {
        TrialStanding {
            number,
            label: format!("lr={number}"),
            values: vec![toml::Value::from(number as i64)],
            state: TrialState::Waiting,
            reason: String::new(),
            run: None,
            told: None,
            climb: None,
        }
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

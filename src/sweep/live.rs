//! The view of a sweep in progress: what is done, how long the rest will take, and a table that fits the terminal. Pure.

use std::fmt::Write as _;

use super::{
    board::ranked,
    standing::{TrialStanding, TrialState},
};
use crate::{
    config::experiment::Metric,
    text::table::{Align, Table, duration, percent, shown},
};

/// `2 of 9 done, 1 running, 1 failed, about 4m05 left`
fn progress(standings: &[TrialStanding], n_at_once: usize) -> String {
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

/// Estimates the remaining time. Trials without an epoch are assumed to take as long as the mean of the others.
fn seconds_left(standings: &[TrialStanding], n_at_once: usize) -> Option<f64> {
    let started: Vec<f64> = standings
        .iter()
        .filter_map(|trial| Some(trial.seconds_left()? + trial.run.as_ref()?.seconds()))
        .collect();
    let mean = started.iter().sum::<f64>() / started.len().max(1) as f64;
    let left_of = |state| {
        let trials = standings.iter().filter(move |trial| trial.state == state);
        trials.map(|trial| trial.seconds_left().unwrap_or(mean))
    };
    let in_order = left_of(TrialState::Running).chain(left_of(TrialState::Waiting));
    let left = time_at_once(in_order, n_at_once);
    (!started.is_empty() && left > 0.0).then_some(left)
}

/// The time until the last of the trials ends if `n_at_once` run in parallel, started in this order.
fn time_at_once(trials: impl Iterator<Item = f64>, n_at_once: usize) -> f64 {
    let mut places = vec![0.0_f64; n_at_once.max(1)];
    for seconds in trials {
        if let Some(next_free) = places.iter_mut().min_by(|a, b| a.total_cmp(b)) {
            *next_free += seconds;
        }
    }
    places.into_iter().fold(0.0, f64::max)
}

/// The progress and the table of a sweep in progress, first the running trials, then the best ones, in at most `n_lines` lines
/// of `n_columns` columns.
pub(crate) fn live(
    standings: &[TrialStanding],
    metric: Metric,
    n_at_once: usize,
    (n_lines, n_columns): (usize, usize),
) -> String {
    let running = (0..standings.len()).filter(|at| standings[*at].state == TrialState::Running);
    let others = ranked(standings, metric)
        .into_iter()
        .filter(|at| standings[*at].state != TrialState::Running);
    let order: Vec<usize> = running.chain(others).collect();
    // The line of progress, the header, and the line for the trials that are not shown.
    let n_shown = n_lines.saturating_sub(3).max(1);
    let mut text = progress(standings, n_at_once) + "\n";
    text += &live_table(standings, &order[..n_shown.min(order.len())], n_columns).text();
    if order.len() > n_shown {
        let _ = write!(text, ".. and {} more", order.len() - n_shown);
    }
    text.trim_end().to_owned()
}

/// On a narrow terminal the time left, the epochs and the loss go, in this order from last to first, before settings are
/// shortened: settings cut to a few letters would not tell the trials apart.
fn live_table(standings: &[TrialStanding], order: &[usize], n_columns: usize) -> Table {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("trial", right),
        ("settings", Align::Left),
        ("state", Align::Left),
        ("epochs", right),
        ("accuracy", right),
        ("loss", right),
        ("left", right),
    ]);
    for trial in order.iter().map(|at| &standings[*at]) {
        let best = trial.best();
        let is_running = trial.state == TrialState::Running;
        let left = trial.seconds_left().filter(|_| is_running);
        table.row(vec![
            trial.number.to_string(),
            trial.label.clone(),
            trial.state.name().to_owned(),
            trial.epochs(),
            shown(best.map(|row| percent(row.valid_accuracy))),
            shown(best.map(|row| format!("{:.4}", row.valid_loss))),
            shown(left.map(duration)),
        ]);
    }
    table.fit(Some(n_columns), &["left", "epochs", "loss"], "settings");
    table
}

#[cfg(test)]
mod tests {
    use super::{super::board::tests::waiting, *};

    #[test]
    fn the_live_table_shows_what_runs_first_in_the_lines_there_are() {
        let mut trials: Vec<TrialStanding> = (1..=20).map(waiting).collect();
        trials[6].state = TrialState::Running;
        trials[2].state = TrialState::Failed;
        let text = live(&trials, Metric::ValidAccuracy, 2, (8, 80));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 8, "{text}");
        assert_eq!(lines[0], "0 of 20 done, 1 running, 1 failed");
        assert!(lines[2].contains("lr=7"), "{text}");
        assert_eq!(lines[7], ".. and 15 more");
    }

    #[test]
    fn a_narrow_terminal_drops_columns_before_it_shortens_the_settings() {
        let mut trials: Vec<TrialStanding> = (1..=3).map(waiting).collect();
        trials[1].label = "lr=1e-3 trainable=classifier, features[24:]".to_owned();
        let shown = |n_columns: usize| {
            let text = live(&trials, Metric::ValidAccuracy, 1, (9, n_columns));
            let width = text.lines().map(|line| line.chars().count()).max();
            assert!(width.unwrap() <= n_columns, "{text}");
            let header = text.lines().nth(1).unwrap();
            let names: Vec<&str> = header.split_whitespace().collect();
            (names.join(" "), text)
        };
        let all = "trial settings state epochs accuracy loss left";
        assert_eq!(shown(200).0, all);
        assert_eq!(shown(89).0, all);
        let (header, text) = shown(84);
        assert_eq!(header, "trial settings state epochs accuracy left");
        assert!(text.contains(&trials[1].label), "{text}");
        let (header, text) = shown(60);
        assert_eq!(header, "trial settings state accuracy");
        assert!(
            text.contains("lr=1e-3 trainabl..r, features[24:]"),
            "{text}"
        );
    }

    #[test]
    fn time_left_knows_that_the_last_trial_is_alone() {
        let left = |all: &[f64]| time_at_once(all.iter().copied(), 2).round() as usize;
        assert_eq!(left(&[30.0]), 30);
        assert_eq!(left(&[30.0, 40.0, 40.0]), 70);
        assert_eq!(left(&[]), 0);
    }
}

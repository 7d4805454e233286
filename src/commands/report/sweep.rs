//! Reads a sweep for its page: the leaderboard, and the runs of the trials on it.

use std::{collections::HashMap, fs, path::Path};

use crate::{
    config::experiment::Metric,
    disk::cells,
    error::{Error, Result},
    page::model::{RunCurve, SweepReport, TrialRow},
    rundir::RunDir,
    runs::RunView,
    scores::statistics::wilson,
    sweep::directory::SweepDir,
};

/// The trials whose curves are shown, best first.
const MOST_CURVES: usize = 10;
/// The columns around those of the axes.
const BEFORE_AXES: [&str; 3] = ["rank", "trial", "state"];
const AFTER_AXES: &str = "best_epoch";

pub(super) fn report(dir: &SweepDir) -> Result<SweepReport> {
    let path = dir.leaderboard_csv();
    let bytes = fs::read(&path).map_err(|error| {
        Error::io("read", &path)(error)
            .help("the sweep writes its leaderboard when its first trial starts")
    })?;
    let damaged = |fact: String| Error::run(&path, format!("the file is damaged: {fact}"));
    let (header, rows) = cells::from_csv(&bytes[..]).map_err(|error| damaged(error.to_string()))?;
    let header: Vec<String> = header.iter().map(str::to_owned).collect();
    let n_before = BEFORE_AXES.len();
    let end = header
        .iter()
        .rposition(|name| name == AFTER_AXES)
        .filter(|end| *end >= n_before);
    let end = end.ok_or_else(|| damaged(format!("it has no column `{AFTER_AXES}`")))?;
    let mut trials = Vec::new();
    for row in rows {
        let row = row.map_err(|error| damaged(error.to_string()))?;
        let cells: Vec<&str> = row.iter().collect();
        let after = header[end..]
            .iter()
            .map(String::as_str)
            .zip(cells[end..].iter().copied());
        trials.push(trial(&cells[..end], &after.collect()));
    }
    let (mut curves, mut metric) = (Vec::new(), Metric::ValidAccuracy);
    for (rank, trial) in trials.iter_mut().enumerate() {
        let Some(view) = read(dir.path(), &trial.run) else {
            continue;
        };
        if rank == 0 {
            metric = view.metric();
        }
        let n_valid = view.manifest.n_valid;
        trial.interval = trial
            .accuracy
            .filter(|it| it.is_finite() && n_valid > 0)
            .map(|accuracy| wilson((accuracy * n_valid as f64).round() as usize, n_valid));
        if curves.len() < MOST_CURVES && !view.rows.is_empty() {
            curves.push(RunCurve {
                label: format!("trial {}", trial.number),
                best_epoch: view.best().map(|row| row.epoch),
                epochs: view.rows,
                offset: 0,
            });
        }
    }
    let folder = dir.path().file_name().unwrap_or_default().to_string_lossy();
    Ok(SweepReport {
        name: folder.strip_prefix("sweep-").unwrap_or(&folder).to_owned(),
        axes: header[n_before..end].to_vec(),
        trials,
        // Macro F1 and AUC are not in the page; accuracy is closer to them than loss.
        is_accuracy: metric != Metric::ValidLoss,
        curves,
        source: fs::read_to_string(dir.sweep_toml()).unwrap_or_default(),
    })
}

fn trial(before: &[&str], after: &HashMap<&str, &str>) -> TrialRow {
    let text = |name: &str| after.get(name).copied().unwrap_or_default().to_owned();
    let number = |name: &str| text(name).parse::<f64>().ok();
    TrialRow {
        number: before[1].to_owned(),
        state: before[2].to_owned(),
        values: before[BEFORE_AXES.len()..]
            .iter()
            .map(|value| (*value).to_owned())
            .collect(),
        best_epoch: text("best_epoch").parse().ok(),
        accuracy: number("valid_accuracy"),
        loss: number("valid_loss"),
        interval: None,
        epochs: text("epochs").parse().unwrap_or_default(),
        seconds: number("seconds"),
        run: text("run"),
        reason: text("reason"),
    }
}

fn read(folder: &Path, run: &str) -> Option<RunView> {
    let is_name = Path::new(run).components().count() == 1 && !run.starts_with('.');
    if !is_name {
        return None;
    }
    RunView::read(RunDir::open(&folder.join(run)).ok()?).ok()
}

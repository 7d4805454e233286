//! What `runner sweep` prints: the trials before it starts, the leaderboard when it ends.

use serde_json::{Value, json};

use super::disk::SweepDisk;
use crate::{
    console::{Console, answer_width},
    error::{Error, Result},
    runs::RunState,
    sweep::{
        board::{self, TrialStanding, TrialState},
        definition::Definition,
        view::SweepView,
    },
    text::table::counted,
};

/// Prints the trials and their states, for `--dry-run`.
pub(super) fn list(view: &SweepView, definition: &Definition, disk: &SweepDisk, console: &Console) {
    let lines: Vec<String> = view
        .standings
        .iter()
        .map(|standing| {
            let what = match standing.run.as_ref().map(|run| run.state) {
                None => "not started".to_owned(),
                Some(RunState::Finished) => "finished".to_owned(),
                Some(RunState::Running) => "running".to_owned(),
                Some(state @ (RunState::Interrupted | RunState::Killed | RunState::Failed)) => {
                    format!("{}, will be resumed", state.name())
                }
            };
            format!("{:>5}  {}  ({what})", standing.number, standing.label)
        })
        .collect();
    let text = format!(
        "{} of {} in {}\n{}\n{}",
        counted(lines.len(), "trial"),
        definition.base.display(),
        view.dir.path().display(),
        disk.text(),
        lines.join("\n")
    );
    let mut fields = fields(view);
    fields["disk"] = disk.fields();
    console.answer("sweep", fields, &text);
}

/// Prints the leaderboard; fails if a trial did not finish.
pub(super) fn conclude(view: &SweepView, console: &Console) -> Result<()> {
    let mut table = board::leaderboard(&view.standings, view.metric);
    table.fit(answer_width(), &[], "settings");
    let text = format!("{}\n{}", table.text(), view.dir.path().display());
    console.answer("sweep", fields(view), &text);
    let is_open = |trial: &&TrialStanding| {
        let is_over = matches!(
            trial.state,
            TrialState::Finished | TrialState::Paused | TrialState::Stopped
        );
        !is_over
    };
    match view.standings.iter().filter(is_open).count() {
        0 => Ok(()),
        n_open => Err(Error::training(format!(
            "{n_open} of {} trials did not finish",
            view.standings.len()
        ))
        .help("run the same command again to retry them")),
    }
}

fn fields(view: &SweepView) -> Value {
    let trials = board::json(&view.standings, &view.axes, view.metric);
    json!({ "sweep": view.dir.path().to_string_lossy(), "trials": trials })
}

//! What `runner sweep` prints: the trials before it starts, the leaderboard when it ends.

use serde_json::{Value, json};

use super::disk::SweepDisk;
use crate::{
    console::{Console, answer_width},
    error::{Error, Result},
    runs::RunState,
    sweep::{
        board,
        campaign::Campaign,
        definition::Definition,
        room,
        standing::{self, TrialStanding},
        view::SweepView,
    },
    text::table::counted,
};

/// Prints the trials and their states, for `--dry-run`.
pub(super) fn list(
    view: &SweepView,
    definition: &Definition,
    (disk, script): (&SweepDisk, Option<String>),
    console: &Console,
) {
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
    let text = match &script {
        Some(script) => format!("{text}\n\n{}", script.trim_end()),
        None => text,
    };
    fields["script"] = json!(script);
    console.answer("sweep", fields, &text);
}

/// Prints the leaderboard as it is now, with how many trials are in each state.
pub(super) fn status(view: &SweepView, console: &Console) {
    let mut table = board::leaderboard(&view.standings, view.metric);
    table.fit(answer_width(), &[], "settings");
    let counts = standing::counts(&view.standings);
    let text = format!("{}\n{counts}\n{}", table.text(), view.dir.path().display());
    console.answer("sweep", fields(view), &text);
}

/// Prints the leaderboard; fails if a trial did not finish.
pub(super) fn conclude(campaign: &Campaign, console: &Console) -> Result<()> {
    let view = &campaign.view;
    let mut table = board::leaderboard(&view.standings, view.metric);
    table.fit(answer_width(), &[], "settings");
    let text = format!("{}\n{}", table.text(), view.dir.path().display());
    console.answer("sweep", fields(view), &text);
    let is_open = |trial: &&TrialStanding| !trial.state.is_over();
    let n_open = view.standings.iter().filter(is_open).count();
    if n_open == 0 {
        return Ok(());
    }
    let text = format!("{n_open} of {} trials did not finish", view.standings.len());
    let error = Error::training(text);
    Err(match &campaign.shortage {
        Some(shortage) => error.fact(shortage).help(room::HELP),
        None => error.help("run the same command again to retry them"),
    })
}

fn fields(view: &SweepView) -> Value {
    let trials = board::json(&view.standings, &view.axes, view.metric);
    json!({ "sweep": view.dir.path().to_string_lossy(), "trials": trials })
}

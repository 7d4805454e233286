//! `runner slim RUN..`: deletes what finished runs need only for resuming.

use serde_json::json;

use super::rm::refuse_mere_folders;
use crate::{
    commands::args::RunsArgs,
    commands::context::Context,
    disk::space::size_of,
    error::{Error, Result},
    rundir::records::FORMAT,
    runs::{self, Admit, RunState, RunView},
    system::stop,
    text::table::{counted, size},
    train::checkpoint,
};

#[derive(Debug, clap::Args)]
pub(crate) struct SlimArgs {
    /// Run directories, sweep directories, glob patterns, or latest:NAME
    #[arg(required = true)]
    pub(crate) runs: Vec<String>,
    #[command(flatten)]
    pub(crate) folder: RunsArgs,
}

pub(crate) fn run(args: &SlimArgs, cx: &Context) -> Result<()> {
    let (words, runs_dir) = (&args.runs, &cx.runs_dir(&args.folder));
    let console = &cx.console;
    let found = runs::find(words, runs_dir, Admit::Whole)?;
    refuse_mere_folders(words, runs_dir, ("slim", "slimmed"))?;
    for error in &found.left_out {
        console.note(&format!("skipped: {error}"));
    }
    let views = found.runs.into_iter().map(RunView::read);
    let views: Vec<RunView> = views.collect::<Result<_>>()?;
    refuse_unfinished(&views)?;
    let mut rows = Vec::new();
    let mut n_freed = 0;
    for view in &views {
        let place = view.path().display();
        let before = size_of(view.path());
        // While this process holds the claim, nobody can resume the run.
        let claim = view.dir.claim(stop::on_signals(), console)?;
        checkpoint::slim(&view.dir)?;
        drop(claim);
        let after = size_of(view.path());
        let freed = before.saturating_sub(after);
        n_freed += freed;
        console.note(&format!(
            "{place}: {} freed, {} kept",
            size(freed),
            size(after)
        ));
        rows.push(json!({
            "run": view.path().to_string_lossy(), "freed_bytes": freed, "bytes": after,
        }));
    }
    console.note(
        "deleted optimizer states and previous checkpoints; these runs can no longer be resumed, but everything else works as before",
    );
    let text = format!(
        "slimmed {}, {} freed",
        counted(views.len(), "run"),
        size(n_freed)
    );
    let fields = json!({ "runs": rows, "freed_bytes": n_freed });
    console.answer("slimmed", fields, &text);
    Ok(())
}

/// Fails with every reason why one of the runs cannot be slimmed.
fn refuse_unfinished(views: &[RunView]) -> Result<()> {
    let problem = |view: &RunView| {
        let place = view.path().display();
        match view.state {
            RunState::Running => Some(format!("{place}: in progress")),
            RunState::Finished if view.manifest.format != FORMAT => {
                Some(format!("{place}: written by an earlier version of runner"))
            }
            RunState::Finished if view.summary.is_some() => None,
            RunState::Finished | RunState::Interrupted | RunState::Failed | RunState::Killed => {
                Some(format!(
                    "{place}: not finished ({}), so resuming it needs every file",
                    view.state_name()
                ))
            }
        }
    };
    let problems: Vec<String> = views.iter().filter_map(problem).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let error = Error::usage("some of these runs cannot be slimmed, so nothing was slimmed");
    let error = problems.into_iter().fold(error, Error::fact);
    Err(error.help("leave these runs out"))
}

//! `runner verify RUN`: checks that the files of a run are still as they were written.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    commands::args::RunsArgs,
    commands::context::Context,
    error::{Error, Result},
    rundir::{RunDir, recipe},
    runs::{self, Admit},
    text::table::{Align, Table, counted},
    train::checkpoint,
};

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Run directory, or latest:NAME
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) folder: RunsArgs,
}

pub(crate) fn run(args: &VerifyArgs, cx: &Context) -> Result<()> {
    let run_dir = &runs::find_single(&args.run, &cx.runs_dir(&args.folder), Admit::Whole)?;
    let console = &cx.console;
    let place = run_dir.path().display().to_string();
    if run_dir.is_claimed() {
        return Err(
            Error::usage("the run is in progress, so its files are changing")
                .at(run_dir.path())
                .help("verify the run when it has ended"),
        );
    }
    let mut files = recipe::examine(run_dir)?;
    files.extend(checkpoint::examine(run_dir));
    files.extend(results(run_dir)?);
    let mut table = Table::new(&[("file", Align::Left), ("state", Align::Left)]);
    let mut rows = Vec::new();
    let mut n_damaged = 0;
    for (path, problem) in files {
        let name = path.strip_prefix(run_dir.path()).unwrap_or(&path);
        let name = name.display().to_string();
        n_damaged += usize::from(problem.is_some());
        let problem = problem.as_ref().map(fact);
        // Programs know an intact file by this word.
        let state = problem.as_deref().unwrap_or("sound");
        rows.push(json!({ "file": name, "state": state }));
        table.row(vec![name, problem.unwrap_or_else(|| "ok".to_owned())]);
    }
    let fields = json!({ "run": place, "files": rows, "damaged": n_damaged });
    console.answer("verified", fields, table.text().trim_end());
    if n_damaged == 0 {
        return Ok(());
    }
    let help = if checkpoint::is_slim(run_dir) && run_dir.is_finished() {
        "restore the files from a backup; a slim run cannot repair them".to_owned()
    } else {
        format!("run `runner resume {place}` to restore what can be restored from the other files")
    };
    let is = if n_damaged == 1 { "is" } else { "are" };
    Err(Error::run(
        run_dir.path(),
        format!(
            "{n_damaged} of {} {is} damaged",
            counted(rows.len(), "file")
        ),
    )
    .help(help))
}

/// What is wrong with a file, without its path, which the table has in another column.
fn fact(error: &Error) -> String {
    error.diagnostics()[0].message.clone()
}

/// The damage to all files that a run has written since its recipe.
pub(super) fn after_the_recipe(run_dir: &RunDir) -> Result<Vec<Error>> {
    let files = checkpoint::examine(run_dir).into_iter();
    let files = files.chain(results(run_dir)?);
    Ok(files.filter_map(|(_, problem)| problem).collect())
}

/// The tables and pictures of a finished run; for another run, the tables so far.
fn results(run_dir: &RunDir) -> Result<Vec<(PathBuf, Option<Error>)>> {
    let Some(summary) = run_dir.summary() else {
        return checkpoint::examine_tables(run_dir);
    };
    let files = summary.files.iter().map(|file| {
        let path = run_dir.path().join(&file.name);
        (path, file.check(run_dir.path()).err())
    });
    Ok(files.collect())
}

//! `runner verify RUN`: whether the files of a run are still as they were written.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    console::Console,
    error::{Error, Result},
    rundir::{RunDir, recipe},
    text::table::{Align, Table, counted},
    train::checkpoint,
};

pub(crate) fn verify(run_dir: &RunDir, console: &Console) -> Result<()> {
    let place = run_dir.path().display().to_string();
    if run_dir.is_claimed() {
        return Err(Error::usage(format!(
            "{place}: is in progress, and its files change\nhelp: verify it when it has ended"
        )));
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
        let state = problem.map_or_else(|| "sound".to_owned(), |error| fact(&error));
        rows.push(json!({ "file": name, "state": state }));
        table.row(vec![name, state]);
    }
    let fields = json!({ "run": place, "files": rows, "damaged": n_damaged });
    console.answer("verified", fields, table.text().trim_end());
    if n_damaged == 0 {
        return Ok(());
    }
    let help = if checkpoint::is_slim(run_dir) {
        "the run was slimmed, so what it lost cannot be restored".to_owned()
    } else {
        format!("`runner resume {place}` restores what can be restored from the rest")
    };
    Err(Error::run(
        run_dir.path(),
        format!(
            "{n_damaged} of {} damaged\nhelp: {help}",
            counted(rows.len(), "file")
        ),
    ))
}

/// What is wrong with a file, without its path.
fn fact(error: &Error) -> String {
    error.diagnostics()[0].message.clone()
}

/// All damage to what a run has made since it began.
pub(super) fn after_the_recipe(run_dir: &RunDir) -> Result<Vec<Error>> {
    let files = checkpoint::examine(run_dir).into_iter();
    let files = files.chain(results(run_dir)?);
    Ok(files.filter_map(|(_, problem)| problem).collect())
}

/// The tables and pictures of a run that has ended; the tables so far of one that has not.
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

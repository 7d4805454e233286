//! `runner rm RUN..`: removes runs, after a question, unless somebody still needs them.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::show::{disk_bytes, size};
use crate::{
    claim,
    console::{Console, talk_line},
    error::{Error, Result},
    runs::{self, RunState, RunView},
    sweep::directory::SweepDir,
};

pub(crate) fn rm(
    words: &[String],
    runs_dir: &Path,
    is_sure: bool,
    console: &Console,
) -> Result<()> {
    let views: Vec<RunView> = runs::find(words, runs_dir)?
        .into_iter()
        .map(RunView::read)
        .collect::<Result<_>>()?;
    refuse_needed(&views, runs_dir)?;
    let bytes: u64 = views.iter().map(|view| disk_bytes(view.path())).sum();
    let question = format!("remove {} ({})?", count(views.len()), size(bytes));
    if !is_sure && !confirmed(&views, &question)? {
        console.note("nothing was removed");
        return Ok(());
    }
    for view in &views {
        remove(&identity(view.path()))?;
    }
    // Without its runs a leaderboard tells nothing.
    for sweep in sweeps_of(&views) {
        if runs::all(sweep.path()).is_empty() {
            remove(&identity(sweep.path()))?;
        }
    }
    let removed: Vec<&Path> = views.iter().map(RunView::path).collect();
    let text = format!("removed {}, {}", count(views.len()), size(bytes));
    console.answer("removed", json!({ "runs": removed, "bytes": bytes }), &text);
    Ok(())
}

/// The sweeps that runs are trials of, each once.
fn sweeps_of(views: &[RunView]) -> Vec<SweepDir> {
    let folders: BTreeSet<&Path> = views
        .iter()
        .filter_map(|view| view.path().parent())
        .collect();
    folders.into_iter().filter_map(SweepDir::at).collect()
}

fn count(n_runs: usize) -> String {
    match n_runs {
        1 => "1 run".to_owned(),
        _ => format!("{n_runs} runs"),
    }
}

/// All reasons at once; nothing is removed if there is one.
fn refuse_needed(views: &[RunView], runs_dir: &Path) -> Result<()> {
    let doomed: HashSet<PathBuf> = views.iter().map(|view| identity(view.path())).collect();
    let mut problems = Vec::new();
    for view in views {
        let place = view.path().display();
        if view.state == RunState::Running {
            problems.push(format!("{place}: is in progress"));
        }
        if fs::symlink_metadata(view.path()).is_ok_and(|metadata| metadata.is_symlink()) {
            problems.push(format!(
                "{place}: is a link; remove what it points to by its own name"
            ));
        }
    }
    for sweep in sweeps_of(views) {
        if claim::is_taken(&sweep.place()) {
            problems.push(format!("{}: is in progress", sweep.path().display()));
        }
    }
    let mut folders: HashSet<PathBuf> = HashSet::from([runs_dir.to_owned()]);
    folders.extend(
        views
            .iter()
            .filter_map(|view| view.path().parent().map(Path::to_owned)),
    );
    let mut children: Vec<(PathBuf, PathBuf)> = folders
        .iter()
        .flat_map(|folder| runs::all(folder))
        .filter_map(|dir| RunView::read(dir).ok())
        .filter_map(|view| Some((identity(&view.parent()?), identity(view.path()))))
        .collect();
    children.sort();
    children.dedup();
    for (parent, child) in children {
        if doomed.contains(&parent) && !doomed.contains(&child) {
            let (parent, child) = (parent.display(), child.display());
            problems.push(format!(
                "{parent}: {child} began with it and could not be started over"
            ));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{}\nhelp: nothing was removed; leave these out, or name the runs that need them as well",
        problems.join("\n")
    )))
}

fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn confirmed(views: &[RunView], question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::Usage(format!(
            "{question} there is nobody to ask\nhelp: --yes removes without asking"
        )));
    }
    for view in views {
        talk_line(&format!(
            "  {} ({}, {} epochs)",
            view.path().display(),
            view.state.name(),
            view.epochs()
        ));
    }
    talk_line(&format!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(Error::io("reading", "stdin"))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Renamed first, so that what is left of a removal that breaks off is no run.
fn remove(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let doomed = path.with_file_name(format!(".removing-{name}"));
    fs::rename(path, &doomed).map_err(Error::io("removing", path))?;
    fs::remove_dir_all(&doomed).map_err(Error::io("removing", doomed))
}

//! `runner rm RUN..`: removes runs, after a question, unless somebody still needs them.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::show::disk_bytes;
use crate::{
    claim,
    console::{Console, harmless, talk_line},
    error::{Error, Result},
    runs::{self, Admit, RunState, RunView},
    sweep::directory::SweepDir,
    table::{counted, size},
};

/// Before the name of a run that is being removed.
const REMAINS: &str = ".removing-";

pub(crate) fn rm(
    words: &[String],
    runs_dir: &Path,
    is_sure: bool,
    console: &Console,
) -> Result<()> {
    let found = runs::find(words, runs_dir, Admit::Whole)?;
    refuse_mere_folders(words, runs_dir)?;
    for error in &found.left_out {
        console.note(&format!("left out: {error}"));
    }
    let views = found.runs.into_iter().map(RunView::read);
    let views: Vec<RunView> = views.collect::<Result<_>>()?;
    refuse_needed(&views, runs_dir)?;
    let bytes: u64 = views.iter().map(|view| disk_bytes(view.path())).sum();
    let question = format!("remove {} ({})?", counted(views.len(), "run"), size(bytes));
    if !is_sure {
        if !confirmed(&views, &question)? {
            console.note("nothing was removed");
            return Ok(());
        }
        // While nobody answered a run may have been resumed, or another one begun with it.
        refuse_needed(&views, runs_dir)?;
    }
    // A run that is gone tells no folder any more.
    let sweeps = sweeps_of(&views);
    // Of a parent and its child that is removed too, the child goes first: what is left of a removal that breaks off
    // has all that it needs.
    let mut removed: Vec<Cow<str>> = Vec::new();
    for view in children_first(&views) {
        if let Err(error) = remove(view) {
            let (n, all) = (removed.len(), views.len());
            console.note(&format!(
                "{n} of {all} runs were removed before this failed"
            ));
            return Err(error);
        }
        removed.push(view.path().to_string_lossy());
    }
    // Without its runs a leaderboard tells nothing.
    for sweep in sweeps {
        let rest = runs::listing(sweep.path());
        // Nor may one that has been started again meanwhile lose its files.
        if rest.runs.is_empty() && rest.left_out.is_empty() && !claim::is_taken(&sweep.place()) {
            remove_sweep(&sweep)?;
        }
    }
    let text = format!("removed {}, {}", counted(views.len(), "run"), size(bytes));
    console.answer("removed", json!({ "runs": removed, "bytes": bytes }), &text);
    Ok(())
}

/// A folder may hold a whole project's runs, and `.` be typed by mistake: only a sweep's stands for its runs.
fn refuse_mere_folders(words: &[String], runs_dir: &Path) -> Result<()> {
    for word in words {
        let Some((folder, runs)) = runs::find_folder(word, runs_dir) else {
            continue;
        };
        if SweepDir::at(&folder).is_none() {
            return Err(Error::Usage(format!(
                "{word}: is no run, but a folder with {}\nhelp: nothing was removed; `runner rm '{}'` names all runs right in it",
                counted(runs.len(), "run"),
                folder.join("*").display()
            )));
        }
    }
    Ok(())
}

fn children_first(views: &[RunView]) -> Vec<&RunView> {
    let n_ancestors = |view: &RunView| {
        let (mut n_found, mut next) = (0, parent_among(view, views));
        while let Some(parent) = next.filter(|_| n_found < views.len()) {
            n_found += 1;
            next = parent_among(parent, views);
        }
        n_found
    };
    let mut order: Vec<&RunView> = views.iter().collect();
    order.sort_by_key(|view| std::cmp::Reverse(n_ancestors(view)));
    order
}

fn parent_among<'a>(view: &RunView, views: &'a [RunView]) -> Option<&'a RunView> {
    view.parent()?;
    views.iter().find(|other| view.goes_on_from(other))
}

/// The sweeps that runs are trials of, each once.
fn sweeps_of(views: &[RunView]) -> Vec<SweepDir> {
    let folders: BTreeSet<PathBuf> = views.iter().map(|view| folder_of(view.path())).collect();
    folders
        .iter()
        .filter_map(|folder| SweepDir::at(folder))
        .collect()
}

/// All reasons at once; nothing is removed if there is one.
fn refuse_needed(views: &[RunView], runs_dir: &Path) -> Result<()> {
    let doomed: HashSet<PathBuf> = views.iter().map(|view| identity(view.path())).collect();
    let mut problems = Vec::new();
    for view in views {
        let place = view.path().display();
        // What was read before the question is old after it.
        if view.state == RunState::Running || view.dir.is_claimed() {
            problems.push(in_progress(view.path()));
        }
        let folder = folder_of(view.path());
        if is_link(view.path()) || (folder != runs_dir && is_link(&folder)) {
            problems.push(format!(
                "{place}: is reached by a link; remove what it points to by its own name"
            ));
        }
    }
    let mut folders: HashSet<PathBuf> = HashSet::from([runs_dir.to_owned()]);
    folders.extend(views.iter().map(|view| folder_of(view.path())));
    for sweep in sweeps_of(views) {
        if claim::is_taken(&sweep.place()) {
            problems.push(in_progress(sweep.path()));
        }
        // A run beside the sweep may have begun with its best trial.
        folders.insert(folder_of(sweep.path()));
    }
    let others: HashMap<PathBuf, RunView> = folders
        .iter()
        .flat_map(|folder| runs::all(folder))
        .map(|dir| (identity(dir.path()), dir))
        .filter(|(path, _)| !doomed.contains(path))
        .filter_map(|(path, dir)| Some((path, RunView::read(dir).ok()?)))
        .collect();
    let mut needs: Vec<(&Path, &Path)> = others
        .iter()
        .filter_map(|(path, view)| Some((parent_among(view, views)?.path(), path.as_path())))
        .collect();
    needs.sort_unstable();
    for (parent, child) in needs {
        let (parent, child) = (parent.display(), child.display());
        problems.push(format!(
            "{parent}: {child} began with it and could not be started over"
        ));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{}\nhelp: nothing was removed; leave these out, or name the runs that need them as well",
    let children = views.iter().flat_map(|view| view.dir.noted_children());
        problems.join("\n")
    )))
}
        // They may lie in any folder. One that has gone needs nothing.
        .chain(children.filter_map(|child| RunDir::open(&child).ok()))

fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The path of a run may be a mere name or `.`, which say no folder: in none, nobody would be found who needs the run.
fn folder_of(path: &Path) -> PathBuf {
    let named = path
        .parent()
        .filter(|folder| path.file_name().is_some() && !folder.as_os_str().is_empty());
    let folder = named.map(Path::to_owned);
    folder.unwrap_or_else(|| identity(path).parent().unwrap_or(path).to_owned())
}

fn in_progress(path: &Path) -> String {
    format!("{}: is in progress", path.display())
}

fn confirmed(views: &[RunView], question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::Usage(format!(
            "{question} there is nobody to ask\nhelp: --yes removes without asking"
        )));
    }
    for view in views {
        let line = format!(
            "  {} ({}, {} epochs)",
            view.path().display(),
            view.state_name(),
            view.epochs()
        );
        talk_line(&harmless(&line));
    }
    talk_line(&format!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(Error::io("reading", "stdin"))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// Renamed first, so that what is left of a removal that breaks off is no run.
fn remove(view: &RunView) -> Result<()> {
    // While those before it were removed it may have been resumed.
    if view.dir.is_claimed() {
        return Err(Error::Usage(in_progress(view.path())));
    }
    let path = &identity(view.path());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let doomed = path.with_file_name(format!("{REMAINS}{name}"));
    clear_remains(&doomed);
    fs::rename(path, &doomed).map_err(Error::io("removing", path))?;
    match fs::remove_dir_all(&doomed) {
        // Another removal saw remains in it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("removing", doomed)),
    }
}

/// What removals that broke off left beside `doomed`: nobody sees it, and it takes gigabytes.
fn clear_remains(doomed: &Path) {
    let entries = doomed.parent().and_then(|folder| fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(REMAINS.as_bytes())
        {
            // Where it fails the next removal tries again.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What a sweep wrote beside its runs, and its directory if nobody else put anything there.
fn remove_sweep(sweep: &SweepDir) -> Result<()> {
    for folder in sweep.folders().iter().filter(|folder| folder.is_dir()) {
        fs::remove_dir_all(folder).map_err(Error::io("removing", folder))?;
    }
    for path in sweep.files() {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("removing", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    // Other people's files stay, and so does a link that is the folder of runs. Two names of one sweep are no error.
    match fs::remove_dir(sweep.path()) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::NotFound
            ) =>
        {
            Err(Error::io("removing", sweep.path())(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

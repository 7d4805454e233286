//! `runner rm RUN..`: deletes runs after confirmation, unless they are in progress or other runs need them.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    claim,
    commands::args::RunsArgs,
    commands::context::Context,
    console::talk_line,
    disk::{
        files::{self, identity},
        space::size_of,
    },
    error::{Error, Result},
    rundir::RunDir,
    runs::{self, Admit, KilledStart, RunState, RunView},
    sweep::directory::SweepDir,
    text::table::{counted, size},
};

/// The prefix of the name of a run while it is being deleted.
const REMAINS: &str = ".removing-";

#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// Run directories, sweep directories, glob patterns, or latest:NAME
    #[arg(required = true)]
    pub(crate) runs: Vec<String>,
    /// Delete without asking for confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) folder: RunsArgs,
}

pub(crate) fn run(args: &RmArgs, cx: &Context) -> Result<()> {
    let (words, runs_dir) = (&args.runs, &cx.runs_dir(&args.folder));
    let (is_sure, console) = (args.yes, &cx.console);
    let mut starts: Vec<KilledStart> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for word in words {
        match runs::find_start(word, runs_dir) {
            Some(start) => starts.push(start),
            None => others.push(word.clone()),
        }
    }
    let words = &others;
    let found = runs::find(words, runs_dir, Admit::Whole)?;
    refuse_mere_folders(words, runs_dir, ("rm", "deleted"))?;
    for error in &found.left_out {
        console.note(&format!("skipped: {error}"));
    }
    let views = found.runs.into_iter().map(RunView::read);
    let views: Vec<RunView> = views.collect::<Result<_>>()?;
    refuse_needed(&views, runs_dir)?;
    let bytes: u64 = views.iter().map(|view| size_of(view.path())).sum();
    let mut what = format!("{} ({})", counted(views.len(), "run"), size(bytes));
    if !starts.is_empty() {
        let of_starts = counted(starts.len(), "incomplete run");
        what = if views.is_empty() {
            of_starts
        } else {
            format!("{what} and {of_starts}")
        };
    }
    if !is_sure {
        if !confirmed(&views, &starts, &format!("delete {what}?"))? {
            console.note("nothing was deleted");
            return Ok(());
        }
        // Before the answer came, a run may have been resumed, or another one started from it.
        refuse_needed(&views, runs_dir)?;
    }
    // The folders are read off the runs, so before these are gone.
    let sweeps = sweeps_of(&views);
    // A child goes before its parent: if the deletion is cut short, no run is left without the one that it needs.
    let mut removed: Vec<Cow<str>> = Vec::new();
    for start in &starts {
        remove_start(start)?;
        removed.push(start.path().to_string_lossy());
    }
    for view in children_first(&views) {
        if let Err(error) = remove(view) {
            let (n, all) = (removed.len() - starts.len(), views.len());
            console.note(&format!("deleted {n} of {all} runs before this failed"));
            return Err(error);
        }
        removed.push(view.path().to_string_lossy());
    }
    // The leaderboard of a sweep is useless without its runs.
    for sweep in sweeps {
        let rest = runs::listing(sweep.path());
        // A sweep that has been started again meanwhile keeps its files.
        if rest.runs.is_empty() && rest.left_out.is_empty() && !claim::is_taken(&sweep.place()) {
            remove_sweep(&sweep)?;
        }
    }
    let fields = json!({ "runs": removed, "bytes": bytes });
    console.answer("removed", fields, &format!("deleted {what}"));
    Ok(())
}

/// Fails for folders of runs other than sweep directories: a folder may hold the runs of a whole project, and `.` is easily
/// typed by mistake.
pub(super) fn refuse_mere_folders(
    words: &[String],
    runs_dir: &Path,
    (command, done): (&str, &str),
) -> Result<()> {
    for word in words {
        let Some((folder, runs)) = runs::find_folder(word, runs_dir) else {
            continue;
        };
        if SweepDir::at(&folder).is_none() {
            return Err(Error::usage(format!(
                "`{word}` is not a run, but a folder with {}, so nothing was {done}",
                counted(runs.len(), "run")
            ))
            .help(format!(
                "use `runner {command} '{}'` for all runs in the folder",
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

/// The sweeps that the runs belong to, without repetition.
fn sweeps_of(views: &[RunView]) -> Vec<SweepDir> {
    let folders: BTreeSet<PathBuf> = views.iter().map(|view| folder_of(view.path())).collect();
    folders
        .iter()
        .filter_map(|folder| SweepDir::at(folder))
        .collect()
}

/// Fails with every reason why one of the runs cannot be deleted.
fn refuse_needed(views: &[RunView], runs_dir: &Path) -> Result<()> {
    let doomed: HashSet<PathBuf> = views.iter().map(|view| identity(view.path())).collect();
    let mut problems = Vec::new();
    for view in views {
        let place = view.path().display();
        // The claim is looked up again, because the state was read before the user was asked.
        if view.state == RunState::Running || view.dir.is_claimed() {
            problems.push(format!("{place}: in progress"));
        }
        let folder = folder_of(view.path());
        if is_link(view.path()) || (folder != runs_dir && is_link(&folder)) {
            problems.push(format!(
                "{place}: reached through a link; pass the path that it points to"
            ));
        }
    }
    let mut folders: HashSet<PathBuf> = HashSet::from([runs_dir.to_owned()]);
    folders.extend(views.iter().map(|view| folder_of(view.path())));
    for sweep in sweeps_of(views) {
        if claim::is_taken(&sweep.place()) {
            problems.push(format!("{}: in progress", sweep.path().display()));
        }
        // A run beside the sweep may have started from one of its trials.
        folders.insert(folder_of(sweep.path()));
    }
    let children = views.iter().flat_map(|view| view.dir.noted_children());
    let others: HashMap<PathBuf, RunView> = folders
        .iter()
        .flat_map(|folder| runs::all(folder))
        // Children may lie in any folder; those that no longer exist need nothing.
        .chain(children.filter_map(|child| RunDir::open(&child).ok()))
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
            "{parent}: {child} was started from it, and could not be restarted without it"
        ));
    }
    if problems.is_empty() {
        return Ok(());
    }
    let error = Error::usage("some of these runs cannot be deleted, so nothing was deleted");
    let error = problems.into_iter().fold(error, Error::fact);
    Err(error.help("leave these runs out, or also delete the runs that were started from them"))
}

/// The folder of a run. A path such as `NAME` or `.` names no folder, and without one the runs that need this one would not
/// be found.
fn folder_of(path: &Path) -> PathBuf {
    let named = path
        .parent()
        .filter(|folder| path.file_name().is_some() && !folder.as_os_str().is_empty());
    let folder = named.map(Path::to_owned);
    folder.unwrap_or_else(|| identity(path).parent().unwrap_or(path).to_owned())
}

fn in_progress(path: &Path) -> Error {
    Error::usage("the run is in progress").at(path)
}

fn confirmed(views: &[RunView], starts: &[KilledStart], question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(
            Error::usage("cannot ask for confirmation, because stdin is not a terminal")
                .fact(question)
                .help("add `--yes` to delete without confirmation"),
        );
    }
    for view in views {
        let line = format!(
            "  {} ({}, {} epochs)",
            view.path().display(),
            view.state_name(),
            view.epochs()
        );
        talk_line(&line);
    }
    for start in starts {
        let line = format!(
            "  {} (incomplete: killed while it started)",
            start.path().display()
        );
        talk_line(&line);
    }
    talk_line(&format!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(Error::io("read", "stdin"))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// Deletes a run. It is renamed first: if the deletion is cut short, what is left must not be taken for a run.
fn remove(view: &RunView) -> Result<()> {
    // The run may have been resumed while others were deleted.
    if view.dir.is_claimed() {
        return Err(in_progress(view.path()));
    }
    let path = &identity(view.path());
    clear_remains(&folder_of(path));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut doomed = path.with_file_name(format!("{REMAINS}{name}"));
    let mut n_taken = 1;
    while fs::symlink_metadata(&doomed).is_ok() {
        n_taken += 1;
        doomed = path.with_file_name(format!("{REMAINS}{name}-{n_taken}"));
    }
    fs::rename(path, &doomed).map_err(Error::io("delete", path))?;
    remove_renamed(&doomed).map_err(Error::io("delete", doomed))
}

/// Deletes the files of an incomplete run, and nothing that was added since.
fn remove_start(start: &KilledStart) -> Result<()> {
    let path = start.path();
    if KilledStart::at(path).is_none() {
        return Err(in_progress(path));
    }
    let removed = start.entries().and_then(|entries| {
        entries.iter().try_for_each(|entry| {
            unless_gone(if entry.is_dir() {
                fs::remove_dir(entry)
            } else {
                fs::remove_file(entry)
            })
        })
    });
    unless_gone(removed.and_then(|()| fs::remove_dir(path))).map_err(Error::io("delete", path))
}

/// Deletes a renamed run. The manifest goes last: if the deletion is cut short, it shows that the rest was a run.
fn remove_renamed(doomed: &Path) -> io::Result<()> {
    let manifest = RunDir::bare(doomed).manifest_toml();
    unless_gone(fs::read_dir(doomed).and_then(|mut entries| {
        entries.try_for_each(|entry| {
            let entry = entry?;
            if entry.path() == manifest {
                return Ok(());
            }
            unless_gone(if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            })
        })
    }))?;
    unless_gone(fs::remove_file(&manifest))?;
    unless_gone(fs::remove_dir(doomed))
}

/// Ignores files that no longer exist: another process may be deleting the same remains.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Deletes what interrupted deletions left in `folder`, which is hidden and can take gigabytes. A folder that only has such
/// a name is left alone.
fn clear_remains(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let is_named = name.as_encoded_bytes().starts_with(REMAINS.as_bytes());
        if !is_named || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // If this fails, the next deletion tries again.
        let _ = if RunDir::open(&entry.path()).is_ok() {
            remove_renamed(&entry.path())
        } else {
            // Everything but the folder itself may be gone; the folder stays if anything is in it.
            fs::remove_dir(entry.path())
        };
    }
}

/// Deletes what a sweep wrote beside its runs, and its directory if that is empty then.
fn remove_sweep(sweep: &SweepDir) -> Result<()> {
    // A folder with another name belongs to the user, and its sweep file may be the only copy.
    let path = identity(sweep.path());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.starts_with("sweep-") {
        return Ok(());
    }
    for (folder, endings) in sweep.folders() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_temporary = files::is_temporary(&entry.file_name().to_string_lossy());
            let ending = path.extension().and_then(|it| it.to_str());
            if is_temporary || ending.is_some_and(|it| endings.contains(&it)) {
                unless_gone(fs::remove_file(&path)).map_err(Error::io("delete", path))?;
            }
        }
        // The folder stays if it has other files in it.
        let _ = fs::remove_dir(&folder);
    }
    for path in sweep.files() {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("delete", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    // A directory with other files in it stays, and so does a link to the folder of runs. It may be gone already if one sweep
    // was named twice.
    match fs::remove_dir(sweep.path()) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::NotFound
            ) =>
        {
            Err(Error::io("delete", sweep.path())(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

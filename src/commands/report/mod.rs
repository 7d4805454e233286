//! `runner report RUN..`: an HTML page about a run, several runs, or a sweep.

mod facts;
mod gather;
mod heat_maps;
mod opener;
mod photos;
mod sweep;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::compare;
use crate::{
    commands::args::RunsArgs,
    commands::context::Context,
    disk::files::write_atomic,
    error::{Error, Result},
    page,
    runs::{self, Admit, RunView},
    sweep::directory::SweepDir,
    text::table::{counted, size},
};

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Run directories, a sweep directory, folders of runs, glob patterns, or latest:NAME
    #[arg(required = true)]
    pub(crate) runs: Vec<String>,
    /// HTML file to write [default: the name of the run or sweep, or comparison, with .html, in the current folder]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Leave out photos: the gallery has only names, and duplicates are not searched
    #[arg(long)]
    pub(crate) no_photos: bool,
    /// Open the page in the browser
    #[arg(long)]
    pub(crate) open: bool,
    #[command(flatten)]
    pub(crate) folder: RunsArgs,
}

/// A page before it is written.
struct Page {
    /// The name of its file, without the extension.
    name: String,
    html: String,
    n_photos: usize,
    kind: &'static str,
}

pub(crate) fn run(args: &ReportArgs, cx: &Context) -> Result<()> {
    if let Some(path) = &args.output {
        check_is_html(path)?;
    }
    if args.open {
        opener::check()?;
    }
    let page = page(args, cx)?;
    let path = match &args.output {
        Some(path) => path.clone(),
        None => PathBuf::from(format!("{}.html", page.name)),
    };
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    write_atomic(&path, page.html.as_bytes())?;
    let n_bytes = page.html.len() as u64;
    let photos = counted(page.n_photos, "photo");
    let note = match page.kind {
        "run" => format!("a page of {} with {photos}", size(n_bytes)),
        _ => format!("a page of {}", size(n_bytes)),
    };
    cx.console.note(&note);
    let fields = json!({
        "file": path.to_string_lossy(), "kind": page.kind, "bytes": n_bytes, "photos": page.n_photos,
    });
    cx.console
        .answer("report", fields, &path.display().to_string());
    if args.open {
        opener::open(&path)?;
    }
    Ok(())
}

fn page(args: &ReportArgs, cx: &Context) -> Result<Page> {
    let runs_dir = cx.runs_dir(&args.folder);
    if let [word] = &args.runs[..]
        && let Some(dir) = sweep_dir(word, &runs_dir)
    {
        let report = sweep::report(&dir)?;
        return Ok(Page {
            name: format!("sweep-{}", report.name),
            html: page::sweep(&report),
            n_photos: 0,
            kind: "sweep",
        });
    }
    let found = runs::find(&args.runs, &runs_dir, Admit::Bare)?;
    if let [run] = &found.runs[..] {
        for error in &found.left_out {
            cx.console.note(&format!("skipped: {error}"));
        }
        let view = RunView::read(run.clone())?;
        let (html, n_photos) = gather::page(&view, !args.no_photos, &cx.console);
        return Ok(Page {
            name: view.id(),
            html,
            n_photos,
            kind: "run",
        });
    }
    let report = compare::report(&args.runs, &runs_dir, &cx.console)?;
    Ok(Page {
        name: "comparison".to_owned(),
        html: page::comparison(&report),
        n_photos: 0,
        kind: "comparison",
    })
}

fn sweep_dir(word: &str, runs_dir: &Path) -> Option<SweepDir> {
    [PathBuf::from(word), runs_dir.join(word)]
        .iter()
        .find_map(|path| {
            let path: PathBuf = path.components().collect();
            SweepDir::at(&path)
        })
}

/// Fails unless the file is named as HTML: another extension may be a file that the user did not mean to overwrite.
fn check_is_html(path: &Path) -> Result<()> {
    let is_html =
        |it: &std::ffi::OsStr| it.eq_ignore_ascii_case("html") || it.eq_ignore_ascii_case("htm");
    if path.extension().is_some_and(is_html) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "unsupported format of `{}`: reports are written as HTML",
        path.display()
    ))
    .at(path)
    .help(format!("use `{}`", path.with_extension("html").display())))
}

//! `runner cache`: lists, verifies and prunes the activation cache.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    cache::{self, EntryInfo, Prune},
    commands::context::Context,
    console::Console,
    error::{Error, Result},
    system::stop,
    text::{
        moment,
        table::{Align, Table, bytes, shown},
    },
    train::activations,
};

#[derive(Debug, clap::Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) what: Option<CacheCommand>,
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        help = "Cache directory [default: RUNNER_CACHE__DIR, or the user's cache directory]"
    )]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum CacheCommand {
    /// List the entries, with their layers, images, size and last use (the default)
    List,
    /// Read every entry and discard corrupt activations; the next run recomputes them
    Verify,
    /// Remove entries that are not in use
    Prune {
        #[command(flatten)]
        what: PruneWhat,
        /// Show what would be removed, without removing it
        #[arg(long)]
        dry_run: bool,
    },
}

pub(crate) fn run(args: &CacheArgs, cx: &Context) -> Result<()> {
    let dir = dir(args.dir.clone(), &cx.environment)?;
    match &args.what {
        None | Some(CacheCommand::List) => list(&dir, &cx.console),
        Some(CacheCommand::Verify) => verify(&dir, &cx.console),
        Some(CacheCommand::Prune { what, dry_run }) => prune(&dir, *what, *dry_run, &cx.console),
    }
}

/// The directory of the cache, for commands without an experiment.
fn dir(given: Option<PathBuf>, env: &[(String, String)]) -> Result<PathBuf> {
    let variable = env.iter().find(|(name, _)| name == "RUNNER_CACHE__DIR");
    given
        .or_else(|| variable.map(|(_, value)| PathBuf::from(value)))
        .or_else(activations::user_cache)
        .ok_or_else(|| {
            Error::usage("cannot find the home directory, and so not the cache in it")
                .help("pass the directory of the cache with `--dir`")
        })
}

fn list(dir: &Path, console: &Console) -> Result<()> {
    let entries = cache::list(dir)?;
    let mut table = Table::new(&[
        ("entry", Align::Left),
        ("model", Align::Left),
        ("layers", Align::Left),
        ("images", Align::Right),
        ("size", Align::Right),
        ("last used", Align::Left),
        ("", Align::Left),
    ]);
    for entry in &entries {
        let recipe = entry.recipe.as_ref();
        table.row(vec![
            entry.name.clone(),
            shown(recipe.map(|recipe| recipe.arch.clone())),
            shown(recipe.map(|recipe| recipe.prefix.clone())),
            entry.n_items.to_string(),
            bytes(entry.bytes),
            moment(entry.last_used),
            state(entry),
        ]);
    }
    let total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let text = if entries.is_empty() {
        format!("the cache in {} is empty", dir.display())
    } else {
        format!("{}{} in {}", table.text(), bytes(total), dir.display())
    };
    let rows: Vec<Value> = entries.iter().map(fields).collect();
    console.answer(
        "cache",
        json!({ "dir": dir.to_string_lossy(), "bytes": total, "entries": rows }),
        &text,
    );
    Ok(())
}

fn state(entry: &EntryInfo) -> String {
    match (&entry.damaged, entry.owner, entry.in_use) {
        (_, Some(owner), _) => format!("belongs to user {owner}"),
        (Some(fact), None, _) => format!("damaged: {fact}"),
        (None, None, true) => "in use".to_owned(),
        (None, None, false) => String::new(),
    }
}

fn moment(time: SystemTime) -> String {
    shown(moment::of_file(time).map(|time| moment::local(time, "%Y-%m-%d %H:%M")))
}

fn fields(entry: &EntryInfo) -> Value {
    json!({
        "entry": entry.name, "recipe": entry.recipe, "images": entry.n_items, "bytes": entry.bytes,
        "last_used": moment::of_file(entry.last_used).map(|time| time.to_rfc3339()), "in_use": entry.in_use,
        "damaged": entry.damaged, "owner": entry.owner,
    })
}

/// Reads every entry, and discards corrupt activations, so that the next run recomputes them.
fn verify(dir: &Path, console: &Console) -> Result<()> {
    console.transfer_starts("verifying");
    let verified = cache::verify(
        dir,
        |done, total| console.transferred(done, Some(total)),
        stop::on_signals(),
    );
    console.transfer_ends();
    let verified = verified?;
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    for entry in &verified {
        let sound = entry.n_items - entry.n_damaged;
        let damaged = match entry.n_damaged {
            0 => String::new(),
            n_damaged => format!(", {n_damaged} corrupt (to be recomputed)"),
        };
        let problem = entry.problem.as_ref();
        let problem = problem.map_or_else(String::new, |problem| format!("; {problem}"));
        let line = format!("{}: {sound} images ok{damaged}{problem}", entry.name);
        lines.push(line);
        rows.push(json!({
            "entry": entry.name, "sound": sound, "damaged": entry.n_damaged, "problem": entry.problem,
        }));
    }
    if lines.is_empty() {
        lines.push(format!("the cache in {} is empty", dir.display()));
    }
    let fields = json!({ "dir": dir.to_string_lossy(), "entries": rows });
    console.answer("verified", fields, &lines.join("\n"));
    let n_bad = verified
        .iter()
        .filter(|entry| entry.problem.is_some())
        .count();
    if n_bad == 0 {
        return Ok(());
    }
    Err(Error::run(
        dir,
        format!(
            "{} of the cache cannot be read in full",
            counted_entries(n_bad)
        ),
    )
    .help("run `runner cache prune --all` to remove them; otherwise, the next run sets them aside"))
}

fn counted_entries(n: usize) -> String {
    match n {
        1 => "1 entry".to_owned(),
        n => format!("{n} entries"),
    }
}

/// What to prune: exactly one of these options.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PruneWhat {
    /// Remove every entry
    #[arg(long)]
    all: bool,
    /// Remove entries that were not used for this many days
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u16>,
    /// Remove the least recently used entries until the cache takes at most this many GiB
    #[arg(long, value_name = "GIB")]
    to: Option<u32>,
}

impl PruneWhat {
    fn resolve(self) -> Prune {
        match (self.older_than, self.to) {
            (Some(days), _) => Prune::OlderThan(Duration::from_hours(24 * u64::from(days))),
            (None, Some(gib)) => Prune::ToSize(u64::from(gib) << 30),
            (None, None) => Prune::All,
        }
    }
}

/// Removes entries that no process is using; later runs recompute what they need.
fn prune(dir: &Path, what: PruneWhat, is_dry: bool, console: &Console) -> Result<()> {
    let pruned = cache::prune(dir, what.resolve(), is_dry)?;
    let (failed, removed): (Vec<_>, Vec<_>) =
        pruned.iter().partition(|entry| entry.problem.is_some());
    let n_bytes: u64 = removed.iter().map(|entry| entry.bytes).sum();
    let names: Vec<&str> = removed.iter().map(|entry| entry.name.as_str()).collect();
    let text = match (names.as_slice(), is_dry) {
        ([], _) => "nothing to remove".to_owned(),
        (names, true) => format!("would remove {} ({})", names.join(", "), bytes(n_bytes)),
        (names, false) => format!("removed {} ({})", names.join(", "), bytes(n_bytes)),
    };
    let fields = json!({ "dir": dir.to_string_lossy(), "removed": names, "bytes": n_bytes, "dry_run": is_dry });
    console.answer("pruned", fields, &text);
    let Some(first) = failed.first() else {
        return Ok(());
    };
    Err(Error::run(
        dir.join(&first.name),
        first.problem.clone().unwrap_or_default(),
    ))
}

//! `runner sweep FILE`: runs the trials of a sweep, each an ordinary run in its own process, and prints their leaderboard.

mod check;
mod cluster;
mod disk;
mod emit;
mod plan;
mod report;
mod status;

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use self::{
    disk::SweepDisk,
    plan::plan,
    report::{conclude, list},
};
use super::fit;
use crate::{
    claim::{Claim, ClaimAnswer},
    commands::args::Overrides,
    commands::context::Context,
    config,
    console::{Console, talk_line},
    disk::files::write_atomic,
    error::{Error, Result},
    runs::RunState,
    sweep::{
        DEFAULTS,
        campaign::Campaign,
        definition::{Definition, LauncherKind},
        file,
        launcher::Local,
        standing::TrialStanding,
    },
    system::stop,
    text::{
        plain::{for_the_shell, masked},
        table::counted,
    },
};

#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub(crate) struct SweepArgs {
    /// Sweep file (TOML), for example configs/sweeps/lr.toml
    #[arg(required_unless_present = "defaults")]
    pub(crate) file: Option<PathBuf>,
    /// Number of trials to run in parallel; they share the CPU threads [default: `launcher.max_parallel` in the sweep file]
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<NonZeroUsize>,
    /// List the trials and their state, and what they take on the disk, without running them
    #[arg(long, group = "action")]
    pub(crate) dry_run: bool,
    /// Where trials run: `local`, on this machine, or `slurm`, in a cluster [default: `launcher.kind` in the sweep file]
    // Hidden, because lists of values make the page several times as long.
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub(crate) launcher: Option<LauncherKind>,
    /// Show how far the trials of a started sweep are
    #[arg(long, group = "action", conflicts_with = "parallel")]
    pub(crate) status: bool,
    /// Like --status, repeated until no trial runs or is queued
    #[arg(long, group = "action", conflicts_with = "parallel")]
    pub(crate) watch: bool,
    /// Stop all trials at the next safe point; running the sweep again resumes them
    #[arg(long, group = "action", conflicts_with = "parallel")]
    pub(crate) cancel: bool,
    /// Write the trials as folders, and their commands to DIR/tasks.tsv, for another scheduler
    #[arg(long, value_name = "DIR", conflicts_with_all = ["action", "launcher", "parallel"])]
    pub(crate) emit: Option<PathBuf>,
    /// Print every key of sweep files with its default and a comment
    #[arg(long, conflicts_with_all = ["file", "parallel", "dry_run", "sets", "launcher", "action", "emit"])]
    pub(crate) defaults: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

/// What the sweep is to run, as the user typed it.
struct SweepRequest {
    file: PathBuf,
    sets: Vec<String>,
    env: Vec<(String, String)>,
    /// Overrides `launcher.max_parallel` of the sweep file.
    parallel: Option<NonZeroUsize>,
    /// Overrides `launcher.kind` of the sweep file.
    launcher: Option<LauncherKind>,
    /// The folder to write the sweep to, if another program is to run it.
    emit: Option<PathBuf>,
}

pub(crate) fn run(args: &SweepArgs, cx: &Context) -> Result<()> {
    let Some(file) = &args.file else {
        let fields = super::config::defaults_fields(DEFAULTS);
        return cx.console.document("defaults", fields, DEFAULTS);
    };
    let request = &SweepRequest {
        file: file.clone(),
        sets: args.overrides.sets.clone(),
        env: cx.environment.clone(),
        parallel: args.parallel,
        launcher: args.launcher,
        emit: args.emit.clone(),
    };
    let console = &cx.console;
    let mut definition = read(request)?;
    if let Some(kind) = args.launcher {
        definition.launcher.kind = kind;
    }
    if args.cancel {
        return status::cancel(&definition, request, console);
    }
    if args.watch {
        return status::watch(&definition, request, count_stops(), console);
    }
    if args.status {
        return status::status(&definition, request, console);
    }
    let mut campaign = plan(&definition, request, console)?;
    campaign.view.find_runs();
    let of_file = || definition.launcher.n_at_once();
    let n_at_once = request.parallel.map_or_else(of_file, NonZeroUsize::get);
    let kind = definition.launcher.kind;
    if kind == LauncherKind::Local && args.emit.is_none() {
        check_memory(&campaign, n_at_once, console)?;
    }
    let disk = SweepDisk::of(&campaign, n_at_once);
    if args.dry_run {
        campaign.view.look_at_rungs();
        campaign.judge(&BTreeSet::new(), None);
        let script = match kind {
            LauncherKind::Local => None,
            LauncherKind::Slurm => {
                let batch = cluster::batch(&campaign, &definition, request)?;
                Some(cluster::script(&batch, campaign.orders.len())?)
            }
        };
        list(&campaign.view, &definition, (&disk, script), console);
        return Ok(());
    }
    disk.warn(console);
    if args.emit.is_some() {
        emit::check_place(&campaign.view.dir)?;
    }
    let n_asked = count_stops();
    let claim = prepare(&mut campaign, &definition, n_asked, console)?;
    if args.emit.is_some() {
        return emit::emit(&campaign, &definition, request, console);
    }
    match kind {
        LauncherKind::Slurm => {
            let batch = cluster::batch(&campaign, &definition, request)?;
            cluster::submit(&mut campaign, &batch, console)
        }
        LauncherKind::Local => {
            let n_at_once = n_at_once.min(campaign.orders.len());
            let mut launcher = Local::new(n_at_once, &definition.launcher.gpus)?;
            let outcome = campaign.run(&mut launcher, n_asked, console);
            console.board_ends();
            claim.ensure_ours()?;
            campaign.look(&BTreeSet::new());
            campaign.view.write(true)?;
            if outcome.as_ref().is_err_and(Error::is_interrupted) {
                console.note(&format!("interrupted; to resume, run `{}`", again(request)));
            }
            outcome?;
            conclude(&campaign, console)
        }
    }
}

/// Claims the directory of a sweep, and writes what the processes of its trials read there.
fn prepare(
    campaign: &mut Campaign,
    definition: &Definition,
    n_asked: &'static AtomicUsize,
    console: &Console,
) -> Result<Claim> {
    let dir = campaign.view.dir.clone();
    dir.create()?;
    let claim = match Claim::take(dir.place(), n_asked, console)? {
        ClaimAnswer::Ours(claim) => claim,
        ClaimAnswer::Theirs(who) => {
            return Err(
                Error::usage(format!("the sweep is already in progress: {who}"))
                    .at(dir.path())
                    .help("wait for it to end, or give this sweep another `name`"),
            );
        }
    };
    // Another process may have run trials until this one got the claim.
    campaign.view.find_runs();
    let source = definition.source.text.as_deref().unwrap_or_default();
    write_atomic(&dir.sweep_toml(), masked(source).as_bytes())?;
    campaign.view.record.write(&dir)?;
    campaign.view.prepare_rungs()?;
    campaign.view.look_at_rungs();
    campaign.view.slim_demoted(n_asked, console)?;
    tell_of_strangers(campaign, console);
    dir.forget_cancel()?;
    Ok(claim)
}

/// Fails if the trials that will run in parallel do not fit into memory. Trials that outlived a killed sweep are left out,
/// because they hold their memory already.
fn check_memory(campaign: &Campaign, n_at_once: usize, console: &Console) -> Result<()> {
    let state = |standing: &TrialStanding| standing.run.as_ref().map(|run| run.state);
    let trials = campaign.orders.iter().zip(&campaign.view.standings);
    let (mut needed, mut n_running) = (Vec::new(), 0);
    for (order, standing) in trials {
        match state(standing) {
            Some(RunState::Finished) => {}
            Some(RunState::Running) => n_running += 1,
            Some(RunState::Interrupted | RunState::Killed | RunState::Failed) | None => {
                needed.push(order.memory_bytes);
            }
        }
    }
    needed.sort_unstable_by(|a, b| b.cmp(a));
    needed.truncate(n_at_once.saturating_sub(n_running));
    fit::check_together(&needed, console)
}

/// The command that resumes the sweep. It repeats `--set`, which decides what the trials are, `--parallel`, with which they are
/// known to fit, and `--launcher`.
fn again(request: &SweepRequest) -> String {
    let parallel = request.parallel.map(|n| n.to_string());
    let parallel = parallel.map(|n| ["--parallel".to_owned(), n]);
    let launcher = request.launcher.map(|kind| kind.name().to_owned());
    let launcher = launcher.map(|name| ["--launcher".to_owned(), name]);
    let words = std::iter::once(request.file.display().to_string())
        .chain(
            request
                .sets
                .iter()
                // Where files are downloaded from changes no trial, and the URL may hold a password.
                .filter(|set| !set.trim_start().starts_with("fetch."))
                .flat_map(|set| ["--set".to_owned(), set.clone()]),
        )
        .chain(parallel.into_iter().flatten())
        .chain(launcher.into_iter().flatten());
    let words: Vec<String> = words
        .map(|word| for_the_shell(&word).into_owned())
        .collect();
    format!("runner sweep {}", words.join(" "))
}

/// Mentions runs in the directory that are not trials of this sweep, but of an earlier file or of other `--set`.
fn tell_of_strangers(campaign: &Campaign, console: &Console) {
    let n_strangers = campaign.view.strangers.len();
    if n_strangers > 0 {
        console.note(&format!(
            "{} in {} not part of this sweep; kept, but not on its leaderboard",
            counted(n_strangers, "run"),
            campaign.view.dir.path().display()
        ));
    }
}

fn read(request: &SweepRequest) -> Result<Definition> {
    let text = config::layers::read_file(&request.file)?;
    file::read(&request.file, &text)
}

/// Counts the requests to stop: the first one stops the trials after their current step, a second Ctrl-C kills them.
fn count_stops() -> &'static AtomicUsize {
    static N_ASKED: AtomicUsize = AtomicUsize::new(0);
    stop::listen(|is_ctrl_c| {
        let is_first = N_ASKED.load(Ordering::Relaxed) == 0;
        if is_first || is_ctrl_c {
            N_ASKED.fetch_add(1, Ordering::Relaxed);
        }
        if is_first {
            talk_line(
                "\nstopping the trials at the next safe point (press Ctrl-C again to quit immediately)",
            );
        }
    });
    &N_ASKED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_resumes_a_sweep_repeats_its_options() {
        let request = SweepRequest {
            file: PathBuf::from("a b.toml"),
            sets: vec!["seed=1".to_owned(), "fetch.mirror=https://a:b@c".to_owned()],
            env: Vec::new(),
            parallel: NonZeroUsize::new(3),
            launcher: Some(LauncherKind::Local),
            emit: None,
        };
        assert_eq!(
            again(&request),
            "runner sweep 'a b.toml' --set seed=1 --parallel 3 --launcher local"
        );
    }
}

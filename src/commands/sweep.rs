//! `runner sweep FILE`: runs the trials of a sweep, each an ordinary run in its own process, and prints their leaderboard.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    num::NonZeroUsize,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use toml::Table;

use super::{
    fit, prepare,
    sweep_check::Checks,
    sweep_report::{conclude, list},
};
use crate::{
    claim::{Claim, ClaimAnswer},
    commands::args::Overrides,
    commands::context::Context,
    config::{self, Loaded, experiment::Metric},
    console::{Console, talk_line},
    disk::files::write_atomic,
    error::{Diagnostic, Error, Kind, Result},
    rundir::records,
    runs::RunState,
    sweep::{
        DEFAULTS,
        board::{TrialStanding, TrialState},
        campaign::{Campaign, TrialOrder},
        definition::Definition,
        directory::{self, SweepDir},
        file,
        launcher::Local,
        trials::{self, Trial},
        validate,
    },
    system::stop,
    text::{plain::masked, table::counted},
};

#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    /// Sweep file (TOML), for example configs/sweeps/lr.toml
    #[arg(required_unless_present = "defaults")]
    pub(crate) file: Option<PathBuf>,
    /// Number of trials to run in parallel; they share the CPU threads [default: `parallel` in the sweep file]
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<NonZeroUsize>,
    /// List the trials and their state, without running them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print every key of sweep files with its default and a comment
    #[arg(long, conflicts_with_all = ["file", "parallel", "dry_run", "sets"])]
    pub(crate) defaults: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

/// What the sweep is to run, as the user typed it.
struct SweepRequest {
    file: PathBuf,
    sets: Vec<String>,
    env: Vec<(String, String)>,
    /// Overrides `parallel` of the sweep file.
    parallel: Option<NonZeroUsize>,
    dry_run: bool,
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
        dry_run: args.dry_run,
    };
    let console = &cx.console;
    let definition = read(request)?;
    let mut campaign = plan(&definition, request, console)?;
    campaign.find_runs();
    let n_at_once = request.parallel.unwrap_or(definition.parallel).get();
    check_memory(&campaign, n_at_once, console)?;
    if request.dry_run {
        campaign.judge(&BTreeSet::new(), None);
        list(&campaign, &definition, console);
        return Ok(());
    }
    let dir = campaign.dir.clone();
    dir.create()?;
    let n_asked = count_stops();
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
    campaign.find_runs();
    let source = definition.source.text.as_deref().unwrap_or_default();
    write_atomic(&dir.sweep_toml(), masked(source).as_bytes())?;
    tell_of_strangers(&campaign, console);
    let mut launcher = Local::new(n_at_once.min(campaign.orders.len()))?;
    let outcome = campaign.run(&mut launcher, n_asked, console);
    console.board_ends();
    claim.ensure_ours()?;
    campaign.look(&BTreeSet::new());
    campaign.write(true)?;
    if outcome.as_ref().is_err_and(Error::is_interrupted) {
        console.note(&format!("interrupted; to resume, run `{}`", again(request)));
    }
    outcome?;
    conclude(&campaign, console)
}

/// Fails if the trials that will run in parallel do not fit into memory. Trials that outlived a killed sweep are left out,
/// because they hold their memory already.
fn check_memory(campaign: &Campaign, n_at_once: usize, console: &Console) -> Result<()> {
    let state = |standing: &TrialStanding| standing.run.as_ref().map(|run| run.state);
    let trials = campaign.orders.iter().zip(&campaign.standings);
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

/// The command that resumes the sweep. It repeats `--set`, which decides what the trials are, and `--parallel`, with which
/// they are known to fit.
fn again(request: &SweepRequest) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/:=+,".contains(letter);
    let parallel = request.parallel.map(|n| n.to_string());
    let parallel = parallel.map(|n| ["--parallel".to_owned(), n]);
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
        .map(|word| {
            if word.chars().all(is_plain) {
                word
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        });
    format!("runner sweep {}", words.collect::<Vec<_>>().join(" "))
}

/// Mentions runs in the directory that are not trials of this sweep, but of an earlier file or of other `--set`.
fn tell_of_strangers(campaign: &Campaign, console: &Console) {
    let n_strangers = campaign.strangers.len();
    if n_strangers > 0 {
        console.note(&format!(
            "{} in {} not part of this sweep; kept, but not on its leaderboard",
            counted(n_strangers, "run"),
            campaign.dir.path().display()
        ));
    }
}

fn read(request: &SweepRequest) -> Result<Definition> {
    let text = config::layers::read_file(&request.file)?;
    file::read(&request.file, &text)
}

/// Checks every trial before the first one starts, and reports the problems of all of them together.
fn plan(definition: &Definition, request: &SweepRequest, console: &Console) -> Result<Campaign> {
    let trials = trials::trials(definition);
    let loaded = validate::experiments(definition, &trials, &request.sets, &request.env)?;
    let runs_dir = loaded
        .first()
        .map(|loaded| loaded.experiment.runs_dir.clone())
        .unwrap_or_default();
    let dir = SweepDir::new(&runs_dir, &definition.name);
    let axes: Vec<String> = definition
        .axes
        .iter()
        .map(|axis| axis.key.clone())
        .collect();
    let mut orders = Vec::new();
    let mut checks = Checks::default();
    // Trials often share a problem, such as missing images, which is then reported once.
    let mut problems: Vec<(Vec<Diagnostic>, Vec<&Trial>)> = Vec::new();
    for (trial, loaded) in trials.iter().zip(&loaded) {
        let sets = validate::sets_of(definition, trial, &request.sets);
        let experiment = prepare::ExperimentRequest {
            file: definition.base.clone(),
            sets,
            env: request.env.clone(),
        };
        let problem = match checks.check(&experiment, loaded, &axes, console) {
            Ok((identity, Ok(seen))) => {
                orders.push(TrialOrder {
                    recipe: recipe(&experiment, trial, loaded, &identity, &dir)?,
                    recipe_toml: dir.recipe_of(&trial.name),
                    log: dir.log_of(&trial.name),
                    key: directory::key(&identity, &seen.data_sha256),
                    memory_bytes: seen.memory_bytes,
                    is_started: false,
                    has_failed: false,
                    ending: String::new(),
                });
                continue;
            }
            Ok((_, Err(problem))) => problem,
            Err(error) if error.is_interrupted() => return Err(error),
            Err(error) => error.into_diagnostics(),
        };
        match problems.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, trials)) => trials.push(trial),
            None => problems.push((problem, vec![trial])),
        }
    }
    let axis_labels = trials::axis_labels(definition);
    if !problems.is_empty() {
        let problems = problems.into_iter().flat_map(|(problem, wrong)| {
            let fact = of_trials(&wrong, trials.len(), &axis_labels);
            problem.into_iter().map(move |mut diagnostic| {
                diagnostic.facts.splice(0..0, fact.clone());
                diagnostic
            })
        });
        return Err(Error::new(Kind::Data, problems.collect()));
    }
    Ok(Campaign {
        name: definition.name.clone(),
        dir,
        axes,
        metric: common_metric(&loaded),
        orders,
        standings: trials
            .iter()
            .map(|trial| standing(trial, &axis_labels))
            .collect(),
        axis_labels,
        strangers: BTreeSet::new(),
        is_awaiting_runs: false,
        written: Vec::new(),
    })
}

/// `in trial 2 (arch=vgg19)`, `in trials 1, 2`; nothing if all trials have the problem.
fn of_trials(wrong: &[&Trial], n_trials: usize, axis_labels: &[String]) -> Option<String> {
    match wrong {
        all if all.len() == n_trials => None,
        [first] => {
            let label = first.label(axis_labels);
            Some(format!("in trial {} ({label})", first.number))
        }
        several => {
            let numbers = several.iter().map(|trial| trial.number.to_string());
            let numbers: Vec<String> = numbers.collect();
            Some(format!("in trials {}", numbers.join(", ")))
        }
    }
}

/// The trial as an experiment file of its own, which later changes to the sweep file, the base or the environment do not
/// affect.
fn recipe(
    request: &prepare::ExperimentRequest,
    trial: &Trial,
    loaded: &Loaded,
    identity: &Table,
    dir: &SweepDir,
) -> Result<String> {
    let path = dir.recipe_of(&trial.name);
    let runs_dir = config::path_text(dir.path())?;
    let mut experiment = loaded.resolved.clone();
    experiment.insert("name".to_owned(), trial.name.clone().into());
    experiment.insert("runs_dir".to_owned(), runs_dir.into());
    // `latest:NAME` would be looked up in `runs_dir`, which is the directory of the sweep now.
    if let Some(parent) = identity.get("init_from") {
        experiment.insert("init_from".to_owned(), parent.clone());
    }
    let mut text = format!(
        "# Trial {} as it was checked: {} with\n",
        trial.number,
        request.file.display()
    );
    for set in &request.sets {
        let words = masked(set).replace(char::is_control, " ");
        let _ = writeln!(text, "#   {words}");
    }
    let rows = loaded.origins.iter();
    for (key, value, _) in rows.filter(|(_, _, origin)| origin == config::OF_SWEEPS) {
        let _ = writeln!(text, "#   {key} = {value} ({})", config::OF_SWEEPS);
    }
    Ok(text + "\n" + &records::toml_text(&path, &experiment)?)
}

fn common_metric(loaded: &[Loaded]) -> Metric {
    let mut metrics = loaded
        .iter()
        .map(|loaded| loaded.experiment.training.metric);
    let first = metrics.next().unwrap_or(Metric::ValidAccuracy);
    // Trials with different metrics are ranked by accuracy, which most people mean by best.
    if metrics.all(|metric| metric == first) {
        first
    } else {
        Metric::ValidAccuracy
    }
}

fn standing(trial: &Trial, axis_labels: &[String]) -> TrialStanding {
    TrialStanding {
        number: trial.number,
        label: trial.label(axis_labels),
        values: trial
            .settings
            .iter()
            .map(|setting| setting.value.clone())
            .collect(),
        state: TrialState::Waiting,
        reason: String::new(),
        run: None,
        n_epochs_told: 0,
    }
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
            dry_run: false,
        };
        assert_eq!(
            again(&request),
            "runner sweep 'a b.toml' --set seed=1 --parallel 3"
        );
    }
}

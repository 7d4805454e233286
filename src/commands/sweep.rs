//! `runner sweep FILE`: trials of one experiment, each an ordinary run of a process of its own, and their leaderboard.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    num::NonZeroUsize,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use toml::Table;

use super::{fit, prepare, sweep_check::Checks};
use crate::{
    claim::{Claim, ClaimAnswer},
    config::{self, Loaded, experiment::Metric},
    console::{Console, answer_width, talk_line},
    disk::files::write_atomic,
    error::{Error, Result},
    rundir::records,
    runs::RunState,
    sweep::{
        board::{self, Standing, TrialState},
        campaign::{Campaign, Order},
        definition::Definition,
        directory::SweepDir,
        file,
        launcher::Local,
        trials::{self, Trial},
        validate,
    },
    system::stop,
    text::{plain::masked, table::counted},
};

pub(crate) struct Request {
    pub(crate) file: PathBuf,
    pub(crate) sets: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Instead of what the file says.
    pub(crate) parallel: Option<NonZeroUsize>,
    pub(crate) dry_run: bool,
}

pub(crate) fn sweep(request: &Request, console: &Console) -> Result<()> {
    let definition = read(request)?;
    let mut campaign = plan(&definition, request, console)?;
    campaign.find_runs();
    let n_at_once = request.parallel.unwrap_or(definition.parallel).get();
    check_memory(&campaign, n_at_once, console)?;
    if request.dry_run {
        list(&campaign, &definition, console);
        return Ok(());
    }
    let dir = campaign.dir.clone();
    dir.create()?;
    let n_asked = count_stops();
    let claim = match Claim::take(dir.place(), n_asked, console)? {
        ClaimAnswer::Ours(claim) => claim,
        ClaimAnswer::Theirs(who) => {
            return Err(Error::usage(format!(
                "{}: this sweep is in progress: {who}\nhelp: wait for it, or give yours another `name`",
                dir.path().display()
            )));
        }
    };
    // Until now another call may have been at work.
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
        console.note(&format!("interrupted; to go on: {}", again(request)));
    }
    outcome?;
    conclude(&campaign, console)
}

/// That as many of the trials as will run beside each other fit. Those that outlived a killed sweep have their memory.
fn check_memory(campaign: &Campaign, n_at_once: usize, console: &Console) -> Result<()> {
    let state = |standing: &Standing| standing.run.as_ref().map(|run| run.state);
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

/// The command that goes on with the sweep: with other `--set` its trials would be others, and with other `--parallel` it
/// may not fit.
fn again(request: &Request) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/:=+,".contains(letter);
    let parallel = request.parallel.map(|n| n.to_string());
    let parallel = parallel.map(|n| ["--parallel".to_owned(), n]);
    let words = std::iter::once(request.file.display().to_string())
        .chain(
            request
                .sets
                .iter()
                // It makes no other trials, and may hold a password.
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

/// Runs of an earlier file, or of other `--set`, that no trial of this one is.
fn tell_of_strangers(campaign: &Campaign, console: &Console) {
    let n_strangers = campaign.strangers.len();
    if n_strangers > 0 {
        console.note(&format!(
            "{} in {} of no trial of this sweep: left there, but not on its leaderboard",
            counted(n_strangers, "run"),
            campaign.dir.path().display()
        ));
    }
}

fn read(request: &Request) -> Result<Definition> {
    let text = config::layers::read_file(&request.file)?;
    file::read(&request.file, &text)
}

/// Everything that can be wrong is found here, before anything starts.
fn plan(definition: &Definition, request: &Request, console: &Console) -> Result<Campaign> {
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
    // Each with its trials, because they may share it.
    let mut problems: Vec<(String, Vec<&Trial>)> = Vec::new();
    for (trial, loaded) in trials.iter().zip(&loaded) {
        let sets = validate::sets_of(definition, trial, &request.sets);
        let experiment = prepare::Request {
            file: definition.base.clone(),
            sets,
            env: request.env.clone(),
        };
        let problem = match checks.check(&experiment, loaded, &axes, console) {
            Ok((identity, Ok(seen))) => {
                orders.push(Order {
                    recipe: recipe(&experiment, trial, loaded, &identity, &dir)?,
                    recipe_toml: dir.recipe_of(&trial.name),
                    log: dir.log_of(&trial.name),
                    identity,
                    data_sha256: seen.data_sha256,
                    memory_bytes: seen.memory_bytes,
                    is_started: false,
                    has_failed: false,
                    ending: String::new(),
                });
                continue;
            }
            Ok((_, Err(problem))) => problem,
            Err(error) if error.is_interrupted() => return Err(error),
            Err(error) => error.to_string(),
        };
        match problems.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, trials)) => trials.push(trial),
            None => problems.push((problem, vec![trial])),
        }
    }
    let axis_labels = trials::axis_labels(definition);
    if !problems.is_empty() {
        let problems = problems.iter();
        let problems =
            problems.map(|(problem, wrong)| of_trials(problem, wrong, trials.len(), &axis_labels));
        return Err(Error::data(problems.collect::<Vec<_>>().join("\n")));
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

/// `trial 2 (arch=vgg19): ..`; of all trials, the problem alone.
fn of_trials(problem: &str, wrong: &[&Trial], n_trials: usize, axis_labels: &[String]) -> String {
    match wrong {
        all if all.len() == n_trials => problem.to_owned(),
        [first] => format!(
            "trial {} ({}): {problem}",
            first.number,
            first.label(axis_labels)
        ),
        several => {
            let numbers: Vec<String> = several
                .iter()
                .map(|trial| trial.number.to_string())
                .collect();
            format!("trials {}: {problem}", numbers.join(", "))
        }
    }
}

/// The trial as a file that means the same whatever becomes of the ones it was made of, and of the environment.
fn recipe(
    request: &prepare::Request,
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
    // `latest:NAME` would be looked for among the trials.
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
    Ok(text + "\n" + &records::toml_text(&path, &experiment)?)
}

fn common_metric(loaded: &[Loaded]) -> Metric {
    let mut metrics = loaded
        .iter()
        .map(|loaded| loaded.experiment.training.metric);
    let first = metrics.next().unwrap_or(Metric::ValidAccuracy);
    // Trials that are best at different things are ranked by what people mean by best.
    if metrics.all(|metric| metric == first) {
        first
    } else {
        Metric::ValidAccuracy
    }
}

fn standing(trial: &Trial, axis_labels: &[String]) -> Standing {
    Standing {
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

/// What `--dry-run` says.
fn list(campaign: &Campaign, definition: &Definition, console: &Console) {
    let lines: Vec<String> = campaign
        .standings
        .iter()
        .map(|standing| {
            let what = match standing.run.as_ref().map(|run| run.state) {
                None => "to be run".to_owned(),
                Some(RunState::Finished) => "finished".to_owned(),
                Some(RunState::Running) => "running".to_owned(),
                Some(state @ (RunState::Interrupted | RunState::Killed | RunState::Failed)) => {
                    format!("{}, to be resumed", state.name())
                }
            };
            format!("{:>5}  {}  ({what})", standing.number, standing.label)
        })
        .collect();
    let text = format!(
        "{} of {} in {}\n{}",
        counted(lines.len(), "trial"),
        definition.base.display(),
        campaign.dir.path().display(),
        lines.join("\n")
    );
    console.answer("sweep", fields(campaign), &text);
}

fn conclude(campaign: &Campaign, console: &Console) -> Result<()> {
    let mut table = board::leaderboard(&campaign.standings, campaign.metric);
    table.fit(answer_width(), &[], "varies");
    let text = format!("{}\n{}", table.text(), campaign.dir.path().display());
    console.answer("sweep", fields(campaign), &text);
    let is_open = |trial: &&Standing| trial.state != TrialState::Finished;
    match campaign.standings.iter().filter(is_open).count() {
        0 => Ok(()),
        n_open => Err(Error::training(format!(
            "{n_open} of {} trials did not finish\nhelp: the same command tries them again",
            campaign.standings.len()
        ))),
    }
}

fn fields(campaign: &Campaign) -> Value {
    let trials = board::json(&campaign.standings, &campaign.axes, campaign.metric);
    json!({ "sweep": campaign.dir.path().to_string_lossy(), "trials": trials })
}

/// How often to stop was asked for: once stops the trials after their step, a second Ctrl-C ends them.
fn count_stops() -> &'static AtomicUsize {
    static N_ASKED: AtomicUsize = AtomicUsize::new(0);
    stop::listen(|is_ctrl_c| {
        let is_first = N_ASKED.load(Ordering::Relaxed) == 0;
        if is_first || is_ctrl_c {
            N_ASKED.fetch_add(1, Ordering::Relaxed);
        }
        if is_first {
            talk_line("\nstopping the trials at the next safe place (once more to stop at once)");
        }
    });
    &N_ASKED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_with_a_sweep_says_all_that_was_said() {
        let request = Request {
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

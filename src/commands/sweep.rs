//! `runner sweep FILE`: trials of one experiment, each an ordinary run of a process of its own, and their leaderboard.
//! The trials' run directories say how they stand; nothing else is remembered.

use std::{
    collections::BTreeSet,
    fs,
    num::NonZeroUsize,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use toml::Table;

use super::prepare;
use crate::{
    claim::Claim,
    config::{Loaded, experiment::Metric},
    console::{Console, talk_line},
    error::{Error, Result},
    files::write_atomic,
    records,
    runs::{RunState, RunView},
    sweep::{
        board::{self, Standing, TrialState},
        definition::{self, Definition},
        directory::{SweepDir, identity},
        launcher::{Job, Launcher, Local},
        trials::{self, Trial},
        validate,
    },
};

pub(crate) struct Request {
    pub(crate) file: PathBuf,
    pub(crate) sets: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Instead of what the file says.
    pub(crate) parallel: Option<NonZeroUsize>,
    pub(crate) dry_run: bool,
}

/// How often run directories are looked at.
const PAUSE: Duration = Duration::from_millis(250);
/// A picture costs a good part of a second.
const PICTURE_EVERY: Duration = Duration::from_secs(20);

/// What a trial is to become, besides how it stands.
struct Order {
    trial: Trial,
    /// What its run's experiment must be.
    identity: Table,
    data_sha256: String,
    /// Each trial is started once by a sweep; one that fails is tried again by the next.
    is_started: bool,
}

struct Sweep<'a> {
    definition: Definition,
    axes: Vec<String>,
    metric: Metric,
    dir: SweepDir,
    request: &'a Request,
    orders: Vec<Order>,
    standings: Vec<Standing>,
    console: &'a Console,
}

pub(crate) fn sweep(request: &Request, console: &Console) -> Result<()> {
    let mut sweep = plan(request, console)?;
    sweep.look();
    if request.dry_run {
        sweep.list();
        return Ok(());
    }
    sweep.dir.create()?;
    let Some(_claim) = Claim::take(&sweep.dir.lock())? else {
        return Err(Error::Usage(format!(
            "{}: another process is at work on this sweep\nhelp: wait for it, or give yours another `name`",
            sweep.dir.path().display()
        )));
    };
    write_atomic(
        &sweep.dir.sweep_toml(),
        sweep
            .definition
            .source
            .text
            .as_deref()
            .unwrap_or_default()
            .as_bytes(),
    )?;
    let parallel = request.parallel.unwrap_or(sweep.definition.parallel).get();
    let mut launcher = Local::new(parallel)?;
    let outcome = sweep.run(&mut launcher, parallel);
    console.board_ends();
    sweep.look();
    sweep.write(true)?;
    outcome?;
    sweep.conclude()
}

/// Everything that can be wrong is found here, before anything starts.
fn plan<'a>(request: &'a Request, console: &'a Console) -> Result<Sweep<'a>> {
    let text = fs::read_to_string(&request.file).map_err(Error::io("reading", &request.file))?;
    let definition = definition::read(&request.file, &text)?;
    let trials = trials::trials(&definition);
    let loaded = validate::experiments(&definition, &trials, &request.sets, &request.env)?;
    let axes = trials::axis_labels(&definition);
    let first = &loaded[0].experiment;
    let metric = common_metric(&loaded);
    let dir = SweepDir::new(&first.runs_dir, &definition.name);
    let mut orders = Vec::new();
    let mut checked: Vec<(Table, String)> = Vec::new();
    let mut problems = BTreeSet::new();
    for (trial, loaded) in trials.into_iter().zip(&loaded) {
        match checked_data(&definition, &trial, loaded, request, &mut checked, console) {
            Ok((identity, data_sha256)) => orders.push(Order {
                trial,
                identity,
                data_sha256,
                is_started: false,
            }),
            Err(error @ Error::Interrupted) => return Err(error),
            Err(error) => {
                problems.insert(error.to_string());
            }
        }
    }
    if !problems.is_empty() {
        let problems: Vec<String> = problems.into_iter().collect();
        return Err(Error::Data(problems.join("\n")));
    }
    let standings = orders
        .iter()
        .map(|order| standing(&order.trial, &axes))
        .collect();
    Ok(Sweep {
        definition,
        axes,
        metric,
        dir,
        request,
        orders,
        standings,
        console,
    })
}

fn common_metric(loaded: &[Loaded]) -> Metric {
    let metric = |loaded: &Loaded| loaded.experiment.training.metric;
    let first = metric(&loaded[0]);
    // Trials that are best at different things are ranked by what people mean by best.
    if loaded.iter().all(|loaded| metric(loaded) == first) {
        first
    } else {
        Metric::ValidAccuracy
    }
}

/// What the trial's run must be, and the hash of its images, which are looked at once for all trials that share them.
fn checked_data(
    definition: &Definition,
    trial: &Trial,
    loaded: &Loaded,
    request: &Request,
    checked: &mut Vec<(Table, String)>,
    console: &Console,
) -> Result<(Table, String)> {
    let mut experiment = identity(&loaded.resolved);
    if let Some(parent) = prepare::parent(&loaded.experiment)? {
        let place = fs::canonicalize(parent.path()).map_err(Error::io("finding", parent.path()))?;
        experiment.insert("init_from".to_owned(), place.display().to_string().into());
    }
    let mut shared = experiment.clone();
    shared.retain(|key, _| {
        [
            "data",
            "split",
            "seed",
            "model",
            "init_from",
            "allow_other_split",
        ]
        .contains(&key)
    });
    if let Some((_, hash)) = checked.iter().find(|(seen, _)| *seen == shared) {
        return Ok((experiment, hash.clone()));
    }
    let request = prepare::Request {
        file: definition.base.clone(),
        sets: validate::sets_of(definition, trial, &request.sets),
        env: request.env.clone(),
    };
    let hash = prepare::prepare(&request, console)?.index.hash.clone();
    checked.push((shared, hash.clone()));
    Ok((experiment, hash))
}

fn standing(trial: &Trial, axes: &[String]) -> Standing {
    Standing {
        number: trial.number,
        label: trial.label(axes),
        values: trial
            .settings
            .iter()
            .map(|setting| setting.value.clone())
            .collect(),
        state: TrialState::Waiting,
        reason: String::new(),
        run: None,
    }
}

impl Sweep<'_> {
    /// Starts what is missing or unfinished and watches until all has ended.
    fn run(&mut self, launcher: &mut dyn Launcher, parallel: usize) -> Result<()> {
        let n_asked = count_ctrl_c();
        let mut n_heeded = 0;
        let mut jobs: BTreeSet<usize> = BTreeSet::new();
        let mut drawn = Instant::now();
        loop {
            for trial in launcher.ended()? {
                jobs.remove(&trial);
            }
            self.look();
            self.judge(&jobs);
            let n_asked = n_asked.load(Ordering::Relaxed);
            if n_asked > n_heeded {
                match n_asked {
                    1 => launcher.stop(),
                    _ => launcher.kill(),
                }
                n_heeded = n_asked;
            }
            if n_heeded == 0 {
                self.start_what_waits(launcher, &mut jobs)?;
            }
            self.show(parallel);
            let is_time = drawn.elapsed() > PICTURE_EVERY;
            self.write(is_time)?;
            if is_time {
                drawn = Instant::now();
            }
            let is_open = |state| matches!(state, TrialState::Waiting | TrialState::Running);
            if n_heeded > 0 && jobs.is_empty() {
                return Err(self.interrupted());
            }
            if !self.standings.iter().any(|trial| is_open(trial.state)) {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
    }

    fn interrupted(&self) -> Error {
        self.console.board_ends();
        self.console.note(&format!(
            "interrupted; to go on: runner sweep {}",
            self.request.file.display()
        ));
        Error::Interrupted
    }

    fn start_what_waits(
        &mut self,
        launcher: &mut dyn Launcher,
        jobs: &mut BTreeSet<usize>,
    ) -> Result<()> {
        for at in 0..self.orders.len() {
            if !launcher.has_room() {
                return Ok(());
            }
            if self.standings[at].state == TrialState::Waiting {
                launcher.start(self.job(at))?;
                jobs.insert(at);
                self.orders[at].is_started = true;
                self.standings[at].state = TrialState::Running;
            }
        }
        Ok(())
    }

    fn job(&self, at: usize) -> Job {
        let trial = &self.orders[at].trial;
        let mut args = vec!["--quiet".to_owned()];
        if let Some(run) = &self.standings[at].run {
            args.extend(["resume".to_owned(), run.path().display().to_string()]);
        } else {
            args.extend([
                "train".to_owned(),
                self.definition.base.display().to_string(),
            ]);
            let mut sets = validate::sets_of(&self.definition, trial, &self.request.sets);
            // `latest:NAME` would be looked for among the trials.
            if let Some(parent) = self.orders[at]
                .identity
                .get("init_from")
                .and_then(toml::Value::as_str)
            {
                sets.push(format!("init_from={parent}"));
            }
            sets.push(format!("name={}", trial.name));
            sets.push(format!("runs_dir={}", self.dir.path().display()));
            args.extend(sets.into_iter().flat_map(|set| ["--set".to_owned(), set]));
        }
        Job {
            trial: at,
            args,
            log: self.dir.log_of(&trial.name),
        }
    }

    /// Reads the run directories again.
    fn look(&mut self) {
        for standing in &mut self.standings {
            if let Some(run) = standing.run.take_if(|run| run.state != RunState::Finished) {
                standing.run = RunView::read(run.dir).ok();
            }
        }
        if self.standings.iter().all(|standing| standing.run.is_some()) {
            return;
        }
        for (dir, experiment) in self.dir.runs() {
            let fits = |(order, standing): &(&Order, &mut Standing)| {
                standing.run.is_none() && order.identity == experiment
            };
            let Some((order, standing)) = self.orders.iter().zip(&mut self.standings).find(fits)
            else {
                continue;
            };
            standing.run = RunView::read(dir)
                .ok()
                .filter(|run| run.manifest.data_sha256 == order.data_sha256);
        }
    }

    /// What the runs' states mean for the trials, and a word on what has changed.
    fn judge(&mut self, jobs: &BTreeSet<usize>) {
        for (at, (order, standing)) in self.orders.iter().zip(&mut self.standings).enumerate() {
            let state = match standing.run.as_ref().map(|run| run.state) {
                Some(RunState::Finished) => TrialState::Finished,
                Some(RunState::Running) => TrialState::Running,
                _ if jobs.contains(&at) => TrialState::Running,
                _ if !order.is_started => TrialState::Waiting,
                Some(RunState::Interrupted | RunState::Killed) => TrialState::Interrupted,
                Some(RunState::Failed) | None => TrialState::Failed,
            };
            standing.reason = match (state, &standing.run) {
                (TrialState::Failed, Some(run)) => run.reason.clone(),
                (TrialState::Failed, None) => last_words(&self.dir.log_of(&order.trial.name)),
                _ => String::new(),
            };
            if state != standing.state {
                standing.state = state;
                self.console.trial(standing);
            }
        }
    }

    fn show(&self, parallel: usize) {
        self.console
            .board(|n_lines| board::live(&self.standings, self.metric, parallel, n_lines));
    }

    fn write(&self, with_picture: bool) -> Result<()> {
        let axes: Vec<&str> = self
            .definition
            .axes
            .iter()
            .map(|axis| axis.key.as_str())
            .collect();
        records::write_csv(
            &self.dir.leaderboard_csv(),
            board::csv_rows(&self.standings, &axes, self.metric),
        )?;
        if with_picture {
            let picture = board::picture(
                &self.definition.name,
                &self.axes,
                &self.standings,
                self.metric,
            )?;
            write_atomic(&self.dir.leaderboard_png(), &picture)?;
        }
        Ok(())
    }

    /// What `--dry-run` says.
    fn list(&self) {
        let mut lines = Vec::new();
        for (order, standing) in self.orders.iter().zip(&self.standings) {
            let what = match standing.run.as_ref().map(|run| run.state) {
                None => "to be run".to_owned(),
                Some(RunState::Finished) => "finished".to_owned(),
                Some(RunState::Running) => "running".to_owned(),
                Some(state @ (RunState::Interrupted | RunState::Killed | RunState::Failed)) => {
                    format!("{}, to be resumed", state.name())
                }
            };
            lines.push(format!(
                "{:>5}  {}  ({what})",
                order.trial.number, standing.label
            ));
        }
        let text = format!(
            "{} trials of {} in {}\n{}",
            self.orders.len(),
            self.definition.base.display(),
            self.dir.path().display(),
            lines.join("\n")
        );
        let fields = json!({ "sweep": self.dir.path(), "trials": self.json() });
        self.console.answer("sweep", fields, &text);
    }

    fn json(&self) -> serde_json::Value {
        let axes: Vec<&str> = self
            .definition
            .axes
            .iter()
            .map(|axis| axis.key.as_str())
            .collect();
        board::json(&self.standings, &axes, self.metric)
    }

    fn conclude(&self) -> Result<()> {
        let table = board::leaderboard(&self.standings, self.metric).text();
        let text = format!("{}\n{}", table, self.dir.path().display());
        let fields = json!({ "sweep": self.dir.path(), "trials": self.json() });
        self.console.answer("sweep", fields, &text);
        let failed = |trial: &&Standing| trial.state != TrialState::Finished;
        match self.standings.iter().filter(failed).count() {
            0 => Ok(()),
            n_failed => Err(Error::Training(format!(
                "{n_failed} of {} trials did not finish\nhelp: the same command tries them again",
                self.standings.len()
            ))),
        }
    }
}

/// What a process said that ended before it had a run directory.
fn last_words(log: &std::path::Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let text = text.trim();
    text.strip_prefix("error: ").unwrap_or(text).to_owned()
}

/// How often Ctrl-C (or SIGTERM) was pressed: once stops the trials after their step, twice ends them.
fn count_ctrl_c() -> &'static AtomicUsize {
    static N_ASKED: AtomicUsize = AtomicUsize::new(0);
    let handler = || {
        if N_ASKED.fetch_add(1, Ordering::Relaxed) == 0 {
            talk_line("\nstopping the trials after their step (once more to stop at once)");
        }
    };
    // Fails only where a handler exists already, as in a test that runs several commands.
    let _ = ctrlc::set_handler(handler);
    &N_ASKED
}

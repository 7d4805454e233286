//! From a sweep file to a campaign: every trial is resolved and checked before the first one starts.

use std::{fmt::Write as _, sync::Arc};

use toml::Table;

use super::{SweepRequest, check::Checks};
use crate::{
    commands::prepare,
    config::{self, Loaded, experiment::Metric},
    console::Console,
    disk::hash,
    error::{Diagnostic, Error, Kind, Result, SourceSpan},
    rundir::records,
    sweep::{
        asha::Ladder,
        campaign::{Campaign, TrialOrder},
        definition::{AshaSettings, Definition, LauncherKind, Method, Search, Setting},
        directory::{self, SweepDir},
        record::{SearchRecord, SweepRecord, TrialRecord},
        trials::{self, Trial},
        validate,
        view::SweepView,
    },
    text::plain::masked,
};

/// Checks every trial before the first one starts, and reports the problems of all of them together.
pub(super) fn plan(
    definition: &Definition,
    request: &SweepRequest,
    console: &Console,
) -> Result<Campaign> {
    let definition = &fit_epochs(definition, request)?;
    let trials = trials::trials(definition);
    let loaded = validate::experiments(definition, &trials, &request.sets, &request.env)?;
    let ladder = ladder(definition, &loaded)?;
    let runs_dir = loaded
        .first()
        .map(|loaded| loaded.experiment.runs_dir.clone())
        .unwrap_or_default();
    let dir = match &request.emit {
        Some(place) => SweepDir::emitted_at(place),
        None => SweepDir::new(&runs_dir, &definition.name),
    };
    let axes: Vec<String> = definition
        .axes
        .iter()
        .map(|axis| axis.key.clone())
        .collect();
    let (mut orders, mut keys) = (Vec::new(), Vec::new());
    let is_here = request.emit.is_none() && definition.launcher.kind == LauncherKind::Local;
    let mut checks = Checks::new(!is_here);
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
                keys.push(directory::key(&identity, &seen.data_sha256));
                orders.push(TrialOrder {
                    recipe: recipe(&experiment, trial, loaded, &identity, &dir)?,
                    dir: dir.trial(&trial.name),
                    log: dir.log_of(&trial.name),
                    memory_bytes: seen.memory_bytes,
                    disk: seen.disk,
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
    let metric = common_metric(&loaded);
    let record = record(definition, metric, ladder, &trials, (&keys, &orders));
    Ok(Campaign {
        view: SweepView::new(&definition.name, dir, record),
        turns: turns(definition, &trials),
        orders,
        is_awaiting_runs: false,
        shortage: None,
    })
}

/// The order in which trials start. The trials of a grid that stop early are mixed: if the values of an axis go from bad to good, each
/// trial would be the best so far and be promoted.
fn turns(definition: &Definition, trials: &[Trial]) -> Vec<usize> {
    let mut turns: Vec<usize> = (0..trials.len()).collect();
    let is_early = matches!(definition.search, Search::Asha(_));
    if is_early && definition.method == Method::Grid {
        // The order of hashes is as good as random, and the same in every call and on every machine.
        turns.sort_by_cached_key(|at| hash::sha256_of_bytes(trials[*at].name.as_bytes()));
    }
    turns
}

/// The sweep with `max_epochs` as a setting of the last phase, which gets what the phases before it leave.
fn fit_epochs(definition: &Definition, request: &SweepRequest) -> Result<Definition> {
    let mut definition = definition.clone();
    let Search::Asha(asha) = &definition.search else {
        return Ok(definition);
    };
    let Some(max_epochs) = asha.max_epochs else {
        return Ok(definition);
    };
    let sets = definition.fixed.iter().map(Setting::as_set);
    let sets: Vec<String> = sets.chain(request.sets.iter().cloned()).collect();
    // A problem with the base or with [set] is reported with those of the trials.
    let Ok(base) = config::read_trial(&definition.base, &sets, &request.env) else {
        return Ok(definition);
    };
    let Some((last, before)) = base.experiment.phases.split_last() else {
        return Ok(definition);
    };
    let n_before: usize = before.iter().map(|phase| phase.epochs.get()).sum();
    let Some(n_last) = max_epochs.checked_sub(n_before).filter(|n| *n > 0) else {
        let message = format!(
            "`max_epochs` is {max_epochs}, but the phases before `{}` have {n_before} epochs",
            last.name
        );
        return Err(asha_error(&definition, asha, message, "raise `max_epochs`"));
    };
    let key = format!("phase.{}.epochs", last.name);
    let is_taken = |other: &str| other == key;
    let axes = definition.axes.iter().map(|axis| axis.key.as_str());
    let fixed = definition.fixed.iter().map(|setting| setting.key.as_str());
    if axes.chain(fixed).any(is_taken) || request.sets.iter().any(|set| set.starts_with(&key)) {
        let message = format!("`max_epochs` decides `{key}`, which is set too");
        let help = "remove one of the two";
        return Err(asha_error(&definition, asha, message, help));
    }
    let span = asha.span.clone();
    definition.fixed.push(Setting {
        value: toml::Value::from(i64::try_from(n_last).unwrap_or(i64::MAX)),
        key,
        key_span: span.clone(),
        span,
    });
    Ok(definition)
}

/// The rungs of the trials; `None` if every trial is trained to its end.
fn ladder(definition: &Definition, loaded: &[Loaded]) -> Result<Option<Ladder>> {
    let Search::Asha(asha) = &definition.search else {
        return Ok(None);
    };
    let n_epochs = |loaded: &Loaded| -> usize {
        let phases = loaded.experiment.phases.iter();
        phases.map(|phase| phase.epochs.get()).sum()
    };
    let all = loaded.first().map_or(0, n_epochs);
    if let Some(other) = loaded.iter().map(n_epochs).find(|other| *other != all) {
        let message = format!("some trials have {all} epochs and others {other}");
        let help = "give all trials the same number of epochs, so that they can be compared after each rung";
        return Err(asha_error(definition, asha, message, help));
    }
    if all <= asha.min_epochs {
        let message = format!(
            "trials have {all} epochs, but are first compared after {}",
            asha.min_epochs
        );
        let help = "set `max_epochs` higher, or `min_epochs` lower";
        return Err(asha_error(definition, asha, message, help));
    }
    Ok(Some(Ladder::new(asha.eta, asha.min_epochs, all)))
}

fn asha_error(definition: &Definition, asha: &AshaSettings, message: String, help: &str) -> Error {
    let place = SourceSpan {
        source: Arc::clone(&definition.source),
        span: Some(asha.span.clone()),
    };
    let key = match asha.max_epochs {
        Some(_) => "search.max_epochs",
        None => "search.kind",
    };
    let problem = Diagnostic::of_key(place, Some(key.to_owned()), message, Some(help.to_owned()));
    Error::config(definition.source.label.clone(), vec![problem])
}

/// What the processes of trials are told of the sweep.
fn record(
    definition: &Definition,
    metric: Metric,
    ladder: Option<Ladder>,
    trials: &[Trial],
    (keys, orders): (&[String], &[TrialOrder]),
) -> SweepRecord {
    let ladder = ladder.unwrap_or(Ladder {
        rungs: Vec::new(),
        eta: 0,
    });
    let trials = trials.iter().zip(keys).zip(orders);
    SweepRecord {
        search: SearchRecord {
            metric: metric.name().to_owned(),
            max_attempts: definition.launcher.max_attempts.get(),
            max_bytes: definition
                .max_gib
                .map(|gib| (gib * (1_u64 << 30) as f64) as u64),
            rungs: ladder.rungs,
            eta: ladder.eta,
            axes: definition
                .axes
                .iter()
                .map(|axis| axis.key.clone())
                .collect(),
        },
        trials: trials
            .map(|((trial, key), order)| TrialRecord {
                number: trial.number,
                name: trial.name.clone(),
                key: key.clone(),
                bytes: order.disk.peak,
                values: values(trial),
            })
            .collect(),
    }
}

fn values(trial: &Trial) -> Vec<toml::Value> {
    let settings = trial.settings.iter();
    settings.map(|setting| setting.value.clone()).collect()
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
    let path = dir.trial(&trial.name).experiment_toml();
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

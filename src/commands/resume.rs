//! `runner resume RUN`: goes on where a run stopped, from what its directory holds; or beyond its end, where the experiment is
//! given more epochs.

use std::{fs, path::Path, sync::Arc};

use chrono::{DateTime, Utc};

use super::{changes, fit, prepare, train};
use crate::{
    config::{self, Loaded, experiment::Experiment},
    console::Console,
    data::{
        index::{DatasetIndex, listed},
        split::{Part, SplitTable},
    },
    device,
    error::{Error, Result},
    model::{layout::TensorSpec, state::StateDict, weights},
    plan::Plan,
    records::{self, Change, Manifest},
    rundir::RunDir,
    stop,
    train::{
        Setup, Start,
        checkpoint::{self, Base, Which},
        progress::Progress,
    },
};

pub(crate) fn resume(run: &Path, sets: &[String], console: &Console) -> Result<()> {
    let run_dir = RunDir::open(run)?;
    let stop = stop::on_signals();
    let claim = run_dir.claim(stop, console)?;
    let then = config::read(&run_dir.resolved_toml(), &[], &[])?;
    let now = config::read(&run_dir.resolved_toml(), sets, &[])?;
    let progress = checkpoint::progress(&run_dir).unwrap_or_default();
    let changes = changes::allowed(&run_dir, &then, &now, &progress)?;
    check_is_unfinished(&run_dir, &now.experiment, &changes)?;
    let experiment = &now.experiment;
    let manifest: Manifest = records::read_toml(&run_dir.manifest_toml())?;
    device::set_threads(experiment.threads);
    let device = device::open(experiment.device)?;
    let index = Arc::new(prepare::scan(&experiment.data, console)?);
    let split = check_data(&run_dir, &index, &manifest)?;
    let plan = Plan::new(
        experiment,
        index.classes.len(),
        split.images(Part::Train).len(),
    );
    fit::check_resumed(&run_dir, experiment, &plan, (&index, &split), console)?;
    train::guard(&run_dir, &claim, console, || {
        take_over(&run_dir, &now, &changes, console)?;
        let specs = experiment.model.arch.tensors(index.classes.len());
        let start = start(&run_dir, experiment, &plan, &manifest, &specs, console)?;
        let progress = match &start {
            Start::Resumed(checkpoint) => checkpoint.progress.clone(),
            Start::Fresh(_) => Progress::default(),
        };
        records::truncate_csv(&run_dir.metrics_csv(), progress.epoch)?;
        records::truncate_csv(&run_dir.steps_csv(), progress.step)?;
        console.note(&format!(
            "{} goes on after epoch {}, step {}",
            run.display(),
            progress.epoch,
            progress.step
        ));
        let (run_dir, split, plan) = (&run_dir, &split, &plan);
        train::run(
            &Setup {
                experiment,
                plan,
                index,
                split,
                run_dir,
                device,
                console,
                stop,
                claim: Some(&claim),
            },
            start,
        )
    })
}

fn check_is_unfinished(
    run_dir: &RunDir,
    experiment: &Experiment,
    changes: &[Change],
) -> Result<()> {
    if !run_dir.summary_toml().is_file() || changes::make_longer(changes) {
        return Ok(());
    }
    let last = experiment.phases.last();
    let more = last.map_or_else(String::new, |phase| {
        let n_epochs = phase.epochs.get();
        format!(
            "\nhelp: `--set phase.{}.epochs={}` trains on, as far as you say",
            phase.name,
            2 * n_epochs
        )
    });
    Err(Error::Usage(format!(
        "{}: is finished; there is nothing to resume{more}",
        run_dir.path().display()
    )))
}

/// Names the images that are others than the run began with.
fn check_data(run_dir: &RunDir, index: &DatasetIndex, manifest: &Manifest) -> Result<SplitTable> {
    let split = prepare::read_split(run_dir, index)?;
    if index.hash == manifest.data_sha256 {
        return Ok(split);
    }
    let began = DateTime::parse_from_rfc3339(&manifest.started).ok();
    let is_later = |file: &str| {
        let metadata = fs::metadata(index.root.join(file)).ok();
        let modified = metadata.and_then(|metadata| metadata.modified().ok());
        modified.map(DateTime::<Utc>::from) > began.map(|began| began.to_utc())
    };
    let files = index.images.iter().map(|image| &image.file);
    let later: Vec<String> = files.filter(|file| is_later(file)).cloned().collect();
    let which = match later.as_slice() {
        [] => "the contents of some have changed".to_owned(),
        files => format!("changed since then:{}", listed(files.iter().cloned())),
    };
    Err(Error::Data(format!(
        "{}: the images are not those that {} began with; {which}\nhelp: bring the old ones back, or begin a new run",
        index.root.display(),
        run_dir.path().display()
    )))
}

/// Writes what is other than before, and makes a finished run one that is not.
fn take_over(run_dir: &RunDir, now: &Loaded, changes: &[Change], console: &Console) -> Result<()> {
    for change in changes {
        let Change { key, from, to, .. } = change;
        console.note(&format!("{key}: {to} from here on, {from} before"));
    }
    // First, so that a run that is longer than it was never looks finished.
    let summary = run_dir.summary_toml();
    if summary.exists() {
        fs::remove_file(&summary).map_err(Error::io("removing", &summary))?;
    }
    if !changes.is_empty() {
        records::append_csv(&run_dir.changes_csv(), changes)?;
        records::write_toml(&run_dir.resolved_toml(), &now.resolved)?;
    }
    Ok(())
}

/// The newest checkpoint that is whole; the beginning of the run where there is none.
fn start(
    run_dir: &RunDir,
    experiment: &Experiment,
    plan: &Plan,
    manifest: &Manifest,
    specs: &[TensorSpec],
    console: &Console,
) -> Result<Start> {
    if !Base::is_sound(run_dir)? {
        let base = run_dir.path().display();
        console.note(&format!(
            "{base}: the checkpoints' base is damaged and made again"
        ));
        Base::write(run_dir, plan, &initial_state(experiment, manifest)?)?;
    }
    match checkpoint::read(run_dir, Which::Last, specs) {
        Ok(Some(checkpoint)) => {
            checkpoint.tell_damages(console);
            Ok(Start::Resumed(Box::new(checkpoint)))
        }
        Ok(None) => Ok(Start::Fresh(initial_state(experiment, manifest)?)),
        Err(error @ Error::Run { .. }) => {
            console.note(&format!(
                "{error}; there is no checkpoint before it, so the run begins again"
            ));
            Ok(Start::Fresh(initial_state(experiment, manifest)?))
        }
        Err(error) => Err(error),
    }
}

/// Of a run that was stopped before its first checkpoint.
fn initial_state(experiment: &Experiment, manifest: &Manifest) -> Result<StateDict> {
    if let Some(parent) = &manifest.parent {
        let specs = experiment.model.arch.tensors(manifest.classes.len());
        let best = checkpoint::read_best(&RunDir::open(Path::new(&parent.run))?, &specs)?;
        if best.model_sha256 != parent.model_sha256 {
            return Err(Error::Weights(format!(
                "{}: its best checkpoint is not the one this run began with",
                parent.run
            )));
        }
        return Ok(best.state);
    }
    let loaded = weights::load(&experiment.model, manifest.classes.len(), experiment.seed)?;
    if loaded.sha256.unwrap_or_default() != manifest.weights_sha256 {
        return Err(Error::Weights(format!(
            "{}: is not the file this run began with",
            loaded.source
        )));
    }
    Ok(loaded.state)
}

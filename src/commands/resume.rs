//! `runner resume RUN`: goes on where a run stopped, from what its directory holds; or beyond its end, where the experiment is
//! given more epochs. Whatever of the directory is damaged is made again first, as far as the rest allows.

use std::{path::Path, sync::Arc};

use super::{changes, fit, images, prepare, train, verify};
use crate::{
    config::{Loaded, experiment::Experiment},
    console::Console,
    data::{index::listed, split::Part},
    device,
    error::{Error, Kind, Result},
    model::{layout::TensorSpec, state::StateDict, weights},
    plan::Plan,
    rundir::{
        RunDir, recipe,
        records::{self, Change, FORMAT, Manifest, State, Status},
    },
    system::stop,
    train::{
        Setup, TrainingStart,
        checkpoint::{self, Base, Which},
        progress::Progress,
    },
};

pub(crate) fn resume(run: &Path, sets: &[String], console: &Console) -> Result<()> {
    let run_dir = RunDir::open(run)?;
    let stop = stop::on_signals();
    let claim = run_dir.claim(stop, console)?;
    let manifest = recipe::manifest(&run_dir)?;
    check_format(&run_dir, &manifest)?;
    if checkpoint::is_slim(&run_dir) {
        return Err(checkpoint::slimmed(&run_dir));
    }
    recipe::repair(&run_dir, console)?;
    let then = recipe::experiment(&run_dir, &[])?;
    let now = recipe::experiment(&run_dir, sets)?;
    let progress = checkpoint::progress(&run_dir).unwrap_or_default();
    let changes = changes::allowed(&run_dir, &then, &now, &progress)?;
    if run_dir.is_finished() && !changes::make_longer(&changes) {
        let damages = verify::after_the_recipe(&run_dir)?;
        if damages.is_empty() {
            return confirm_end(&run_dir, &now.experiment, console);
        }
        console.note(&format!(
            "{}: is finished, but damaged: it is concluded again{}",
            run_dir.path().display(),
            listed(damages.iter().map(ToString::to_string))
        ));
    }
    let experiment = &now.experiment;
    device::set_threads(experiment.threads);
    let device = device::open(experiment.device)?;
    let index = Arc::new(prepare::scan(&experiment.data, console)?);
    let split = images::check(&run_dir, &index, &manifest)?;
    let plan = Plan::new(
        experiment,
        index.classes.len(),
        split.images(Part::Train).len(),
    );
    fit::check_resumed(&run_dir, experiment, &plan, (&index, &split), console)?;
    train::guard(&run_dir, &claim, console, || {
        // First, so that a run that is longer than it was never looks finished.
        run_dir.remove_summary()?;
        let specs = experiment.model.arch.tensors(index.classes.len());
        let start = start(&run_dir, experiment, &plan, &manifest, &specs, console)?;
        let progress = match &start {
            TrainingStart::Resumed(checkpoint) => checkpoint.progress.clone(),
            TrainingStart::Fresh(_) => Progress::default(),
        };
        take_over(&run_dir, (&then, &now), &changes, &progress, console)?;
        train::write_groups(&run_dir, &plan)?;
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

/// The checkpoints of earlier versions lack what a run is restored from.
fn check_format(run_dir: &RunDir, manifest: &Manifest) -> Result<()> {
    if manifest.format == FORMAT {
        return Ok(());
    }
    Err(Error::run(
        run_dir.path(),
        format!(
            "was written by an earlier version of runner (format {}, this one resumes {FORMAT})\n\
             help: resume it with that version, or start a new run from its best checkpoint with `init_from`",
            manifest.format
        ),
    ))
}

/// A finished run needs nothing; one whose process died before it could say so is told to be finished.
fn confirm_end(run_dir: &RunDir, experiment: &Experiment, console: &Console) -> Result<()> {
    let status: Option<Status> = records::read_toml(&run_dir.status_toml()).ok();
    if status.is_none_or(|status| status.state != State::Finished) {
        run_dir.set_status(State::Finished, "")?;
        let place = run_dir.path().display().to_string();
        console.note(&format!(
            "{place}: was finished already, but for its status"
        ));
        train::say_finished(run_dir, console);
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
    Err(Error::usage(format!(
        "{}: is finished; there is nothing to resume{more}",
        run_dir.path().display()
    )))
}

/// Puts the changes into force, and tells them.
fn take_over(
    run_dir: &RunDir,
    (then, now): (&Loaded, &Loaded),
    changes: &[Change],
    progress: &Progress,
    console: &Console,
) -> Result<()> {
    for change in changes {
        let Change { key, from, to, .. } = change;
        console.note(&format!("{key}: {to} from here on, {from} before"));
    }
    let path = run_dir.changes_csv();
    // It is for people to read, so damage to it is no reason to stop.
    let told: Vec<Change> = records::read_csv_so_far(&path);
    let mut rows = changes::in_force(told.clone(), then);
    rows.extend(changes.iter().map(|change| Change {
        epoch: progress.epoch,
        step: progress.step,
        ..change.clone()
    }));
    // The experiment comes last, as it is what counts: rows of a process that dies in between are found out by it.
    if rows != told {
        records::write_csv(&path, rows)?;
    }
    if !changes.is_empty() {
        recipe::write_resolved(run_dir, &now.resolved)?;
    }
    Ok(())
}

/// The newest checkpoint that is whole, and the run directory as it was then; the beginning of the run where there is none.
fn start(
    run_dir: &RunDir,
    experiment: &Experiment,
    plan: &Plan,
    manifest: &Manifest,
    specs: &[TensorSpec],
    console: &Console,
) -> Result<TrainingStart> {
    if !Base::is_sound(run_dir)? {
        let base = run_dir.path().display();
        console.note(&format!(
            "{base}: the checkpoints' base is damaged and made again"
        ));
        Base::write(run_dir, plan, &initial_state(experiment, manifest)?)?;
    }
    match checkpoint::read(run_dir, Which::Last, specs) {
        Ok(Some(mut checkpoint)) => {
            checkpoint.tell_damages(console);
            if let Some(lost) = checkpoint::restore(run_dir, &mut checkpoint)? {
                console.note(&lost);
            }
            checkpoint::drop_damaged_spare(run_dir)?;
            return Ok(TrainingStart::Resumed(Box::new(checkpoint)));
        }
        Ok(None) => {}
        Err(error) if error.kind() == Kind::Run => console.note(&format!(
            "{error}; there is no checkpoint before it, so the run begins again"
        )),
        Err(error) => return Err(error),
    }
    // What it begins with comes first: where that is not to be had, nothing is lost.
    let state = initial_state(experiment, manifest)?;
    checkpoint::start_over(run_dir)?;
    Ok(TrainingStart::Fresh(state))
}

/// Of a run that was stopped before its first checkpoint.
fn initial_state(experiment: &Experiment, manifest: &Manifest) -> Result<StateDict> {
    if let Some(parent) = &manifest.parent {
        let specs = experiment.model.arch.tensors(manifest.classes.len());
        let best = checkpoint::read_best(&RunDir::open(Path::new(&parent.run))?, &specs)?;
        if best.model_sha256 != parent.model_sha256 {
            return Err(Error::weights(format!(
                "{}: its best checkpoint is not the one this run began with",
                parent.run
            )));
        }
        return Ok(best.state);
    }
    let loaded = weights::load(&experiment.model, manifest.classes.len(), experiment.seed)?;
    if loaded.sha256.unwrap_or_default() != manifest.weights_sha256 {
        return Err(Error::weights(format!(
            "{}: is not the file this run began with",
            loaded.source
        )));
    }
    Ok(loaded.state)
}

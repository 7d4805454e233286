//! `runner resume RUN`: continues a run from its last checkpoint, or past its end if the experiment is given more epochs.
//! Damaged files of the run directory are restored first, as far as the other files allow.

use std::{fmt::Write as _, path::Path, sync::Arc};

use super::{
    changes, fit, images, prepare,
    train::{self, Ending},
    verify,
};
use crate::{
    commands::args::Overrides,
    commands::context::Context,
    config::{
        self, Loaded,
        experiment::{Experiment, Keep},
    },
    console::Console,
    data::split::Part,
    device,
    error::{Error, Kind, Result},
    model::{paper::TensorSpec, start::StartState, weights},
    plan::Plan,
    rundir::{
        RunDir, recipe,
        records::{self, FORMAT, Manifest, RecordedState, ResumeChange, Status},
    },
    system::stop,
    text::plain::for_a_line,
    train::{
        Session, Setup, TrainingStart,
        checkpoint::{self, Base, Which},
        progress::Progress,
    },
};

#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// Run directory, or latest:NAME for the newest unfinished run with that name (or else the newest finished one)
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

pub(crate) fn run(args: &ResumeArgs, cx: &Context) -> Result<()> {
    let run_dir = run_to_resume(&args.run, cx)?;
    resume(run_dir.path(), &args.overrides.sets, None, cx).map(|_| ())
}

/// Resumes a run; with `pause_after`, until it has that many epochs.
pub(crate) fn resume(
    run: &Path,
    sets: &[String],
    pause_after: Option<usize>,
    cx: &Context,
) -> Result<Ending> {
    let console = &cx.console;
    let run_dir = RunDir::open(run)?;
    let stop = stop::on_signals();
    let claim = run_dir.claim(stop, console)?;
    let manifest = recipe::manifest(&run_dir)?;
    check_format(&run_dir, &manifest)?;
    recipe::repair(&run_dir, console)?;
    let then = recipe::experiment(&run_dir, &[])?;
    let now = recipe::experiment(&run_dir, sets)?;
    let progress = checkpoint::progress(&run_dir).unwrap_or_default();
    let changes = changes::allowed(&run_dir, &then, &now, &progress)?;
    let (is_slim, is_longer) = (
        checkpoint::is_slim(&run_dir),
        changes::make_longer(&changes),
    );
    if is_slim && is_longer {
        return Err(checkpoint::slimmed(&run_dir));
    }
    if run_dir.is_finished() && !is_longer {
        let damages = verify::after_the_recipe(&run_dir)?;
        if damages.is_empty() {
            confirm_end(&run_dir, &now.experiment, console)?;
            return Ok(Ending::Finished);
        }
        if is_slim {
            return Err(damaged_and_slim(&run_dir, &damages));
        }
        let mut note = format!(
            "{} is finished, but some of its files are damaged; writing them again",
            run_dir.path().display()
        );
        for damage in &damages {
            let _ = write!(note, "\n  {}", for_a_line(&damage.to_string()));
        }
        console.note(&note);
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
        // Removed first, because a run with more epochs than before must not count as finished until they are done.
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
            "resuming {} after epoch {}, step {}",
            run.display(),
            progress.epoch,
            progress.step
        ));
        let (run_dir, split, plan) = (&run_dir, &split, &plan);
        train::finish(
            &Setup {
                session: Session {
                    experiment,
                    index,
                    split,
                    run_dir,
                    device,
                    console,
                    stop,
                },
                plan,
                claim: &claim,
                pause_after,
            },
            start,
        )
    })
}

/// Fails for runs of earlier versions, whose checkpoints lack data that resuming needs.
fn check_format(run_dir: &RunDir, manifest: &Manifest) -> Result<()> {
    if manifest.format == FORMAT {
        return Ok(());
    }
    Err(Error::run(
        run_dir.path(),
        format!(
            "the run was written by an earlier version of runner (its format is {}, this version resumes format {FORMAT})",
            manifest.format
        ),
    )
    .help("resume it with that version, or start a new run from its best checkpoint with `init_from`"))
}

/// Fails, because a finished run has nothing to resume; unless its process died before it could record that the run is
/// finished, which is recorded now.
fn confirm_end(run_dir: &RunDir, experiment: &Experiment, console: &Console) -> Result<()> {
    let status: Option<Status> = records::read_toml(&run_dir.status_toml()).ok();
    if status.is_none_or(|status| status.state != RecordedState::Finished) {
        if experiment.checkpoints.keep == Keep::Best {
            checkpoint::slim(run_dir)?;
        }
        run_dir.set_status(RecordedState::Finished, "")?;
        let place = run_dir.path().display().to_string();
        console.note(&format!("{place} was already finished; updated its status"));
        train::say_finished(run_dir, console);
        return Ok(());
    }
    let error = Error::usage("the run is finished, so there is nothing to resume");
    let error = error.at(run_dir.path());
    Err(match experiment.phases.last() {
        _ if checkpoint::is_slim(run_dir) => error.help(format!(
            "to train further, start a new run from it with `init_from = \"{}\"`",
            run_dir.path().display()
        )),
        Some(phase) => error.help(format!(
            "add `--set phase.{}.epochs={}`, for example, to train for more epochs",
            phase.name,
            2 * phase.epochs.get()
        )),
        None => error,
    })
}

/// The error for a finished slim run, of which more may be lost if it started over.
fn damaged_and_slim(run_dir: &RunDir, damages: &[Error]) -> Error {
    let text = "the run is finished and slim, so its damaged files cannot be repaired";
    let error = Error::run(run_dir.path(), text);
    let facts = damages.iter().map(ToString::to_string);
    let error = facts.fold(error, Error::fact);
    error.help("restore the files from a backup")
}

/// Prints the changed settings, and records them in the run directory.
fn take_over(
    run_dir: &RunDir,
    (then, now): (&Loaded, &Loaded),
    changes: &[ResumeChange],
    progress: &Progress,
    console: &Console,
) -> Result<()> {
    for change in changes {
        let ResumeChange { key, from, to, .. } = change;
        console.note(&format!("{key} changes from {from} to {to}"));
    }
    let path = run_dir.changes_csv();
    // Only people read this table, so damage to it must not stop the run.
    let told: Vec<ResumeChange> = records::read_csv_so_far(&path);
    let mut rows = changes::in_force(told.clone(), then);
    rows.extend(changes.iter().map(|change| ResumeChange {
        epoch: progress.epoch,
        step: progress.step,
        ..change.clone()
    }));
    // The experiment is written last, because it decides: if the process dies in between, `changes::in_force` recognises the
    // rows that never took effect by it.
    if rows != told {
        records::write_csv(&path, rows)?;
    }
    if !changes.is_empty() {
        recipe::write_resolved(run_dir, &now.resolved)?;
    }
    Ok(())
}

/// Restores the newest intact checkpoint, and the run directory as it was then. Starts over if there is no checkpoint.
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
            "{base}: the base of the checkpoints is damaged; writing it again from the initial weights"
        ));
        let state = initial_state(experiment, manifest)?.complete();
        Base::write(run_dir, plan, &state)?;
    }
    match checkpoint::read(run_dir, Which::Last, specs) {
        // As exact as the rest: with a fresh optimizer the run would end with other bytes than one that was never stopped.
        Ok(Some(checkpoint))
            if checkpoint.is_slim() && checkpoint.progress.needs_optimizer(experiment, plan) =>
        {
            console.note(
                "the optimizer state was removed when the run was slimmed, so the run starts over",
            );
        }
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
            "there is no usable checkpoint, so the run starts over: {error}"
        )),
        Err(error) => return Err(error),
    }
    // The initial state is read before anything is deleted: if it is missing, nothing is lost.
    let state = initial_state(experiment, manifest)?;
    checkpoint::start_over(run_dir)?;
    Ok(TrainingStart::Fresh(state))
}

/// The parameters that the run started with, for a run without a checkpoint.
fn initial_state(experiment: &Experiment, manifest: &Manifest) -> Result<StartState> {
    if let Some(parent) = &manifest.parent {
        let specs = experiment.model.arch.tensors(manifest.classes.len());
        let best = checkpoint::read_best(&RunDir::open(Path::new(&parent.run))?, &specs)?;
        if best.model_sha256 != parent.model_sha256 {
            let text = "the best checkpoint of the run in `init_from` has changed since this run started from it";
            return Err(Error::weights(text).at(&parent.run));
        }
        return Ok(best.state.into());
    }
    let loaded = weights::load(&experiment.model, manifest.classes.len(), experiment.seed)?;
    if loaded.sha256.unwrap_or_default() != manifest.weights_sha256 {
        return Err(Error::weights(format!(
            "the weights have changed since the run started: {}",
            loaded.source
        )));
    }
    Ok(loaded.state)
}

/// The run that a word names; `latest:NAME` prefers the newest unfinished run.
fn run_to_resume(word: &str, cx: &Context) -> Result<RunDir> {
    let Some(name) = word.strip_prefix("latest:") else {
        return cx.run_dir(word);
    };
    let (run, newer) = RunDir::latest_to_resume(&config::runs_dir(&cx.environment), name)?;
    for newer in newer {
        let state = if newer.is_finished() {
            "finished"
        } else {
            "in progress"
        };
        cx.console.note(&format!(
            "{} is newer but {state}; resuming {}",
            newer.path().display(),
            run.path().display()
        ));
    }
    Ok(run)
}

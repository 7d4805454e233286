//! `runner train CONFIG`: trains the experiment of a file, and leaves a finished run directory.

use std::path::Path;

use serde_json::json;

use super::{
    conclude, fit,
    prepare::{self, ExperimentRequest, Initial, Prepared},
    space,
};
use crate::{
    claim::{self, Claim},
    commands::args::ExperimentArgs,
    commands::context::Context,
    config::experiment::Keep,
    console::Console,
    data::{index::Rejected, split::Part},
    device,
    error::{Error, Result},
    plan::{self, Plan},
    rundir::{
        RunDir, recipe,
        records::{self, FORMAT, Manifest, RecordedState},
    },
    system::{git, panics, stop},
    text::{moment, plain::masked},
    train::{self, Outcome, Session, Setup, TrainingStart, checkpoint},
};

/// How training ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Finished,
    /// The run has trained as many epochs as it was to, and can be resumed.
    Paused {
        epoch: usize,
    },
}

pub(crate) fn run(args: &ExperimentArgs, cx: &Context) -> Result<()> {
    train(&cx.request(args), None, cx).map(|_| ())
}

/// Trains an experiment in a new run directory; with `pause_after`, at most for that many epochs.
pub(crate) fn train(
    request: &ExperimentRequest,
    pause_after: Option<usize>,
    cx: &Context,
) -> Result<Ending> {
    let console = &cx.console;
    let prepared = prepare::prepare(request, console)?;
    let experiment = &prepared.loaded.experiment;
    device::set_threads(experiment.threads);
    let device = device::open(experiment.device)?;
    // Before anything is written, and before the weights are read, which take memory themselves.
    let predicted = fit::check(&prepared, &request.file, console)?.total() as u64;
    space::check(&prepared, console)?;
    let mut initial = prepare::initial(&prepared)?;
    // Large matrices are drawn while the files of the run are flushed to the disk.
    let n_classes = prepared.index.classes.len();
    initial
        .state
        .turn_ahead(&experiment.model.arch.tensors(n_classes));
    // From here on a Ctrl-C leaves a run that can be resumed.
    let stop = stop::on_signals();
    let run_dir = RunDir::create(&experiment.runs_dir, &experiment.name, moment::now_local())?;
    let claim = run_dir.claim(stop, console)?;
    guard(&run_dir, &claim, console, || {
        write_recipe(&run_dir, &prepared, &initial, predicted, cx.command.clone())?;
        console.note(&format!(
            "{} on {}, weights: {}",
            run_dir.path().display(),
            device::name(experiment.device),
            initial.weights
        ));
        console.note(plan::group_table(&prepared.plan).trim_end());
        let setup = Setup {
            session: Session {
                experiment,
                index: prepared.index.clone(),
                split: &prepared.split,
                run_dir: &run_dir,
                device,
                console,
                stop,
            },
            plan: &prepared.plan,
            claim: &claim,
            pause_after,
        };
        finish(
            &setup,
            TrainingStart::Fresh(std::mem::take(&mut initial.state)),
        )
    })
}

/// Trains, and then evaluates and draws what a finished run has.
pub(crate) fn finish(setup: &Setup, start: TrainingStart) -> Result<Ending> {
    match train::run(setup, start)? {
        Outcome::Finished(progress) => {
            setup.ensure_ours()?;
            conclude::conclude(setup, &progress)?;
            match setup.experiment.checkpoints.keep {
                Keep::All => {}
                Keep::Best => checkpoint::slim_sound(setup.run_dir)?,
            }
            Ok(Ending::Finished)
        }
        Outcome::Paused { epoch } => Ok(Ending::Paused { epoch }),
        Outcome::Interrupted => Err(Error::interrupted()),
    }
}

/// Runs `work`, and records in `status.toml` and `run.log` how it ended, even if it panics.
pub(crate) fn guard(
    run_dir: &RunDir,
    claim: &Claim,
    console: &Console,
    work: impl FnOnce() -> Result<Ending>,
) -> Result<Ending> {
    console.log_to(&run_dir.run_log())?;
    run_dir.reserve_status();
    run_dir.set_status(RecordedState::Running, "")?;
    let place = run_dir.path().display();
    let result = panics::caught(work);
    let result = result.unwrap_or_else(|message| Err(Error::internal(message)));
    // If another process has taken the run over, the status is no longer ours to write.
    claim.ensure_ours()?;
    match &result {
        Ok(Ending::Paused { epoch }) => {
            let reason = format!("paused after epoch {epoch}");
            run_dir.set_status(RecordedState::Interrupted, &reason)?;
            run_dir.release_status();
            console.note(&format!("{place}: {reason}"));
        }
        Ok(Ending::Finished) => {
            run_dir.set_status(RecordedState::Finished, "")?;
            run_dir.release_status();
            say_finished(run_dir, console);
        }
        Err(error) if error.is_interrupted() => {
            run_dir.set_status(RecordedState::Interrupted, "stopped on request")?;
            run_dir.release_status();
            console.note(&format!(
                "interrupted; to resume, run `runner resume {place}`"
            ));
        }
        Err(error) => {
            console.note(&format!(
                "the run failed; its work so far is kept in {place}"
            ));
            // If the disk is what failed, writing the status fails as well, but the first error is the one to report.
            if let Err(second) = run_dir.set_status(RecordedState::Failed, &error.to_string()) {
                console.note(&format!(
                    "cannot record the failure in the status of the run: {second}"
                ));
            }
            run_dir.release_status();
        }
    }
    result
}

/// Prints the directory of a finished run; with `--json`, its summary as well.
pub(super) fn say_finished(run_dir: &RunDir, console: &Console) {
    let place = run_dir.path().to_string_lossy();
    let mut fields = json!(run_dir.summary());
    if !fields.is_object() {
        fields = json!({});
    }
    fields["run"] = json!(place);
    console.answer("finished", fields, &place);
}

fn write_recipe(
    run_dir: &RunDir,
    prepared: &Prepared,
    initial: &Initial,
    predicted_memory_bytes: u64,
    command: Vec<String>,
) -> Result<()> {
    let (experiment, index, split) = (
        &prepared.loaded.experiment,
        &prepared.index,
        &prepared.split,
    );
    let mut resolved = prepared.loaded.resolved.clone();
    if let Some(parent) = &prepared.parent {
        // The path is recorded, because `latest:NAME` can mean another run tomorrow.
        resolved.insert("init_from".to_owned(), prepare::path_of(parent)?.into());
        // The note is best effort: a run may start from one on a read-only disk.
        let _ = parent.note_child(run_dir.path());
    }
    recipe::write_resolved(run_dir, &resolved)?;
    let mut split_table = Vec::new();
    split
        .write_csv(index, &mut split_table)
        .map_err(|error| Error::io("write", run_dir.split_csv())(error.into()))?;
    // Ignored files were not meant to be images, so `summary.toml` counts only the rejected ones.
    let row =
        |prefix: &str, file: &Rejected| vec![file.file.clone(), format!("{prefix}{}", file.reason)];
    let mut rejected: Vec<_> = index.rejected.iter().map(|it| row("", it)).collect();
    rejected.extend(index.ignored.iter().map(|it| row("ignored: ", it)));
    rejected.sort();
    let header = vec!["file".to_owned(), "reason".to_owned()];
    let rejected = records::csv_bytes(
        &run_dir.rejected_csv(),
        true,
        std::iter::once(header).chain(rejected),
    )?;
    let source = masked(&prepared.loaded.source);
    let files = [
        (recipe::SOURCE, source.as_bytes()),
        (recipe::SPLIT, &split_table),
        (recipe::REJECTED, &rejected),
    ];
    let files = files.map(|(name, bytes)| recipe::write(run_dir, name, bytes));
    let files = files.into_iter().collect::<Result<_>>()?;
    write_groups(run_dir, &prepared.plan)?;
    let manifest = Manifest {
        format: FORMAT,
        name: experiment.name.clone(),
        runner_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: git::commit(Path::new(".")),
        command,
        started: moment::now(),
        host: claim::host_name(),
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        device: device::name(experiment.device),
        threads: rayon::current_num_threads(),
        classes: index.classes.clone(),
        n_train: split.images(Part::Train).len(),
        n_valid: split.images(Part::Valid).len(),
        n_test: split.images(Part::Test).len(),
        data_sha256: index.hash.clone(),
        split_sha256: split.hash(index),
        weights: initial.weights.clone(),
        weights_sha256: initial.weights_sha256.clone(),
        fresh_parameters: initial.fresh_parameters.clone(),
        predicted_memory_bytes: Some(predicted_memory_bytes),
        parent: initial.parent.clone(),
        files,
    };
    // The manifest comes last, because a directory with a manifest counts as a run.
    recipe::write_manifest(run_dir, &manifest)
}

/// Writes `groups.csv`: the parameter groups of each phase.
pub(crate) fn write_groups(run_dir: &RunDir, plan: &Plan) -> Result<()> {
    let groups = plan.phases.iter().flat_map(|planned| &planned.groups);
    records::write_csv(&run_dir.groups_csv(), groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{console::Talk, rundir::records::Status};

    #[test]
    fn a_panic_is_an_error_of_a_run_that_says_failed() {
        let runs = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(runs.path(), "a", moment::now_local()).unwrap();
        let console = Console::new(Talk::Quiet);
        let claim = run_dir.claim(stop::on_signals(), &console).unwrap();
        let result = guard(&run_dir, &claim, &console, || panic!("no such thing"));
        assert!(matches!(result, Err(error) if error.kind() == crate::error::Kind::Internal));
        let status: Status = records::read_toml(&run_dir.status_toml()).unwrap();
        assert_eq!(status.state, RecordedState::Failed);
        assert!(
            status.reason.contains("internal error"),
            "{}",
            status.reason
        );
    }
}

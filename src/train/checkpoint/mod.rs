//! Checkpoints: everything that a run needs to resume. Tensors that the first phase does not train are written once, as the
//! run's base; each checkpoint holds the rest and refers to the base by hash. `last` also holds the best model and the tables
//! as they were by then, so that anything written later can be dropped when the run resumes from it.

mod base;
mod examine;
mod folder;
mod restore;
mod slim;
mod stored;
mod tensors;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use self::{
    base::is_in_base,
    folder::Draft,
    stored::{BEST_MODEL, CheckpointManifest, FORMAT, METRICS, MODEL, OPTIMIZER, PREDICTIONS},
};
pub(crate) use self::{
    base::{Base, PendingBase},
    examine::{
        best_predictions, drop_damaged_spare, drop_diverged, examine, examine_tables,
        undamaged_metrics,
    },
    restore::{restore, start_over},
    slim::{is_slim, slim, slimmed},
    stored::BestFiles,
};
use super::{answers::Answers, optimizer::States, progress::Progress};
use crate::{
    config::experiment::OptimizerKind,
    console::Console,
    disk::{files::write_atomic, sealed::FileRecord},
    error::{Error, Result},
    model::{
        paper::{TensorSpec, shape_text},
        parameters::Parameter,
        state::{self, StateDict},
    },
    plan::Plan,
    rundir::RunDir,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Which {
    Best,
    Last,
}

impl Which {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Last => "last",
        }
    }
}

/// A checkpoint read back.
pub(crate) struct Checkpoint {
    pub(crate) state: StateDict,
    /// How far the run had come. Not meaningful in `best`, which is for using the model.
    pub(crate) progress: Progress,
    /// The number of epochs that the model was trained for.
    pub(crate) epoch: usize,
    pub(crate) model_sha256: String,
    stored: CheckpointManifest,
    folder: PathBuf,
    /// The problems of the newer checkpoints that could not be read.
    damages: Vec<Error>,
}

/// Whether the checkpoints of a phase contain a tensor: it is not in the base, or was trained since.
pub(crate) fn holds(plan: &Plan, phase: usize, path: &str) -> bool {
    let so_far = plan.phases.iter().take(phase + 1);
    !is_in_base(plan, path)
        || so_far
            .into_iter()
            .any(|planned| planned.trainable.iter().any(|trained| trained == path))
}

/// The contents of a checkpoint.
pub(crate) struct Snapshot<'a> {
    pub(crate) base: &'a Base,
    /// The tensors that are not in the base, or were trained since.
    pub(crate) parameters: &'a [Parameter<'a>],
    pub(crate) optimizer: &'a States,
    pub(crate) kind: OptimizerKind,
    /// The tensors of the model, in the order that the optimizer's states are numbered by.
    pub(crate) specs: &'a [TensorSpec],
    pub(crate) progress: &'a Progress,
    /// The bytes of `metrics.csv`.
    pub(crate) metrics: &'a [u8],
    pub(crate) steps: FileRecord,
}

/// Replaces the checkpoint `last`, which a run resumes from, and keeps the one before. `last` includes `best`, which is replaced
/// too if there are `new_answers` of this model.
pub(crate) fn save_last(
    run_dir: &RunDir,
    snapshot: &Snapshot,
    best: Option<BestFiles>,
    new_answers: Option<&Answers>,
) -> Result<Option<BestFiles>> {
    let parent = run_dir.checkpoints();
    let last = Draft::new(&parent, Which::Last.name())?;
    let model = tensors::write_parameters(snapshot.parameters, &last.path().join(MODEL))?;
    let optimizer = tensors::write_optimizer(
        snapshot.optimizer,
        snapshot.kind,
        snapshot.specs,
        &last.path().join(OPTIMIZER),
    )?;
    let best = match new_answers {
        Some(answers) => {
            let draft = Draft::new(&parent, Which::Best.name())?;
            folder::link(&last.path().join(MODEL), &draft.path().join(MODEL))?;
            Some(publish_best(draft, snapshot, model.clone(), answers)?)
        }
        None => best,
    };
    let mut files = vec![model, optimizer];
    let metrics = last.path().join(METRICS);
    write_atomic(&metrics, snapshot.metrics)?;
    files.push(FileRecord::of_bytes(METRICS, snapshot.metrics));
    if let Some(BestFiles { model, predictions }) = &best {
        let folder = parent.join(Which::Best.name());
        folder::link(&folder.join(MODEL), &last.path().join(BEST_MODEL))?;
        folder::link(&folder.join(PREDICTIONS), &last.path().join(PREDICTIONS))?;
        files.extend([model.renamed(BEST_MODEL), predictions.clone()]);
    }
    last.seal(&CheckpointManifest {
        format: FORMAT,
        base_sha256: snapshot.base.sha256.clone(),
        best: None,
        steps: Some(snapshot.steps.clone()),
        progress: Some(snapshot.progress.clone()),
        is_slim: false,
        files,
    })?;
    last.publish(true)?;
    Ok(best)
}

/// Replaces the checkpoint `best`, which is for using the model and has no optimizer state.
pub(crate) fn save_best(
    run_dir: &RunDir,
    snapshot: &Snapshot,
    answers: &Answers,
) -> Result<BestFiles> {
    let draft = Draft::new(&run_dir.checkpoints(), Which::Best.name())?;
    let model = tensors::write_parameters(snapshot.parameters, &draft.path().join(MODEL))?;
    publish_best(draft, snapshot, model, answers)
}

fn publish_best(
    draft: Draft,
    snapshot: &Snapshot,
    model: FileRecord,
    answers: &Answers,
) -> Result<BestFiles> {
    let files = BestFiles {
        model,
        predictions: answers.save(&draft.path().join(PREDICTIONS))?,
    };
    draft.seal(&CheckpointManifest::of_best(
        snapshot.base.sha256.clone(),
        snapshot.progress.best.clone(),
        &files,
    ))?;
    draft.publish(false)?;
    Ok(files)
}

/// The tables of a finished run, from its last checkpoint: the bytes of `metrics.csv`, and of `predictions.csv` for the
/// validation images.
pub(crate) fn tables(run_dir: &RunDir) -> Result<[Vec<u8>; 2]> {
    let folder = run_dir.checkpoints().join(Which::Last.name());
    let stored = CheckpointManifest::read(&folder)?;
    let read = |name| match stored.file(name) {
        Some(file) => file.read(&folder),
        None => Err(absent(run_dir, Which::Last)),
    };
    Ok([read(METRICS)?, read(PREDICTIONS)?])
}

/// Removes what killed processes left behind. Only for a finished run, whose last checkpoint is in its place.
pub(crate) fn tidy(run_dir: &RunDir) -> Result<()> {
    let folder = run_dir.checkpoints();
    [Which::Last, Which::Best]
        .into_iter()
        .try_for_each(|which| folder::tidy(&folder, which.name()))
}

/// How far a run has come, by the manifest of its newest checkpoint, whose files are not checked.
pub(crate) fn progress(run_dir: &RunDir) -> Option<Progress> {
    newest(run_dir)?.progress
}

/// The first manifest of `last` that can be read.
fn newest(run_dir: &RunDir) -> Option<CheckpointManifest> {
    let folder = run_dir.checkpoints();
    folder::read_first(&folder, Which::Last.name(), CheckpointManifest::read).0
}

/// Reads a checkpoint of a model with the tensors `specs`; `None` if there is none yet. If the last one is damaged, the one
/// before it is used.
pub(crate) fn read(
    run_dir: &RunDir,
    which: Which,
    specs: &[TensorSpec],
) -> Result<Option<Checkpoint>> {
    let read = |path: &Path| read_folder(run_dir, path, specs);
    let parent = run_dir.checkpoints();
    let (found, mut damages) = folder::read_first(&parent, which.name(), read);
    let current = parent.join(which.name());
    if current.is_dir() && !folder::manifest_path(&current).exists() {
        // Without a manifest it is not one of the generations, but the user should hear that it is damaged.
        damages.extend(CheckpointManifest::read(&current).err());
    }
    match found {
        Some(checkpoint) => Ok(Some(Checkpoint {
            damages,
            ..checkpoint
        })),
        None => damages.into_iter().next().map_or(Ok(None), Err),
    }
}

fn read_folder(run_dir: &RunDir, folder: &Path, specs: &[TensorSpec]) -> Result<Checkpoint> {
    let stored = CheckpointManifest::read(folder)?;
    stored.check_files(folder)?;
    let mut state = match &stored.base_sha256 {
        Some(sha256) => Base::read(run_dir, sha256)?,
        None => StateDict::new(),
    };
    state.extend(state::read(&folder.join(MODEL))?);
    if let Some(spec) = specs.iter().find(|spec| {
        let tensor = state.get(&spec.path);
        tensor.is_none_or(|tensor| tensor.shape != spec.shape)
    }) {
        return Err(Error::run(
            folder,
            format!(
                "the checkpoint has no tensor `{}` of shape {}",
                spec.path,
                shape_text(&spec.shape)
            ),
        ));
    }
    Ok(Checkpoint {
        state,
        model_sha256: stored.model_sha256(),
        progress: stored.progress.clone().unwrap_or_default(),
        epoch: stored.epoch(),
        stored,
        folder: folder.to_owned(),
        damages: Vec::new(),
    })
}

impl Checkpoint {
    /// Reports the newer checkpoints that could not be read.
    pub(crate) fn tell_damages(&self, console: &Console) {
        for damage in &self.damages {
            console.note(&format!("using the previous checkpoint: {damage}"));
        }
    }

    /// The optimizer's state; empty if the checkpoint has none.
    pub(crate) fn optimizer_states(
        &self,
        kind: OptimizerKind,
        specs: &[TensorSpec],
    ) -> Result<States> {
        match self.stored.file(OPTIMIZER) {
            Some(file) => tensors::read_optimizer(&self.folder.join(&file.name), kind, specs),
            None => Ok(States::new()),
        }
    }

    /// The files of `best` as of this checkpoint; `None` before the end of the first epoch.
    pub(crate) fn best_files(&self) -> Option<BestFiles> {
        self.stored.best_files()
    }
}

/// The error for a run without that checkpoint.
pub(crate) fn absent(run_dir: &RunDir, which: Which) -> Error {
    let place = run_dir.path().display();
    let message = format!("the run has no checkpoint `{}` yet", which.name());
    Error::run(run_dir.path(), message).help(format!(
        "run `runner resume {place}` to continue the training"
    ))
}

/// Reads the best checkpoint, which every run with a finished epoch has.
pub(crate) fn read_best(run_dir: &RunDir, specs: &[TensorSpec]) -> Result<Checkpoint> {
    read(run_dir, Which::Best, specs)?.ok_or_else(|| absent(run_dir, Which::Best))
}

//! Checkpoints: everything that a run needs to resume. Tensors that the first phase does not train are written once, as the
//! run's base; each checkpoint holds the rest and refers to the base by hash. `last` also holds the best model and the tables
//! as they were by then, so that anything written later can be dropped when the run resumes from it.

mod base;
mod examine;
mod folder;
mod restore;
mod sizes;
mod slim;
mod stored;
mod tensors;
mod write;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod write_tests;

use std::path::{Path, PathBuf};

use self::{
    base::is_in_base,
    stored::{CheckpointManifest, METRICS, MODEL, OPTIMIZER, PREDICTIONS},
};
pub(crate) use self::{
    base::{Base, PendingBase},
    examine::{
        best_predictions, drop_damaged_spare, drop_diverged, examine, examine_tables,
        undamaged_metrics,
    },
    restore::{restore, start_over},
    sizes::{CheckpointSizes, PhaseSizes, sizes},
    slim::{is_slim, slim, slim_sound, slimmed},
    stored::BestFiles,
    write::{Best, Snapshot, save_best, save_last},
};
use super::{optimizer::States, progress::Progress};
use crate::{
    config::experiment::OptimizerKind,
    console::Console,
    error::{Error, Result},
    model::{
        paper::{TensorSpec, shape_text},
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

    /// Whether the optimizer's state was removed from it.
    pub(crate) fn is_slim(&self) -> bool {
        self.stored.is_slim
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

//! Checkpoints: everything that a run needs to go on, in a directory that is whole or absent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    evaluate::Scores,
    optimizer::{Moment, State, States, moment_names},
};
use crate::{
    config::experiment::OptimizerKind,
    error::{Error, Result},
    hash::sha256_of_file,
    model::{
        layout::TensorSpec,
        state::{self, Numbers, StateDict},
    },
    records::{self, FORMAT},
    rundir::RunDir,
    times::Times,
};

/// Where a run stands: the position and everything that earlier epochs decide about later ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Index of the phase to go on with.
    pub(crate) phase: usize,
    /// Whole epochs done in that phase.
    pub(crate) epoch_in_phase: usize,
    /// Whole epochs done in all phases.
    pub(crate) epoch: usize,
    /// Optimizer steps done in all phases.
    pub(crate) step: usize,
    /// Of the epochs that are done.
    #[serde(default)]
    pub(crate) times: Times,
    pub(crate) stopped_early: Vec<String>,
    /// Epochs of this phase since the metric last improved.
    pub(crate) epochs_without_improvement: usize,
    pub(crate) best_of_phase: Option<f64>,
    pub(crate) best: Option<Best>,
    /// The epoch under way, where the run was stopped inside one.
    pub(crate) partial: Option<Partial>,
}

/// The best epoch so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) epoch: usize,
    pub(crate) value: f64,
}

/// Steps of an unfinished epoch, and the sums that its row will be made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Partial {
    pub(crate) steps: usize,
    pub(crate) images: usize,
    pub(crate) loss_sum: f64,
    pub(crate) n_correct: usize,
    /// All of it, the next two included.
    pub(crate) seconds: f64,
    #[serde(default)]
    pub(crate) waiting_seconds: f64,
    #[serde(default)]
    pub(crate) frozen_seconds: f64,
}

impl Partial {
    pub(crate) fn scores(&self) -> Scores {
        let n = self.images.max(1) as f64;
        Scores {
            loss: self.loss_sum / n,
            accuracy: self.n_correct as f64 / n,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    model_sha256: String,
    has_optimizer: bool,
    progress: Progress,
}

/// A checkpoint read back.
pub(crate) struct Checkpoint {
    pub(crate) state: StateDict,
    /// Of the optimizer, to be read when its kind is known.
    optimizer: Option<PathBuf>,
    pub(crate) progress: Progress,
    pub(crate) model_sha256: String,
}

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

/// The model under torchvision's names; `safetensors.torch.load_file` reads it.
const MODEL: &str = "model.safetensors";
/// The optimizer's state by parameter, under PyTorch's names: `classifier.0.weight.exp_avg`.
const OPTIMIZER: &str = "optimizer.safetensors";
/// Written last: a directory without it is no checkpoint.
const STATE: &str = "state.toml";

/// What a checkpoint is made of.
pub(crate) struct Snapshot<'a> {
    pub(crate) state: &'a StateDict,
    pub(crate) optimizer: &'a States,
    pub(crate) kind: OptimizerKind,
    /// All parameters, in the order that numbers the optimizer's states.
    pub(crate) specs: &'a [TensorSpec],
    pub(crate) progress: &'a Progress,
}

/// Replaces the checkpoint `last`, which a run goes on from; also `best`, if `is_best`.
pub(crate) fn save_last(run_dir: &RunDir, snapshot: &Snapshot, is_best: bool) -> Result<()> {
    let folder = run_dir.checkpoints();
    let fresh = emptied(folder.join("new"))?;
    let model_sha256 = write_model(snapshot, &fresh)?;
    write_optimizer(snapshot, &fresh.join(OPTIMIZER))?;
    write_state(snapshot, &fresh, &model_sha256, true)?;
    if is_best {
        let best = emptied(folder.join("new-best"))?;
        link(&fresh.join(MODEL), &best.join(MODEL))?;
        write_state(snapshot, &best, &model_sha256, false)?;
        replace(&folder, "new-best", Which::Best.name())?;
    }
    replace(&folder, "new", Which::Last.name())
}

/// Replaces the checkpoint `best`, which is for using the model: it has no optimizer.
pub(crate) fn save_best(run_dir: &RunDir, snapshot: &Snapshot) -> Result<()> {
    let folder = run_dir.checkpoints();
    let fresh = emptied(folder.join("new-best"))?;
    let model_sha256 = write_model(snapshot, &fresh)?;
    write_state(snapshot, &fresh, &model_sha256, false)?;
    replace(&folder, "new-best", Which::Best.name())
}

/// Returns the file's SHA-256.
fn write_model(snapshot: &Snapshot, folder: &Path) -> Result<String> {
    state::write_safetensors(snapshot.state, &folder.join(MODEL))?;
    sha256_of_file(&folder.join(MODEL))
}

fn write_optimizer(snapshot: &Snapshot, path: &Path) -> Result<()> {
    let names = moment_names(snapshot.kind);
    let mut tensors = Vec::new();
    for (index, state) in snapshot.optimizer {
        let parameter = &snapshot.specs[*index].path;
        let step = vec![state.step as f32];
        tensors.push((format!("{parameter}.step"), Numbers::new(step)));
        for (name, moment) in names.iter().zip(&state.moments) {
            tensors.push((format!("{parameter}.{name}"), Numbers::new(moment.values())));
        }
    }
    state::write_tensors(tensors, path)
}

fn read_optimizer(path: &Path, kind: OptimizerKind, specs: &[TensorSpec]) -> Result<States> {
    let damaged = |fact: String| Error::Run {
        path: path.to_owned(),
        fact: format!("is damaged: {fact}"),
    };
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let mut tensors = state::read_safetensors(&bytes).map_err(damaged)?;
    drop(bytes);
    let names = moment_names(kind);
    let mut states = States::new();
    for (index, spec) in specs.iter().enumerate() {
        let Some(step) = tensors.remove(&format!("{}.step", spec.path)) else {
            continue;
        };
        let moments = names.iter().map(|name| {
            let name = format!("{}.{name}", spec.path);
            let moment = tensors.remove(&name).map(|tensor| tensor.values);
            moment.filter(|values| values.len() == spec.n_elements())
        });
        let moments: Option<Vec<Moment>> = moments.map(|it| it.map(Moment::Host)).collect();
        let (Some(moments), [step]) = (moments, step.values.as_slice()) else {
            return Err(damaged(format!("it lacks moments of {}", spec.path)));
        };
        let step = *step as usize;
        states.insert(index, State { step, moments });
    }
    Ok(states)
}

fn write_state(
    snapshot: &Snapshot,
    folder: &Path,
    model_sha256: &str,
    has_optimizer: bool,
) -> Result<()> {
    let stored = Stored {
        format: FORMAT,
        model_sha256: model_sha256.to_owned(),
        has_optimizer,
        progress: snapshot.progress.clone(),
    };
    records::write_toml(&folder.join(STATE), &stored)
}

/// Reads a checkpoint; `None` if there is none yet.
pub(crate) fn read(run_dir: &RunDir, which: Which) -> Result<Option<Checkpoint>> {
    let folder = run_dir.checkpoints();
    // A process that dies while it replaces a checkpoint leaves the old one under another name.
    let candidates = [which.name().to_owned(), format!("old-{}", which.name())];
    let Some(path) = candidates
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.join(STATE).is_file())
    else {
        return Ok(None);
    };
    let stored: Stored = records::read_toml(&path.join(STATE))?;
    let model = path.join(MODEL);
    if sha256_of_file(&model)? != stored.model_sha256 {
        let fact = "is damaged: its SHA-256 is not the one in state.toml".to_owned();
        return Err(Error::Run { path: model, fact });
    }
    let optimizer = stored.has_optimizer.then(|| path.join(OPTIMIZER));
    Ok(Some(Checkpoint {
        state: state::read(&model)?,
        optimizer,
        progress: stored.progress,
        model_sha256: stored.model_sha256,
    }))
}

impl Checkpoint {
    /// What the optimizer remembers; nothing where it was not kept.
    pub(crate) fn optimizer_states(
        &self,
        kind: OptimizerKind,
        specs: &[TensorSpec],
    ) -> Result<States> {
        match &self.optimizer {
            Some(path) => read_optimizer(path, kind, specs),
            None => Ok(States::new()),
        }
    }
}

/// The error of a run without that checkpoint.
pub(crate) fn absent(run_dir: &RunDir, which: Which) -> Error {
    let place = run_dir.path().display();
    Error::Run {
        path: run_dir.path().to_owned(),
        fact: format!(
            "has no checkpoint `{}` yet\nhelp: `runner resume {place}` goes on with the run",
            which.name()
        ),
    }
}

/// The best checkpoint, which every run with a finished epoch has.
pub(crate) fn read_best(run_dir: &RunDir) -> Result<Checkpoint> {
    read(run_dir, Which::Best)?.ok_or_else(|| absent(run_dir, Which::Best))
}

fn emptied(path: PathBuf) -> Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(&path).map_err(Error::io("removing", &path))?;
    }
    fs::create_dir(&path).map_err(Error::io("creating", &path))?;
    Ok(path)
}

/// The same bytes under a second name, without a copy where the file system can.
fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(|_| ()))
        .map_err(Error::io("copying", to))
}

/// Renames `fresh` to `name`; the directory of that name before is deleted once the new one is in place.
fn replace(folder: &Path, fresh: &str, name: &str) -> Result<()> {
    let (fresh, current, old) = (
        folder.join(fresh),
        folder.join(name),
        folder.join(format!("old-{name}")),
    );
    if current.exists() {
        if old.exists() {
            fs::remove_dir_all(&old).map_err(Error::io("removing", &old))?;
        }
        fs::rename(&current, &old).map_err(Error::io("renaming", &current))?;
    }
    fs::rename(&fresh, &current).map_err(Error::io("renaming", &fresh))?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(Error::io("removing", &old))?;
    }
    Ok(())
}

//! Checkpoints: everything that a run needs to go on, in a directory that is whole or absent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::optim::OptimizerRecord;
use serde::{Deserialize, Serialize};

use super::evaluate::Scores;
use crate::{
    error::{Error, Result},
    hash::sha256_of_file,
    model::state::{self, StateDict},
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
    pub(crate) optimizer: Option<OptimizerRecord>,
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
/// Burn's record of the optimizer's moments.
const OPTIMIZER: &str = "optimizer.bpk";
/// Written last: a directory without it is no checkpoint.
const STATE: &str = "state.toml";

/// Replaces the checkpoint `last`; also `best`, if `is_best`.
pub(crate) fn save(
    run_dir: &RunDir,
    state: &StateDict,
    optimizer: Option<OptimizerRecord>,
    progress: &Progress,
    is_best: bool,
) -> Result<()> {
    let folder = run_dir.checkpoints();
    let fresh = emptied(folder.join("new"))?;
    state::write_safetensors(state, &fresh.join(MODEL))?;
    let has_optimizer = optimizer.is_some();
    if let Some(record) = optimizer {
        let path = fresh.join(OPTIMIZER);
        record.save(&path).map_err(|error| {
            Error::io("writing", &path)(std::io::Error::other(error.to_string()))
        })?;
    }
    let model_sha256 = sha256_of_file(&fresh.join(MODEL))?;
    let stored = Stored {
        format: FORMAT,
        model_sha256,
        has_optimizer,
        progress: progress.clone(),
    };
    records::write_toml(&fresh.join(STATE), &stored)?;
    if is_best {
        let best = emptied(folder.join("new-best"))?;
        for file in [MODEL, OPTIMIZER, STATE]
            .into_iter()
            .filter(|file| fresh.join(file).exists())
        {
            link(&fresh.join(file), &best.join(file))?;
        }
        replace(&folder, "new-best", Which::Best.name())?;
    }
    replace(&folder, "new", Which::Last.name())
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
    let optimizer = if stored.has_optimizer {
        let path = path.join(OPTIMIZER);
        let record = OptimizerRecord::load(&path);
        Some(record.map_err(|error| Error::Run {
            path,
            fact: format!("is damaged: {error}"),
        })?)
    } else {
        None
    };
    Ok(Some(Checkpoint {
        state: state::read(&model)?,
        optimizer,
        progress: stored.progress,
        model_sha256: stored.model_sha256,
    }))
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

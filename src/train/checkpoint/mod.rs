//! Checkpoints: everything that a run needs to go on. What the first phase does not train is written once, as the run's
//! base; each checkpoint holds the rest and names its base by hash.

mod folder;
mod tensors;

#[cfg(test)]
mod tests;

#[cfg(any(fuzzing, test))]
pub(crate) use folder::sealed;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::folder::{Draft, FileRecord};
use super::{optimizer::States, progress::Progress};
use crate::{
    config::experiment::OptimizerKind,
    console::Console,
    error::{Error, Result},
    hash,
    model::{
        layout::TensorSpec,
        state::{self, StateDict},
    },
    plan::Plan,
    rundir::RunDir,
};

/// What the first phase leaves as it was, under torchvision's names.
const BASE: &str = "base.safetensors";
/// All other parameters and buffers under torchvision's names; `safetensors.torch.load_file` reads it.
const MODEL: &str = "model.safetensors";
/// The optimizer's state under PyTorch's names.
const OPTIMIZER: &str = "optimizer.safetensors";
/// Raised whenever older programs could not read what is written.
const FORMAT: u32 = 2;

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

/// The manifest of a checkpoint.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    /// Of the base; absent where the first phase trains everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_sha256: Option<String>,
    progress: Progress,
    #[serde(rename = "file")]
    files: Vec<FileRecord>,
}

impl Stored {
    fn file(&self, name: &str) -> Option<&FileRecord> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Of the whole model: of what its two parts hash to.
    fn model_sha256(&self) -> String {
        let own = self.file(MODEL).map_or("", |file| file.sha256.as_str());
        match &self.base_sha256 {
            Some(base) => hash::sha256_of_bytes(format!("{base}\0{own}").as_bytes()),
            None => own.to_owned(),
        }
    }
}

/// A checkpoint read back.
pub(crate) struct Checkpoint {
    pub(crate) state: StateDict,
    /// Of the optimizer, to be read when its kind is known.
    optimizer: Option<PathBuf>,
    pub(crate) progress: Progress,
    pub(crate) model_sha256: String,
    /// What is wrong with the checkpoints that should have been read instead.
    damages: Vec<Error>,
}

/// The tensors of a run that no checkpoint repeats.
pub(crate) struct Base {
    /// Absent where there are none.
    sha256: Option<String>,
}

impl Base {
    /// Writes the base of a run that begins with `state`, which has all tensors.
    pub(crate) fn write(run_dir: &RunDir, plan: &Plan, state: &StateDict) -> Result<Self> {
        let held: StateDict = state
            .iter()
            .filter(|(path, _)| is_in_base(plan, path))
            .map(|(path, tensor)| (path.clone(), tensor.clone()))
            .collect();
        if held.is_empty() {
            return Ok(Self { sha256: None });
        }
        let draft = run_dir.checkpoints().join(format!("new-{BASE}"));
        let record = tensors::write(&held, &draft)?;
        let path = run_dir.checkpoints().join(BASE);
        std::fs::rename(&draft, &path).map_err(Error::io("renaming", &draft))?;
        Ok(Self {
            sha256: Some(record.sha256),
        })
    }

    /// Whether the base is what the newest checkpoint was made on.
    pub(crate) fn is_sound(run_dir: &RunDir) -> Result<bool> {
        let Some(stored) = newest(run_dir) else {
            return Ok(true);
        };
        Ok(stored.base_sha256 == Self::of_run(run_dir)?.sha256)
    }

    /// The base of a run that has begun.
    pub(crate) fn of_run(run_dir: &RunDir) -> Result<Self> {
        let path = run_dir.checkpoints().join(BASE);
        let sha256 = path.is_file().then(|| hash::sha256_of_file(&path));
        Ok(Self {
            sha256: sha256.transpose()?,
        })
    }
}

/// Whether a tensor never changes before the second phase. Running statistics may change while their layer is frozen.
fn is_in_base(plan: &Plan, path: &str) -> bool {
    plan.phases.first().is_some_and(|first| {
        let mut frozen = first.groups.iter().filter(|group| !group.trainable);
        frozen.any(|group| group.paths.iter().any(|held| held == path))
    })
}

/// Whether the checkpoints of a phase hold a tensor.
pub(crate) fn holds(plan: &Plan, phase: usize, path: &str) -> bool {
    let so_far = plan.phases.iter().take(phase + 1);
    !is_in_base(plan, path)
        || so_far
            .into_iter()
            .any(|planned| planned.trainable.iter().any(|trained| trained == path))
}

/// What a checkpoint is made of.
pub(crate) struct Snapshot<'a> {
    pub(crate) base: &'a Base,
    /// The tensors that are not in the base, or have changed since.
    pub(crate) state: &'a StateDict,
    pub(crate) optimizer: &'a States,
    pub(crate) kind: OptimizerKind,
    /// All tensors of the model, in the order that numbers the optimizer's states.
    pub(crate) specs: &'a [TensorSpec],
    pub(crate) progress: &'a Progress,
}

/// Replaces the checkpoint `last`, which a run goes on from, and keeps the one before; also `best`, if `is_best`.
pub(crate) fn save_last(run_dir: &RunDir, snapshot: &Snapshot, is_best: bool) -> Result<()> {
    let folder = run_dir.checkpoints();
    let last = Draft::new(&folder, Which::Last.name())?;
    let model = tensors::write(snapshot.state, &last.path().join(MODEL))?;
    let optimizer = tensors::write_optimizer(
        snapshot.optimizer,
        snapshot.kind,
        snapshot.specs,
        &last.path().join(OPTIMIZER),
    )?;
    if is_best {
        let best = Draft::new(&folder, Which::Best.name())?;
        folder::link(&last.path().join(MODEL), &best.path().join(MODEL))?;
        best.seal(&snapshot.stored(vec![model.clone()]))?;
        best.publish(false)?;
    }
    last.seal(&snapshot.stored(vec![model, optimizer]))?;
    last.publish(true)
}

/// Replaces the checkpoint `best`, which is for using the model: it has no optimizer.
pub(crate) fn save_best(run_dir: &RunDir, snapshot: &Snapshot) -> Result<()> {
    let best = Draft::new(&run_dir.checkpoints(), Which::Best.name())?;
    let model = tensors::write(snapshot.state, &best.path().join(MODEL))?;
    best.seal(&snapshot.stored(vec![model]))?;
    best.publish(false)
}

/// Of a run at its end, whose last checkpoint is in place: removes what earlier processes did not come to remove.
pub(crate) fn tidy(run_dir: &RunDir) -> Result<()> {
    let folder = run_dir.checkpoints();
    [Which::Last, Which::Best]
        .into_iter()
        .try_for_each(|which| folder::tidy(&folder, which.name()))
}

impl Snapshot<'_> {
    fn stored(&self, files: Vec<FileRecord>) -> Stored {
        Stored {
            format: FORMAT,
            base_sha256: self.base.sha256.clone(),
            progress: self.progress.clone(),
            files,
        }
    }
}

/// Where a run stands, by its newest checkpoint; that is not looked into.
pub(crate) fn progress(run_dir: &RunDir) -> Option<Progress> {
    newest(run_dir).map(|stored| stored.progress)
}

/// The first manifest that can be read.
fn newest(run_dir: &RunDir) -> Option<Stored> {
    let folders = folder::generations(&run_dir.checkpoints(), Which::Last.name());
    let mut stored = folders.iter().map(|path| folder::manifest(path));
    stored.find_map(Result::ok)
}

/// Reads a checkpoint of a model of `specs`; `None` if there is none yet. Where the last one is damaged, the one before it
/// is taken.
pub(crate) fn read(
    run_dir: &RunDir,
    which: Which,
    specs: &[TensorSpec],
) -> Result<Option<Checkpoint>> {
    let mut damages = Vec::new();
    for path in folder::generations(&run_dir.checkpoints(), which.name()) {
        match read_folder(run_dir, &path, specs) {
            Ok(checkpoint) => {
                return Ok(Some(Checkpoint {
                    damages,
                    ..checkpoint
                }));
            }
            Err(error) => damages.push(error),
        }
    }
    match damages.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

fn read_folder(run_dir: &RunDir, folder: &Path, specs: &[TensorSpec]) -> Result<Checkpoint> {
    let stored: Stored = folder::manifest(folder)?;
    if stored.format != FORMAT {
        return Err(Error::Run {
            path: folder.to_owned(),
            fact: format!("has format {}, this runner reads {FORMAT}", stored.format),
        });
    }
    for file in &stored.files {
        file.check(folder)?;
    }
    let mut state = match &stored.base_sha256 {
        Some(sha256) => read_base(run_dir, sha256)?,
        None => StateDict::new(),
    };
    state.extend(state::read(&folder.join(MODEL))?);
    if let Some(spec) = specs.iter().find(|spec| {
        let tensor = state.get(&spec.path);
        tensor.is_none_or(|tensor| tensor.shape != spec.shape)
    }) {
        return Err(Error::Run {
            path: folder.to_owned(),
            fact: format!("has no {} of the shape {:?}", spec.path, spec.shape),
        });
    }
    let optimizer = stored.file(OPTIMIZER).map(|file| folder.join(&file.name));
    Ok(Checkpoint {
        state,
        optimizer,
        model_sha256: stored.model_sha256(),
        progress: stored.progress,
        damages: Vec::new(),
    })
}

fn read_base(run_dir: &RunDir, sha256: &str) -> Result<StateDict> {
    let path = run_dir.checkpoints().join(BASE);
    let found = hash::sha256_of_file(&path)?;
    if found != sha256 {
        return Err(Error::Run {
            path,
            fact: format!(
                "is not the base that the checkpoints were made on: its SHA-256 is {found}, theirs {sha256}"
            ),
        });
    }
    state::read(&path)
}

impl Checkpoint {
    /// Says what is wrong with those that it stands in for.
    pub(crate) fn tell_damages(&self, console: &Console) {
        for damage in &self.damages {
            console.note(&format!("{damage}; the checkpoint before it is taken"));
        }
    }

    /// What the optimizer remembers; nothing where it was not kept.
    pub(crate) fn optimizer_states(
        &self,
        kind: OptimizerKind,
        specs: &[TensorSpec],
    ) -> Result<States> {
        match &self.optimizer {
            Some(path) => tensors::read_optimizer(path, kind, specs),
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
pub(crate) fn read_best(run_dir: &RunDir, specs: &[TensorSpec]) -> Result<Checkpoint> {
    read(run_dir, Which::Best, specs)?.ok_or_else(|| absent(run_dir, Which::Best))
}

//! The base of a run: the tensors that its first phase leaves frozen. They are written once, and checkpoints refer to them by
//! hash.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    thread::{self, JoinHandle},
};

use super::tensors;
use crate::{
    disk::hash,
    error::{Error, Result},
    model::{
        network::Network,
        state::{self, StateDict},
        tensor_file::TensorValues,
    },
    plan::Plan,
    rundir::RunDir,
    system::panics,
};

/// The tensors that the first phase leaves frozen, under torchvision's names.
const FILE: &str = "base.safetensors";

/// The tensors of a run that no checkpoint repeats.
pub(crate) struct Base {
    /// The hash of their file; `None` if the first phase trains everything.
    pub(super) sha256: Option<String>,
}

impl Base {
    /// Writes the base of a run that starts from `state`, which has all tensors.
    pub(crate) fn write(run_dir: &RunDir, plan: &Plan, state: &StateDict) -> Result<Self> {
        let held = state.iter().filter(|(path, _)| is_in_base(plan, path));
        let held = held.map(|(path, tensor)| (path.clone(), tensor));
        Self::write_file(&run_dir.checkpoints(), held.collect())
    }

    fn write_file<T: TensorValues>(folder: &Path, held: Vec<(String, T)>) -> Result<Self> {
        if held.is_empty() {
            return Ok(Self { sha256: None });
        }
        let draft = folder.join(format!("new-{FILE}"));
        let record = tensors::write(held, &draft)?;
        std::fs::rename(&draft, folder.join(FILE)).map_err(Error::io("rename", &draft))?;
        Ok(Self {
            sha256: Some(record.sha256),
        })
    }

    /// The base of a run that has started already.
    pub(crate) fn of_run(run_dir: &RunDir) -> Result<Self> {
        let path = Self::path(run_dir);
        let sha256 = path.is_file().then(|| hash::sha256_of_file(&path));
        Ok(Self {
            sha256: sha256.transpose()?,
        })
    }

    /// Whether the base is the one that the newest checkpoint refers to.
    pub(crate) fn is_sound(run_dir: &RunDir) -> Result<bool> {
        match super::newest(run_dir) {
            Some(stored) => Ok(stored.base_sha256 == Self::of_run(run_dir)?.sha256),
            None => Ok(true),
        }
    }

    pub(super) fn path(run_dir: &RunDir) -> PathBuf {
        run_dir.checkpoints().join(FILE)
    }

    /// Fails unless the base has the hash that a checkpoint refers to.
    pub(super) fn check(run_dir: &RunDir, sha256: &str) -> Result<()> {
        let found = Self::of_run(run_dir)?.sha256;
        if found.as_deref() == Some(sha256) {
            return Ok(());
        }
        let message = match found {
            None => "the base of the checkpoints is missing".to_owned(),
            Some(found) => {
                format!(
                    "the base of the checkpoints is damaged: its SHA-256 is {found}, but the checkpoints expect {sha256}"
                )
            }
        };
        Err(Error::run(Self::path(run_dir), message))
    }

    pub(super) fn read(run_dir: &RunDir, sha256: &str) -> Result<StateDict> {
        Self::check(run_dir, sha256)?;
        state::read(&Self::path(run_dir))
    }
}

/// A base that may still be on its way to the disk. It is written during the first steps of a run, which do not change its tensors.
pub(crate) struct PendingBase {
    writing: Mutex<Option<JoinHandle<Result<Base>>>>,
    written: OnceLock<Base>,
}

impl PendingBase {
    /// Begins to write the base of a run that starts from `model`.
    pub(crate) fn write(run_dir: &RunDir, plan: &Plan, model: &Network) -> Result<Self> {
        let held = model.parameters();
        let held = held.filter(|parameter| is_in_base(plan, parameter.path()));
        let held: Vec<_> = held.map(|it| (it.path().to_owned(), it.owned())).collect();
        let folder = run_dir.checkpoints();
        let work = move || {
            let written = panics::caught(|| Base::write_file(&folder, held));
            written.unwrap_or_else(|message| Err(Error::internal(message)))
        };
        let thread = thread::Builder::new().name("base".to_owned()).spawn(work);
        let thread = thread.map_err(Error::io("write", Base::path(run_dir)))?;
        Ok(Self {
            writing: Mutex::new(Some(thread)),
            written: OnceLock::new(),
        })
    }

    /// The base once it is complete on the disk, which every checkpoint waits for. Fails if it could not be written.
    pub(crate) fn written(&self) -> Result<&Base> {
        let thread = mem::take(&mut *self.writing.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(thread) = thread {
            let written = thread.join();
            let written = written.unwrap_or_else(|_| Err(Error::internal("a thread panicked")))?;
            let _ = self.written.set(written);
        }
        self.written.get().ok_or_else(|| {
            Error::internal("the base of the checkpoints could not be written before")
        })
    }
}

impl From<Base> for PendingBase {
    fn from(base: Base) -> Self {
        Self {
            writing: Mutex::default(),
            written: base.into(),
        }
    }
}

impl Drop for PendingBase {
    /// Waits for the thread: another process may take over the run directory as soon as this one lets go of it.
    fn drop(&mut self) {
        let _ = self.written();
    }
}

/// Whether a tensor cannot change before the second phase. Running statistics are not in the base, since they may change while
/// their layer is frozen.
pub(super) fn is_in_base(plan: &Plan, path: &str) -> bool {
    plan.phases.first().is_some_and(|first| {
        let mut frozen = first.groups.iter().filter(|group| !group.trainable);
        frozen.any(|group| group.paths.iter().any(|held| held == path))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;
    use crate::{
        model::weights,
        test_support::{experiment, test_device},
        text::moment,
    };

    #[test]
    fn a_base_written_in_the_background_has_the_bytes_of_one_written_at_once_or_an_error() {
        let experiment = experiment(
            "data.root = \".\"\n[model]\narch = \"vgg16_slim\"\nweights = \"none\"\n[[phase]]\nname = \"a\"\nepochs = 1\n\
             trainable = [\"classifier.6\"]",
        );
        let state = || weights::load(&experiment.model, 2, 1).unwrap().state;
        let (plan, paper) = (Plan::new(&experiment, 2, 2), Arc::new(experiment.paper(2)));
        let model = Network::from_state(paper, 0.5, state(), &test_device().autodiff());
        let runs = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(runs.path(), "a", moment::now_local()).unwrap();
        let path = Base::path(&run_dir);
        let bytes_of = |base: &Base| (base.sha256.clone(), fs::read(&path).unwrap());

        let expected = bytes_of(&Base::write(&run_dir, &plan, &state().complete()).unwrap());
        fs::remove_file(&path).unwrap();
        let pending = PendingBase::write(&run_dir, &plan, &model).unwrap();
        assert!(bytes_of(pending.written().unwrap()) == expected);
        assert!(bytes_of(pending.written().unwrap()) == expected);

        fs::remove_dir_all(run_dir.checkpoints()).unwrap();
        let pending = PendingBase::write(&run_dir, &plan, &model).unwrap();
        let error = pending.written().err().unwrap().to_string();
        assert!(error.contains("new-base.safetensors"), "{error}");
        assert!(pending.written().is_err());
    }
}

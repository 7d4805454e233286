//! The base of a run: the tensors that its first phase leaves frozen. They are written once, and checkpoints refer to them by
//! hash.

use std::path::PathBuf;

use super::tensors;
use crate::{
    disk::hash,
    error::{Error, Result},
    model::state::{self, StateDict},
    plan::Plan,
    rundir::RunDir,
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
        let mut held = held.map(|(path, tensor)| (path.clone(), tensor)).peekable();
        if held.peek().is_none() {
            return Ok(Self { sha256: None });
        }
        let draft = run_dir.checkpoints().join(format!("new-{FILE}"));
        let record = tensors::write(held, &draft)?;
        let path = Self::path(run_dir);
        std::fs::rename(&draft, &path).map_err(Error::io("rename", &draft))?;
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

/// Whether a tensor cannot change before the second phase. Running statistics are not in the base, since they may change while
/// their layer is frozen.
pub(super) fn is_in_base(plan: &Plan, path: &str) -> bool {
    plan.phases.first().is_some_and(|first| {
        let mut frozen = first.groups.iter().filter(|group| !group.trainable);
        frozen.any(|group| group.paths.iter().any(|held| held == path))
    })
}

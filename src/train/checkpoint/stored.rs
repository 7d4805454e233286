//! The manifest of a checkpoint and the names of its files.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder;
use crate::{
    disk::{hash, sealed::FileRecord},
    error::{Error, Result},
    scores::ranking::Candidate,
    train::progress::Progress,
};

/// All parameters and buffers that are not in the base, under torchvision's names; `safetensors.torch.load_file` reads it.
pub(super) const MODEL: &str = "model.safetensors";
/// The optimizer's state under PyTorch's names.
pub(super) const OPTIMIZER: &str = "optimizer.safetensors";
/// In `last`: the model of `best`, by a hard link where the file system has them.
pub(super) const BEST_MODEL: &str = "best.safetensors";
/// The answers of the best model on the validation images.
pub(super) const PREDICTIONS: &str = "predictions.csv";
/// In `last`: the rows of all epochs that were done.
pub(super) const METRICS: &str = "metrics.csv";
/// The format that is written. Raised whenever older versions could not read it.
pub(super) const FORMAT: u32 = 3;
/// The oldest format whose model can be read.
pub(super) const OLDEST_FORMAT: u32 = 2;

/// The manifest of a checkpoint.
#[derive(Serialize, Deserialize)]
pub(super) struct CheckpointManifest {
    pub(super) format: u32,
    /// The hash of the base; `None` if the first phase trains everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base_sha256: Option<String>,
    /// The epoch that the model is from; only in `best`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) best: Option<Candidate>,
    /// The record of `steps.csv` as it was by then; only in `last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) steps: Option<FileRecord>,
    /// How far the run had come; only in `last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<Progress>,
    /// Whether the run was slimmed; only in `last`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_slim: bool,
    #[serde(rename = "file")]
    pub(super) files: Vec<FileRecord>,
}

impl CheckpointManifest {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let stored: Self = folder::manifest(folder)?;
        if !(OLDEST_FORMAT..=FORMAT).contains(&stored.format) {
            return Err(Error::run(
                folder,
                format!(
                    "the checkpoint has format {}, but this version of runner reads formats {OLDEST_FORMAT} to {FORMAT}",
                    stored.format
                ),
            ));
        }
        Ok(stored)
    }

    /// The manifest of `best`.
    pub(super) fn of_best(
        base_sha256: Option<String>,
        best: Option<Candidate>,
        files: &BestFiles,
    ) -> Self {
        Self {
            format: FORMAT,
            base_sha256,
            best,
            steps: None,
            progress: None,
            is_slim: false,
            files: vec![files.model.clone(), files.predictions.clone()],
        }
    }

    /// Fails if a file of the checkpoint is damaged or missing, or if the manifest does not list the best model that it should.
    pub(super) fn check_files(&self, folder: &Path) -> Result<()> {
        for file in &self.files {
            file.check(folder)?;
        }
        let has_best = self
            .progress
            .as_ref()
            .is_some_and(|progress| progress.best.is_some());
        if self.format == FORMAT && has_best && self.best_files().is_none() {
            return Err(Error::run(
                folder,
                "the checkpoint is damaged: it names a best epoch but has no best model",
            ));
        }
        Ok(())
    }

    pub(super) fn file(&self, name: &str) -> Option<&FileRecord> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The number of epochs that the model was trained for.
    pub(super) fn epoch(&self) -> usize {
        let best = self.best.as_ref().map(|best| best.epoch);
        let last = self.progress.as_ref().map(|progress| progress.epoch);
        best.or(last).unwrap_or_default()
    }

    /// The hash of the whole model, computed from the hashes of its two parts.
    pub(super) fn model_sha256(&self) -> String {
        let own = self.file(MODEL).map_or("", |file| file.sha256.as_str());
        match &self.base_sha256 {
            Some(base) => hash::sha256_of_bytes(format!("{base}\0{own}").as_bytes()),
            None => own.to_owned(),
        }
    }

    pub(super) fn best_files(&self) -> Option<BestFiles> {
        let of = |name| self.file(name);
        Some(BestFiles {
            model: of(BEST_MODEL)?.renamed(MODEL),
            predictions: of(PREDICTIONS)?.clone(),
        })
    }
}

/// The files of the checkpoint `best`.
#[derive(Clone)]
pub(crate) struct BestFiles {
    pub(super) model: FileRecord,
    pub(super) predictions: FileRecord,
}

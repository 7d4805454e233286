//! Checks whether the files of the checkpoints, and the tables that they describe, are still as they were written.

use std::{fs, path::PathBuf};

use super::{
    Base, Which, folder, newest,
    stored::{CheckpointManifest, METRICS, PREDICTIONS},
};
use crate::{
    disk::sealed::FileRecord,
    error::{Error, Result},
    rundir::RunDir,
    train::progress::Progress,
};

/// All files of a run's checkpoints, each with the problem that it has.
pub(crate) fn examine(run_dir: &RunDir) -> Vec<(PathBuf, Option<Error>)> {
    let parent = run_dir.checkpoints();
    let mut files = Vec::new();
    if let Some(sha256) = newest(run_dir).and_then(|stored| stored.base_sha256) {
        files.push((Base::path(run_dir), Base::check(run_dir, &sha256).err()));
    }
    let is_slim = super::is_slim(run_dir);
    let spare = folder::previous(&parent, Which::Last.name());
    for name in folder::names(&[Which::Last.name(), Which::Best.name()]) {
        let folder = parent.join(name);
        let manifest = folder::manifest_path(&folder);
        // A process that was killed while it slimmed the run may have removed half of the spare checkpoint.
        let is_remainder = is_slim && folder == spare && !manifest.exists();
        if !folder.is_dir() || is_remainder {
            continue;
        }
        match CheckpointManifest::read(&folder) {
            Err(problem) => files.push((manifest, Some(problem))),
            Ok(stored) => {
                files.push((manifest, None));
                let checked = stored.files.iter();
                files.extend(
                    checked.map(|file| (folder.join(&file.name), file.check(&folder).err())),
                );
            }
        }
    }
    files
}

/// Removes the checkpoint before the last one if it is damaged: it cannot be made again, and it is not needed while the last
/// one is sound.
pub(crate) fn drop_damaged_spare(run_dir: &RunDir) -> Result<()> {
    let spare = folder::previous(&run_dir.checkpoints(), Which::Last.name());
    let is_sound =
        || CheckpointManifest::read(&spare).and_then(|stored| stored.check_files(&spare));
    if spare.is_dir() && is_sound().is_err() {
        folder::remove(&spare)?;
    }
    Ok(())
}

/// Removes the checkpoints inside an epoch that hold the parameters of `progress`, which led to a loss that is not finite:
/// resuming from them would fail again, whatever the learning rate. A checkpoint at the end of an epoch stays, because its
/// validation loss was finite. Returns the step that the run will resume from, if anything was removed.
pub(crate) fn drop_diverged(run_dir: &RunDir, progress: &Progress) -> Result<Option<usize>> {
    let parent = run_dir.checkpoints();
    let mut is_dropped = false;
    for folder in folder::generations(&parent, Which::Last.name()) {
        let stored = CheckpointManifest::read(&folder).ok();
        let reached = stored.and_then(|stored| stored.progress);
        let has_diverged = |reached: &Progress| {
            reached.partial.is_some() && reached.last_update() == progress.last_update()
        };
        if reached.as_ref().is_some_and(has_diverged) {
            folder::remove(&folder)?;
            is_dropped = true;
        }
    }
    let left = newest(run_dir).and_then(|stored| stored.progress);
    Ok(is_dropped.then(|| left.map_or(0, |progress| progress.step)))
}

/// The tables of an unfinished run with the problems that they have, as far as its newest checkpoint records them.
pub(crate) fn examine_tables(run_dir: &RunDir) -> Result<Vec<(PathBuf, Option<Error>)>> {
    let Some(stored) = newest(run_dir) else {
        return Ok(Vec::new());
    };
    let check = |record: &FileRecord| {
        let path = run_dir.path().join(&record.name);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("read", path)(error));
            }
            bytes => bytes.unwrap_or_default(),
        };
        let problem = (!record.begins(&bytes)).then(|| {
            Error::run(
                path.clone(),
                "the table is damaged: it no longer begins with the rows that the last checkpoint recorded",
            )
        });
        Ok((path, problem))
    };
    let records = [stored.file(METRICS), stored.steps.as_ref()];
    records.into_iter().flatten().map(check).collect()
}

/// The predictions of the best checkpoint, as bytes of CSV.
pub(crate) fn best_predictions(run_dir: &RunDir) -> Option<Vec<u8>> {
    let folders = folder::generations(&run_dir.checkpoints(), Which::Best.name());
    let folder = folders.first()?;
    let stored = CheckpointManifest::read(folder).ok()?;
    stored.file(PREDICTIONS)?.read(folder).ok()
}

/// The copy of `metrics.csv` in the newest checkpoint, if `metrics` does not begin with it.
pub(crate) fn undamaged_metrics(run_dir: &RunDir, metrics: &[u8]) -> Option<Vec<u8>> {
    let folders = folder::generations(&run_dir.checkpoints(), Which::Last.name());
    let folder = folders.first()?;
    let stored = CheckpointManifest::read(folder).ok()?;
    let record = stored.file(METRICS)?;
    if record.begins(metrics) {
        return None;
    }
    record.read(folder).ok()
}

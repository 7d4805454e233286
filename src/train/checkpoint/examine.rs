//! Whether what checkpoints consist of, and what they say of the tables beside them, is still as it was written.

use std::{fs, path::PathBuf};

use super::{
    Base, Which, folder, newest,
    stored::{METRICS, PREDICTIONS, Stored},
};
use crate::{
    disk::sealed::FileRecord,
    error::{Error, Result},
    rundir::RunDir,
    train::progress::Progress,
};

/// All files of a run's checkpoints, each with what is wrong with it.
pub(crate) fn examine(run_dir: &RunDir) -> Vec<(PathBuf, Option<Error>)> {
    let parent = run_dir.checkpoints();
    let mut files = Vec::new();
    if let Some(sha256) = newest(run_dir).and_then(|stored| stored.base_sha256) {
        files.push((Base::path(run_dir), Base::check(run_dir, &sha256).err()));
    }
    for name in folder::names(&[Which::Last.name(), Which::Best.name()]) {
        let folder = parent.join(name);
        if !folder.is_dir() {
            continue;
        }
        let manifest = folder::manifest_path(&folder);
        match Stored::read(&folder) {
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

/// Removes the checkpoint before the last one where that is damaged: nothing can make it again, and nothing needs it while the
/// last one is sound.
pub(crate) fn drop_damaged_spare(run_dir: &RunDir) -> Result<()> {
    let spare = folder::previous(&run_dir.checkpoints(), Which::Last.name());
    let is_sound = || Stored::read(&spare).and_then(|stored| stored.check_files(&spare));
    if spare.is_dir() && is_sound().is_err() {
        folder::remove(&spare)?;
    }
    Ok(())
}

/// Removes the checkpoints inside an epoch that hold the parameters of `progress`, which gave a loss that is not finite:
/// resuming from them would end there again, whatever the learning rate. One at an epoch's end stays, because its validation
/// loss was finite. Returns the step that the run resumes from then, if anything was removed.
pub(crate) fn drop_diverged(run_dir: &RunDir, progress: &Progress) -> Result<Option<usize>> {
    let parent = run_dir.checkpoints();
    let mut is_dropped = false;
    for folder in folder::generations(&parent, Which::Last.name()) {
        let stored = Stored::read(&folder).ok();
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

/// The tables of a run that has not ended, as far as its newest checkpoint knows them.
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
                "is damaged: it does not begin as it did when the last checkpoint was written"
                    .to_owned(),
            )
        });
        Ok((path, problem))
    };
    let records = [stored.file(METRICS), stored.steps.as_ref()];
    records.into_iter().flatten().map(check).collect()
}

/// The bytes of the predictions that belong to the best checkpoint.
pub(crate) fn best_predictions(run_dir: &RunDir) -> Option<Vec<u8>> {
    let folders = folder::generations(&run_dir.checkpoints(), Which::Best.name());
    let folder = folders.first()?;
    let stored = Stored::read(folder).ok()?;
    stored.file(PREDICTIONS)?.read(folder).ok()
}

/// The rows of `metrics.csv` as the newest checkpoint has them, if `metrics` does not begin with them.
pub(crate) fn undamaged_metrics(run_dir: &RunDir, metrics: &[u8]) -> Option<Vec<u8>> {
    let folders = folder::generations(&run_dir.checkpoints(), Which::Last.name());
    let folder = folders.first()?;
    let stored = Stored::read(folder).ok()?;
    let record = stored.file(METRICS)?;
    if record.begins(metrics) {
        return None;
    }
    record.read(folder).ok()
}

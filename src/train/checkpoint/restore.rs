//! Restores a run directory to the moment when a checkpoint was written. Everything newer is dropped, because `resume --set` can
//! change the next steps: rows and predictions would not belong to the run any more, and no later epoch might beat a newer `best`.

use std::{fs, path::Path};

use super::{Checkpoint, Which, folder, stored};
use crate::{
    disk::files::write_atomic,
    error::{Error, Result},
    rundir::{RunDir, records},
    train::progress::Progress,
};

/// Restores the run directory to the moment when `checkpoint` was written, which becomes its `last`. Everything is taken from the
/// checkpoint, so that the rest may be damaged, and a process that is killed here can repeat it. Returns a note about what
/// cannot be restored.
pub(crate) fn restore(run_dir: &RunDir, checkpoint: &mut Checkpoint) -> Result<Option<String>> {
    let parent = run_dir.checkpoints();
    checkpoint.folder = folder::settle(&parent, Which::Last.name(), &checkpoint.folder)?;
    let (folder, stored) = (&checkpoint.folder, &checkpoint.stored);
    if let Some(files) = stored.best_files() {
        let best = folder::Draft::new(&parent, Which::Best.name())?;
        folder::link(
            &folder.join(stored::BEST_MODEL),
            &best.path().join(stored::MODEL),
        )?;
        let predictions = best.path().join(stored::PREDICTIONS);
        folder::link(&folder.join(stored::PREDICTIONS), &predictions)?;
        let epoch = checkpoint.progress.best.clone();
        best.seal(&stored::CheckpointManifest::of_best(
            stored.base_sha256.clone(),
            epoch,
            &files,
        ))?;
        best.publish(false)?;
        write_atomic(&run_dir.predictions_csv(), &files.predictions.read(folder)?)?;
    } else {
        folder::remove_all(&parent, Which::Best.name())?;
        remove(&run_dir.predictions_csv())?;
    }
    folder::tidy(&parent, Which::Best.name())?;
    match stored.file(stored::METRICS) {
        Some(metrics) if metrics.bytes > 0 => {
            write_atomic(&run_dir.metrics_csv(), &metrics.read(folder)?)?;
        }
        Some(_) | None => remove(&run_dir.metrics_csv())?,
    }
    let lost = cut_steps(run_dir, checkpoint)?;
    drop_later_changes(run_dir, &checkpoint.progress)?;
    run_dir
        .conclusions()
        .iter()
        .try_for_each(|path| remove(path))?;
    Ok(lost)
}

/// Resets the run directory to the state before the first step.
pub(crate) fn start_over(run_dir: &RunDir) -> Result<()> {
    let parent = run_dir.checkpoints();
    folder::remove_all(&parent, Which::Last.name())?;
    folder::remove_all(&parent, Which::Best.name())?;
    for table in [
        run_dir.metrics_csv(),
        run_dir.steps_csv(),
        run_dir.predictions_csv(),
    ] {
        remove(&table)?;
    }
    drop_later_changes(run_dir, &Progress::default())?;
    run_dir
        .conclusions()
        .iter()
        .try_for_each(|path| remove(path))
}

/// Truncates `steps.csv` to the rows of the checkpoint. Rows of earlier steps cannot be made again, so a damaged table keeps the
/// rows that can be read; the returned note says how many.
fn cut_steps(run_dir: &RunDir, checkpoint: &Checkpoint) -> Result<Option<String>> {
    let path = run_dir.steps_csv();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let n_steps = checkpoint.progress.step;
    let record = checkpoint.stored.steps.as_ref();
    if let Some(record) = record.filter(|record| record.begins(&bytes)) {
        if record.bytes < bytes.len() as u64 {
            write_atomic(&path, &bytes[..record.bytes as usize])?;
        }
        return Ok(None);
    }
    let n_left = records::salvage_rows(&path, &bytes, n_steps)?;
    Ok(Some(format!(
        "`{}` is damaged: {n_left} of its {n_steps} rows are left; training does not depend on them",
        path.display()
    )))
}

/// Makes settings that were changed after the checkpoint take effect at the checkpoint.
fn drop_later_changes(run_dir: &RunDir, progress: &Progress) -> Result<()> {
    let path = run_dir.changes_csv();
    let mut changes: Vec<records::ResumeChange> = records::read_csv_so_far(&path);
    if changes.iter().all(|change| change.step <= progress.step) {
        return Ok(());
    }
    for change in &mut changes {
        change.step = change.step.min(progress.step);
        change.epoch = change.epoch.min(progress.epoch);
    }
    records::write_csv(&path, changes)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

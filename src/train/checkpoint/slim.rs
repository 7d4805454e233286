//! Slims finished runs: removes what only resuming needs, the optimizer's state and the checkpoint before the last one.

use super::{
    Which, folder, newest,
    stored::{CheckpointManifest, OPTIMIZER},
};
use crate::{
    error::{Error, Result},
    rundir::RunDir,
};

/// Whether the run was slimmed, so that it can be used but not resumed.
pub(crate) fn is_slim(run_dir: &RunDir) -> bool {
    newest(run_dir).is_some_and(|stored| stored.is_slim)
}

/// Replaces the last checkpoint with one without the optimizer's state, and then removes the one before it. If the process is
/// killed, the run is whole until the new checkpoint is in place, and slim from then on; slimming it again removes the rest.
pub(crate) fn slim(run_dir: &RunDir) -> Result<()> {
    let (parent, name) = (run_dir.checkpoints(), Which::Last.name());
    let generations = folder::generations(&parent, name);
    let Some(chosen) = generations.first() else {
        return Err(super::absent(run_dir, Which::Last));
    };
    let stored = CheckpointManifest::read(chosen)?;
    // If it is damaged, the checkpoint before it may be the only sound one, so nothing is removed.
    stored.check_files(chosen)?;
    let current = folder::settle(&parent, name, chosen)?;
    if !stored.is_slim {
        let slim = folder::Draft::new(&parent, name)?;
        let kept = stored.files.iter().filter(|file| file.name != OPTIMIZER);
        let files = kept.cloned().collect::<Vec<_>>();
        for file in &files {
            folder::link(&current.join(&file.name), &slim.path().join(&file.name))?;
        }
        slim.seal(&CheckpointManifest {
            is_slim: true,
            files,
            ..stored
        })?;
        slim.publish(false)?;
    }
    folder::remove(&folder::previous(&parent, name))?;
    folder::tidy(&parent, Which::Best.name())
}

/// The error for resuming a slimmed run.
pub(crate) fn slimmed(run_dir: &RunDir) -> Error {
    Error::run(
        run_dir.path(),
        "the run was slimmed: the optimizer state that resuming needs has been removed",
    )
    .help(format!(
        "start a new run from its best checkpoint with `init_from = \"{}\"`",
        run_dir.path().display()
    ))
}

//! Slims finished runs: removes what only training further needs, the optimizer's state and the checkpoint before the last one.

use super::{
    Which, folder, newest,
    stored::{CheckpointManifest, OPTIMIZER},
};
use crate::{
    error::{Error, Result},
    rundir::RunDir,
};

/// Whether the last checkpoint is without the optimizer's state, so that the run can be used and concluded but not trained further.
pub(crate) fn is_slim(run_dir: &RunDir) -> bool {
    newest(run_dir).is_some_and(|stored| stored.is_slim)
}

/// Replaces the last checkpoint with one without the optimizer's state, and then removes the one before it. If the process is
/// killed, the run is whole until the new checkpoint is in place, and slim from then on; slimming it again removes the rest.
pub(crate) fn slim(run_dir: &RunDir) -> Result<()> {
    let generations = folder::generations(&run_dir.checkpoints(), Which::Last.name());
    if let Some(chosen) = generations.first() {
        // If it is damaged, the checkpoint before it may be the only sound one, so nothing is removed.
        CheckpointManifest::read(chosen)?.check_files(chosen)?;
    }
    slim_sound(run_dir)
}

/// Like [`slim`], for a process that has written or checked the last checkpoint itself.
pub(crate) fn slim_sound(run_dir: &RunDir) -> Result<()> {
    let (parent, name) = (run_dir.checkpoints(), Which::Last.name());
    let generations = folder::generations(&parent, name);
    let Some(chosen) = generations.first() else {
        return Err(super::absent(run_dir, Which::Last));
    };
    let stored = CheckpointManifest::read(chosen)?;
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

/// The error for training a slim run further.
pub(crate) fn slimmed(run_dir: &RunDir) -> Error {
    Error::run(
        run_dir.path(),
        "the run cannot be trained further: `runner slim` or `checkpoints.keep = \"best\"` has removed its optimizer state",
    )
    .help(format!(
        "start a new run from its best checkpoint with `init_from = \"{}\"`",
        run_dir.path().display()
    ))
    .help("or train it again with `checkpoints.keep = \"all\"`, which keeps the optimizer state")
}

//! Finished runs without what only resuming needs: the optimizer's state and the checkpoint before the last one.

use super::{
    Which, folder, newest,
    stored::{OPTIMIZER, Stored},
};
use crate::{
    error::{Error, Result},
    rundir::RunDir,
};

/// Whether the run can be used, but not resumed.
pub(crate) fn is_slim(run_dir: &RunDir) -> bool {
    newest(run_dir).is_some_and(|stored| stored.is_slim)
}

/// Replaces the last checkpoint by one without the optimizer's state, and then removes the one before it. A process that dies
/// here leaves a run that is whole until the new checkpoint has the place of the old one, and slim from there on; doing it again
/// removes what is left.
pub(crate) fn slim(run_dir: &RunDir) -> Result<()> {
    let (parent, name) = (run_dir.checkpoints(), Which::Last.name());
    let generations = folder::generations(&parent, name);
    let Some(chosen) = generations.first() else {
        return Err(super::absent(run_dir, Which::Last));
    };
    let stored = Stored::read(chosen)?;
    // Of a damaged one, the checkpoint before it may be all that is left.
    stored.check_files(chosen)?;
    let current = folder::settle(&parent, name, chosen)?;
    if !stored.is_slim {
        let slim = folder::Draft::new(&parent, name)?;
        let kept = stored.files.iter().filter(|file| file.name != OPTIMIZER);
        let files = kept.cloned().collect::<Vec<_>>();
        for file in &files {
            folder::link(&current.join(&file.name), &slim.path().join(&file.name))?;
        }
        slim.seal(&Stored {
            is_slim: true,
            files,
            ..stored
        })?;
        slim.publish(false)?;
    }
    folder::remove(&folder::previous(&parent, name))?;
    folder::tidy(&parent, Which::Best.name())
}

/// The error of resuming such a run.
pub(crate) fn slimmed(run_dir: &RunDir) -> Error {
    Error::run(
        run_dir.path(),
        format!(
            "was slimmed: the optimizer state that resuming needs is gone\nhelp: start a new run from its best checkpoint with `init_from = \"{}\"`",
            run_dir.path().display()
        ),
    )
}

//! Writes checkpoints. The large files are written by two threads, because hashing them takes as long as a fast disk does.

use std::{
    panic::resume_unwind,
    path::Path,
    thread::{self, ScopedJoinHandle},
};

use super::{
    Base, Which,
    folder::{self, Draft},
    stored::{
        BEST_MODEL, BestFiles, CheckpointManifest, FORMAT, METRICS, MODEL, OPTIMIZER, PREDICTIONS,
    },
    tensors,
};
use crate::{
    config::experiment::OptimizerKind,
    disk::{files::write_atomic, sealed::FileRecord},
    error::Result,
    model::{
        paper::TensorSpec,
        parameters::{Parameter, ParameterCopy},
        tensor_file::TensorValues,
    },
    rundir::RunDir,
    scores::ranking::Candidate,
    train::{answers::Answers, optimizer::States, progress::Progress},
};

/// The contents of a checkpoint.
pub(crate) struct Snapshot<'a> {
    pub(crate) base: &'a Base,
    /// The tensors that are not in the base, or were trained since.
    pub(crate) parameters: &'a [Parameter<'a>],
    /// The optimizer's state; `None` for a slim checkpoint.
    pub(crate) optimizer: Option<&'a States>,
    pub(crate) kind: OptimizerKind,
    /// The tensors of the model, in the order that the optimizer's states are numbered by.
    pub(crate) specs: &'a [TensorSpec],
    pub(crate) progress: &'a Progress,
    /// The bytes of `metrics.csv`.
    pub(crate) metrics: &'a [u8],
    pub(crate) steps: FileRecord,
}

/// The best model so far, which `last` includes.
pub(crate) enum Best<'a> {
    /// It is in `best`.
    Stored(BestFiles),
    /// It is in memory.
    Held {
        parameters: &'a [ParameterCopy],
        epoch: Option<&'a Candidate>,
        answers: Answers<'a>,
    },
    /// It is the model of the checkpoint itself.
    New(Answers<'a>),
}

/// Replaces the checkpoint `last`, which a run resumes from, and keeps the one before. `last` includes the best model, which is
/// written to `best` first unless it is there.
pub(crate) fn save_last(
    run_dir: &RunDir,
    snapshot: &Snapshot,
    best: Option<Best>,
) -> Result<Option<BestFiles>> {
    let parent = run_dir.checkpoints();
    let last = Draft::new(&parent, Which::Last.name())?;
    let place = |name: &str| last.path().join(name);
    let (models, optimizer) = thread::scope(|scope| {
        let optimizer = snapshot.optimizer.map(|states| {
            let path = place(OPTIMIZER);
            scope.spawn(move || {
                tensors::write_optimizer(states, snapshot.kind, snapshot.specs, &path)
            })
        });
        let models = save_models(run_dir, snapshot, best, &place(MODEL));
        let join = |writing: ScopedJoinHandle<'_, _>| {
            writing.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        (models, optimizer.map(join))
    });
    let (model, best) = models?;
    let mut files = vec![model];
    files.extend(optimizer.transpose()?);
    write_atomic(&place(METRICS), snapshot.metrics)?;
    files.push(FileRecord::of_bytes(METRICS, snapshot.metrics));
    if let Some(BestFiles { model, predictions }) = &best {
        let folder = parent.join(Which::Best.name());
        folder::link(&folder.join(MODEL), &place(BEST_MODEL))?;
        folder::link(&folder.join(PREDICTIONS), &place(PREDICTIONS))?;
        files.extend([model.renamed(BEST_MODEL), predictions.clone()]);
    }
    last.seal(&CheckpointManifest {
        format: FORMAT,
        base_sha256: snapshot.base.sha256.clone(),
        best: None,
        steps: Some(snapshot.steps.clone()),
        progress: Some(snapshot.progress.clone()),
        is_slim: snapshot.optimizer.is_none(),
        files,
    })?;
    last.publish(true)?;
    Ok(best)
}

/// Writes the model of `last` to `path`, and the best model to `best` unless it is there.
fn save_models(
    run_dir: &RunDir,
    snapshot: &Snapshot,
    best: Option<Best>,
    path: &Path,
) -> Result<(FileRecord, Option<BestFiles>)> {
    let named = snapshot.parameters.iter();
    let named = named.map(|parameter| (parameter.path().to_owned(), parameter));
    let model = tensors::write(named, path)?;
    let best = match best {
        None => None,
        Some(Best::Stored(files)) => Some(files),
        Some(Best::Held {
            parameters,
            epoch,
            answers,
        }) => {
            let copies = parameters.iter();
            let copies = copies.map(|copy| (copy.path().to_owned(), copy));
            Some(save_best(run_dir, snapshot.base, epoch, copies, &answers)?)
        }
        Some(Best::New(answers)) => {
            let draft = Draft::new(&run_dir.checkpoints(), Which::Best.name())?;
            folder::link(path, &draft.path().join(MODEL))?;
            let epoch = snapshot.progress.best.as_ref();
            let files = publish_best(draft, snapshot.base, epoch, model.clone(), &answers)?;
            Some(files)
        }
    };
    Ok((model, best))
}

/// Replaces the checkpoint `best`, which is for using the model and has no optimizer state, with the model of `epoch`.
pub(crate) fn save_best<T: TensorValues>(
    run_dir: &RunDir,
    base: &Base,
    epoch: Option<&Candidate>,
    parameters: impl IntoIterator<Item = (String, T)>,
    answers: &Answers,
) -> Result<BestFiles> {
    let draft = Draft::new(&run_dir.checkpoints(), Which::Best.name())?;
    let model = tensors::write(parameters, &draft.path().join(MODEL))?;
    publish_best(draft, base, epoch, model, answers)
}

fn publish_best(
    draft: Draft,
    base: &Base,
    epoch: Option<&Candidate>,
    model: FileRecord,
    answers: &Answers,
) -> Result<BestFiles> {
    let files = BestFiles {
        model,
        predictions: answers.save(&draft.path().join(PREDICTIONS))?,
    };
    draft.seal(&CheckpointManifest::of_best(
        base.sha256.clone(),
        epoch.cloned(),
        &files,
    ))?;
    draft.publish(false)?;
    Ok(files)
}

//! `runner resume RUN`: goes on where a run stopped, from what its directory holds.

use std::{path::Path, sync::Arc};

use super::{prepare, train};
use crate::{
    config,
    console::Console,
    data::split::Part,
    device,
    error::{Error, Result},
    model::weights,
    plan::Plan,
    records::{self, Manifest},
    rundir::RunDir,
    train::{
        Setup, Start,
        checkpoint::{self, Progress, Which},
    },
};

pub(crate) fn resume(run: &Path, console: &Console) -> Result<()> {
    let run_dir = RunDir::open(run)?;
    if run_dir.summary_toml().is_file() {
        return Err(Error::Usage(format!(
            "{}: is finished; there is nothing to resume",
            run.display()
        )));
    }
    let experiment = config::read(&run_dir.resolved_toml(), &[], &[])?.experiment;
    let manifest: Manifest = records::read_toml(&run_dir.manifest_toml())?;
    device::set_threads(experiment.threads);
    let device = device::open(experiment.device)?;
    let index = Arc::new(prepare::scan(&experiment.data, console)?);
    if index.hash != manifest.data_sha256 {
        return Err(Error::Data(format!(
            "{}: the images are not those that {} began with\nhelp: a changed data set needs a new run",
            index.root.display(),
            run.display()
        )));
    }
    let split = prepare::read_split(&run_dir, &index)?;
    let plan = Plan::new(
        &experiment,
        index.classes.len(),
        split.images(Part::Train).len(),
    );
    let stop = train::stop_on_ctrl_c();
    train::guard(&run_dir, console, || {
        let start = match checkpoint::read(&run_dir, Which::Last)? {
            Some(checkpoint) => Start::Resumed(Box::new(checkpoint)),
            None => Start::Fresh(initial_state(&experiment, &manifest)?),
        };
        let progress = match &start {
            Start::Resumed(checkpoint) => checkpoint.progress.clone(),
            Start::Fresh(_) => Progress::default(),
        };
        records::truncate_csv(&run_dir.metrics_csv(), progress.epoch)?;
        records::truncate_csv(&run_dir.steps_csv(), progress.step)?;
        console.note(&format!(
            "{} goes on after epoch {}, step {}",
            run.display(),
            progress.epoch,
            progress.step
        ));
        let (run_dir, split, plan) = (&run_dir, &split, &plan);
        train::run(
            &Setup {
                experiment: &experiment,
                plan,
                index,
                split,
                run_dir,
                device,
                console,
                stop,
            },
            start,
        )
    })
}

/// Of a run that was stopped before its first checkpoint.
fn initial_state(
    experiment: &config::experiment::Experiment,
    manifest: &Manifest,
) -> Result<crate::model::state::StateDict> {
    if let Some(parent) = &manifest.parent {
        let best = checkpoint::read_best(&RunDir::open(Path::new(&parent.run))?)?;
        if best.model_sha256 != parent.model_sha256 {
            return Err(Error::Weights(format!(
                "{}: its best checkpoint is not the one this run began with",
                parent.run
            )));
        }
        return Ok(best.state);
    }
    let loaded = weights::load(&experiment.model, manifest.classes.len(), experiment.seed)?;
    if loaded.sha256.unwrap_or_default() != manifest.weights_sha256 {
        return Err(Error::Weights(format!(
            "{}: is not the file this run began with",
            loaded.source
        )));
    }
    Ok(loaded.state)
}

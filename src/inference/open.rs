//! Opens a checkpoint of a run for use. Everything comes from the run directory: class names in the order of the model's outputs,
//! preprocessing, architecture and parameters. The training images need not exist any more.

use std::path::Path;

use crate::{
    config::{
        Loaded,
        experiment::{Experiment, Transforms},
    },
    console::Console,
    data::decode::DecodeOptions,
    device,
    error::{Error, Result},
    plan::{Plan, prefix::Prefix},
    rundir::{
        RunDir, recipe,
        records::{EpochRow, Manifest, read_csv_so_far},
    },
    train::{
        checkpoint::{self, Checkpoint, Which},
        predictor::Predictor,
    },
};

/// The keys that `--set` may change where a trained model is used: where and how fast it runs, not what it computes.
const FREE_KEYS: [&str; 7] = [
    "device",
    "threads",
    "data.workers",
    "data.max_pixels",
    "cache.dir",
    "cache.max_gib",
    "cache.trust",
];

/// A run directory whose experiment and parameters have been read.
pub(crate) struct OpenedRun {
    pub(crate) experiment: Experiment,
    pub(crate) manifest: Manifest,
    pub(crate) which: Which,
    pub(crate) checkpoint: Checkpoint,
    /// The plan of the run, whose phases tell which layers were frozen.
    pub(crate) plan: Plan,
    /// The phase that the parameters are from, as an index into the plan.
    pub(crate) phase: usize,
}

/// A trained model that predicts.
pub(crate) struct TrainedModel {
    pub(crate) experiment: Experiment,
    pub(crate) manifest: Manifest,
    pub(crate) which: Which,
    /// The number of epochs that the parameters were trained for.
    pub(crate) epoch: usize,
    /// The hash of all parameters; see [`Checkpoint`].
    pub(crate) model_sha256: String,
    pub(crate) predictor: Predictor,
}

impl OpenedRun {
    /// Reads a checkpoint of a run, with the overrides of `sets`, and starts the threads that will compute. Fails for overrides of
    /// keys that would change what the model computes; `command` is the name of the command that they were given to.
    pub(crate) fn read(
        run_dir: &RunDir,
        which: Which,
        sets: &[String],
        command: &str,
        console: &Console,
    ) -> Result<Self> {
        let loaded = recipe::experiment(run_dir, sets)?;
        check_overrides(run_dir.path(), &loaded, command)?;
        let experiment = loaded.experiment;
        device::set_threads(experiment.threads);
        let manifest = recipe::manifest(run_dir)?;
        let specs = experiment.model.arch.tensors(manifest.classes.len());
        let checkpoint = checkpoint::read(run_dir, which, &specs)?
            .ok_or_else(|| checkpoint::absent(run_dir, which))?;
        checkpoint.tell_damages(console);
        let plan = Plan::new(&experiment, manifest.classes.len(), manifest.n_train);
        let phase = phase_of(run_dir, which, &checkpoint, &plan);
        Ok(Self {
            experiment,
            manifest,
            which,
            checkpoint,
            plan,
            phase,
        })
    }

    /// The layers that were frozen in the phase that the parameters are from, or on other devices than the CPU, unless their
    /// activations will be cached, none: Burn runs all layers alike there.
    fn prefix(&self, is_cached: bool) -> Result<Prefix> {
        let is_cpu = device::is_cpu(&device::open(self.experiment.device)?);
        let prefix = &self.plan.phases[self.phase].prefix;
        Ok(if is_cpu || is_cached {
            prefix.clone()
        } else {
            Prefix::of_steps(&self.plan.paper, 0, String::new())
        })
    }

    /// Builds the model. With `is_cached`, its activations after the frozen layers will be looked up in the cache.
    pub(crate) fn into_model(self, is_cached: bool) -> Result<TrainedModel> {
        let prefix = self.prefix(is_cached)?;
        let n_classes = self.manifest.classes.len();
        let Checkpoint {
            state,
            epoch,
            model_sha256,
            ..
        } = self.checkpoint;
        Ok(TrainedModel {
            predictor: Predictor::new(&self.experiment, n_classes, prefix, state)?,
            experiment: self.experiment,
            manifest: self.manifest,
            which: self.which,
            epoch,
            model_sha256,
        })
    }
}

impl TrainedModel {
    /// The class names, in the order of the logits.
    pub(crate) fn classes(&self) -> &[String] {
        &self.manifest.classes
    }

    /// How the run decodes images.
    pub(crate) fn decoding(&self) -> DecodeOptions {
        DecodeOptions::of(&self.experiment.data)
    }

    pub(crate) fn transforms(&self) -> &Transforms {
        &self.experiment.transforms
    }
}

/// Fails for overrides that would no longer use what was trained.
fn check_overrides(run: &Path, loaded: &Loaded, command: &str) -> Result<()> {
    let refused: Vec<String> = loaded
        .overrides()
        .filter(|key| !FREE_KEYS.contains(key))
        .map(|key| format!("`{key}`"))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::usage(format!(
        "`runner {command}` cannot change {}, with which the run was trained",
        refused.join(", ")
    ))
    .at(run)
    .help(format!("`--set` can change {}", FREE_KEYS.join(", "))))
}

/// The phase that the parameters of a checkpoint are from.
fn phase_of(run_dir: &RunDir, which: Which, checkpoint: &Checkpoint, plan: &Plan) -> usize {
    let last = plan.phases.len() - 1;
    if which == Which::Last {
        return checkpoint.progress.phase.min(last);
    }
    let rows: Vec<EpochRow> = read_csv_so_far(&run_dir.metrics_csv());
    let row = rows.iter().find(|row| row.epoch == checkpoint.epoch);
    let mut phases = plan.phases.iter();
    let by_name = row.and_then(|row| phases.position(|it| it.phase.name == row.phase));
    // Without the table, the phase can be told from the number of the epoch, unless an earlier phase stopped early.
    by_name.unwrap_or_else(|| {
        let begun = |phase: &&crate::plan::PlannedPhase| phase.first_epoch < checkpoint.epoch;
        let n_begun = plan.phases.iter().take_while(begun).count();
        n_begun.saturating_sub(1)
    })
}

//! Checks the trials of a sweep against the machine: images, weights, device, memory and disk. What several trials share is checked
//! once.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::Arc,
};

use toml::{Table, Value};

use crate::commands::{fit, prepare, space};
use crate::{
    config::{
        Loaded, TrialBase,
        experiment::Data,
        schema::{self, Recheck},
    },
    console::{Console, Talk},
    data::index::DatasetIndex,
    device,
    error::{Diagnostic, Error, Result},
    storage::DiskEstimate,
    sweep::directory::{identity, key},
};

/// What checking a trial found out about it.
#[derive(Clone)]
pub(super) struct CheckedInputs {
    pub(super) data_sha256: String,
    /// The peak memory of the trial; 0 if its experiment ignores memory.
    pub(super) memory_bytes: u64,
    /// What the run of the trial takes on the disk.
    pub(super) disk: DiskEstimate,
}

/// The checks of one sweep, whose trials have the same base.
#[derive(Default)]
pub(super) struct Checks {
    /// Read for the first trial.
    base: Option<TrialBase>,
    /// What was found, or what is wrong, by the key of the inputs that were checked.
    found: HashMap<String, std::result::Result<CheckedInputs, Vec<Diagnostic>>>,
    /// The folders of images that notes have been printed for.
    roots: HashSet<String>,
    /// The keys of the weights that are known to load.
    weights: HashSet<String>,
    scans: Scans,
}

/// The scans so far. Even a cached scan asks the disk about every image, which takes too long to repeat for each seed.
#[derive(Default)]
struct Scans(Vec<(Data, Arc<DatasetIndex>)>);

impl Scans {
    fn of(&mut self, data: &Data, console: &Console) -> Result<Arc<DatasetIndex>> {
        let decides = |data: &Data| {
            // These keys change how images are read, but not which images there are.
            let batch_size = NonZeroUsize::MIN;
            Data {
                batch_size,
                workers: 0,
                exif_orientation: false,
                ..data.clone()
            }
        };
        let mut known = self.0.iter();
        if let Some((_, index)) = known.find(|(other, _)| decides(other) == decides(data)) {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(prepare::scan(data, console)?);
        self.0.push((data.clone(), Arc::clone(&index)));
        Ok(index)
    }
}

impl Checks {
    /// The identity that a run of the trial must have, and what was found about the trial or what is wrong with it.
    pub(super) fn check(
        &mut self,
        request: &prepare::ExperimentRequest,
        loaded: &Loaded,
        axes: &[String],
        console: &Console,
    ) -> Result<(Table, std::result::Result<CheckedInputs, Vec<Diagnostic>>)> {
        let mut experiment = identity(&loaded.resolved, axes);
        if let Some(parent) = prepare::parent(&loaded.experiment)? {
            let place = prepare::path_of(&parent)?;
            experiment.insert("init_from".to_owned(), place.into());
        }
        let inputs = key(&inputs(&experiment), "");
        if let Some(known) = self.found.get(&inputs) {
            return Ok((experiment, known.clone()));
        }
        // Notes about a folder of images are printed for the first trial that uses it.
        let root = experiment["data"]["root"].to_string();
        let is_said = !self.roots.insert(root);
        let quiet = Console::new(Talk::Quiet);
        let console = if is_said { &quiet } else { console };
        let found = match self.look(request, &experiment, console) {
            Err(error) if error.is_interrupted() => return Err(error),
            found => found.map_err(Error::into_diagnostics),
        };
        self.found.insert(inputs, found.clone());
        Ok((experiment, found))
    }

    fn look(
        &mut self,
        request: &prepare::ExperimentRequest,
        experiment: &Table,
        console: &Console,
    ) -> Result<CheckedInputs> {
        let base = match &mut self.base {
            Some(base) => base,
            none => none.insert(TrialBase::read(&request.file, &request.env)?),
        };
        let loaded = base.trial(&request.sets)?;
        let mut scan = |data: &Data| self.scans.of(data, console);
        let prepared = prepare::prepare_with(loaded, &mut scan, console)?;
        let chosen = &prepared.loaded.experiment;
        device::open(chosen.device)?;
        let needed = fit::check_trial(&prepared, &request.file, console)?;
        let mut weights = weights(experiment);
        // The head has a row for each class, and another folder may have other classes.
        weights.insert("classes".to_owned(), prepared.index.classes.clone().into());
        let weights = key(&weights, "");
        if !self.weights.contains(&weights) {
            prepare::initial(&prepared)?;
            self.weights.insert(weights);
        }
        Ok(CheckedInputs {
            data_sha256: prepared.index.hash.clone(),
            memory_bytes: if chosen.checks_memory { needed } else { 0 },
            disk: space::estimate(&prepared),
        })
    }
}

/// The part of an experiment that images, weights, device, memory and disk depend on. Trials that differ only in other keys share a
/// check.
fn inputs(experiment: &Table) -> Table {
    let mut inputs = experiment.clone();
    schema::retain(&mut inputs, &|key| {
        key.is_some_and(|key| key.recheck != Recheck::Nothing)
    });
    // Of a momentum, which may be drawn for each trial, only whether there is one decides how many moments there are.
    let optimizer = inputs.get_mut("optimizer").and_then(Value::as_table_mut);
    if let Some(momentum) = optimizer.and_then(|optimizer| optimizer.get_mut("momentum")) {
        *momentum = (momentum.as_float() != Some(0.0)).into();
    }
    inputs
}

/// The part of an experiment that its first parameters depend on.
fn weights(experiment: &Table) -> Table {
    let mut weights = experiment.clone();
    schema::retain(&mut weights, &|key| {
        key.is_some_and(|key| key.recheck == Recheck::Weights)
    });
    weights
}

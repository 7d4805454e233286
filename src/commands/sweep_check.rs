//! What can be wrong with a sweep's trials beyond what their files say: images, weights, device, memory. What trials share
//! is looked at once.

use std::{num::NonZeroUsize, sync::Arc};

use toml::{Table, Value};

use super::{fit, prepare};
use crate::{
    config::{self, Loaded, experiment::Data},
    console::{Console, Talk},
    data::index::DatasetIndex,
    device,
    error::Result,
    sweep::directory::identity,
};

/// What decides on images, weights, device and memory; the rest of an experiment needs no second look.
const INPUTS: [&str; 11] = [
    "device",
    "data",
    "split",
    "seed",
    "model",
    "init_from",
    "allow_other_split",
    "transforms",
    "memory",
    "optimizer",
    "phase",
];

/// What only a look at the disk can tell of a trial.
#[derive(Clone)]
pub(super) struct CheckedInputs {
    pub(super) data_sha256: String,
    /// What it takes at most; 0 where that is to be ignored.
    pub(super) memory_bytes: u64,
}

#[derive(Default)]
pub(super) struct Checks {
    /// With what was seen, or what is wrong.
    inputs: Vec<(Table, std::result::Result<CheckedInputs, String>)>,
    /// Those that fit.
    weights: Vec<Table>,
    scans: Scans,
}

/// To ask for each of many thousand images whether it is as it was takes time, too much of it for each seed.
#[derive(Default)]
struct Scans(Vec<(Data, Arc<DatasetIndex>)>);

impl Scans {
    fn of(&mut self, data: &Data, console: &Console) -> Result<Arc<DatasetIndex>> {
        let decides = |data: &Data| {
            // What only reading and training depend on is left out.
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
    /// What the trial's run must be, and what was seen of it or what is wrong with it.
    pub(super) fn check(
        &mut self,
        request: &prepare::ExperimentRequest,
        loaded: &Loaded,
        axes: &[String],
        console: &Console,
    ) -> Result<(Table, std::result::Result<CheckedInputs, String>)> {
        let mut experiment = identity(&loaded.resolved, axes);
        if let Some(parent) = prepare::parent(&loaded.experiment)? {
            let place = prepare::path_of(&parent)?;
            experiment.insert("init_from".to_owned(), place.into());
        }
        let inputs = inputs(&experiment);
        if let Some((_, known)) = self.inputs.iter().find(|(seen, _)| *seen == inputs) {
            return Ok((experiment, known.clone()));
        }
        // What there is to say of the images has been said.
        let mut seen = self.inputs.iter();
        let is_said = seen.any(|(seen, _)| seen["data"]["root"] == inputs["data"]["root"]);
        let quiet = Console::new(Talk::Quiet);
        let console = if is_said { &quiet } else { console };
        let found = match self.look(request, &experiment, console) {
            Err(error) if error.is_interrupted() => return Err(error),
            found => found.map_err(|error| error.to_string()),
        };
        self.inputs.push((inputs, found.clone()));
        Ok((experiment, found))
    }

    fn look(
        &mut self,
        request: &prepare::ExperimentRequest,
        experiment: &Table,
        console: &Console,
    ) -> Result<CheckedInputs> {
        let loaded = config::read(&request.file, &request.sets, &request.env)?;
        let mut scan = |data: &Data| self.scans.of(data, console);
        let prepared = prepare::prepare_with(loaded, &mut scan, console)?;
        let chosen = &prepared.loaded.experiment;
        device::open(chosen.device)?;
        let estimate = fit::check(&prepared, &request.file, console)?;
        let mut weights = experiment.clone();
        weights.retain(|key, _| ["model", "init_from"].contains(&key));
        remove(&mut weights, "model", "dropout");
        // Another folder may have other classes.
        weights.insert("classes".to_owned(), prepared.index.classes.clone().into());
        if !self.weights.contains(&weights) {
            prepare::initial(&prepared)?;
            // The trials need the memory.
            #[cfg(unix)]
            crate::system::allocator::give_back_kept();
            self.weights.push(weights);
        }
        Ok(CheckedInputs {
            data_sha256: prepared.index.hash.clone(),
            memory_bytes: if chosen.checks_memory {
                estimate.total() as u64
            } else {
                0
            },
        })
    }
}

fn inputs(experiment: &Table) -> Table {
    let mut inputs = experiment.clone();
    inputs.retain(|key, _| INPUTS.contains(&key));
    remove(&mut inputs, "model", "dropout");
    // Of the optimizer, the moments take memory; of a phase, what trains.
    if let Some(optimizer) = inputs.get_mut("optimizer").and_then(Value::as_table_mut) {
        optimizer.retain(|key, _| key == "kind");
    }
    let phases = inputs.get_mut("phase").and_then(Value::as_array_mut);
    for phase in phases.into_iter().flatten() {
        if let Some(phase) = phase.as_table_mut() {
            phase.retain(|key, _| key == "trainable");
        }
    }
    inputs
}

fn remove(experiment: &mut Table, table: &str, key: &str) {
    if let Some(table) = experiment.get_mut(table).and_then(Value::as_table_mut) {
        table.remove(key);
    }
}

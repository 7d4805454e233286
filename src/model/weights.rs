//! Loads the weights of an experiment into a complete state dict: finds the file, checks its hash, compares names and shapes, and
//! initialises the parameters that may start fresh. Knows no Burn.

use std::{
    collections::HashSet,
    path::{Component, Path, PathBuf},
};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

pub(crate) use super::torch_cache::torch_checkpoints;
use super::{
    families::{Arch, Published, Source},
    init,
    paper::shape_text,
    start::StartState,
    state::{self, StateDict},
    tensor_file,
};
use crate::{
    config::experiment::{Model, Weights},
    disk::hash,
    error::{Error, Result},
    text::table::counted,
};

/// The number of values that a task checks.
const CHECKED_AT_ONCE: usize = 1 << 16;

/// A complete state dict and where it came from.
pub(crate) struct Loaded {
    pub(crate) state: StartState,
    /// What the manifest records: a path or a known name. `sha256` is the hash of the bytes.
    pub(crate) source: String,
    pub(crate) sha256: Option<String>,
    /// The paths of the parameters that were freshly initialised.
    pub(crate) fresh: Vec<String>,
}

/// Where a model's weights will be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Nowhere,
    Embedded(&'static [u8]),
    File(PathBuf),
}

/// The name that `runner fetch` takes for the experiment's weights, and the file on PyTorch's server; `None` for weights that are not
/// there.
pub(crate) fn published(model: &Model) -> Option<(String, &'static str)> {
    let Weights::Known(published) = model.weights else {
        return None;
    };
    match published.source {
        Source::File { name, .. } => Some((model.arch.fetch_name(published), name)),
        Source::Embedded(_) => None,
    }
}

/// Where the weights should be, without checking whether they are there.
pub(crate) fn locate(model: &Model) -> Location {
    match &model.weights {
        Weights::None => Location::Nowhere,
        Weights::File(path) => Location::File(path.clone()),
        Weights::Known(published) => match published.source {
            Source::Embedded(bytes) => Location::Embedded(bytes),
            Source::File { name, .. } => Location::File(torch_checkpoints().join(name)),
        },
    }
}

/// Fails if the weights are not where they should be; reads nothing.
pub(crate) fn check_presence(model: &Model) -> Result<()> {
    let Location::File(path) = locate(model) else {
        return Ok(());
    };
    if path.is_file() {
        return Ok(());
    }
    let message = format!("weights file not found: `{}`", path.display());
    let error = Error::weights(message).at(&path);
    Err(match published(model) {
        None => error.help("set `model.weights` to a file, a known name, or \"none\""),
        Some((name, file)) => error
            .help(format!(
                "run `runner fetch {name}` to download it to PyTorch's cache"
            ))
            .help(format!(
                "or use a file of your own: `--set model.weights=path/to/{file}`"
            )),
    })
}

/// Reads, checks and completes the weights for `n_classes`. Freshly initialised tensors depend on `seed` and
/// their names alone.
pub(crate) fn load(model: &Model, n_classes: usize, seed: u64) -> Result<Loaded> {
    check_presence(model)?;
    let location = locate(model);
    let (source, sha256, state) = match &location {
        Location::Nowhere => return Ok(all_fresh(model.arch, n_classes, seed)),
        Location::Embedded(bytes) => {
            let state = tensor_file::read(*bytes, bytes.len() as u64).map_err(|fact| {
                Error::internal(format!("cannot read the embedded weights: {fact}"))
            })?;
            let name = known(model).map_or("none", |published| published.name);
            (format!("{name} (in this binary)"), sha256_hex(bytes), state)
        }
        Location::File(path) => {
            // Together, because for a file of 553 MB each takes a third of a second.
            let (sha256, state) = rayon::join(|| hash::sha256_of_file(path), || state::read(path));
            let sha256 = sha256?;
            check_hash(model, path, &sha256)?;
            (path.display().to_string(), sha256, state?)
        }
    };
    let (state, fresh) = complete(model, n_classes, seed, state)
        .map_err(|unfit| unfit.into_error(model, &location).at(&source))?;
    Ok(Loaded {
        state,
        source,
        sha256: Some(sha256),
        fresh,
    })
}

fn all_fresh(arch: Arch, n_classes: usize, seed: u64) -> Loaded {
    let specs = arch.tensors(n_classes);
    let mut state = StartState::default();
    for spec in &specs {
        state.draw(spec, init::fresh(spec, seed));
    }
    let fresh = specs.into_iter().map(|spec| spec.path).collect();
    Loaded {
        state,
        source: "none".to_owned(),
        sha256: None,
        fresh,
    }
}

/// Why weights cannot be used, with one line for each parameter that is concerned.
enum Unfit {
    /// Names or shapes do not match the architecture.
    Parameters(Vec<String>),
    /// The values are useless for any model.
    Values(Vec<String>),
}

impl Unfit {
    fn into_error(self, model: &Model, location: &Location) -> Error {
        let with_facts = |error, facts: Vec<String>| facts.into_iter().fold(error, Error::fact);
        let facts = match self {
            Self::Values(facts) => {
                let error = Error::weights("the weights contain unusable values");
                return with_facts(error, facts).help(
                    "use another file: this one is damaged, or the training that wrote it diverged",
                );
            }
            Self::Parameters(facts) => facts,
        };
        let (arch, n_problems) = (model.arch.name(), counted(facts.len(), "problem"));
        let message = format!("the weights do not fit `{arch}` ({n_problems})");
        let error = with_facts(Error::weights(message), facts);
        match location {
            Location::File(path) if is_in_checkpoint(path) => error
                .fact("the file belongs to a checkpoint, which holds only what its run trained")
                .help("run `runner export RUN FILE` to write the whole model")
                .help("or set `init_from = \"RUN\"` to start from the best epoch of that run"),
            Location::File(_) | Location::Nowhere | Location::Embedded(_) => error
                .help("set `model.arch` to the architecture of the file")
                .help("list parameters that may be missing or have another shape in `model.fresh`, for example `fresh = [\"classifier\"]`"),
        }
    }
}

/// Compares the weights with the architecture, and reports all problems at once. Returns the complete state and the paths of
/// the freshly initialised parameters.
fn complete(
    model: &Model,
    n_classes: usize,
    seed: u64,
    mut found: StateDict,
) -> std::result::Result<(StartState, Vec<String>), Unfit> {
    let specs = model.arch.tensors(n_classes);
    let head = model.arch.names().head();
    let may_start_fresh = paths_that_may_start_fresh(model);
    let (mut state, mut fresh) = (StartState::default(), Vec::new());
    let (mut problems, mut broken) = (Vec::new(), Vec::new());
    if let Some(published) = known(model) {
        found.retain(|path, _| published.covers(path));
    }
    for spec in &specs {
        let given = found.remove(&spec.path);
        if spec.is_in(&head.path) {
            // Replaced even for an equal number of classes, as in the reference.
            state.draw(spec, init::new_head(spec, head.in_features, seed));
            fresh.push(spec.path.clone());
            continue;
        }
        match given {
            Some(tensor) if tensor.shape == spec.shape => {
                broken.extend(unusable_values(&spec.path, &tensor.values));
                state.give(spec, tensor);
            }
            _ if may_start_fresh.contains(&spec.path) => {
                state.draw(spec, init::fresh(spec, seed));
                fresh.push(spec.path.clone());
            }
            Some(tensor) => problems.push(format!(
                "`{}` has shape {}, expected {}",
                spec.path,
                shape_text(&tensor.shape),
                shape_text(&spec.shape)
            )),
            None => problems.push(format!("`{}` is missing", spec.path)),
        }
    }
    let arch = model.arch.name();
    let unexpected = found.keys();
    problems.extend(
        unexpected.map(|name| format!("`{name}` is unexpected: `{arch}` has no such parameter")),
    );
    if !problems.is_empty() {
        return Err(Unfit::Parameters(problems));
    }
    if !broken.is_empty() {
        return Err(Unfit::Values(broken));
    }
    Ok((state, fresh))
}

/// Whether a file is the model of a checkpoint, which holds only what its run trained.
fn is_in_checkpoint(path: &Path) -> bool {
    let is_model = path
        .file_name()
        .is_some_and(|name| name == "model.safetensors");
    let checkpoints = Component::Normal("checkpoints".as_ref());
    is_model && path.components().any(|component| component == checkpoints)
}

/// The problem with the values of a parameter, if there is any.
fn unusable_values(path: &str, values: &[f32]) -> Option<String> {
    let pieces = values.par_chunks(CHECKED_AT_ONCE);
    let n_not_finite: usize = pieces
        .map(|piece| piece.iter().filter(|value| !value.is_finite()).count())
        .sum();
    if n_not_finite > 0 {
        let n_values = values.len();
        return Some(format!(
            "`{path}`: {n_not_finite} of {n_values} values are NaN or infinite"
        ));
    }
    let is_negative = path.ends_with(".running_var") && values.iter().any(|value| *value < 0.0);
    is_negative.then(|| format!("`{path}`: a variance is negative"))
}

/// The parameters and buffers that are initialised where the weights lack them or have another shape.
fn paths_that_may_start_fresh(model: &Model) -> HashSet<String> {
    let selected = model.fresh.iter();
    let selected = selected.flat_map(|selector| selector.paths_with_buffers(model.arch));
    let published = known(model);
    let tensors = model.arch.names().tensors.iter();
    let lacking = tensors
        .filter(|spec| published.is_some_and(|published| !published.covers(&spec.path)))
        .map(|spec| spec.path.clone());
    selected.chain(lacking).collect()
}

fn known(model: &Model) -> Option<&'static Published> {
    match model.weights {
        Weights::Known(published) => Some(published),
        Weights::File(_) | Weights::None => None,
    }
}

/// Checks the hash of a file against what is known of a published file's hash, and against the experiment's `weights_sha256`.
pub(super) fn check_hash(model: &Model, path: &Path, sha256: &str) -> Result<()> {
    let published = known(model).map(Published::sha256);
    for expected in model.weights_sha256.as_deref().into_iter().chain(published) {
        if !sha256.starts_with(expected) {
            let message = format!("unexpected SHA-256 {sha256}: it should begin with {expected}");
            return Err(Error::weights(message)
                .at(path)
                .help("delete the file and download it again: it is damaged or a different one"));
        }
    }
    Ok(())
}

fn sha256_hex(bytes: &[u8]) -> String {
    hash::hex(&Sha256::digest(bytes))
}

//! Loads the weights of an experiment into a complete state dict: finds the file, checks its hash, compares names and shapes, and
//! initialises the parameters that may start fresh. Knows no Burn.

use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

pub(crate) use super::torch_cache::torch_checkpoints;
use super::{
    init,
    layout::{Arch, LAST_LAYER, shape_text},
    state::{self, StateDict},
};
use crate::{
    config::experiment::{KnownWeights, Model, Weights},
    disk::hash,
    error::{Error, Result},
    text::table::counted,
};

/// The backbone that this project trained itself; `configs/assets/drawings_v1.toml` made it.
const DRAWINGS_V1: &[u8] = include_bytes!("../../assets/vgg16_slim_drawings_v1.safetensors");

/// A complete state dict and where it came from.
pub(crate) struct Loaded {
    pub(crate) state: StateDict,
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
    Embedded,
    File(PathBuf),
}

/// A file of weights that is published for torchvision.
#[derive(Clone, Copy)]
pub(crate) struct PublishedFile {
    /// The name that `runner fetch` takes.
    pub(crate) name: &'static str,
    /// The file name; the digits in it are the beginning of the SHA-256.
    pub(crate) file: &'static str,
    pub(crate) mebibytes: f64,
    /// The whole SHA-256 and the size in bytes, if they are known. PyTorch publishes neither; these are values that at least two
    /// public projects that pin the files agree on.
    pub(crate) pinned: Option<(&'static str, u64)>,
}

const fn published_file(name: &'static str, file: &'static str, mebibytes: f64) -> PublishedFile {
    PublishedFile {
        name,
        file,
        mebibytes,
        pinned: None,
    }
}

impl PublishedFile {
    const fn pinned(self, sha256: &'static str, bytes: u64) -> Self {
        Self {
            pinned: Some((sha256, bytes)),
            ..self
        }
    }
}

/// The weights `IMAGENET1K_V1` of each architecture, under its name. Source: torchvision `models/vgg.py`.
const TORCHVISION_FILES: [PublishedFile; 8] = [
    published_file("vgg11", "vgg11-8a719046.pth", 506.84),
    published_file("vgg13", "vgg13-19584684.pth", 507.545),
    published_file("vgg16", "vgg16-397923af.pth", 527.796).pinned(
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        553_433_881,
    ),
    published_file("vgg19", "vgg19-dcbb9e9d.pth", 548.051).pinned(
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        574_673_361,
    ),
    published_file("vgg11_bn", "vgg11_bn-6002323d.pth", 506.881),
    published_file("vgg13_bn", "vgg13_bn-abd245e5.pth", 507.59),
    published_file("vgg16_bn", "vgg16_bn-6c64b313.pth", 527.866).pinned(
        "6c64b3138f2f4fcb3bcc4cafde11619c4f440eb1631787e93a682fd88305888a",
        553_507_836,
    ),
    published_file("vgg19_bn", "vgg19_bn-c79401a0.pth", 548.143).pinned(
        "c79401a0cf3cb42714e4182f5868c7a6f4f4534f5df9e956e2bb2098de41cbb6",
        574_769_405,
    ),
];

/// `IMAGENET1K_FEATURES` of VGG16: Caffe's weights, without a classifier.
const VGG16_FEATURES: PublishedFile = published_file(
    "vgg16_features",
    "vgg16_features-amdegroot-88682ab5.pth",
    527.802,
);

/// The files of weights that can be downloaded.
pub(crate) fn published_files() -> impl Iterator<Item = PublishedFile> {
    TORCHVISION_FILES.into_iter().chain([VGG16_FEATURES])
}

/// The published file that the experiment's weights come from, if any.
pub(crate) fn published(model: &Model) -> Option<PublishedFile> {
    match &model.weights {
        Weights::Known(KnownWeights::Imagenet1kV1) => TORCHVISION_FILES
            .into_iter()
            .find(|published| published.name == model.arch.name()),
        Weights::Known(KnownWeights::Imagenet1kFeatures) => Some(VGG16_FEATURES),
        Weights::Known(KnownWeights::DrawingsV1) | Weights::None | Weights::File(_) => None,
    }
}

/// Where the weights should be, without checking whether they are there.
pub(crate) fn locate(model: &Model) -> Location {
    match &model.weights {
        Weights::None => Location::Nowhere,
        Weights::File(path) => Location::File(path.clone()),
        Weights::Known(KnownWeights::DrawingsV1) => Location::Embedded,
        Weights::Known(KnownWeights::Imagenet1kV1 | KnownWeights::Imagenet1kFeatures) => {
            let published = published(model).expect("resolve() admits these for torchvision's");
            Location::File(torch_checkpoints().join(published.file))
        }
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
        Some(PublishedFile { name, file, .. }) => error
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
        Location::Embedded => {
            let state = state::read_safetensors(DRAWINGS_V1).map_err(|fact| {
                Error::internal(format!("cannot read the embedded weights: {fact}"))
            })?;
            (
                "drawings_v1 (in this binary)".to_owned(),
                sha256_hex(DRAWINGS_V1),
                state,
            )
        }
        Location::File(path) => {
            let sha256 = hash::sha256_of_file(path)?;
            check_hash(model, path, &sha256)?;
            (path.display().to_string(), sha256, state::read(path)?)
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
    let state = specs
        .iter()
        .map(|spec| (spec.path.clone(), init::fresh(spec, seed)))
        .collect();
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
            Location::File(_) | Location::Nowhere | Location::Embedded => error
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
) -> std::result::Result<(StateDict, Vec<String>), Unfit> {
    let specs = model.arch.tensors(n_classes);
    let last_in_features = specs[specs.len() - 2].shape[1];
    let (mut state, mut fresh) = (StateDict::new(), Vec::new());
    let (mut problems, mut broken) = (Vec::new(), Vec::new());
    if lacks_classifier(model) {
        // torchvision's IMAGENET1K_FEATURES file has a classifier, full of NaN.
        found.retain(|path, _| !path.starts_with("classifier."));
    }
    for spec in &specs {
        let given = found.remove(&spec.path);
        if spec.path.starts_with(LAST_LAYER) {
            // Replaced even for an equal number of classes, as in the reference.
            state.insert(
                spec.path.clone(),
                init::new_linear(spec, last_in_features, seed),
            );
            fresh.push(spec.path.clone());
            continue;
        }
        match given {
            Some(tensor) if tensor.shape == spec.shape => {
                broken.extend(unusable_values(&spec.path, &tensor.values));
                state.insert(spec.path.clone(), tensor);
            }
            _ if may_start_fresh(model, &spec.path) => {
                state.insert(spec.path.clone(), init::fresh(spec, seed));
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
    let n_not_finite = values.iter().filter(|value| !value.is_finite()).count();
    if n_not_finite > 0 {
        let n_values = values.len();
        return Some(format!(
            "`{path}`: {n_not_finite} of {n_values} values are NaN or infinite"
        ));
    }
    let is_negative = path.ends_with(".running_var") && values.iter().any(|value| *value < 0.0);
    is_negative.then(|| format!("`{path}`: a variance is negative"))
}

fn may_start_fresh(model: &Model, path: &str) -> bool {
    (lacks_classifier(model) && path.starts_with("classifier."))
        || model
            .fresh
            .iter()
            .any(|selector| selector.matches(path, model.arch))
}

/// Whether the weights cover only `features` by definition.
fn lacks_classifier(model: &Model) -> bool {
    match model.weights {
        Weights::Known(KnownWeights::Imagenet1kFeatures | KnownWeights::DrawingsV1) => true,
        Weights::Known(KnownWeights::Imagenet1kV1) | Weights::File(_) | Weights::None => false,
    }
}

/// Checks the hash of a file against the beginning of it in the name of a known file, and against the experiment's
/// `weights_sha256`.
fn check_hash(model: &Model, path: &Path, sha256: &str) -> Result<()> {
    let from_name = match model.weights {
        Weights::Known(_) => path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.rsplit('-').next()),
        Weights::None | Weights::File(_) => None,
    };
    for expected in model.weights_sha256.as_deref().into_iter().chain(from_name) {
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

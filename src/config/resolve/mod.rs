//! From the merged keys to an `Experiment`: contradictions, keys without an effect and missing keys, all reported at once.
//! Pure; every single value has its type and is in its range already.

mod augment;
mod cache;
mod data;
mod model;
mod optimizer;
mod phase;
mod transforms;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use super::{
    experiment::{CheckpointEvery, DeviceChoice, EarlyStopping, Experiment, InitFrom, Training},
    forms::ONE_DEVICE,
    origins::Origins,
    raw::{Defaults, MemoryName, RawConfig, RawEarlyStopping, RawFetch, RawTraining},
    schema,
};
use crate::{text::plain::masked_address, text::suggest::nearest};

pub(super) use self::transforms::IN_PRESET;

/// The experiment, or `None` with the reasons in `origins`. `stem` is the name of an experiment without the key `name`.
pub(crate) fn resolve(
    raw: RawConfig,
    defaults: &Defaults,
    stem: &str,
    origins: &mut Origins,
) -> Option<Experiment> {
    let name = resolve_name(raw.name, stem, origins);
    let device = resolve_device(&raw.device, origins);
    let init_from = resolve_init_from(raw.init_from, origins);
    let allow_other_split = raw
        .allow_other_split
        .unwrap_or(defaults.kinds.init_from.allow_other_split);
    if raw.allow_other_split.is_some() && init_from == Some(None) {
        origins.report_inert("allow_other_split", "without `init_from`", "remove it");
    }
    if matches!(init_from, Some(Some(_))) {
        for key in &schema::labels("NAME", |key| key.is_inherited) {
            let help =
                "remove one of the two: the run that `init_from` names has its own parameters";
            origins.report_inert_override(key, "with `init_from`", help);
        }
    }
    if raw.runs_dir.is_empty() {
        origins.report(
            "runs_dir",
            "`runs_dir` must not be empty",
            "use `.` for the working directory",
        );
    }
    let data = data::data(raw.data, origins);
    let split = data::split(raw.split, origins);
    let arch = model::arch(&raw.model, origins);
    let model = arch.and_then(|arch| model::resolve(raw.model, arch, defaults, origins));
    let transforms = transforms::resolve(&raw.transforms, model.as_ref(), defaults, origins);
    if let (Some(arch), Some(transforms)) = (arch, &transforms) {
        model::check_size(arch, transforms, origins);
    }
    let optimizer = optimizer::resolve(raw.optimizer, defaults, origins);
    let training = resolve_training(&raw.training, origins);
    let early_stopping = resolve_early_stopping(raw.early_stopping, defaults, origins);
    let file = phase::SharedByPhases {
        arch,
        optimizer: optimizer.as_ref(),
        schedule: raw.schedule.as_ref().unwrap_or(&defaults.schedule),
        defaults,
    };
    let phases = phase::resolve(raw.phase, &file, origins);
    let augment = augment::resolve(&raw.augment, origins);
    let cache = cache::resolve(raw.cache, origins);
    let mirror = resolve_mirror(raw.fetch, origins);
    Some(Experiment {
        name: name?,
        seed: raw.seed,
        device: device?,
        threads: raw.threads,
        checks_memory: matches!(raw.memory, MemoryName::Check),
        runs_dir: PathBuf::from(raw.runs_dir),
        init_from: init_from?,
        allow_other_split,
        data: data?,
        split: split?,
        transforms: transforms?,
        model: model?,
        optimizer: optimizer?,
        training: training?,
        early_stopping,
        checkpoints: raw.checkpoints,
        augment,
        cache,
        log: raw.log,
        mirror,
        phases: phases?,
    })
}

fn resolve_mirror(fetch: Option<RawFetch>, origins: &mut Origins) -> Option<String> {
    let mirror = fetch?.mirror?;
    let has_scheme = mirror.starts_with("http://") || mirror.starts_with("https://");
    if !has_scheme || mirror.contains(|letter: char| letter.is_whitespace() || letter.is_control())
    {
        let help =
            "use a base URL, for example https://example.org/files; file names are appended to it";
        origins.report(
            "fetch.mirror",
            format!("invalid URL `{}`", masked_address(&mirror)),
            help,
        );
    }
    Some(mirror)
}

/// The help for a name that is not plain.
pub(crate) const NAME_HELP: &str = "start the name with a letter or a digit, and use at most 100 letters, digits, `-`, `_` and `.`";

/// Whether the name can name a directory on every file system.
pub(crate) fn is_plain_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= 100
        && name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.'))
}

fn resolve_name(name: Option<String>, stem: &str, origins: &mut Origins) -> Option<String> {
    let is_given = name.is_some();
    let name = name.unwrap_or_else(|| stem.to_owned());
    if is_plain_name(&name) {
        return Some(name);
    }
    if is_given {
        origins.report("name", format!("invalid run name `{name}`"), NAME_HELP);
    } else if !origins.is_broken("name") {
        let message = format!("missing key `name`: the file name `{name}` is not a valid run name");
        origins.report("name", message, NAME_HELP);
    }
    None
}

fn resolve_device(device: &str, origins: &mut Origins) -> Option<DeviceChoice> {
    let choice = match device {
        "auto" => Some(DeviceChoice::Auto),
        "cpu" => Some(DeviceChoice::Cpu),
        "cuda" => Some(DeviceChoice::Cuda(0)),
        _ => device
            .strip_prefix("cuda:")
            .and_then(|index| index.parse().ok())
            .map(DeviceChoice::Cuda),
    };
    if choice.is_none() {
        let expected = "expected `auto`, `cpu`, `cuda` or `cuda:N`, where the first GPU is 0";
        let help = match nearest(device, &["auto", "cpu", "cuda"]) {
            _ if device.contains(',') => ONE_DEVICE.to_owned(),
            Some(near) => format!("did you mean `{near}`? {expected}"),
            None => expected.to_owned(),
        };
        origins.report("device", format!("unknown device `{device}`"), help);
    }
    choice
}

/// The outer `None` is a problem, the inner one an experiment without `init_from`.
#[expect(
    clippy::option_option,
    reason = "absent and wrong are different results"
)]
fn resolve_init_from(init_from: Option<String>, origins: &mut Origins) -> Option<Option<InitFrom>> {
    const HELP: &str =
        "name a run directory, or use `latest:NAME` for the newest run with that name";
    let Some(text) = init_from else {
        return Some(None);
    };
    match text.strip_prefix("latest:") {
        Some(name) if !name.is_empty() => Some(Some(InitFrom::Latest(name.to_owned()))),
        None if !text.is_empty() => Some(Some(InitFrom::Run(PathBuf::from(text)))),
        Some(_) | None => {
            origins.report(
                "init_from",
                format!("invalid run `{text}` for `init_from`"),
                HELP,
            );
            None
        }
    }
}

fn resolve_training(raw: &RawTraining, origins: &mut Origins) -> Option<Training> {
    let checkpoint_every = resolve_every(&raw.checkpoint_every, origins);
    Some(Training {
        checkpoint_every: checkpoint_every?,
        label_smoothing: raw.label_smoothing,
        accumulate: raw.accumulate,
        clip_grad_norm: raw.clip_grad_norm,
        metric: raw.metric,
        on_nan: raw.on_nan,
    })
}

/// Parses `90s`, `10min`, `2h`, `500 steps` or `1 epoch`.
fn resolve_every(text: &str, origins: &mut Origins) -> Option<CheckpointEvery> {
    let split = text.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let every = number.parse::<u64>().ok().and_then(|number| {
        let seconds = |unit| {
            let span = Duration::from_secs(number.checked_mul(unit)?);
            Some(CheckpointEvery::Time(span))
        };
        let at_least_one = NonZeroUsize::new(usize::try_from(number).ok()?);
        match unit.trim() {
            "s" => seconds(1),
            "min" => seconds(60),
            "h" => seconds(3600),
            "step" | "steps" => at_least_one.map(CheckpointEvery::Steps),
            "epoch" | "epochs" => at_least_one.map(CheckpointEvery::Epochs),
            _ => None,
        }
    });
    if every.is_none() {
        let message = format!("invalid checkpoint interval `{text}`");
        let help = "use an integer and a unit, for example \"10min\", \"90s\", \"2h\", \"500 steps\" or \"1 epoch\"";
        origins.report("training.checkpoint_every", message, help);
    }
    every
}

fn resolve_early_stopping(
    raw: Option<RawEarlyStopping>,
    defaults: &Defaults,
    origins: &mut Origins,
) -> Option<EarlyStopping> {
    let raw = raw?;
    let Some(patience) = raw.patience else {
        if !origins.is_broken("early_stopping.patience") {
            let help =
                "add patience = 3 to stop after three epochs without improvement, or remove it";
            origins.report_inert("early_stopping.min_delta", "without `patience`", help);
        }
        return None;
    };
    Some(EarlyStopping {
        patience,
        min_delta: raw
            .min_delta
            .unwrap_or(defaults.kinds.early_stopping.min_delta),
    })
}

//! An `Experiment` written back as an experiment file: every value spelled out, nothing that would be inert.
//! The inverse of `resolve`; reads no files.

use std::path::Path;

use toml::{Table, Value};

use super::{
    experiment::{
        Augment, Cache, CacheMode, CacheTrust, Data, DeviceChoice, Duplicates, Experiment,
        FrozenBatchNorm, InitFrom, KnownWeights, Model, Normalize, Optimizer, OptimizerKind, Phase,
        Precision, Schedule, ScheduleKind, Split, Weights,
    },
    origins::Origins,
    raw::{Defaults, NormalizeNumbers},
};
use crate::{error::Result, model::select::Selector, text::plain::masked_address};

/// All but `[fetch]`, which is no part of what a run is, and may hold a password. `text_of` makes a path independent of the working directory.
pub(super) fn table(
    experiment: &Experiment,
    defaults: &Defaults,
    text_of: impl Fn(&Path) -> Result<String>,
) -> Result<Table> {
    let path = |path: &Path| -> Result<Value> { Ok(Value::from(text_of(path)?)) };
    let mut top = Table::new();
    put(&mut top, "name", experiment.name.as_str());
    put(&mut top, "seed", whole(experiment.seed));
    put(&mut top, "device", device(experiment.device));
    put(&mut top, "threads", whole(experiment.threads));
    let memory = if experiment.checks_memory {
        "check"
    } else {
        "ignore"
    };
    put(&mut top, "memory", memory);
    put(&mut top, "runs_dir", path(&experiment.runs_dir)?);
    match &experiment.init_from {
        Some(InitFrom::Run(run)) => put(&mut top, "init_from", path(run)?),
        Some(InitFrom::Latest(name)) => put(&mut top, "init_from", format!("latest:{name}")),
        None => {}
    }
    if experiment.init_from.is_some() {
        put(&mut top, "allow_other_split", experiment.allow_other_split);
    }

    put(&mut top, "data", data(&experiment.data, path)?);

    let mut table = Table::new();
    let mut fractions = |method: &str, valid: f64, test: f64| {
        put(&mut table, "method", method);
        put(&mut table, "valid", valid);
        put(&mut table, "test", test);
    };
    match &experiment.split {
        Split::Auto { valid, test } => fractions("auto", *valid, *test),
        Split::Random { valid, test } => fractions("random", *valid, *test),
        Split::Stratified { valid, test } => fractions("stratified", *valid, *test),
        Split::File(file) => {
            put(&mut table, "method", "file");
            put(&mut table, "file", path(file)?);
        }
    }
    put(&mut top, "split", table);

    let size = experiment.transforms.resize;
    let mut table = normalize(experiment.transforms.normalize, defaults);
    put(
        &mut table,
        "resize",
        vec![whole(size.height), whole(size.width)],
    );
    put(&mut top, "transforms", table);

    let weights = match &experiment.model.weights {
        Weights::None => Value::from("none"),
        Weights::Known(KnownWeights::Imagenet1kV1) => Value::from("imagenet1k_v1"),
        Weights::Known(KnownWeights::Imagenet1kFeatures) => Value::from("imagenet1k_features"),
        Weights::Known(KnownWeights::DrawingsV1) => Value::from("drawings_v1"),
        Weights::File(file) => path(file)?,
    };
    put(&mut top, "model", model(&experiment.model, weights));
    put(&mut top, "optimizer", optimizer(&experiment.optimizer));

    let training = &experiment.training;
    let mut table = Table::new();
    put(&mut table, "label_smoothing", training.label_smoothing);
    put(&mut table, "accumulate", whole(training.accumulate.get()));
    if let Some(norm) = training.clip_grad_norm {
        put(&mut table, "clip_grad_norm", norm);
    }
    put(&mut table, "metric", training.metric.name());
    let every = training.checkpoint_every.to_string();
    put(&mut table, "checkpoint_every", every);
    put(&mut table, "on_nan", training.on_nan.name());
    put(&mut top, "training", table);

    if let Some(stopping) = &experiment.early_stopping {
        let mut table = Table::new();
        put(&mut table, "patience", whole(stopping.patience.get()));
        put(&mut table, "min_delta", stopping.min_delta);
        put(&mut top, "early_stopping", table);
    }
    put(&mut top, "augment", augment(&experiment.augment));
    let mut table = cache(&experiment.cache);
    if let Some(dir) = &experiment.cache.dir {
        put(&mut table, "dir", path(dir)?);
    }
    put(&mut top, "cache", table);
    let phases: Vec<Table> = experiment.phases.iter().enumerate().map(phase).collect();
    put(&mut top, "phase", phases);
    Ok(top)
}

fn data(data: &Data, path: impl Fn(&Path) -> Result<Value>) -> Result<Table> {
    let mut table = Table::new();
    put(&mut table, "root", path(&data.root)?);
    if let Some(manifest) = &data.manifest {
        put(&mut table, "manifest", path(manifest)?);
    }
    if let Some(pattern) = &data.class_pattern {
        put(&mut table, "class_pattern", pattern.as_str());
    }
    let duplicates = match data.duplicates {
        Duplicates::Warn => "warn",
        Duplicates::Error => "error",
        Duplicates::Together => "together",
    };
    put(&mut table, "duplicates", duplicates);
    put(&mut table, "batch_size", whole(data.batch_size.get()));
    put(&mut table, "workers", whole(data.workers));
    put(&mut table, "max_pixels", whole(data.max_pixels));
    put(
        &mut table,
        "max_rejected_fraction",
        data.max_rejected_fraction,
    );
    put(&mut table, "exif_orientation", data.exif_orientation);
    Ok(table)
}

/// `resolved` with `[fetch]`, as people may see it.
pub(super) fn with_fetch(mut resolved: Table, experiment: &Experiment) -> Table {
    if let Some(mirror) = &experiment.mirror {
        let mut table = Table::new();
        put(&mut table, "mirror", masked_address(mirror).into_owned());
        put(&mut resolved, "fetch", table);
    }
    resolved
}

fn augment(augment: &Augment) -> Table {
    let mut table = Table::new();
    put(&mut table, "horizontal_flip", augment.horizontal_flip);
    if let Some(scale) = augment.crop_scale {
        put(&mut table, "crop_scale", scale.to_vec());
    }
    if augment.is_random() {
        put(&mut table, "variants", whole(augment.variants));
    }
    table
}

/// All but the directory.
fn cache(cache: &Cache) -> Table {
    let mut table = Table::new();
    let mode = match cache.mode {
        CacheMode::Auto => "auto",
        CacheMode::Off => "off",
        CacheMode::Require => "require",
    };
    put(&mut table, "mode", mode);
    put(&mut table, "max_gib", cache.max_gib);
    let precision = match cache.precision {
        Precision::F32 => "f32",
        Precision::F16 => "f16",
    };
    put(&mut table, "precision", precision);
    let trust = match cache.trust {
        CacheTrust::Own => "own",
        CacheTrust::All => "all",
    };
    put(&mut table, "trust", trust);
    table
}

fn put(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}

/// TOML's integers have 63 bits, and all of ours came from there.
fn whole(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

fn device(device: DeviceChoice) -> String {
    match device {
        DeviceChoice::Auto => "auto".to_owned(),
        DeviceChoice::Cpu => "cpu".to_owned(),
        DeviceChoice::Cuda(index) => format!("cuda:{index}"),
    }
}

fn normalize(normalize: Normalize, defaults: &Defaults) -> Table {
    let bits = |values: [f32; 3]| values.map(f32::to_bits);
    let single = |values: [f64; 3]| bits(values.map(|value| value as f32));
    let is = |numbers: &NormalizeNumbers| {
        bits(normalize.mean) == single(numbers.mean) && bits(normalize.std) == single(numbers.std)
    };
    // The shortest digits that give the same 32 bits, rather than all of them.
    let short = |values: [f32; 3]| -> Vec<f64> {
        let parse = |value: f32| value.to_string().parse().unwrap_or(f64::from(value));
        values.map(parse).to_vec()
    };
    let mut table = Table::new();
    if is(&defaults.kinds.imagenet) {
        put(&mut table, "normalize", "imagenet");
    } else if is(&defaults.kinds.none) {
        put(&mut table, "normalize", "none");
    } else {
        put(&mut table, "normalize", "custom");
        put(&mut table, "mean", short(normalize.mean));
        put(&mut table, "std", short(normalize.std));
    }
    table
}

fn model(model: &Model, weights: Value) -> Table {
    let mut table = Table::new();
    put(&mut table, "arch", model.arch.name());
    if model.weights != Weights::None {
        put(&mut table, "fresh", texts(&model.fresh));
    }
    put(&mut table, "weights", weights);
    if let Some(digits) = &model.weights_sha256 {
        put(&mut table, "weights_sha256", digits.as_str());
    }
    put(&mut table, "dropout", model.dropout);
    if model.arch.has_batch_norm() {
        let choice = match model.frozen_batch_norm {
            FrozenBatchNorm::Eval => "eval",
            FrozenBatchNorm::Train => "train",
        };
        put(&mut table, "frozen_batch_norm", choice);
    }
    table
}

fn texts(selectors: &[Selector]) -> Vec<String> {
    selectors.iter().map(ToString::to_string).collect()
}

fn optimizer(optimizer: &Optimizer) -> Table {
    let mut table = Table::new();
    put(&mut table, "lr", optimizer.lr);
    put(&mut table, "weight_decay", optimizer.weight_decay);
    let mut adam = |kind: &str, betas: [f64; 2], eps: f64| {
        put(&mut table, "kind", kind);
        put(&mut table, "betas", betas.to_vec());
        put(&mut table, "eps", eps);
    };
    match optimizer.kind {
        OptimizerKind::Adam { betas, eps } => adam("adam", betas, eps),
        OptimizerKind::AdamW { betas, eps } => adam("adamw", betas, eps),
        OptimizerKind::Sgd {
            momentum,
            dampening,
            nesterov,
        } => {
            put(&mut table, "kind", "sgd");
            put(&mut table, "momentum", momentum);
            put(&mut table, "dampening", dampening);
            put(&mut table, "nesterov", nesterov);
        }
        OptimizerKind::RmsProp {
            alpha,
            eps,
            momentum,
            centered,
        } => {
            put(&mut table, "kind", "rmsprop");
            put(&mut table, "alpha", alpha);
            put(&mut table, "eps", eps);
            put(&mut table, "momentum", momentum);
            put(&mut table, "centered", centered);
        }
    }
    table
}

fn phase((index, phase): (usize, &Phase)) -> Table {
    let mut table = Table::new();
    put(&mut table, "name", phase.name.as_str());
    put(&mut table, "epochs", whole(phase.epochs.get()));
    put(&mut table, "trainable", texts(&phase.trainable));
    put(&mut table, "lr", phase.optimizer.lr);
    put(&mut table, "weight_decay", phase.optimizer.weight_decay);
    if index > 0 {
        put(&mut table, "keep_optimizer", phase.keep_optimizer);
    }
    if !phase.lr_factors.is_empty() {
        // Pairs, because the order counts and a TOML table has none.
        let pair = |(selector, factor): &(Selector, f64)| {
            Value::from(vec![
                Value::from(selector.to_string()),
                Value::from(*factor),
            ])
        };
        let pairs: Vec<Value> = phase.lr_factors.iter().map(pair).collect();
        put(&mut table, "lr_factors", pairs);
    }
    put(&mut table, "schedule", schedule(&phase.schedule));
    table
}

fn schedule(schedule: &Schedule) -> Table {
    let mut table = Table::new();
    put(&mut table, "warmup_epochs", schedule.warmup_epochs);
    match schedule.kind {
        ScheduleKind::Constant => put(&mut table, "kind", "constant"),
        ScheduleKind::Step { step_epochs, gamma } => {
            put(&mut table, "kind", "step");
            put(&mut table, "step_epochs", whole(step_epochs.get()));
            put(&mut table, "gamma", gamma);
        }
        ScheduleKind::Cosine { min_factor } => {
            put(&mut table, "kind", "cosine");
            put(&mut table, "min_factor", min_factor);
        }
    }
    table
}

/// Each key of the resolved file with its value and the layer that set it.
pub(super) fn origins(resolved: &Table, origins: &Origins) -> Vec<(String, String, String)> {
    let mut rows = Vec::new();
    flatten("", resolved, origins, &mut rows);
    rows
}

fn flatten(path: &str, table: &Table, origins: &Origins, rows: &mut Vec<(String, String, String)>) {
    for (key, value) in table {
        let path = super::walk::join(path, key);
        match value {
            Value::Table(inner) => flatten(&path, inner, origins, rows),
            Value::Array(phases) if path == "phase" => {
                for (index, phase) in phases.iter().enumerate() {
                    if let Value::Table(inner) = phase {
                        flatten(&format!("{path}[{index}]"), inner, origins, rows);
                    }
                }
            }
            value => rows.push((
                origins.label(&path),
                value.to_string(),
                origin(&path, origins),
            )),
        }
    }
}

fn origin(path: &str, origins: &Origins) -> String {
    let name = |path: &str| {
        let place = origins.exact(path)?;
        Some(if place.source.is_defaults {
            "defaults".to_owned()
        } else {
            place.short()
        })
    };
    let mut found = name(path);
    // What a phase does not say, the file says for all of them.
    if found.is_none()
        && let Some((phase, key)) = path.split_once("].")
    {
        found = match key {
            "lr" | "weight_decay" => name(&format!("optimizer.{key}")),
            _ if key.starts_with("schedule.")
                && origins.exact(&format!("{phase}].schedule")).is_none() =>
            {
                name(key)
            }
            _ => None,
        };
    }
    match found {
        Some(name) => name,
        None if path == "name" => "the file's name".to_owned(),
        None => "defaults".to_owned(),
    }
}

//! An `Experiment` written back as an experiment file: every value spelled out, nothing that would be inert.
//! The inverse of `resolve`; reads no files.
//!
//! Each struct is taken apart field by field, so that a field that is not written is a compile error.

mod transforms;

use std::path::Path;

use toml::{Table, Value};

use super::{
    experiment::{
        Augment, Cache, Data, DeviceChoice, EarlyStopping, Experiment, InitFrom, Model, Phase,
        Schedule, ScheduleKind, Split, Training, Weights,
    },
    origins::Origins,
    raw::{
        Defaults, MemoryName, RawAugment, RawCache, RawConfig, RawData, RawEarlyStopping, RawFetch,
        RawModel, RawPhase, RawSchedule, RawSplit, RawTraining, ScheduleName, SplitMethod,
    },
};
use crate::{
    error::{Error, Result},
    model::select::Selector,
    text::plain::masked_address,
};

/// The experiment without `[fetch]`, which is no part of a run and may hold a password. `text_of` makes a path independent of
/// the working directory.
pub(super) fn table(
    experiment: &Experiment,
    defaults: &Defaults,
    text_of: impl Fn(&Path) -> Result<String>,
) -> Result<Table> {
    to_table(&mirror(experiment, defaults, &text_of)?)
}

/// The resolved experiment with `[fetch]`, whose passwords are masked.
pub(super) fn with_fetch(mut resolved: Table, experiment: &Experiment) -> Result<Table> {
    if let Some(mirror) = &experiment.mirror {
        let mirror = Some(masked_address(mirror).into_owned());
        let fetch = to_table(&RawFetch { mirror })?;
        resolved.insert("fetch".to_owned(), Value::from(fetch));
    }
    Ok(resolved)
}

fn to_table(value: &impl serde::Serialize) -> Result<Table> {
    Table::try_from(value)
        .map_err(|error| Error::internal(format!("cannot write the experiment as TOML: {error}")))
}

type TextOf<'a> = &'a dyn Fn(&Path) -> Result<String>;

fn mirror(experiment: &Experiment, defaults: &Defaults, text_of: TextOf<'_>) -> Result<RawConfig> {
    let Experiment {
        name,
        seed,
        device,
        threads,
        checks_memory,
        runs_dir,
        init_from,
        allow_other_split,
        data,
        split,
        transforms,
        model,
        optimizer,
        training,
        early_stopping,
        checkpoints,
        augment,
        cache,
        log,
        mirror: _,
        phases,
    } = experiment;
    Ok(RawConfig {
        name: Some(name.clone()),
        init_from: match init_from {
            Some(InitFrom::Run(run)) => Some(text_of(run)?),
            Some(InitFrom::Latest(name)) => Some(format!("latest:{name}")),
            None => None,
        },
        allow_other_split: init_from.is_some().then_some(*allow_other_split),
        seed: *seed,
        device: match device {
            DeviceChoice::Auto => "auto".to_owned(),
            DeviceChoice::Cpu => "cpu".to_owned(),
            DeviceChoice::Cuda(index) => format!("cuda:{index}"),
        },
        threads: *threads,
        memory: if *checks_memory {
            MemoryName::Check
        } else {
            MemoryName::Ignore
        },
        runs_dir: text_of(runs_dir)?,
        data: raw_data(data, text_of)?,
        split: raw_split(split, text_of)?,
        transforms: transforms::raw(transforms, defaults),
        augment: raw_augment(augment),
        model: raw_model(model, text_of)?,
        optimizer: optimizer.clone(),
        // Every phase has its own by now.
        schedule: None,
        training: raw_training(training),
        early_stopping: early_stopping.as_ref().map(raw_early_stopping),
        checkpoints: *checkpoints,
        cache: raw_cache(cache, text_of)?,
        log: *log,
        fetch: None,
        phase: Some(phases.iter().enumerate().map(raw_phase).collect()),
    })
}

fn raw_data(data: &Data, text_of: TextOf<'_>) -> Result<RawData> {
    let Data {
        root,
        manifest,
        class_pattern,
        duplicates,
        batch_size,
        workers,
        max_pixels,
        max_rejected_fraction,
        exif_orientation,
    } = data;
    Ok(RawData {
        root: Some(text_of(root)?),
        manifest: manifest.as_deref().map(text_of).transpose()?,
        class_pattern: class_pattern.clone(),
        duplicates: *duplicates,
        batch_size: *batch_size,
        workers: *workers,
        max_pixels: *max_pixels,
        max_rejected_fraction: *max_rejected_fraction,
        exif_orientation: *exif_orientation,
    })
}

fn raw_split(split: &Split, text_of: TextOf<'_>) -> Result<RawSplit> {
    let drawn = |method, valid, test| RawSplit {
        method,
        valid: Some(valid),
        test: Some(test),
        file: None,
    };
    Ok(match split {
        Split::Auto { valid, test } => drawn(SplitMethod::Auto, *valid, *test),
        Split::Random { valid, test } => drawn(SplitMethod::Random, *valid, *test),
        Split::Stratified { valid, test } => drawn(SplitMethod::Stratified, *valid, *test),
        Split::File(file) => RawSplit {
            method: SplitMethod::File,
            valid: None,
            test: None,
            file: Some(text_of(file)?),
        },
    })
}

fn raw_augment(augment: &Augment) -> RawAugment {
    let Augment {
        horizontal_flip,
        crop_scale,
        variants,
    } = augment;
    RawAugment {
        horizontal_flip: *horizontal_flip,
        crop_scale: *crop_scale,
        variants: augment.is_random().then_some(*variants),
    }
}

fn raw_model(model: &Model, text_of: TextOf<'_>) -> Result<RawModel> {
    let Model {
        arch,
        weights,
        weights_sha256,
        fresh,
        dropout,
        frozen_batch_norm,
    } = model;
    Ok(RawModel {
        arch: arch.name().to_owned(),
        weights: match weights {
            Weights::None => "none".to_owned(),
            Weights::Known(published) => published.name.to_owned(),
            Weights::File(file) => text_of(file)?,
        },
        weights_sha256: weights_sha256.clone(),
        fresh: (*weights != Weights::None).then(|| texts(fresh)),
        dropout: arch.dropout().and(Some(*dropout)),
        frozen_batch_norm: arch.names().has_batch_norm().then_some(*frozen_batch_norm),
    })
}

fn texts(selectors: &[Selector]) -> Vec<String> {
    selectors.iter().map(ToString::to_string).collect()
}

fn raw_training(training: &Training) -> RawTraining {
    let Training {
        label_smoothing,
        accumulate,
        clip_grad_norm,
        metric,
        checkpoint_every,
        on_nan,
    } = training;
    RawTraining {
        label_smoothing: *label_smoothing,
        accumulate: *accumulate,
        clip_grad_norm: *clip_grad_norm,
        metric: *metric,
        checkpoint_every: checkpoint_every.to_string(),
        on_nan: *on_nan,
    }
}

fn raw_early_stopping(stopping: &EarlyStopping) -> RawEarlyStopping {
    let EarlyStopping {
        patience,
        min_delta,
    } = stopping;
    RawEarlyStopping {
        patience: Some(*patience),
        min_delta: Some(*min_delta),
    }
}

fn raw_cache(cache: &Cache, text_of: TextOf<'_>) -> Result<RawCache> {
    let Cache {
        mode,
        dir,
        max_gib,
        precision,
        trust,
    } = cache;
    Ok(RawCache {
        mode: *mode,
        dir: dir.as_deref().map(text_of).transpose()?,
        max_gib: *max_gib,
        precision: *precision,
        trust: *trust,
    })
}

fn raw_phase((index, phase): (usize, &Phase)) -> RawPhase {
    let Phase {
        name,
        epochs,
        trainable,
        optimizer,
        lr_factors,
        schedule,
        keep_optimizer,
    } = phase;
    let factors = lr_factors.iter();
    let factors: Vec<(String, f64)> = factors
        .map(|(selector, factor)| (selector.to_string(), *factor))
        .collect();
    RawPhase {
        name: Some(name.clone()),
        epochs: Some(*epochs),
        trainable: Some(texts(trainable)),
        lr: Some(optimizer.lr),
        weight_decay: Some(optimizer.weight_decay),
        lr_factors: (!factors.is_empty()).then_some(factors),
        // The first phase has no optimizer to keep.
        keep_optimizer: (index > 0).then_some(*keep_optimizer),
        schedule: Some(raw_schedule(schedule)),
    }
}

fn raw_schedule(schedule: &Schedule) -> RawSchedule {
    let Schedule {
        kind,
        warmup_epochs,
    } = schedule;
    let mut raw = RawSchedule {
        kind: None,
        warmup_epochs: Some(*warmup_epochs),
        step_epochs: None,
        gamma: None,
        min_factor: None,
    };
    match kind {
        ScheduleKind::Constant => raw.kind = Some(ScheduleName::Constant),
        ScheduleKind::Step { step_epochs, gamma } => {
            raw.kind = Some(ScheduleName::Step);
            raw.step_epochs = Some(*step_epochs);
            raw.gamma = Some(*gamma);
        }
        ScheduleKind::Cosine { min_factor } => {
            raw.kind = Some(ScheduleName::Cosine);
            raw.min_factor = Some(*min_factor);
        }
    }
    raw
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
            place.source.label.clone()
        } else {
            place.short()
        })
    };
    let mut found = name(transforms::decided_by(path, origins));
    // A phase without the key has the value that the file sets for all phases.
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

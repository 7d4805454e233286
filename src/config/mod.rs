//! From an experiment file to a checked `Experiment`, with all that is wrong with it reported at once.
//! The front door: `read`. Knows no images, no weights and no tensors.

mod commented;
pub(crate) mod experiment;
pub(crate) mod forms;
pub(crate) mod json_schema;
pub(crate) mod layers;
mod optimizer;
pub(crate) mod origins;
pub(crate) mod overrides;
mod raw;
pub(crate) mod resolve;
mod resolved;
pub(crate) mod schema;
mod template;
pub(crate) mod walk;

use std::path::{Path, PathBuf};

use self::{
    experiment::Experiment,
    layers::Layers,
    origins::Origins,
    raw::{Defaults, RawConfig},
    resolve::resolve,
};
use crate::error::{Error, Result};

pub(crate) use self::{
    json_schema::{is_our_schema, json_schema},
    template::{SCHEMA_FILE, template},
};

/// Every default, as a commented experiment file.
pub(crate) const DEFAULTS: &str = include_str!("../defaults.toml");

/// An experiment with its history.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) experiment: Experiment,
    /// The user's file, byte for byte; it may hold a password.
    pub(crate) source: String,
    /// The whole experiment as a file that, read again, means the same anywhere: its paths are absolute. Without `[fetch]`.
    pub(crate) resolved: toml::Table,
    /// `resolved` with `[fetch]`, whose secrets are masked.
    pub(crate) shown: toml::Table,
    /// Key, value and the layer that set it, in the order of `shown`.
    pub(crate) origins: Vec<(String, String, String)>,
    /// The keys of `origins` that `--set` or a variable set.
    overrides: Vec<String>,
}

impl Loaded {
    /// The keys that `--set` or a variable set, but for those that they set to nothing else than a table.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = &str> {
        let keys = self.origins.iter().map(|(key, _, _)| key.as_str());
        keys.filter(|key| self.is_override(key))
    }

    /// Whether `--set` or a variable set this key.
    pub(crate) fn is_override(&self, key: &str) -> bool {
        self.overrides.iter().any(|found| found == key)
    }
}

/// Reads a file, what it extends, and what is laid over it; `env` is the whole environment.
pub(crate) fn read(file: &Path, sets: &[String], env: &[(String, String)]) -> Result<Loaded> {
    let source = layers::read_file(file)?;
    from_text(file, source, sets, env)
}

/// The same of a file whose text is already read; what it extends is read here.
pub(crate) fn from_text(
    file: &Path,
    source: String,
    sets: &[String],
    env: &[(String, String)],
) -> Result<Loaded> {
    let layers = Layers::read(file, &source, sets, env);
    if layers::is_sweep(&source) {
        return Err(Error::usage(format!(
            "{0}: is a sweep, not an experiment\nhelp: `runner sweep {0}` runs it",
            file.display()
        )));
    }
    let defaults = defaults();
    let figment = layers.figment(&defaults);
    let Layers {
        mut origins,
        is_torn,
        ..
    } = layers;
    let mut experiment = None;
    if !is_torn {
        experiment = extract(&figment, &mut origins).and_then(|raw| {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            resolve(raw, &defaults, &stem, &mut origins)
        });
    }
    let problems = std::mem::take(&mut origins.problems);
    let Some(experiment) = experiment.filter(|_| problems.is_empty()) else {
        let subject = file.display().to_string();
        return Err(Error::config(subject, problems));
    };
    let resolved = resolved::table(&experiment, &defaults, path_text)?;
    let shown = resolved::with_fetch(resolved.clone(), &experiment)?;
    let overrides = origins.overrides();
    let origins = resolved::origins(&shown, &origins);
    Ok(Loaded {
        experiment,
        source,
        resolved,
        shown,
        origins,
        overrides,
    })
}

/// Where runs lie for commands that are given no experiment.
pub(crate) fn runs_dir(env: &[(String, String)]) -> PathBuf {
    let variable = env.iter().find(|(name, _)| name == "RUNNER_RUNS_DIR");
    PathBuf::from(variable.map_or(defaults().runs_dir, |(_, value)| value.clone()))
}

/// The walk leaves only what fits, so a refusal here is a key that the table of keys and `RawConfig` disagree on.
fn extract(figment: &figment::Figment, origins: &mut Origins) -> Option<RawConfig> {
    match figment.extract::<RawConfig>() {
        Ok(raw) => Some(raw),
        Err(errors) => {
            for error in errors {
                let path = error.path.join(".");
                origins.report(
                    &path,
                    error.kind.to_string(),
                    "see `runner config --defaults`",
                );
            }
            None
        }
    }
}

fn defaults() -> Defaults {
    Defaults::parse(DEFAULTS)
}

/// `path` as the files of a run hold it: absolute, so that it means the same from anywhere.
///
/// Text cannot hold the name of a working directory that is not UTF-8; the path is then left as it was given, and means the
/// same as long as that directory is the working one.
pub(crate) fn path_text(path: &Path) -> Result<String> {
    // An absolute path is not resolved further: links mean what they mean when the run starts.
    let absolute =
        std::path::absolute(path).map_err(Error::io("find the working directory for", path))?;
    let text = absolute.to_str().or_else(|| path.to_str());
    text.map(str::to_owned).ok_or_else(|| {
        Error::usage(format!(
            "{}: the path is not valid UTF-8\nhelp: rename the directory, or use a path relative to the working directory",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests;

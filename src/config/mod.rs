//! From an experiment file to a checked `Experiment`, with all of its problems reported at once. The entry point is `read`.
//! Knows no images, no weights and no tensors.

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
mod transforms;
pub(crate) mod walk;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

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
    layers::OF_SWEEPS,
    template::{SCHEMA_FILE, template},
};

/// Every default, as a commented experiment file.
pub(crate) const DEFAULTS: &str = include_str!("../defaults.toml");

/// An experiment with the files and overrides that it comes from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) experiment: Experiment,
    /// The text of the user's file, which may contain a password.
    pub(crate) source: Arc<str>,
    /// The complete experiment as a file that means the same from any working directory: its paths are absolute. Without `[fetch]`.
    pub(crate) resolved: toml::Table,
    /// Each key with its value and the layer that set it, in the order of `shown()`.
    pub(crate) origins: Vec<(String, String, String)>,
    /// The keys of `origins` that `--set` or a variable set.
    overrides: Vec<String>,
}

impl Loaded {
    /// `resolved` with `[fetch]`, whose passwords are masked.
    pub(crate) fn shown(&self) -> Result<toml::Table> {
        resolved::with_fetch(self.resolved.clone(), &self.experiment)
    }

    /// The keys that `--set` or a variable set, without those of whole tables.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = &str> {
        let keys = self.origins.iter().map(|(key, _, _)| key.as_str());
        keys.filter(|key| self.is_override(key))
    }

    /// Fails for overrides of other keys than `allowed`: `command` would then use something else than what the run trained.
    pub(crate) fn check_overrides(
        &self,
        run: &Path,
        command: &str,
        allowed: &[String],
    ) -> Result<()> {
        let refused = self.overrides().filter(|key| {
            let mut allowed = allowed.iter();
            !allowed.any(|it| it == key)
        });
        let refused: Vec<String> = refused.map(|key| format!("`{key}`")).collect();
        if refused.is_empty() {
            return Ok(());
        }
        let keys = refused.join(", ");
        let text =
            format!("`runner {command}` cannot change {keys}, with which the run was trained");
        let help = format!("`--set` can change {}", allowed.join(", "));
        Err(Error::usage(text).at(run).help(help))
    }

    /// Whether `--set` or a variable set this key.
    pub(crate) fn is_override(&self, key: &str) -> bool {
        self.overrides.iter().any(|found| found == key)
    }
}

/// Reads an experiment file, the files that it extends, and overrides. `env` is the complete environment.
pub(crate) fn read(file: &Path, sets: &[String], env: &[(String, String)]) -> Result<Loaded> {
    let source = layers::read_file(file)?;
    from_text(file, source, sets, env)
}

/// Like [`read`], for one trial of a sweep.
pub(crate) fn read_trial(file: &Path, sets: &[String], env: &[(String, String)]) -> Result<Loaded> {
    TrialBase::read(file, env)?.trial(sets)
}

/// The experiment that the trials of a sweep vary, with the defaults that only trials have. Read once, because parsing the
/// defaults and the files takes most of the time of resolving an experiment.
pub(crate) struct TrialBase {
    file: PathBuf,
    source: Arc<str>,
    layers: Layers,
    defaults: Defaults,
}

impl TrialBase {
    pub(crate) fn read(file: &Path, env: &[(String, String)]) -> Result<Self> {
        let source = layers::read_file(file)?;
        check_kind(file, &source)?;
        Ok(Self {
            layers: Layers::of_trials(file, &source, env),
            file: file.to_owned(),
            source: source.into(),
            defaults: defaults(),
        })
    }

    /// The experiment of the trial with these arguments.
    pub(crate) fn trial(&self, sets: &[String]) -> Result<Loaded> {
        let layers = self.layers.clone().with_arguments(sets);
        load(&self.file, Arc::clone(&self.source), layers, &self.defaults)
    }
}

/// Reads an experiment from the text of its file; the files that it extends are read from disk.
pub(crate) fn from_text(
    file: &Path,
    source: String,
    sets: &[String],
    env: &[(String, String)],
) -> Result<Loaded> {
    check_kind(file, &source)?;
    let layers = Layers::read(file, &source, sets, env);
    load(file, source.into(), layers, &defaults())
}

/// Fails if the text is a sweep file.
fn check_kind(file: &Path, source: &str) -> Result<()> {
    if !layers::is_sweep(source) {
        return Ok(());
    }
    let file_name = file.display();
    let message = format!("`{file_name}` is a sweep file, not an experiment file");
    let help = format!("run it with `runner sweep {file_name}`");
    Err(Error::usage(message).at(file).help(help))
}

fn load(file: &Path, source: Arc<str>, layers: Layers, defaults: &Defaults) -> Result<Loaded> {
    let figment = layers.figment(defaults);
    let Layers {
        mut origins,
        is_torn,
        ..
    } = layers;
    let mut experiment = None;
    if !is_torn {
        experiment = extract(&figment, &mut origins).and_then(|raw| {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            resolve(raw, defaults, &stem, &mut origins)
        });
    }
    let problems = std::mem::take(&mut origins.problems);
    let Some(experiment) = experiment.filter(|_| problems.is_empty()) else {
        let subject = file.display().to_string();
        return Err(Error::config(subject, problems));
    };
    let resolved = resolved::table(&experiment, defaults, path_text)?;
    let mut loaded = Loaded {
        experiment,
        source,
        resolved,
        origins: Vec::new(),
        overrides: origins.overrides(),
    };
    loaded.origins = resolved::origins(&loaded.shown()?, &origins);
    Ok(loaded)
}

/// The directory of runs for commands without an experiment.
pub(crate) fn runs_dir(env: &[(String, String)]) -> PathBuf {
    let variable = env.iter().find(|(name, _)| name == "RUNNER_RUNS_DIR");
    PathBuf::from(variable.map_or(defaults().runs_dir, |(_, value)| value.clone()))
}

/// Reads the merged layers. The walk leaves only valid values, so that an error here means that the table of keys and `RawConfig`
/// disagree.
fn extract(figment: &figment::Figment, origins: &mut Origins) -> Option<RawConfig> {
    match figment.extract::<RawConfig>() {
        Ok(raw) => Some(raw),
        Err(errors) => {
            for error in errors {
                let path = error.path.join(".");
                origins.report(
                    &path,
                    error.kind.to_string(),
                    "compare the key with `runner config --defaults`",
                );
            }
            None
        }
    }
}

fn defaults() -> Defaults {
    Defaults::parse(DEFAULTS)
}

/// `path` as the files of a run have it: absolute, so that it means the same from any working directory.
///
/// If the name of the working directory is not UTF-8, the path stays relative, and means the same only in that directory.
pub(crate) fn path_text(path: &Path) -> Result<String> {
    // Links are not resolved: a link should lead wherever it leads when the run starts.
    let absolute =
        std::path::absolute(path).map_err(Error::io("find the working directory for", path))?;
    let text = absolute.to_str().or_else(|| path.to_str());
    text.map(str::to_owned).ok_or_else(|| {
        Error::usage(format!("the path `{}` is not valid UTF-8", path.display()))
            .at(path)
            .help("rename the directory, or use a path relative to the working directory")
    })
}

#[cfg(test)]
mod tests;

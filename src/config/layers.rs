//! The layers of an experiment: defaults < extended files < file < environment < `--set`, each value with its origin.
//! Reads files; knows the table of keys, not what the keys mean.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::Serialized,
    value::{Dict, Map, Value},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{DEFAULTS, origins::Origins, overrides, raw::Defaults, schema, walk::Walk};
use crate::{
    disk::files::identity,
    error::{Diagnostic, Error, Result, Source, SourceSpan},
    text::suggest::nearest,
};

/// People write experiments by hand, so that a larger file is something else.
const MOST_BYTES: u64 = 4 << 20;

/// The origin of the defaults that only trials have.
pub(crate) const OF_SWEEPS: &str = "defaults of sweeps";

/// All layers of one experiment, merged, with the origin of every key.
#[derive(Clone)]
pub(crate) struct Layers {
    defaults: Figment,
    /// Everything that was set over the defaults.
    set: Figment,
    pub(crate) origins: Origins,
    /// Whether a file could not be read or parsed, so that it is unknown which keys it sets.
    pub(crate) is_torn: bool,
    next_rank: usize,
}

/// One checked document in the form that Figment merges.
struct ConfigLayer {
    name: String,
    dict: Dict,
}

impl Provider for ConfigLayer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> std::result::Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

impl Layers {
    /// Merges all layers of `file`, whose text is already read.
    pub(crate) fn read(file: &Path, text: &str, sets: &[String], env: &[(String, String)]) -> Self {
        Self::over_defaults(&[], file, text, env).with_arguments(sets)
    }

    /// The layers that all trials of a sweep share: all but the arguments.
    pub(crate) fn of_trials(file: &Path, text: &str, env: &[(String, String)]) -> Self {
        let own = Defaults::parse(DEFAULTS).kinds.sweep;
        let own = format!("[checkpoints]\n{own}");
        Self::over_defaults(&[(OF_SWEEPS, &own)], file, text, env)
    }

    /// Adds `--set` arguments as the topmost layers.
    pub(crate) fn with_arguments(mut self, sets: &[String]) -> Self {
        overrides::arguments(&mut self, sets);
        self
    }

    /// `more` are labels and texts of further defaults, which take precedence over the general ones.
    fn over_defaults(
        more: &[(&str, &str)],
        file: &Path,
        text: &str,
        env: &[(String, String)],
    ) -> Self {
        let label = file.display().to_string();
        let mut layers = Self {
            defaults: Figment::new(),
            set: Figment::new(),
            origins: Origins::new(source(&label, Some(text), 1, false)),
            is_torn: false,
            next_rank: 0,
        };
        for (label, text) in [&[("defaults", DEFAULTS)], more].concat() {
            let defaults = layers.source(label, Some(text), true);
            layers.document(&defaults, text);
        }
        let mut chain = Vec::new();
        layers.file(file, text, &mut chain);
        overrides::environment(&mut layers, env);
        layers
    }

    pub(crate) fn source(
        &mut self,
        label: &str,
        text: Option<&str>,
        is_defaults: bool,
    ) -> Arc<Source> {
        self.next_rank += 1;
        source(label, text, self.next_rank, is_defaults)
    }

    pub(crate) fn merge(&mut self, name: &str, dict: Dict) {
        let layer = ConfigLayer {
            name: name.to_owned(),
            dict,
        };
        let set = std::mem::take(&mut self.set);
        self.set = set.merge(layer);
    }

    /// All layers as one. The numbers of the chosen optimizer lie between the general defaults and what was set.
    pub(crate) fn figment(&self, defaults: &Defaults) -> Figment {
        let chosen = self.defaults.clone().merge(&self.set);
        let kind: Option<String> = chosen.extract_inner("optimizer.kind").ok();
        let numbers = kind.and_then(|kind| defaults.kinds.optimizers.get(&kind).cloned());
        let numbers = Serialized::default("optimizer", numbers.unwrap_or_default());
        self.defaults.clone().merge(numbers).merge(&self.set)
    }

    /// The phases as merged so far. A layer replaces an array as a whole, so that an override of one phase starts from all.
    pub(crate) fn phases(&self) -> Vec<Value> {
        match self.set.find_value("phase") {
            Ok(Value::Array(_, phases)) => phases,
            Ok(_) | Err(_) => Vec::new(),
        }
    }

    /// Merges a file on top of the files that it extends.
    fn file(&mut self, path: &Path, text: &str, chain: &mut Vec<PathBuf>) {
        chain.push(identity(path));
        let source = self.source(&path.display().to_string(), Some(text), false);
        let (document, _) = DeTable::parse_recoverable(text);
        if let Some(extends) = document.get_ref().get("extends")
            && let Some(base) = extends.get_ref().as_str()
        {
            let place = SourceSpan {
                source: Arc::clone(&source),
                span: Some(extends.span()),
            };
            self.extended(path, base, place, chain);
        }
        self.document(&source, text);
    }

    fn extended(&mut self, path: &Path, base: &str, place: SourceSpan, chain: &mut Vec<PathBuf>) {
        let base_path = path.parent().unwrap_or(Path::new("")).join(base);
        if let Some(start) = chain.iter().position(|seen| *seen == identity(&base_path)) {
            let mut names: Vec<String> =
                chain[start..].iter().map(|file| file_name(file)).collect();
            names.push(file_name(&base_path));
            let message = format!("`extends` forms a cycle: {}", names.join(" -> "));
            let help = "remove `extends` from one of these files".to_owned();
            self.origins
                .report_at(place, "extends", message, Some(help));
            self.is_torn = true;
            return;
        }
        let text = bytes_of(&base_path).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| io::Error::other("the file is not valid UTF-8"))
        });
        match text {
            Ok(text) => self.file(&base_path, &text, chain),
            Err(error) => {
                let message = format!("cannot read `{}`: {error}", base_path.display());
                let relative = "`extends` is relative to the file that it is in";
                let similar = match error.kind() {
                    io::ErrorKind::NotFound => similar_file(&base_path),
                    _ => None,
                };
                let help = match similar {
                    Some(near) => format!("did you mean `{near}`? {relative}"),
                    None => relative.to_owned(),
                };
                self.origins
                    .report_at(place, "extends", message, Some(help));
                self.is_torn = true;
            }
        }
    }

    /// Parses, checks and merges one document.
    fn document(&mut self, source: &Arc<Source>, text: &str) {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            self.is_torn = true;
            let span = SourceSpan {
                source: Arc::clone(source),
                span: error.span(),
            };
            let message = format!("invalid TOML: {}", one_line(error.message()));
            let problem = Diagnostic::of_key(span, None, message, None);
            self.origins.problems.push(problem);
        }
        if !errors.is_empty() {
            return;
        }
        let mut table = document.into_inner();
        if is_copy_of_kinds(text) {
            table.remove("kinds");
        }
        let mut walk = Walk::new(Arc::clone(source), &mut self.origins);
        let mut dict = walk.table("", &table, schema::TOP);
        // It was followed already, and is no part of the experiment.
        dict.remove("extends");
        if source.is_defaults {
            let defaults = std::mem::take(&mut self.defaults);
            self.defaults = defaults.merge(ConfigLayer {
                name: source.label.clone(),
                dict,
            });
        } else {
            self.merge(&source.label, dict);
        }
    }
}

/// Whether the text has the `[kinds]` tables of the defaults file, unchanged. They only document defaults, but a file that began as
/// a copy of the defaults may keep them.
fn is_copy_of_kinds(text: &str) -> bool {
    let kinds = |text: &str| {
        let table: toml::Table = text.parse().ok()?;
        table.get("kinds").cloned()
    };
    kinds(text).is_some_and(|found| Some(found) == kinds(DEFAULTS))
}

/// Whether the text is a sweep file.
pub(super) fn is_sweep(text: &str) -> bool {
    let (document, _) = DeTable::parse_recoverable(text);
    ["base", "axes"]
        .iter()
        .all(|key| document.get_ref().contains_key(*key))
}

fn source(label: &str, text: Option<&str>, rank: usize, is_defaults: bool) -> Arc<Source> {
    Arc::new(Source::new(label, text, rank, is_defaults))
}

/// Reads the user's file; if it does not exist, the error names the most similar one.
pub(crate) fn read_file(path: &Path) -> Result<String> {
    if path.is_dir() {
        let message = format!("`{}` is a directory, not a file", path.display());
        return Err(Error::usage(message).at(path));
    }
    let bytes = match bytes_of(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let error =
                Error::usage(format!("the file `{}` does not exist", path.display())).at(path);
            return Err(match similar_file(path) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error,
            });
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    String::from_utf8(bytes).map_err(|error| {
        let n_good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..n_good]
            .split(|byte| *byte == b'\n')
            .count();
        Error::usage(format!("line {line} is not valid UTF-8")).at(path)
    })
}

/// Reads the whole file up to a limit, because some files have no end.
fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        let message = format!(
            "the file is larger than {} MiB, the limit for experiment files",
            MOST_BYTES >> 20
        );
        return Err(io::Error::other(message));
    }
    Ok(bytes)
}

/// The TOML file in the same directory whose name is most similar.
pub(crate) fn similar_file(path: &Path) -> Option<String> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let entries = fs::read_dir(directory.unwrap_or(Path::new("."))).ok()?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "toml"))
        .collect();
    names.sort();
    let wanted = Path::new(path.file_stem()?).with_extension("toml");
    let candidates: Vec<&str> = names.iter().map(String::as_str).collect();
    let near = nearest(wanted.to_str()?, &candidates)?;
    Some(match directory {
        Some(directory) => directory.join(near).display().to_string(),
        None => near.to_owned(),
    })
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// A message of several lines as one line.
pub(crate) fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join("; ")
}

/// The value that follows `=` in TOML; `None` if the text is not TOML.
pub(crate) fn parse_value(text: &str) -> Option<Spanned<DeValue<'_>>> {
    DeValue::parse(text).ok()
}

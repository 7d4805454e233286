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
    error::{Diagnostic, Error, Result, Source, SourceSpan},
    text::suggest::nearest,
};

/// Experiments are typed by people.
const MOST_BYTES: u64 = 4 << 20;

/// All that was said about one experiment, merged, and who said it.
pub(crate) struct Layers {
    defaults: Figment,
    /// Everything that was set over the defaults.
    set: Figment,
    pub(crate) origins: Origins,
    /// Whether a file could not be parsed, so that what it would have said is not known.
    pub(crate) is_torn: bool,
    next_rank: usize,
}

/// One checked document as Figment takes it.
struct Layer {
    name: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> std::result::Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

impl Layers {
    /// Everything merged that concerns `file`, whose text is already read.
    pub(crate) fn read(file: &Path, text: &str, sets: &[String], env: &[(String, String)]) -> Self {
        let label = file.display().to_string();
        let mut layers = Self {
            defaults: Figment::new(),
            set: Figment::new(),
            origins: Origins::new(source(&label, Some(text), 1, false)),
            is_torn: false,
            next_rank: 0,
        };
        let defaults = layers.source("defaults", Some(DEFAULTS), true);
        layers.document(&defaults, DEFAULTS);
        let mut chain = Vec::new();
        layers.file(file, text, &mut chain);
        overrides::environment(&mut layers, env);
        overrides::arguments(&mut layers, sets);
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
        let layer = Layer {
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

    /// The merged phases so far: arrays are replaced whole, so an override starts from all of them.
    pub(crate) fn phases(&self) -> Vec<Value> {
        match self.set.find_value("phase") {
            Ok(Value::Array(_, phases)) => phases,
            Ok(_) | Err(_) => Vec::new(),
        }
    }

    /// A file on top of what it extends.
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
            let fact = format!("goes round in a circle: {}", names.join(" -> "));
            let help = "remove one of these `extends`".to_owned();
            self.origins.report_at(place, "extends", fact, Some(help));
            self.is_torn = true;
            return;
        }
        let text = bytes_of(&base_path).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
        });
        match text {
            Ok(text) => self.file(&base_path, &text, chain),
            Err(error) => {
                let fact = format!("cannot read `{}`: {error}", base_path.display());
                let help = match similar_file(&base_path) {
                    Some(near) => format!(
                        "did you mean `{near}`? `extends` is relative to the file it stands in"
                    ),
                    None => "`extends` is relative to the file it stands in".to_owned(),
                };
                self.origins.report_at(place, "extends", fact, Some(help));
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
        let mut dict = Walk {
            source: Arc::clone(source),
            origins: &mut self.origins,
        }
        .table("", &table, schema::TOP);
        // Followed already, and no part of what is meant.
        dict.remove("extends");
        if source.is_defaults {
            self.defaults = Figment::from(Layer {
                name: source.label.clone(),
                dict,
            });
        } else {
            self.merge(&source.label, dict);
        }
    }
}

/// The `[kinds]` tables hold what a choice brings with it. They are no keys, but a file that began as a copy of the
/// defaults still has them; unchanged they say nothing wrong.
fn is_copy_of_kinds(text: &str) -> bool {
    let kinds = |text: &str| {
        let table: toml::Table = text.parse().ok()?;
        table.get("kinds").cloned()
    };
    kinds(text).is_some_and(|found| Some(found) == kinds(DEFAULTS))
}

/// Whether the text is a sweep file, which names an experiment and what varies.
pub(super) fn is_sweep(text: &str) -> bool {
    let (document, _) = DeTable::parse_recoverable(text);
    ["base", "axes"]
        .iter()
        .all(|key| document.get_ref().contains_key(*key))
}

fn source(label: &str, text: Option<&str>, rank: usize, is_defaults: bool) -> Arc<Source> {
    Arc::new(Source::new(label, text, rank, is_defaults))
}

/// The user's file, with a helpful refusal where there is none.
pub(crate) fn read_file(path: &Path) -> Result<String> {
    if path.is_dir() {
        let fact = format!("{}: is a directory, not a file", path.display());
        return Err(Error::usage(fact));
    }
    let bytes = match bytes_of(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let help = match similar_file(path) {
                Some(near) => format!("\nhelp: did you mean `{near}`?"),
                None => String::new(),
            };
            let fact = format!("{}: there is no such file", path.display());
            return Err(Error::usage(fact + &help));
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    String::from_utf8(bytes).map_err(|error| {
        let n_good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..n_good]
            .split(|byte| *byte == b'\n')
            .count();
        Error::usage(format!("{}:{line}: is not UTF-8 text", path.display()))
    })
}

/// The whole file, unless it is something else: some files have no end.
fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        let fact = format!(
            "has more than {} MiB, as no experiment has",
            MOST_BYTES >> 20
        );
        return Err(io::Error::other(fact));
    }
    Ok(bytes)
}

/// The TOML file of the same directory whose name is most like this one's.
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

/// The same for every way to write a path to the same file.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

pub(crate) fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join("; ")
}

/// A value as it stands behind `=`; `None` where it is no TOML.
pub(crate) fn parse_value(text: &str) -> Option<Spanned<DeValue<'_>>> {
    DeValue::parse(text).ok()
}

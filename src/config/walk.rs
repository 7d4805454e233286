//! Checks one TOML document against a table of keys: unknown keys, wrong types, single values out of range.
//! Knows no files and no layers. A wrong value is reported and left out, so that one mistake hides no other.

mod scalars;

use std::{ops::Range, sync::Arc};

use figment::value::{Dict, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    forms::{Expected, describe_kind, right_form, synonym, unsupported},
    origins::Origins,
    schema::{self, Key, KeyKind},
};

use crate::{
    error::{Source, SourceSpan},
    text::suggest::{list, nearest},
};

/// One document while it is checked.
pub(crate) struct Walk<'a> {
    pub(crate) source: Arc<Source>,
    pub(crate) origins: &'a mut Origins,
    /// The tables that a key belongs in which is unknown where it was found.
    homes: fn(&str) -> Vec<String>,
}

impl<'a> Walk<'a> {
    /// A part of an experiment.
    pub(crate) fn new(source: Arc<Source>, origins: &'a mut Origins) -> Self {
        Self::with_homes(source, origins, schema::homes)
    }

    pub(crate) fn with_homes(
        source: Arc<Source>,
        origins: &'a mut Origins,
        homes: fn(&str) -> Vec<String>,
    ) -> Self {
        Self {
            source,
            origins,
            homes,
        }
    }

    /// The valid entries of a table; `path` is empty at the top.
    pub(crate) fn table(&mut self, path: &str, table: &DeTable<'_>, keys: &[Key]) -> Dict {
        let mut dict = Dict::new();
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name: &str = key.get_ref().as_ref();
            let Some(known) = schema::find(keys, name) else {
                self.unknown(path, name, &key.span(), keys);
                continue;
            };
            if let Some(value) = self.value(&join(path, name), value, &known.kind) {
                dict.insert(name.to_owned(), value);
            }
        }
        dict
    }

    /// A value of this kind; `None` after a problem.
    pub(crate) fn value(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        kind: &KeyKind,
    ) -> Option<Value> {
        let span = value.span();
        let place = self.place(&span);
        self.origins.set(path, place);
        let inner = value.get_ref();
        match kind {
            KeyKind::Text => match inner.as_str() {
                Some(text) => Some(Value::from(text)),
                None => self.mistyped(path, value, Expected::String),
            },
            KeyKind::Flag => match inner.as_bool() {
                Some(flag) => Some(Value::from(flag)),
                None => self.mistyped(path, value, Expected::Boolean),
            },
            KeyKind::Count { min, max } => self.count(path, value, *min, *max),
            KeyKind::Number(range) => self.number(path, value, *range),
            KeyKind::Choice(noun, choices) => self.choice(path, value, noun, &choices()),
            KeyKind::Texts => self.array(path, value, Expected::Strings, None, &KeyKind::Text),
            KeyKind::CountList { min, max } => {
                let (min, max) = (*min, *max);
                let element = KeyKind::Count { min, max };
                self.array(path, value, Expected::IntegerList, None, &element)
            }
            KeyKind::Counts { len, min, max } => {
                let element = KeyKind::Count {
                    min: *min,
                    max: *max,
                };
                let expected = Expected::Integers { len: *len };
                self.array(path, value, expected, Some(*len), &element)
            }
            KeyKind::Numbers { len, range } => {
                let element = KeyKind::Number(*range);
                let expected = Expected::Numbers { len: *len };
                self.array(path, value, expected, Some(*len), &element)
            }
            KeyKind::Factors(range) => self.factors(path, value, *range),
            KeyKind::Table(keys) => match inner.as_table() {
                Some(table) => Some(Value::from(self.table(path, table, keys))),
                None => self.mistyped(path, value, Expected::Table),
            },
            KeyKind::Tables(keys) => self.tables(path, value, keys),
            // The sweep reads what is in it.
            KeyKind::Settings => match inner.as_table() {
                Some(_) => Some(Value::from(Dict::new())),
                None => self.mistyped(path, value, Expected::Table),
            },
        }
    }

    fn tables(&mut self, path: &str, value: &Spanned<DeValue<'_>>, keys: &[Key]) -> Option<Value> {
        let Some(array) = value.get_ref().as_array() else {
            let help = format!("write [[{path}]] with two brackets, once per {path}");
            let message = format!(
                "expected {}, found {}",
                Expected::Tables,
                describe_kind(value.get_ref())
            );
            return self.refuse(path, &value.span(), message, Some(help));
        };
        self.origins.phase_names = array
            .iter()
            .map(|phase| {
                let name = phase
                    .get_ref()
                    .as_table()?
                    .get("name")?
                    .get_ref()
                    .as_str()?;
                Some(name.to_owned())
            })
            .collect();
        let mut values = Vec::new();
        for (index, element) in array.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let place = self.place(&element.span());
            self.origins.set(&path, place);
            // A phase that is not a table leaves an empty one, so that the others keep their positions.
            let dict = if let Some(table) = element.get_ref().as_table() {
                self.table(&path, table, keys)
            } else {
                self.mistyped::<()>(&path, element, Expected::Table);
                Dict::new()
            };
            values.push(Value::from(dict));
        }
        Some(Value::from(values))
    }

    fn array(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        expected: Expected<'_>,
        len: Option<usize>,
        element: &KeyKind,
    ) -> Option<Value> {
        let Some(array) = value.get_ref().as_array() else {
            return self.mistyped(path, value, expected);
        };
        if let Some(len) = len
            && array.len() != len
        {
            let message = format!("expected {len} values, found {}", array.len());
            return self.refuse(path, &value.span(), message, None);
        }
        let values: Vec<Option<Value>> = array
            .iter()
            .enumerate()
            .map(|(index, item)| self.value(&format!("{path}[{index}]"), item, element))
            .collect();
        values
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .map(Value::from)
    }

    /// Pairs of selector and factor in the order of the file, because the last selector that matches wins.
    fn factors(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        range: schema::Range,
    ) -> Option<Value> {
        let mut pairs = Vec::new();
        match value.get_ref() {
            DeValue::Table(table) => {
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(key, _)| key.span().start);
                for (index, (key, factor)) in entries.into_iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let factor = self.value(&path, factor, &KeyKind::Number(range))?;
                    let place = self.place(&key.span());
                    self.origins.set(&path, place);
                    pairs.push(Value::from(vec![
                        Value::from(key.get_ref().as_ref()),
                        factor,
                    ]));
                }
            }
            DeValue::Array(array) => {
                for (index, item) in array.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let pair = item.get_ref().as_array().filter(|pair| pair.len() == 2);
                    let Some(pair) = pair else {
                        return self.mistyped(&path, item, Expected::Pair);
                    };
                    let selector = self.value(&path, &pair[0], &KeyKind::Text)?;
                    let factor = self.value(&path, &pair[1], &KeyKind::Number(range))?;
                    pairs.push(Value::from(vec![selector, factor]));
                }
            }
            _ => return self.mistyped(path, value, Expected::Factors),
        }
        Some(Value::from(pairs))
    }

    /// Reports a key that the table at `path` does not have.
    pub(crate) fn unknown(&mut self, path: &str, name: &str, span: &Range<usize>, keys: &[Key]) {
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        let known = format!("the {} are {}", keys_of(path), list(&names, "and"));
        let homes = (self.homes)(name);
        let synonym = synonym(name, &names);
        let help = if name == "kinds" {
            "remove the [kinds] tables, which only list defaults, and set the keys in their own tables"
                .to_owned()
        } else if synonym.is_none() && !homes.is_empty() {
            format!("`{name}` belongs in {}", homes.join(" or "))
        } else if let Some(help) = unsupported(name).filter(|_| synonym.is_none()) {
            help.to_owned()
        } else if let Some(near) = synonym.or_else(|| nearest(name, &names)) {
            // The key that was meant is not missing, it is misspelt.
            self.origins.mark_broken(&join(path, near));
            if path.is_empty() {
                // All keys at the top are too many to read.
                format!("did you mean `{near}`?")
            } else {
                format!("did you mean `{near}`? {known}")
            }
        } else {
            known
        };
        let place = self.place(span);
        let message = format!("unknown key `{name}`");
        self.origins
            .report_at(place, &join(path, name), message, Some(help));
    }

    fn mistyped<T>(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        expected: Expected<'_>,
    ) -> Option<T> {
        let help = right_form(path, value.get_ref(), expected);
        self.mistyped_with(path, value, expected, help)
    }

    /// Reports a value of the wrong type; `None` stands for the value that is left out.
    pub(crate) fn mistyped_with<T>(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        expected: Expected<'_>,
        help: Option<String>,
    ) -> Option<T> {
        let found = describe_kind(value.get_ref());
        let message = format!("expected {expected}, found {found}");
        self.refuse(path, &value.span(), message, help)
    }

    /// Reports a problem; `None` stands for the value that is left out.
    pub(crate) fn refuse<T>(
        &mut self,
        path: &str,
        span: &Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Option<T> {
        let place = self.place(span);
        self.origins.report_at(place, path, message, help);
        None
    }

    fn place(&self, span: &Range<usize>) -> SourceSpan {
        SourceSpan {
            source: Arc::clone(&self.source),
            span: self.source.text.is_some().then(|| span.clone()),
        }
    }
}

/// The keys of the table at `path`, in words.
fn keys_of(path: &str) -> String {
    match path {
        "" => "top-level keys".to_owned(),
        _ if path.starts_with("phase[") && path.contains('.') => {
            "keys of [phase.schedule]".to_owned()
        }
        _ if path.starts_with("phase[") => "keys of [[phase]]".to_owned(),
        _ => format!("keys of [{path}]"),
    }
}

/// `path.name`, or `name` at the top.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

//! Checks one TOML document against the table of keys: unknown keys, wrong types, single values out of range.
//! Knows no files and no layers. What is wrong is reported and left out, so that one mistake hides no other.

use std::{ops::Range, sync::Arc};

use figment::value::{Dict, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    forms::{describe, describe_kind, parse_integer, right_form, synonym},
    origins::Origins,
    schema::{self, Key, Kind},
};

use crate::{
    error::{Source, SourceSpan},
    text::suggest::{list, nearest},
};

/// A document on its way into a layer.
pub(crate) struct Walk<'a> {
    pub(crate) source: Arc<Source>,
    pub(crate) origins: &'a mut Origins,
}

impl Walk<'_> {
    /// The entries of a table that are right; `path` is empty at the top.
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

    /// One value as its kind wants it; `None` after a problem.
    pub(crate) fn value(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        kind: &Kind,
    ) -> Option<Value> {
        let span = value.span();
        let place = self.place(&span);
        self.origins.set(path, place);
        let inner = value.get_ref();
        match kind {
            Kind::Text => match inner.as_str() {
                Some(text) => Some(Value::from(text)),
                None => self.mistyped(path, value, "a text in quotes"),
            },
            Kind::Flag => match inner.as_bool() {
                Some(flag) => Some(Value::from(flag)),
                None => self.mistyped(path, value, "`true` or `false`"),
            },
            Kind::Count { min, max } => self.count(path, value, *min, *max),
            Kind::Number(range) => self.number(path, value, *range),
            Kind::Choice(choices) => self.choice(path, value, &choices()),
            Kind::Texts => self.array(path, value, "an array of texts", None, &Kind::Text),
            Kind::Counts { len, min, max } => {
                let element = Kind::Count {
                    min: *min,
                    max: *max,
                };
                self.array(
                    path,
                    value,
                    "an array of whole numbers",
                    Some(*len),
                    &element,
                )
            }
            Kind::Numbers { len, range } => {
                let element = Kind::Number(*range);
                self.array(path, value, "an array of numbers", Some(*len), &element)
            }
            Kind::Factors(range) => self.factors(path, value, *range),
            Kind::Table(keys) => match inner.as_table() {
                Some(table) => Some(Value::from(self.table(path, table, keys))),
                None => self.mistyped(path, value, "a table"),
            },
            Kind::Tables(keys) => self.tables(path, value, keys),
            // What is in it is for the reader of sweeps.
            Kind::Settings => match inner.as_table() {
                Some(_) => Some(Value::from(Dict::new())),
                None => self.mistyped(path, value, "a table"),
            },
        }
    }

    fn tables(&mut self, path: &str, value: &Spanned<DeValue<'_>>, keys: &[Key]) -> Option<Value> {
        let Some(array) = value.get_ref().as_array() else {
            let help = format!("write [[{path}]] with two brackets, once for each {path}");
            return self.refuse(
                path,
                &value.span(),
                "must be a list of tables".to_owned(),
                Some(help),
            );
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
            // A phase that is no table leaves an empty one, so that the others keep their numbers.
            let dict = if let Some(table) = element.get_ref().as_table() {
                self.table(&path, table, keys)
            } else {
                self.mistyped(&path, element, "a table");
                Dict::new()
            };
            values.push(Value::from(dict));
        }
        Some(Value::from(values))
    }

    fn count(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        min: u64,
        max: u64,
    ) -> Option<Value> {
        let Some(integer) = value.get_ref().as_integer() else {
            return self.mistyped(path, value, "a whole number");
        };
        let limits = || match (min, max) {
            (min, max) if max < i64::MAX as u64 => format!("must be from {min} to {max}"),
            (min, _) => format!("must be at least {min}"),
        };
        let fact = match parse_integer(integer) {
            Some(number) => match u64::try_from(number) {
                Ok(count) if (min..=max).contains(&count) => return Some(Value::from(count)),
                Ok(_) | Err(_) => format!("{}, is `{number}`", limits()),
            },
            None => format!("is too large for a whole number: `{}`", integer.as_str()),
        };
        self.refuse(path, &value.span(), fact, None)
    }

    fn number(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        range: schema::Range,
    ) -> Option<Value> {
        let number = match value.get_ref() {
            DeValue::Integer(integer) => parse_integer(integer).map(|number| number as f64),
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            _ => return self.mistyped(path, value, "a number"),
        };
        match number {
            Some(number) if range.contains(number) && !range.contains_single(number) => {
                let fact = format!(
                    "is `{number}`, which becomes `{}` in 32 bits",
                    number as f32
                );
                let help = "a run computes with 32 bits: use a number between 1.2e-38 and 3.4e38";
                self.refuse(path, &value.span(), fact, Some(help.to_owned()))
            }
            Some(number) if range.contains(number) => Some(Value::from(number)),
            Some(number) if number.is_finite() => {
                let fact = format!("must be {}, is `{number}`", range.words());
                self.refuse(path, &value.span(), fact, None)
            }
            Some(_) | None => {
                let fact = format!(
                    "must be a finite number, is `{}`",
                    describe(value.get_ref())
                );
                self.refuse(path, &value.span(), fact, None)
            }
        }
    }

    fn choice(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        choices: &[&str],
    ) -> Option<Value> {
        let Some(text) = value.get_ref().as_str() else {
            let expected = format!("one of {}", list(choices, "and"));
            return self.mistyped(path, value, &expected);
        };
        if choices.contains(&text) {
            return Some(Value::from(text));
        }
        let help = match nearest(text, choices) {
            Some(choice) => {
                format!(
                    "did you mean `{choice}`? there are {}",
                    list(choices, "and")
                )
            }
            None => format!("there are {}", list(choices, "and")),
        };
        self.refuse(
            path,
            &value.span(),
            format!("does not know `{text}`"),
            Some(help),
        )
    }

    fn array(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        len: Option<usize>,
        element: &Kind,
    ) -> Option<Value> {
        let Some(array) = value.get_ref().as_array() else {
            return self.mistyped_array(path, value, expected, len);
        };
        if let Some(len) = len
            && array.len() != len
        {
            let fact = format!("must have {len} values, has {}", array.len());
            return self.refuse(path, &value.span(), fact, None);
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

    /// Pairs of selector and factor in the order of the file, which TOML tables do not keep.
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
                    let factor = self.value(&path, factor, &Kind::Number(range))?;
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
                        return self.mistyped(&path, item, "a pair of selector and factor");
                    };
                    let selector = self.value(&path, &pair[0], &Kind::Text)?;
                    let factor = self.value(&path, &pair[1], &Kind::Number(range))?;
                    pairs.push(Value::from(vec![selector, factor]));
                }
            }
            _ => return self.mistyped(path, value, "a table of selector = factor"),
        }
        Some(Value::from(pairs))
    }

    pub(crate) fn unknown(&mut self, path: &str, name: &str, span: &Range<usize>, keys: &[Key]) {
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        let section = match path {
            "" => "the top of the file".to_owned(),
            _ if path.starts_with("phase[") && !path.contains('.') => "[[phase]]".to_owned(),
            _ => format!(
                "[{}]",
                path.split_once("].")
                    .map_or(path, |(_, _)| "phase.schedule")
            ),
        };
        let takes = format!("{section} takes {}", list(&names, "and"));
        let meant = synonym(name, &names).or_else(|| nearest(name, &names));
        let help = if let Some(near) = meant {
            // The key that was meant is not missing, it is misspelt.
            self.origins.mark_broken(&join(path, near));
            format!("did you mean `{near}`? {takes}")
        } else if name == "kinds" {
            "the [kinds] tables only list defaults: remove them, and set the keys in their own tables"
                .to_owned()
        } else {
            match schema::homes(name).as_slice() {
                [] => takes,
                homes => format!("`{name}` belongs in {}", homes.join(" or ")),
            }
        };
        let place = self.place(span);
        self.origins
            .report_at(place, &join(path, name), "unknown key", Some(help));
    }

    fn mistyped(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
    ) -> Option<Value> {
        self.mistyped_array(path, value, expected, None)
    }

    /// The same of an array of so many values.
    fn mistyped_array(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        len: Option<usize>,
    ) -> Option<Value> {
        let help = right_form(path, value.get_ref(), expected, len);
        let fact = format!("must be {expected}, is {}", describe_kind(value.get_ref()));
        self.refuse(path, &value.span(), fact, help)
    }

    fn refuse(
        &mut self,
        path: &str,
        span: &Range<usize>,
        fact: String,
        help: Option<String>,
    ) -> Option<Value> {
        let place = self.place(span);
        self.origins.report_at(place, path, fact, help);
        None
    }

    fn place(&self, span: &Range<usize>) -> SourceSpan {
        SourceSpan {
            source: Arc::clone(&self.source),
            span: self.source.text.is_some().then(|| span.clone()),
        }
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

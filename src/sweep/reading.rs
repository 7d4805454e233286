//! Single values of a sweep file, with what is wrong with them. Knows TOML and places, not what the keys mean.

use std::{ops::Range, sync::Arc};

use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::keys;
use crate::{
    config::forms::{describe_kind, parse_integer},
    error::{Diagnostic, Source, SourceSpan},
};

/// A sweep file while it is read.
pub(super) struct Reading {
    pub(super) source: Arc<Source>,
    pub(super) problems: Vec<Diagnostic>,
}

impl Reading {
    /// Notes a problem; the `None` stands for the value that it leaves out.
    pub(super) fn refuse<T>(
        &mut self,
        key: &str,
        span: &Range<usize>,
        fact: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.report(key, Some(span), fact.into(), Some(help.into()))
    }

    /// For what is missing, which stands nowhere.
    pub(super) fn refuse_absence<T>(&mut self, key: &str, help: impl Into<String>) -> Option<T> {
        self.report(key, None, "is required".to_owned(), Some(help.into()))
    }

    fn report<T>(
        &mut self,
        key: &str,
        span: Option<&Range<usize>>,
        fact: String,
        help: Option<String>,
    ) -> Option<T> {
        let place = SourceSpan {
            source: Arc::clone(&self.source),
            span: span.cloned(),
        };
        let key = Some(key.to_owned());
        self.problems
            .push(Diagnostic::of_key(place, key, fact, help));
        None
    }

    pub(super) fn mistyped<T>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        help: Option<String>,
    ) -> Option<T> {
        let fact = format!("must be {expected}, is {}", describe_kind(value.get_ref()));
        self.report(key, Some(&value.span()), fact, help)
    }

    pub(super) fn text(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        match value.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.mistyped(key, value, "a text in quotes", None),
        }
    }

    /// A whole number, both ends included.
    pub(super) fn count(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        limits: (u64, u64),
    ) -> Option<u64> {
        let Some(integer) = value.get_ref().as_integer() else {
            return self.mistyped(key, value, "a whole number", None);
        };
        let (min, max) = limits;
        let count = parse_integer(integer).and_then(|number| u64::try_from(number).ok());
        if let Some(count) = count.filter(|count| (min..=max).contains(count)) {
            return Some(count);
        }
        let wanted = if max < i64::MAX as u64 {
            format!("must be from {min} to {max}")
        } else {
            format!("must be at least {min}")
        };
        let fact = format!("{wanted}, is `{}`", integer.as_str());
        self.report(key, Some(&value.span()), fact, None)
    }

    /// Any value, as it is laid over the experiment; only what no experiment can hold is refused.
    pub(super) fn plain(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        Some(match value.get_ref() {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Integer(integer) => {
                let Some(number) = parse_integer(integer) else {
                    let fact = format!("is too large for a whole number: `{}`", integer.as_str());
                    return self.report(key, Some(&value.span()), fact, None);
                };
                Value::from(number)
            }
            DeValue::Float(float) => {
                let Some(number) = parse_float(float.as_str()) else {
                    let fact = format!("must be a finite number, is `{}`", float.as_str());
                    return self.report(key, Some(&value.span()), fact, None);
                };
                Value::from(number)
            }
            DeValue::Boolean(flag) => Value::from(*flag),
            DeValue::Datetime(date) => Value::from(*date),
            DeValue::Array(array) => {
                let values: Vec<Option<Value>> =
                    array.iter().map(|item| self.plain(key, item)).collect();
                Value::Array(values.into_iter().collect::<Option<_>>()?)
            }
            DeValue::Table(table) if keys::is_ordered(key) => self.pairs(key, table)?,
            DeValue::Table(table) => {
                let mut plain = Table::new();
                for (name, value) in in_order(table) {
                    let value = self.plain(&format!("{key}.{}", name.get_ref()), value)?;
                    plain.insert(name.get_ref().to_string(), value);
                }
                Value::Table(plain)
            }
        })
    }

    /// `[[key, value], ..]`, because a table would forget the order.
    fn pairs(&mut self, key: &str, table: &DeTable<'_>) -> Option<Value> {
        let mut pairs = Vec::new();
        for (name, value) in in_order(table) {
            let value = self.plain(key, value)?;
            pairs.push(Value::from(vec![
                Value::from(name.get_ref().as_ref()),
                value,
            ]));
        }
        Some(Value::from(pairs))
    }
}

/// The entries as they stand in the file.
pub(super) fn in_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(
    &'a Spanned<toml::de::DeString<'i>>,
    &'a Spanned<DeValue<'i>>,
)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn parse_float(text: &str) -> Option<f64> {
    let number: f64 = text.replace('_', "").parse().ok()?;
    number.is_finite().then_some(number)
}

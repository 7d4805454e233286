//! Numbers and choices: their ranges, and what to write instead.

use std::ops::Range;

use figment::value::Value;
use toml::{
    Spanned,
    de::{DeFloat, DeInteger, DeValue},
};

use super::Walk;
use crate::{
    config::{
        forms::{Expected, parse_integer},
        schema,
    },
    text::suggest::nearest,
};

impl Walk<'_> {
    pub(super) fn count(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        min: u64,
        max: u64,
    ) -> Option<Value> {
        let Some(integer) = value.get_ref().as_integer() else {
            return self.mistyped(path, value, Expected::Integer);
        };
        let number = self.integer(path, &value.span(), integer)?;
        match u64::try_from(number) {
            Ok(count) if (min..=max).contains(&count) => Some(Value::from(count)),
            Ok(_) | Err(_) => {
                let expected = if max < schema::MAX {
                    format!("an integer from {min} to {max}")
                } else {
                    format!("an integer of at least {min}")
                };
                let message = format!("expected {expected}, found `{number}`");
                self.refuse(path, &value.span(), message, None)
            }
        }
    }

    /// An integer of any size that TOML has.
    pub(crate) fn integer(
        &mut self,
        path: &str,
        span: &Range<usize>,
        integer: &DeInteger<'_>,
    ) -> Option<i64> {
        parse_integer(integer).or_else(|| {
            let message = format!("`{}` is too large for an integer", integer.as_str());
            self.refuse(path, span, message, None)
        })
    }

    /// A float that is neither infinite nor NaN.
    pub(crate) fn finite(
        &mut self,
        path: &str,
        span: &Range<usize>,
        float: &DeFloat<'_>,
    ) -> Option<f64> {
        let number = float.as_str().replace('_', "").parse().ok();
        number
            .filter(|number: &f64| number.is_finite())
            .or_else(|| {
                let message = format!("expected a finite number, found `{}`", float.as_str());
                self.refuse(path, span, message, None)
            })
    }

    pub(super) fn number(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        range: schema::Range,
    ) -> Option<Value> {
        let number = match value.get_ref() {
            DeValue::Integer(integer) => self.integer(path, &value.span(), integer)? as f64,
            DeValue::Float(float) => self.finite(path, &value.span(), float)?,
            _ => return self.mistyped(path, value, Expected::Number),
        };
        if !range.contains(number) {
            let message = format!("expected a number {}, found `{number}`", range.words());
            return self.refuse(path, &value.span(), message, None);
        }
        if !range.contains_single(number) {
            let single = number as f32;
            let message = format!("`{number}` becomes `{single}` in 32-bit floating point");
            let help = "use a number between 1.2e-38 and 3.4e38: a run computes in 32 bits";
            return self.refuse(path, &value.span(), message, Some(help.to_owned()));
        }
        Some(Value::from(number))
    }

    pub(super) fn choice(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        noun: &str,
        choices: &[&str],
    ) -> Option<Value> {
        let Some(text) = value.get_ref().as_str() else {
            return self.mistyped(path, value, Expected::OneOf(choices));
        };
        if choices.contains(&text) {
            return Some(Value::from(text));
        }
        let expected = if noun == schema::ARCHITECTURE {
            "run `runner models` to list all architectures".to_owned()
        } else {
            format!("expected {}", Expected::OneOf(choices))
        };
        let help = match nearest(text, choices) {
            Some(choice) => format!("did you mean `{choice}`? {expected}"),
            None => expected,
        };
        let message = format!("unknown {noun} `{text}`");
        self.refuse(path, &value.span(), message, Some(help))
    }
}

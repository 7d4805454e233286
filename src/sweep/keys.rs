//! `[set]` and `[axes]`: nested, dotted and quoted keys made one, and the values that an axis takes.
//! Knows which keys are tables, not what experiments do with them.

use std::ops::Range;

use toml::{
    Spanned, Value,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    definition::{Axis, Setting, Values},
    reading::{Reading, in_order},
};
use crate::{
    config::{
        schema::{self, Key, Kind},
        walk::join,
    },
    text::suggest::{list, nearest},
};

pub(super) const CHOICE: &str = "choice";
pub(super) const UNIFORM: &str = "uniform";
pub(super) const LOG_UNIFORM: &str = "log_uniform";
const DISTRIBUTIONS: [&str; 3] = [CHOICE, UNIFORM, LOG_UNIFORM];

const AXIS_HELP: &str = "write a list such as [1e-4, 1e-3], or { log_uniform = [1e-5, 1e-2] }; a value that does not vary \
                         belongs in [set]";

/// The kind of value that `--set` takes under this key; `None` where no experiment has the key.
pub(super) fn kind(key: &str) -> Option<&'static Kind> {
    Some(&schema::by_label(key)?.kind)
}

/// Whether the entries of this table count in the order in which they are written.
pub(super) fn is_ordered(key: &str) -> bool {
    // Inside `phase = [..]` the phases have no names yet.
    let inside = key.strip_prefix("phase.").filter(|it| !it.contains('.'));
    matches!(kind(key), Some(Kind::Factors(_)))
        || inside
            .is_some_and(|name| matches!(kind(&join("phase.any", name)), Some(Kind::Factors(_))))
}

/// Whether a table under this key is no value but holds further keys.
fn holds_keys(key: &str) -> bool {
    match kind(key) {
        None => true,
        Some(kind) => matches!(kind, Kind::Table(_) | Kind::Tables(_)),
    }
}

pub(super) fn settings(
    reading: &mut Reading,
    path: &str,
    table: &DeTable<'_>,
    found: &mut Vec<Setting>,
) {
    for (name, value) in in_order(table) {
        let (key, key_span) = (join(path, name.get_ref()), name.span());
        if let DeValue::Table(inner) = value.get_ref()
            && holds_keys(&key)
        {
            settings(reading, &key, inner, found);
            continue;
        }
        if found.iter().any(|setting| setting.key == key) {
            refuse_twice(reading, &key, &key_span);
        } else if !is_refused(reading, &key, &key_span)
            && let Some(plain) = reading.plain(&key, value)
        {
            found.push(Setting {
                key,
                value: plain,
                key_span,
                span: value.span(),
            });
        }
    }
}

pub(super) fn axes(reading: &mut Reading, path: &str, table: &DeTable<'_>, found: &mut Vec<Axis>) {
    for (name, value) in in_order(table) {
        let (key, key_span) = (join(path, name.get_ref()), name.span());
        if let DeValue::Table(inner) = value.get_ref()
            && holds_keys(&key)
            && !DISTRIBUTIONS.iter().any(|word| inner.contains_key(*word))
        {
            axes(reading, &key, inner, found);
            continue;
        }
        if found.iter().any(|axis| axis.key == key) {
            refuse_twice(reading, &key, &key_span);
        } else if key == "fetch" || key.starts_with("fetch.") {
            let fact = "cannot be an axis: where to download from makes no other trial";
            reading.refuse::<()>(&key, &key_span, fact, "move it to [set]");
        } else if !is_refused(reading, &key, &key_span) {
            // An axis whose values are wrong is still one that is there.
            let values = values(reading, &key, value).unwrap_or(Values::Choices(Vec::new()));
            found.push(Axis {
                key,
                key_span,
                span: value.span(),
                values,
            });
        }
    }
}

fn refuse_twice(reading: &mut Reading, key: &str, span: &Range<usize>) {
    reading.refuse::<()>(key, span, "is given twice", "keep one of the two");
}

fn is_refused(reading: &mut Reading, key: &str, span: &Range<usize>) -> bool {
    if schema::by_label(key).is_none_or(Key::is_for_sweeps) {
        return false;
    }
    let (fact, help) = match key {
        "name" => (
            "cannot be set in a sweep: each trial has a name of its own",
            "remove it; `name` at the top of the file names the sweep, and with it the trials",
        ),
        "runs_dir" => (
            "cannot be set in a sweep: all trials stand in the sweep's own directory",
            "remove it",
        ),
        _ => (
            "can only be set in an experiment file",
            "remove it; `base` names the experiment that varies",
        ),
    };
    reading.refuse::<()>(key, span, fact, help);
    true
}

fn values(reading: &mut Reading, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Values> {
    match value.get_ref() {
        DeValue::Array(array) => choices(reading, key, &value.span(), array),
        DeValue::Table(table) => distribution(reading, key, &value.span(), table),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {
            reading.mistyped(key, value, "a list of values", Some(AXIS_HELP.to_owned()))
        }
    }
}

fn choices(
    reading: &mut Reading,
    key: &str,
    span: &Range<usize>,
    array: &DeArray<'_>,
) -> Option<Values> {
    if array.is_empty() {
        return reading.refuse(key, span, "has no values", AXIS_HELP);
    }
    let mut choices: Vec<(Value, Range<usize>)> = Vec::new();
    let mut is_whole = true;
    for item in array {
        let Some(value) = reading.plain(key, item) else {
            is_whole = false;
            continue;
        };
        if choices.iter().any(|(other, _)| is_same(other, &value)) {
            let fact = format!("has the value `{}` twice", super::text::to_toml(&value));
            reading.refuse::<()>(
                key,
                &item.span(),
                fact,
                "each value is tried once: keep one",
            );
            is_whole = false;
        }
        choices.push((value, item.span()));
    }
    is_whole.then_some(Values::Choices(choices))
}

/// `1` and `1.0` are the same number to an experiment.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Integer(whole), Value::Float(number))
        | (Value::Float(number), Value::Integer(whole)) => {
            (*whole as f64).total_cmp(number).is_eq()
        }
        _ => a == b,
    }
}

fn distribution(
    reading: &mut Reading,
    key: &str,
    span: &Range<usize>,
    table: &DeTable<'_>,
) -> Option<Values> {
    let entries = in_order(table);
    let words: Vec<&str> = entries
        .iter()
        .map(|(name, _)| name.get_ref().as_ref())
        .collect();
    let there_are = list(&DISTRIBUTIONS, "and");
    for (word, (name, _)) in words.iter().zip(&entries) {
        if !DISTRIBUTIONS.contains(word) {
            let help = match nearest(word, &DISTRIBUTIONS) {
                Some(near) => format!("did you mean `{near}`? there are {there_are}"),
                None => format!("there are {there_are}"),
            };
            return reading.refuse(
                key,
                &name.span(),
                format!("does not know the distribution `{word}`"),
                help,
            );
        }
    }
    let [(word, value)] = entries.as_slice() else {
        let fact = match words.len() {
            0 => "has no values".to_owned(),
            _ => format!("must have one distribution, has {}", list(&words, "and")),
        };
        return reading.refuse(key, span, fact, AXIS_HELP);
    };
    let word = word.get_ref().as_ref();
    let Some(array) = value.get_ref().as_array() else {
        let expected = if word == CHOICE {
            "a list of values"
        } else {
            "two numbers"
        };
        return reading.mistyped(
            key,
            value,
            expected,
            Some(format!("write {{ {word} = [1, 2] }}")),
        );
    };
    if word == CHOICE {
        return choices(reading, key, &value.span(), array);
    }
    let plain: Vec<Value> = array
        .iter()
        .map(|item| reading.plain(key, item))
        .collect::<Option<_>>()?;
    interval(reading, key, &value.span(), word, &plain)
}

fn interval(
    reading: &mut Reading,
    key: &str,
    span: &Range<usize>,
    word: &str,
    ends: &[Value],
) -> Option<Values> {
    let number = |value: &Value| {
        value
            .as_float()
            .or_else(|| value.as_integer().map(|whole| whole as f64))
    };
    let numbers: Option<Vec<f64>> = ends.iter().map(number).collect();
    let Some(&[low, high]) = numbers.as_deref() else {
        let fact = format!("`{word}` must have two numbers");
        return reading.refuse(
            key,
            span,
            fact,
            format!("write {{ {word} = [lowest, highest] }}"),
        );
    };
    if low >= high {
        let fact = format!("the lower end `{low:?}` must be below the higher end `{high:?}`");
        let help = if low > high {
            "swap them"
        } else {
            "a value that does not vary belongs in [set]"
        };
        return reading.refuse(key, span, fact, help);
    }
    if word == LOG_UNIFORM {
        if low <= 0.0 {
            let fact = format!("`log_uniform` must begin above 0, begins at `{low:?}`");
            return reading.refuse(
                key,
                span,
                fact,
                "use `uniform` for values that may be 0 or less",
            );
        }
        return Some(Values::LogUniform { low, high });
    }
    Some(match (&ends[0], &ends[1]) {
        (Value::Integer(low), Value::Integer(high)) => Values::UniformInteger {
            low: *low,
            high: *high,
        },
        _ => Values::Uniform { low, high },
    })
}

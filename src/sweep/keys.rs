//! `[set]` and `[axes]`: the full keys of nested, dotted and quoted ones, and the values that an axis takes.
//! Knows which keys are tables, not what experiments do with them.

use std::ops::Range;

use toml::{
    Spanned, Value,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    definition::{Axis, Setting, Values},
    reading::{in_order, plain},
};
use crate::{
    config::{
        forms::Expected,
        schema::{self, Effect, Key, KeyKind},
        walk::{Walk, join},
    },
    text::suggest::{list, nearest},
};

pub(super) const CHOICE: &str = "choice";
pub(super) const UNIFORM: &str = "uniform";
pub(super) const LOG_UNIFORM: &str = "log_uniform";
const DISTRIBUTIONS: [&str; 3] = [CHOICE, UNIFORM, LOG_UNIFORM];

const AXIS_HELP: &str =
    "list the values, for example [1e-4, 1e-3], or draw them: { log_uniform = [1e-5, 1e-2] }";
const FIXED_HELP: &str = "move a value that does not vary to [set]";

/// The kind of value that `--set` takes under this key; `None` where no experiment has the key.
pub(super) fn kind(key: &str) -> Option<&'static KeyKind> {
    Some(&schema::by_label(key)?.kind)
}

/// Whether the order of the entries of this table matters.
pub(super) fn is_ordered(key: &str) -> bool {
    // Inside `phase = [..]` the phases have no names yet.
    let inside = key.strip_prefix("phase.").filter(|it| !it.contains('.'));
    matches!(kind(key), Some(KeyKind::Factors(_)))
        || inside
            .is_some_and(|name| matches!(kind(&join("phase.any", name)), Some(KeyKind::Factors(_))))
}

/// Whether a table under this key holds further keys rather than being a value.
fn holds_keys(key: &str) -> bool {
    match kind(key) {
        None => true,
        Some(kind) => matches!(kind, KeyKind::Table(_) | KeyKind::Tables(_)),
    }
}

pub(super) fn settings(
    walk: &mut Walk<'_>,
    path: &str,
    table: &DeTable<'_>,
    found: &mut Vec<Setting>,
) {
    for (name, value) in in_order(table) {
        let (key, key_span) = (join(path, name.get_ref()), name.span());
        if let DeValue::Table(inner) = value.get_ref()
            && holds_keys(&key)
        {
            settings(walk, &key, inner, found);
            continue;
        }
        if found.iter().any(|setting| setting.key == key) {
            refuse_twice(walk, &key, &key_span);
        } else if !is_refused(walk, &key, &key_span)
            && let Some(plain) = plain(walk, &key, value)
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

pub(super) fn axes(walk: &mut Walk<'_>, path: &str, table: &DeTable<'_>, found: &mut Vec<Axis>) {
    for (name, value) in in_order(table) {
        let (key, key_span) = (join(path, name.get_ref()), name.span());
        if let DeValue::Table(inner) = value.get_ref()
            && holds_keys(&key)
            && !DISTRIBUTIONS.iter().any(|word| inner.contains_key(*word))
        {
            axes(walk, &key, inner, found);
            continue;
        }
        if found.iter().any(|axis| axis.key == key) {
            refuse_twice(walk, &key, &key_span);
        } else if schema::by_label(&key).is_some_and(|key| key.effect == Effect::Download) {
            let message = format!("`{key}` cannot be an axis: it has no effect on results");
            let help = "move it to [set]".to_owned();
            walk.refuse::<()>(&key, &key_span, message, Some(help));
        } else if !is_refused(walk, &key, &key_span) {
            // An axis with wrong values still exists, so that nothing else is reported for its absence.
            let values = values(walk, &key, value).unwrap_or(Values::Choices(Vec::new()));
            found.push(Axis {
                key,
                key_span,
                span: value.span(),
                values,
            });
        }
    }
}

fn refuse_twice(walk: &mut Walk<'_>, key: &str, span: &Range<usize>) {
    let help = "remove one of the two".to_owned();
    walk.refuse::<()>(key, span, format!("duplicate key `{key}`"), Some(help));
}

fn is_refused(walk: &mut Walk<'_>, key: &str, span: &Range<usize>) -> bool {
    if schema::by_label(key).is_none_or(Key::is_for_sweeps) {
        return false;
    }
    let (reason, help) = match key {
        "name" => (
            "each trial gets its own name",
            "remove it, or set `name` at the top of the file, which the names of trials start with",
        ),
        "runs_dir" => ("all trials are in the sweep's directory", "remove it"),
        _ => (
            "it belongs in an experiment file",
            "remove it; `base` names the experiment to vary",
        ),
    };
    let message = format!("`{key}` cannot be set in a sweep: {reason}");
    walk.refuse::<()>(key, span, message, Some(help.to_owned()));
    true
}

fn values(walk: &mut Walk<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Values> {
    match value.get_ref() {
        DeValue::Array(array) => choices(walk, key, &value.span(), array),
        DeValue::Table(table) => distribution(walk, key, &value.span(), table),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {
            let help = format!("{AXIS_HELP}; {FIXED_HELP}");
            walk.mistyped_with(key, value, Expected::Choices, Some(help))
        }
    }
}

fn choices(
    walk: &mut Walk<'_>,
    key: &str,
    span: &Range<usize>,
    array: &DeArray<'_>,
) -> Option<Values> {
    if array.is_empty() {
        let message = format!("`{key}` has no values");
        return walk.refuse(key, span, message, Some(AXIS_HELP.to_owned()));
    }
    let mut choices: Vec<(Value, Range<usize>)> = Vec::new();
    let mut is_whole = true;
    for item in array {
        let Some(value) = plain(walk, key, item) else {
            is_whole = false;
            continue;
        };
        if choices.iter().any(|(other, _)| is_same(other, &value)) {
            let message = format!("duplicate value `{}`", super::text::to_toml(&value));
            let help = "remove one of the two".to_owned();
            walk.refuse::<()>(key, &item.span(), message, Some(help));
            is_whole = false;
        }
        choices.push((value, item.span()));
    }
    is_whole.then_some(Values::Choices(choices))
}

/// Whether two values are the same to an experiment, as `1` and `1.0` are.
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
    walk: &mut Walk<'_>,
    key: &str,
    span: &Range<usize>,
    table: &DeTable<'_>,
) -> Option<Values> {
    let entries = in_order(table);
    let words: Vec<&str> = entries
        .iter()
        .map(|(name, _)| name.get_ref().as_ref())
        .collect();
    let expected = format!("expected {}", list(&DISTRIBUTIONS, "or"));
    for (word, (name, _)) in words.iter().zip(&entries) {
        if !DISTRIBUTIONS.contains(word) {
            let help = match nearest(word, &DISTRIBUTIONS) {
                Some(near) => format!("did you mean `{near}`? {expected}"),
                None => expected,
            };
            let message = format!("unknown distribution `{word}`");
            return walk.refuse(key, &name.span(), message, Some(help));
        }
    }
    let [(word, value)] = entries.as_slice() else {
        let message = match words.len() {
            0 => format!("`{key}` has no values"),
            _ => format!("expected one distribution, found {}", list(&words, "and")),
        };
        return walk.refuse(key, span, message, Some(AXIS_HELP.to_owned()));
    };
    let word = word.get_ref().as_ref();
    let Some(array) = value.get_ref().as_array() else {
        let expected = if word == CHOICE {
            Expected::Choices
        } else {
            Expected::Interval
        };
        let help = format!("write {{ {word} = [1, 2] }}, for example");
        return walk.mistyped_with(key, value, expected, Some(help));
    };
    if word == CHOICE {
        return choices(walk, key, &value.span(), array);
    }
    let plain: Vec<Value> = array
        .iter()
        .map(|item| plain(walk, key, item))
        .collect::<Option<_>>()?;
    interval(walk, key, &value.span(), word, &plain)
}

fn interval(
    walk: &mut Walk<'_>,
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
        let message = format!("`{word}` needs two numbers");
        let help = format!("write {{ {word} = [lowest, highest] }}");
        return walk.refuse(key, span, message, Some(help));
    };
    if low >= high {
        let (message, help) = if low > high {
            let message = format!("the lower end `{low:?}` is above the upper end `{high:?}`");
            (message, "swap them")
        } else {
            (format!("both ends are `{low:?}`"), FIXED_HELP)
        };
        return walk.refuse(key, span, message, Some(help.to_owned()));
    }
    if word == LOG_UNIFORM {
        if low <= 0.0 {
            let message = format!("`log_uniform` must start above 0, but starts at `{low:?}`");
            let help = "use `uniform` for values that may be 0 or less".to_owned();
            return walk.refuse(key, span, message, Some(help));
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

//! The values of `[set]` and `[axes]` as TOML values, whatever key they are for. Knows TOML, not what the keys mean.

use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::keys;
use crate::config::walk::Walk;

/// Any value; `None` after a problem with a number that no experiment can hold. The experiment checks it against its key.
pub(super) fn plain(walk: &mut Walk<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
    Some(match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(integer) => Value::from(walk.integer(key, &value.span(), integer)?),
        DeValue::Float(float) => Value::from(walk.finite(key, &value.span(), float)?),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(date) => Value::from(*date),
        DeValue::Array(array) => {
            let values: Vec<Option<Value>> =
                array.iter().map(|item| plain(walk, key, item)).collect();
            Value::Array(values.into_iter().collect::<Option<_>>()?)
        }
        DeValue::Table(table) if keys::is_ordered(key) => pairs(walk, key, table)?,
        DeValue::Table(table) => {
            let mut values = Table::new();
            for (name, value) in in_order(table) {
                let value = plain(walk, &format!("{key}.{}", name.get_ref()), value)?;
                values.insert(name.get_ref().to_string(), value);
            }
            Value::Table(values)
        }
    })
}

/// The entries of a table as `[[key, value], ..]`, because a table would lose their order.
fn pairs(walk: &mut Walk<'_>, key: &str, table: &DeTable<'_>) -> Option<Value> {
    let mut pairs = Vec::new();
    for (name, value) in in_order(table) {
        let value = plain(walk, key, value)?;
        pairs.push(Value::from(vec![
            Value::from(name.get_ref().as_ref()),
            value,
        ]));
    }
    Some(Value::from(pairs))
}

/// The entries of a table in the order of the file.
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

//! Formats TOML values for `--set`, for tables and for names. Pure; knows no keys.

use std::fmt::Write as _;

use toml::Value;

use crate::text::table::short_number;

/// TOML on one line that reads back as the same value.
pub(super) fn to_toml(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Integer(number) => number.to_string(),
        // The shortest digits that read back the same: `0.001`, `1e-5`.
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(date) => date.to_string(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(to_toml).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Table(table) => {
            let pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{} = {}", quote(key), to_toml(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

/// The value of a text that [`to_toml`] wrote; text that is none stands for itself.
pub(super) fn from_toml(text: &str) -> Value {
    let document: Option<toml::Table> = format!("value = {text}").parse().ok();
    let value = document.and_then(|mut document| document.remove("value"));
    value.unwrap_or_else(|| Value::from(text))
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            _ if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// For a cell of a table: `classifier, features[24:]`.
pub(super) fn to_cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(to_cell).collect();
            values.join(", ")
        }
        Value::Table(table) => {
            let pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{key}={}", to_cell(value)))
                .collect();
            pairs.join(", ")
        }
        Value::Float(number) => short_number(*number),
        Value::Integer(_) | Value::Boolean(_) | Value::Datetime(_) => to_toml(value),
    }
}

/// A part of a directory's name: `classifier_features24`.
pub(super) fn to_name(value: &Value) -> String {
    let words: Vec<String> = match value {
        Value::Array(values) => values.iter().map(to_name).collect(),
        Value::Table(table) => table
            .iter()
            .map(|(key, value)| format!("{}_{}", plain(key), to_name(value)))
            .collect(),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => vec![plain(&to_cell(value))],
    };
    let name = words.join("_");
    if name.is_empty() {
        "empty".to_owned()
    } else {
        name
    }
}

/// The letters of a text that are allowed in a directory's name.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .filter(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.'))
        .collect()
}

//! `runner config`: what an experiment file comes to, and which layer said what. Knows no rules of its own.

use std::{borrow::Cow, fmt::Write as _, path::Path};

use serde_json::json;
use toml::{Table, Value};

use crate::{
    config::{self, Loaded},
    console::Console,
    error::{Error, Result},
    text::plain::{for_a_line, is_harmful},
};

/// Prints the resolved experiment, or the origin of each of its keys, or the defaults.
pub(crate) fn config(
    file: Option<&Path>,
    sets: &[String],
    env: &[(String, String)],
    origin: bool,
    defaults: bool,
    console: &Console,
) -> Result<()> {
    if defaults {
        return console.document(
            "defaults",
            defaults_fields(config::DEFAULTS),
            config::DEFAULTS,
        );
    }
    let Some(file) = file else {
        let text = "which experiment?\nhelp: runner config FILE, or runner config --defaults";
        return Err(Error::usage(text.to_owned()));
    };
    let loaded = config::read(file, sets, env)?;
    let keys: Vec<_> = loaded
        .origins
        .iter()
        .map(|(key, value, origin)| json!({ "key": key, "value": value, "origin": origin }))
        .collect();
    let fields = json!({ "experiment": &loaded.shown, "keys": keys });
    let text = if origin {
        origin_table(&loaded)
    } else {
        escaped(&loaded.shown)
    };
    console.document("config", fields, text)
}

/// A file of defaults, as it is and parsed.
pub(crate) fn defaults_fields(text: &str) -> serde_json::Value {
    json!({ "text": text, "defaults": text.parse::<Table>().ok() })
}

/// The table as TOML whose strings have none of the letters as they are that `plain` spells out.
fn escaped(table: &Table) -> String {
    // The library picks the kind of each string, and only some kinds can hold an escape: its own escape of a letter that
    // forces such a kind makes room for the others.
    const MARK: char = '\u{1}';
    const ITS_ESCAPE: &str = "\\u0001";
    fn mark(value: &mut Value) {
        match value {
            Value::String(text) if text.contains(is_harmful) || text.contains(ITS_ESCAPE) => {
                let mut marked = String::with_capacity(text.len());
                for letter in text.chars() {
                    // A backslash could make up the library's escape.
                    if is_harmful(letter) || letter == '\\' {
                        let _ = write!(marked, "{MARK}{:08X}", u32::from(letter));
                    } else {
                        marked.push(letter);
                    }
                }
                *text = marked;
            }
            Value::Array(values) => values.iter_mut().for_each(mark),
            Value::Table(table) => table.iter_mut().for_each(|(_, value)| mark(value)),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => {}
        }
    }
    let mut table = table.clone();
    table.iter_mut().for_each(|(_, value)| mark(value));
    table.to_string().replace(ITS_ESCAPE, "\\U")
}

/// `key = value`, then the layer, in columns.
fn origin_table(loaded: &Loaded) -> String {
    let lines: Vec<(String, Cow<'_, str>)> = loaded
        .origins
        .iter()
        .map(|(key, value, origin)| (format!("{key} = {value}"), origin))
        .map(|(line, origin)| (for_a_line(&line).into_owned(), for_a_line(origin)))
        .collect();
    // One long path must not push the whole column off the screen.
    let width = lines
        .iter()
        .map(|(line, _)| line.chars().count())
        .filter(|width| *width <= 60)
        .max()
        .unwrap_or_default();
    let lines: Vec<String> = lines
        .into_iter()
        .map(|(line, origin)| format!("{line:width$}  # {origin}"))
        .collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_reads_back_the_same() {
        let hostile = "a\u{1b}[2J\u{1}\u{9b}\\u0001\u{202e}'\u{7f}\"\n\u{61c}";
        let value = Value::from(vec![Value::from(hostile), Value::from("'\u{9b}\"\\")]);
        let value = Value::from(vec![value, Value::from("C:\\u0001\\a")]);
        let mut inner = Table::new();
        inner.insert("a".to_owned(), value);
        let mut table = Table::new();
        table.insert("b".to_owned(), Value::Array(vec![Value::Table(inner)]));
        let text = escaped(&table);
        assert!(!text.contains(is_harmful), "{text}");
        assert_eq!(text.parse::<Table>().unwrap(), table, "{text}");
        assert_eq!(escaped(&Table::new()), "");
    }
}

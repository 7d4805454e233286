//! `runner config`: prints the resolved experiment, or the layer that set each key.

use std::{borrow::Cow, fmt::Write as _, path::PathBuf};

use serde_json::json;
use toml::{Table, Value};

use crate::{
    commands::args::Overrides,
    commands::context::Context,
    config::{self, Loaded},
    error::{Error, Result},
    text::plain::{for_a_line, is_harmful},
};

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Experiment file (TOML)
    #[arg(required_unless_present = "defaults")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Show where each value was set: defaults, file, environment or `--set`
    #[arg(long)]
    pub(crate) origin: bool,
    /// Print every key with its default and a comment
    #[arg(long, conflicts_with_all = ["file", "origin", "sets"])]
    pub(crate) defaults: bool,
}

/// Prints the resolved experiment, the origin of each of its keys, or the defaults.
pub(crate) fn run(args: &ConfigArgs, cx: &Context) -> Result<()> {
    let file = args.file.as_deref();
    let (origin, defaults) = (args.origin, args.defaults);
    let (sets, env, console) = (&args.overrides.sets, &cx.environment, &cx.console);
    if defaults {
        return console.document(
            "defaults",
            defaults_fields(config::DEFAULTS),
            config::DEFAULTS,
        );
    }
    let Some(file) = file else {
        return Err(Error::usage("the experiment file is missing")
            .help("use `runner config FILE` or `runner config --defaults`"));
    };
    let loaded = config::read(file, sets, env)?;
    let keys: Vec<_> = loaded
        .origins
        .iter()
        .map(|(key, value, origin)| json!({ "key": key, "value": value, "origin": origin }))
        .collect();
    let shown = loaded.shown()?;
    let fields = json!({ "experiment": shown, "keys": keys });
    let text = if origin {
        origin_table(&loaded)
    } else {
        escaped(&shown)
    };
    console.document("config", fields, text)
}

/// A file of defaults as JSON fields: its text, and the parsed table.
pub(crate) fn defaults_fields(text: &str) -> serde_json::Value {
    json!({ "text": text, "defaults": text.parse::<Table>().ok() })
}

/// The table as TOML, in which control characters within strings are escaped, so that they cannot steer a terminal.
fn escaped(table: &Table) -> String {
    // The library chooses the kind of each string, and only basic strings can hold escapes. A control character forces a basic
    // string, so each harmful letter is marked with one; its escape is then replaced by that of the letter.
    const MARK: char = '\u{1}';
    const ITS_ESCAPE: &str = "\\u0001";
    fn mark(value: &mut Value) {
        match value {
            Value::String(text) if text.contains(is_harmful) || text.contains(ITS_ESCAPE) => {
                let mut marked = String::with_capacity(text.len());
                for letter in text.chars() {
                    // Backslashes are marked too, because the text itself may hold what looks like the escape of the mark.
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

/// The keys, each with its value and the layer that set it, in two columns.
fn origin_table(loaded: &Loaded) -> String {
    let lines: Vec<(String, Cow<'_, str>)> = loaded
        .origins
        .iter()
        .map(|(key, value, origin)| (format!("{key} = {value}"), origin))
        .map(|(line, origin)| (for_a_line(&line).into_owned(), for_a_line(origin)))
        .collect();
    // Long lines are left out of the width: one long path must not push the whole column off the screen.
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

//! `runner config`: what an experiment file comes to, and which layer said what. Knows no rules of its own.

use std::path::Path;

use crate::{
    config::{self, Loaded},
    console::print,
    error::{Error, Result},
};

/// Prints the resolved experiment, or the origin of each of its keys, or the defaults.
pub(crate) fn config(
    file: Option<&Path>,
    sets: &[String],
    env: &[(String, String)],
    origin: bool,
    defaults: bool,
) -> Result<()> {
    if defaults {
        return print(config::DEFAULTS);
    }
    let Some(file) = file else {
        let text = "which experiment?\nhelp: runner config FILE, or runner config --defaults";
        return Err(Error::Usage(text.to_owned()));
    };
    let loaded = config::read(file, sets, env)?;
    if origin {
        print(origin_table(&loaded))
    } else {
        print(loaded.resolved.to_string())
    }
}

/// `key = value`, then the layer, in columns.
fn origin_table(loaded: &Loaded) -> String {
    let lines: Vec<(String, &str)> = loaded
        .origins
        .iter()
        .map(|(key, value, origin)| (format!("{key} = {value}"), origin.as_str()))
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

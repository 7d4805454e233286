//! What the tests of sweeps share: a base, a sweep file beside it, and what comes out.

mod bad_axes;
mod bad_keys;
mod bad_launch;
mod definition;
mod trials;
mod validate;

use std::{fs, path::Path};

use super::{definition::Definition, file::read, trials::Trial, validate::experiments};
use crate::{config::Loaded, error::Result};

const BASE: &str = "[data]\nroot = \"photos\"\n[[phase]]\nname = \"head\"\nepochs = 3\ntrainable = [\"classifier\"]\n\
    [[phase]]\nname = \"all\"\nepochs = 3\ntrainable = [\"all\"]\n";

/// Calls `act` with a sweep file that stands beside `base.toml`; errors lose the directory.
fn with_files<T>(
    text: &str,
    act: impl FnOnce(&Path) -> Result<T>,
) -> std::result::Result<T, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lr.toml");
    fs::write(directory.path().join("base.toml"), BASE).unwrap();
    fs::write(&file, text).unwrap();
    let prefix = format!("{}/", directory.path().display());
    act(&file).map_err(|error| error.render(false).replace(&prefix, ""))
}

/// The definition of `base = "base.toml"` and this text.
fn define(text: &str) -> std::result::Result<Definition, String> {
    let text = format!("base = \"base.toml\"\n{text}");
    with_files(&text, |file| read(file, &text))
}

fn expand(text: &str) -> Vec<Trial> {
    let definition = define(text).unwrap_or_else(|error| panic!("{error}"));
    super::trials::trials(&definition)
}

/// The trials as `experiments` resolves them, with these `--set`.
fn resolve(text: &str, sets: &[&str]) -> std::result::Result<Vec<Loaded>, String> {
    let text = format!("base = \"base.toml\"\n{text}");
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    with_files(&text, |file| {
        let definition = read(file, &text)?;
        let trials = super::trials::trials(&definition);
        experiments(&definition, &trials, &sets, &[])
    })
}

/// `text` follows the line with `base`.
#[track_caller]
fn refuses(text: &str, expected: &str) {
    let error = define(text).map(|it| it.name).unwrap_err();
    assert_eq!(error.trim_end(), expected.trim(), "\n{error}");
}

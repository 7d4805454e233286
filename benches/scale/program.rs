//! The program in a folder with an experiment, and the parts of a run that are used.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::child::{self, Finished};

pub(crate) const BATCH: usize = 64;
pub(crate) const EXPERIMENT: &str = "scale.toml";

/// The columns of `metrics.csv` that are used.
#[derive(Deserialize)]
pub(crate) struct Epoch {
    pub(crate) seconds: f64,
    pub(crate) waiting_seconds: f64,
}

/// The parts of `summary.toml` that are used.
#[derive(Deserialize)]
pub(crate) struct Summary {
    pub(crate) steps: usize,
    pub(crate) times: Times,
}

#[derive(Deserialize)]
pub(crate) struct Times {
    pub(crate) filling: f64,
    pub(crate) waiting: f64,
    pub(crate) training: f64,
    pub(crate) validating: f64,
    pub(crate) saving: f64,
}

/// Runs a command of the program in `folder`.
pub(crate) fn run(
    folder: &Path,
    command: &str,
    file: &str,
    sets: &[&str],
) -> Result<Finished, Box<dyn Error>> {
    eprintln!("  {command} {}", sets.join(" "));
    child::run(
        child::runner()
            .current_dir(folder)
            // Leaves the user's own remembered scans alone.
            .env("XDG_CACHE_HOME", folder.join("user"))
            .args([command, file, "--quiet"])
            .args(sets.iter().flat_map(|set| ["--set", set])),
    )
}

/// The directory of the run that a process has printed.
pub(crate) fn run_dir(folder: &Path, finished: &Finished) -> PathBuf {
    folder.join(finished.stdout.trim())
}

pub(crate) fn summary(run: &Path) -> Result<Summary, Box<dyn Error>> {
    toml_file(&run.join("summary.toml"))
}

fn toml_file<T: DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    Ok(toml::from_str(&fs::read_to_string(path)?)?)
}

pub(crate) fn epochs(run: &Path) -> Result<Vec<Epoch>, Box<dyn Error>> {
    let rows = csv::Reader::from_path(run.join("metrics.csv"))?.into_deserialize();
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes the experiment. It requires the cache, because for such a small network `auto` may decide against it, and an error is
/// better than a table of something else.
pub(crate) fn write_experiment(
    folder: &Path,
    root: &Path,
    threads: usize,
) -> Result<(), Box<dyn Error>> {
    let text = format!(
        "device = \"cpu\"\nthreads = {threads}\n[data]\nroot = {}\nbatch_size = {BATCH}\nworkers = {threads}\n\
         [transforms]\nresize = [32, 32]\n[model]\narch = \"squeezenet1_1\"\nweights = \"none\"\n\
         [cache]\nmode = \"require\"\nprecision = \"f16\"\ndir = {}\n\
         [[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"head\"]\n",
        toml_text(root),
        toml_text(&folder.join("activations"))
    );
    Ok(fs::write(folder.join(EXPERIMENT), text)?)
}

pub(crate) fn toml_text(path: &Path) -> String {
    toml::Value::from(path.to_string_lossy().as_ref()).to_string()
}

//! Sweeps of thousands of finished trials. One trial is run; the runs of the others are made up from its files, with other settings,
//! another start and other accuracies, since training them would take hours.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::{
    child::{self, Finished},
    photos::{self, Cost},
    program::{self, EXPERIMENT},
};

const SWEEP: &str = "trials.toml";
const N_IMAGES: usize = 200;
const LR: &str = "optimizer.lr";
const DECAY: &str = "optimizer.weight_decay";

/// The parts of the answer of `sweep --dry-run --json` that are used.
#[derive(Deserialize)]
struct Answer {
    sweep: PathBuf,
    trials: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    trial: usize,
    values: BTreeMap<String, f64>,
    run: Option<PathBuf>,
}

/// Measures a sweep with this many trials in an empty folder.
pub(crate) fn measure(
    folder: &Path,
    n_trials: usize,
    threads: usize,
) -> Result<Vec<Cost>, Box<dyn Error>> {
    let root = folder.join("images");
    photos::write_classes(&root, N_IMAGES)?;
    program::write_experiment(folder, &root, threads)?;
    write_sweep(folder, 1)?;
    run(folder, &["sweep", SWEEP, "--quiet"])?;
    write_sweep(folder, n_trials)?;
    let dry_run = ["sweep", SWEEP, "--dry-run", "--json"];
    let unstarted = run(folder, &dry_run)?;
    make_up_runs(folder, &unstarted)?;
    let listed = run(folder, &dry_run)?;
    let n_runs = answer(&listed)?
        .trials
        .iter()
        .filter(|it| it.run.is_some())
        .count();
    if n_runs != n_trials {
        return Err(format!("{n_runs} runs of {n_trials} trials were recognised").into());
    }
    let finished = run(folder, &["sweep", SWEEP, "--quiet"])?;
    let list = run(folder, &["list", "--runs-dir", "runs", "--quiet"])?;
    Ok(vec![
        Cost::of("sweep --dry-run, one trial has a run", &unstarted),
        Cost::of("sweep --dry-run, all have finished", &listed),
        Cost::of("sweep, all have finished: leaderboard, picture", &finished),
        Cost::of("list", &list),
    ])
}

fn run(folder: &Path, args: &[&str]) -> Result<Finished, Box<dyn Error>> {
    eprintln!("  {}", args.join(" "));
    child::run(
        child::runner()
            .current_dir(folder)
            .env("XDG_CACHE_HOME", folder.join("user"))
            .args(args),
    )
}

fn write_sweep(folder: &Path, n_trials: usize) -> Result<(), Box<dyn Error>> {
    let text = format!(
        "name = \"trials\"\nbase = \"{EXPERIMENT}\"\nmethod = \"random\"\nmax_trials = {n_trials}\n\
         [axes]\n{LR} = {{ log_uniform = [1e-6, 1e-1] }}\n{DECAY} = {{ log_uniform = [1e-6, 1e-1] }}\n"
    );
    Ok(fs::write(folder.join(SWEEP), text)?)
}

fn answer(finished: &Finished) -> Result<Answer, Box<dyn Error>> {
    let line = finished.stdout.lines().last().unwrap_or_default();
    Ok(serde_json::from_str(line)?)
}

/// Gives each trial without a run a copy of the only one.
fn make_up_runs(folder: &Path, listed: &Finished) -> Result<(), Box<dyn Error>> {
    let Answer { sweep, trials } = answer(listed)?;
    let mut runs = trials.iter().filter_map(|trial| trial.run.as_deref());
    let template = Template::read(&folder.join(runs.next().ok_or("no trial has a run")?))?;
    for trial in trials.iter().filter(|trial| trial.run.is_none()) {
        let number = trial.trial;
        // No two have the same second.
        let (hour, minute, second) = (number / 3600, number / 60 % 60, number % 60);
        let name = format!("20260101-{hour:02}{minute:02}{second:02}-trial{number}");
        let started = format!("2026-01-01T{hour:02}:{minute:02}:{second:02}Z");
        template.copy(&folder.join(&sweep).join(name), trial, &started)?;
    }
    Ok(())
}

/// A finished run to make up others from.
struct Template {
    /// The files that a copy shares with it, relative to its directory.
    shared: Vec<PathBuf>,
    path: PathBuf,
    manifest: Table,
    resolved: Table,
    summary: Table,
    metrics: Vec<csv::StringRecord>,
}

impl Template {
    fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let read = |name: &str| -> Result<Table, Box<dyn Error>> {
            Ok(fs::read_to_string(path.join(name))?.parse()?)
        };
        let mut shared = Vec::new();
        files_below(path, Path::new(""), &mut shared)?;
        let own = ["manifest.toml", "resolved.toml", "summary.toml"];
        shared.retain(|file| {
            let is_own = own.iter().any(|name| file.ends_with(name));
            !is_own && *file != Path::new("metrics.csv")
        });
        let mut reader = csv::ReaderBuilder::new();
        let mut reader = reader
            .has_headers(false)
            .from_path(path.join("metrics.csv"))?;
        Ok(Self {
            shared,
            path: path.to_owned(),
            manifest: read("manifest.toml")?,
            resolved: read("resolved.toml")?,
            summary: read("summary.toml")?,
            metrics: reader.records().collect::<Result<_, _>>()?,
        })
    }

    /// Makes up the run of a trial.
    fn copy(&self, to: &Path, trial: &Listed, started: &str) -> Result<(), Box<dyn Error>> {
        fs::create_dir(to)?;
        for file in &self.shared {
            let path = to.join(file);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::hard_link(self.path.join(file), path)?;
        }
        let mut resolved = self.resolved.clone();
        for (key, value) in &trial.values {
            let key = key.trim_start_matches("optimizer.");
            // A resolved phase has its own numbers.
            let phases = resolved["phase"].as_array_mut().into_iter().flatten();
            for phase in phases.filter_map(Value::as_table_mut) {
                phase.insert(key.to_owned(), Value::from(*value));
            }
            resolved["optimizer"][key] = Value::from(*value);
        }
        let mut manifest = self.manifest.clone();
        manifest.insert("started".to_owned(), started.into());
        for (name, table) in [("manifest.toml", manifest), ("resolved.toml", resolved)] {
            let text = sealed(&table)?;
            fs::write(to.join(name), &text)?;
            fs::write(to.join("checkpoints/recipe").join(name), &text)?;
        }
        let metrics = self.metrics(trial.trial)?;
        fs::write(to.join("metrics.csv"), &metrics)?;
        let mut summary = self.summary.clone();
        let records = summary["file"].as_array_mut().into_iter().flatten();
        for record in records {
            if record["name"].as_str() == Some("metrics.csv") {
                record["bytes"] = Value::from(i64::try_from(metrics.len())?);
                record["sha256"] = Value::from(sha256(&metrics));
            }
        }
        fs::write(to.join("summary.toml"), sealed(&summary)?)?;
        Ok(())
    }

    /// `metrics.csv` with made-up accuracies.
    fn metrics(&self, number: usize) -> Result<Vec<u8>, Box<dyn Error>> {
        let column = self.metrics.first().and_then(|header| {
            let mut names = header.iter();
            names.position(|name| name == "valid_accuracy")
        });
        let column = column.ok_or("metrics.csv has no column `valid_accuracy`")?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        for (row, record) in self.metrics.iter().enumerate() {
            let mut cells: Vec<String> = record.iter().map(str::to_owned).collect();
            if row > 0 {
                // A thousand different ones between one and two halves.
                let share = number * 7919 % 1000;
                cells[column] = (0.5 + share as f64 / 2000.0).to_string();
            }
            writer.write_record(&cells)?;
        }
        Ok(writer.into_inner()?)
    }
}

/// The files of a run, relative to its directory.
fn files_below(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files_below(root, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// The table with the last line by which the program recognises damage.
fn sealed(table: &Table) -> Result<String, Box<dyn Error>> {
    let text = toml::to_string_pretty(table)?;
    let hash = sha256(text.as_bytes());
    Ok(format!("{text}# SHA-256 of the lines above: {hash}\n"))
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

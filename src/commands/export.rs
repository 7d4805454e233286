//! `runner export RUN FILE`: a checkpoint's parameters as one safetensors file that PyTorch reads.

use std::{collections::BTreeMap, path::Path};

use serde_json::json;

use crate::{
    config::experiment::{Experiment, Normalize},
    console::Console,
    disk::files,
    error::{Error, Result},
    model::{select::Selector, state},
    rundir::{RunDir, recipe, records::Manifest},
    train::checkpoint::{self, Checkpoint, Which},
};

/// The only format that there is, by its extension.
const EXTENSION: &str = "safetensors";
/// What becomes of an image before the network sees it, as `data::resize` does it.
const RESIZE: &str = "stretch to input_size, bilinear, antialiased";

pub(crate) fn export(
    run: &Path,
    file: &Path,
    which: Which,
    only: &[String],
    overwrites: bool,
    console: &Console,
) -> Result<()> {
    check_format(file)?;
    let run_dir = RunDir::open(run)?;
    let experiment = recipe::experiment(&run_dir, &[])?.experiment;
    let arch = experiment.model.arch;
    let selectors: std::result::Result<Vec<Selector>, String> =
        only.iter().map(|text| Selector::parse(text)).collect();
    let selectors = selectors.map_err(|fact| Error::usage(format!("--only: {fact}")))?;
    if file.exists() && !overwrites {
        return Err(Error::usage(format!(
            "`{}` already exists\nhelp: use `--force` to overwrite it, or choose another file name",
            file.display()
        )));
    }
    let manifest = recipe::manifest(&run_dir)?;
    let specs = arch.tensors(manifest.classes.len());
    let checkpoint = checkpoint::read(&run_dir, which, &specs)?
        .ok_or_else(|| checkpoint::absent(&run_dir, which))?;
    checkpoint.tell_damages(console);
    let metadata = metadata(&run_dir, &experiment, &manifest, (which, &checkpoint));
    let mut state = checkpoint.state;
    if !selectors.is_empty() {
        state.retain(|path, _| {
            selectors
                .iter()
                .any(|selector| selector.matches(path, arch))
        });
    }
    if state.is_empty() {
        return Err(Error::usage(format!(
            "--only: matches no parameter of `{}`",
            arch.name()
        )));
    }
    if let Some(folder) = file.parent() {
        files::clear_litter(folder, files::STALE);
    }
    state::write_safetensors(&state, &metadata, file)?;
    let text = format!("{}", file.display());
    console.note(&format!(
        "{} tensors of the {} checkpoint",
        state.len(),
        which.name()
    ));
    console.answer(
        "exported",
        json!({ "file": file.to_string_lossy(), "tensors": state.len() }),
        &text,
    );
    Ok(())
}

/// Another extension promises a format that the file would not have.
fn check_format(file: &Path) -> Result<()> {
    let extension = file.extension().map(|it| it.to_string_lossy());
    if extension.as_deref() == Some(EXTENSION) {
        return Ok(());
    }
    let format = extension.map_or_else(
        || "missing file extension".to_owned(),
        |extension| format!("unsupported export format `.{extension}`"),
    );
    Err(Error::usage(format!(
        "{format} in `{}`\nhelp: the only supported format is safetensors; use `{}`",
        file.display(),
        file.with_extension(EXTENSION).display()
    )))
}

/// What a program needs beside the tensors to use the model; docs/files.md describes the keys.
fn metadata(
    run_dir: &RunDir,
    experiment: &Experiment,
    manifest: &Manifest,
    (which, checkpoint): (Which, &Checkpoint),
) -> BTreeMap<&'static str, String> {
    let Normalize { mean, std } = experiment.transforms.normalize;
    let size = experiment.transforms.resize;
    let run = run_dir.path().canonicalize();
    let run = run.as_deref().unwrap_or(run_dir.path()).file_name();
    BTreeMap::from([
        // `safetensors.torch` and the Hub look for it.
        ("format", "pt".to_owned()),
        ("arch", experiment.model.arch.name().to_owned()),
        ("classes", json!(manifest.classes).to_string()),
        ("input_size", json!([size.height, size.width]).to_string()),
        ("resize", RESIZE.to_owned()),
        ("mean", numbers(mean)),
        ("std", numbers(std)),
        ("runner_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("run", run.unwrap_or_default().to_string_lossy().into()),
        ("checkpoint", which.name().to_owned()),
        ("epoch", checkpoint.epoch.to_string()),
        ("model_sha256", checkpoint.model_sha256.clone()),
        ("weights_sha256", manifest.weights_sha256.clone()),
    ])
}

/// As a JSON array, in the digits that the experiment file had: through `f64`, 0.485 would be 0.48500001430511475.
fn numbers(values: [f32; 3]) -> String {
    format!("[{}]", values.map(|value| value.to_string()).join(","))
}

//! `runner export RUN FILE`: writes the parameters of a checkpoint to a safetensors file that PyTorch can read.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    commands::context::Context,
    config::experiment::{Experiment, Geometry, Normalize, Transforms},
    disk::files,
    error::{Error, Result},
    model::{select::Selector, tensor_file},
    rundir::{RunDir, recipe, records::Manifest},
    train::checkpoint::{self, Checkpoint, Which},
};

/// The extension of the only supported format.
const EXTENSION: &str = "safetensors";

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Run directory, or latest:NAME
    pub(crate) run: String,
    /// File to write, for example model.safetensors
    #[arg(value_name = "FILE.safetensors")]
    pub(crate) file: PathBuf,
    /// Checkpoint to export
    #[arg(long, value_enum, default_value = "best")]
    pub(crate) checkpoint: Which,
    /// Export only these parameters, for example `features` or `features.0.weight`; repeatable
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) only: Vec<String>,
    /// Overwrite the file if it already exists
    #[arg(long, short)]
    pub(crate) force: bool,
}

pub(crate) fn run(args: &ExportArgs, cx: &Context) -> Result<()> {
    let found = cx.run_dir(&args.run)?;
    let (run, file) = (found.path(), args.file.as_path());
    let (which, only, overwrites) = (args.checkpoint, &args.only, args.force);
    let console = &cx.console;
    check_format(file)?;
    let run_dir = RunDir::open(run)?;
    let experiment = recipe::experiment(&run_dir, &[])?.experiment;
    let arch = experiment.model.arch;
    let selectors: std::result::Result<Vec<Selector>, String> =
        only.iter().map(|text| Selector::parse(text)).collect();
    let selectors =
        selectors.map_err(|fact| Error::usage(format!("invalid value for `--only`: {fact}")))?;
    if file.exists() && !overwrites {
        return Err(Error::usage(format!("`{}` already exists", file.display()))
            .at(file)
            .help("use `--force` to overwrite it, or choose another file name"));
    }
    let manifest = recipe::manifest(&run_dir)?;
    let specs = arch.tensors(manifest.classes.len());
    let checkpoint = checkpoint::read(&run_dir, which, &specs)?
        .ok_or_else(|| checkpoint::absent(&run_dir, which))?;
    checkpoint.tell_damages(console);
    let metadata = metadata(&run_dir, &experiment, &manifest, (which, &checkpoint));
    let mut state = checkpoint.state;
    if !selectors.is_empty() {
        let wanted = selectors.iter();
        let wanted: HashSet<String> = wanted.flat_map(|it| it.paths_with_buffers(arch)).collect();
        state.retain(|path, _| wanted.contains(path));
    }
    if state.is_empty() {
        return Err(Error::usage(format!(
            "`--only` matches no parameter of `{}`",
            arch.name()
        ))
        .help("select a module, for example `features` or `classifier[6]`"));
    }
    if let Some(folder) = file.parent() {
        files::clear_litter(folder, files::STALE);
    }
    tensor_file::write(&state, &metadata, file)?;
    let text = format!("{}", file.display());
    console.note(&format!(
        "exported {} tensors of the `{}` checkpoint",
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

/// Fails for other extensions, which promise a format that the file would not have.
fn check_format(file: &Path) -> Result<()> {
    let extension = file.extension().map(|it| it.to_string_lossy());
    if extension.as_deref() == Some(EXTENSION) {
        return Ok(());
    }
    let format = extension.map_or_else(
        || "missing file extension".to_owned(),
        |extension| format!("unsupported export format `.{extension}`"),
    );
    Err(Error::usage(format!("{format} in `{}`", file.display()))
        .at(file)
        .help(format!(
            "use `{}`; the only supported format is safetensors",
            file.with_extension(EXTENSION).display()
        )))
}

/// The metadata that a program needs to use the tensors; docs/files.md describes the keys.
fn metadata(
    run_dir: &RunDir,
    experiment: &Experiment,
    manifest: &Manifest,
    (which, checkpoint): (Which, &Checkpoint),
) -> BTreeMap<&'static str, String> {
    let Normalize { mean, std } = experiment.transforms.normalize;
    let size = experiment.transforms.size();
    let run = run_dir.path().canonicalize();
    let run = run.as_deref().unwrap_or(run_dir.path()).file_name();
    let mut metadata = BTreeMap::from([
        // `safetensors.torch` and the Hugging Face Hub look for this key.
        ("format", "pt".to_owned()),
        ("arch", experiment.model.arch.name().to_owned()),
        ("classes", json!(manifest.classes).to_string()),
        ("input_size", json!([size.height, size.width]).to_string()),
        ("resize", resize_text(&experiment.transforms)),
        (
            "interpolation",
            experiment.transforms.interpolation.name().to_owned(),
        ),
        ("mean", numbers(mean)),
        ("std", numbers(std)),
        ("runner_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("run", run.unwrap_or_default().to_string_lossy().into()),
        ("checkpoint", which.name().to_owned()),
        ("epoch", checkpoint.epoch.to_string()),
        ("model_sha256", checkpoint.model_sha256.clone()),
        ("weights_sha256", manifest.weights_sha256.clone()),
    ]);
    if let Geometry::ShorterThenCrop { shorter, .. } = experiment.transforms.geometry {
        metadata.insert("shorter", shorter.to_string());
    }
    metadata
}

/// How an image gets the size of the network's input, for people; describes `data::transform`.
fn resize_text(transforms: &Transforms) -> String {
    let how = match transforms.geometry {
        Geometry::Squash(_) => "stretch to input_size".to_owned(),
        Geometry::ShorterThenCrop { shorter, .. } => {
            format!("shorter side to {shorter}, center crop to input_size")
        }
    };
    format!("{how}, {}, antialiased", transforms.interpolation.name())
}

/// The numbers as a JSON array, with the digits of the experiment file: by way of `f64`, 0.485 would become
/// 0.48500001430511475.
fn numbers(values: [f32; 3]) -> String {
    format!("[{}]", values.map(|value| value.to_string()).join(","))
}

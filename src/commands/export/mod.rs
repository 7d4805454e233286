//! `runner export RUN FILE`: writes a checkpoint for other programs: the parameters as safetensors for PyTorch, or the whole network
//! as ONNX, which is then run in another runtime and compared.

mod check;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use self::check::Sample;
use crate::{
    commands::context::Context,
    config::experiment::Experiment,
    data::split::Part,
    disk::files,
    error::{Error, Result},
    export::{
        Exported, Format, PartScores,
        card::{self, Card},
        metadata,
        onnx::{OPSET, OnnxModel},
    },
    inference::OpenedRun,
    model::{families::Arch, select::Selector, state::StateDict, tensor_file},
    rundir::RunDir,
    runs::RunView,
    text::table::size,
    train::checkpoint::Which,
};

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Run directory, or latest:NAME
    pub(crate) run: String,
    /// File to write: model.safetensors for PyTorch, or model.onnx for other programs
    pub(crate) file: PathBuf,
    /// Checkpoint to export
    #[arg(long, value_enum, default_value = "best")]
    pub(crate) checkpoint: Which,
    /// Write a model card, README.md, into the folder of the file
    #[arg(long)]
    pub(crate) card: bool,
    /// ONNX: number of validation images on which the file is compared with the checkpoint; 0 for none [default: 32]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = check::DEFAULT)]
    pub(crate) check: Option<usize>,
    /// ONNX: store weights as 16-bit floats, which halves the file
    #[arg(long)]
    pub(crate) half: bool,
    /// safetensors: export only these parameters, for example `features` or `features.0.weight`; repeatable
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) only: Vec<String>,
    /// Overwrite files that already exist
    #[arg(long, short)]
    pub(crate) force: bool,
}

pub(crate) fn run(args: &ExportArgs, cx: &Context) -> Result<()> {
    let found = cx.run_dir(&args.run)?;
    let (file, console) = (args.file.as_path(), &cx.console);
    let format = Format::of(file)?;
    check_options(args, format)?;
    let run_dir = RunDir::open(found.path())?;
    let selectors = selectors(&args.only)?;
    refuse_existing(args)?;
    let view = RunView::read(run_dir.clone())?;
    let mut opened = OpenedRun::read(&run_dir, args.checkpoint, &[], "export", console)?;
    let experiment = opened.experiment.clone();
    select(
        &mut opened.checkpoint.state,
        &selectors,
        experiment.model.arch,
    )?;
    let exported = exported(&view, &experiment, &opened);
    let card = args.card.then(|| card_text(file, format, &exported, &view));
    let sample = match format {
        Format::Onnx => Sample::choose(args.check, &experiment, &view, console)?,
        Format::Safetensors => None,
    };
    make_folder(file)?;
    let n_tensors = opened.checkpoint.state.len();
    let written = write(args, format, &exported, &opened.checkpoint.state)?;
    console.note(&format!(
        "exported {n_tensors} tensors of the `{}` checkpoint{written}",
        args.checkpoint.name()
    ));
    let agreement = match sample {
        Some(sample) => sample.compare(file, opened, args.half)?,
        None => None,
    };
    if let Some(text) = &card {
        files::write_atomic(&card_beside(file), text.as_bytes())?;
    }
    let card = card.map(|_| card_beside(file));
    let fields = json!({
        "file": file.to_string_lossy(), "tensors": n_tensors, "format": format.extension(),
        "card": card.map(|card| card.to_string_lossy().into_owned()), "check": agreement,
    });
    console.answer("exported", fields, &file.display().to_string());
    Ok(())
}

/// Fails for options that have no effect on the format.
fn check_options(args: &ExportArgs, format: Format) -> Result<()> {
    let (others, options) = match format {
        Format::Onnx => (Format::Safetensors, vec![("--only", !args.only.is_empty())]),
        Format::Safetensors => (
            Format::Onnx,
            vec![("--half", args.half), ("--check", args.check.is_some())],
        ),
    };
    let errors = options.into_iter().filter(|(_, is_set)| *is_set);
    let errors = errors.map(|(option, _)| {
        let extension = others.extension();
        Error::usage(format!("`{option}` applies to `.{extension}` files only"))
            .at(&args.file)
            .help(format!(
                "leave out `{option}`, or export to `{}`",
                args.file.with_extension(extension).display()
            ))
    });
    errors.reduce(Error::and).map_or(Ok(()), Err)
}

fn selectors(only: &[String]) -> Result<Vec<Selector>> {
    let selectors = only.iter().map(|text| Selector::parse(text));
    let selectors: std::result::Result<_, String> = selectors.collect();
    selectors.map_err(|fact| Error::usage(format!("invalid value for `--only`: {fact}")))
}

/// Fails if a file is in the way.
fn refuse_existing(args: &ExportArgs) -> Result<()> {
    if args.force {
        return Ok(());
    }
    let card = args.card.then(|| card_beside(&args.file));
    let files = std::iter::once(args.file.clone()).chain(card);
    let errors = files.filter(|file| file.exists()).map(|file| {
        Error::usage(format!("`{}` already exists", file.display()))
            .at(&file)
            .help(if file == args.file {
                "use `--force` to overwrite it, or choose another file name"
            } else {
                "use `--force` to overwrite it, or export into another folder"
            })
    });
    errors.reduce(Error::and).map_or(Ok(()), Err)
}

/// Keeps only the parameters that are selected, if any are.
fn select(state: &mut StateDict, selectors: &[Selector], arch: Arch) -> Result<()> {
    if selectors.is_empty() {
        return Ok(());
    }
    let wanted = selectors.iter();
    let wanted: HashSet<String> = wanted.flat_map(|it| it.paths_with_buffers(arch)).collect();
    state.retain(|path, _| wanted.contains(path));
    if state.is_empty() {
        let name = arch.name();
        return Err(
            Error::usage(format!("`--only` matches no parameter of `{name}`"))
                .help("select a module, for example `features` or `classifier[6]`"),
        );
    }
    Ok(())
}

fn exported<'a>(view: &'a RunView, experiment: &'a Experiment, opened: &OpenedRun) -> Exported<'a> {
    let (which, checkpoint) = (opened.which, &opened.checkpoint);
    Exported {
        experiment,
        manifest: &view.manifest,
        run: view.id(),
        which,
        epoch: checkpoint.epoch,
        model_sha256: checkpoint.model_sha256.clone(),
        scores: scores(view, which, checkpoint.epoch),
    }
}

/// The scores of a checkpoint. Those on test images, and by class, are recorded for the best one alone.
fn scores(view: &RunView, which: Which, epoch: usize) -> Vec<PartScores> {
    let summary = view.summary.as_ref();
    let summary = summary.filter(|it| which == Which::Best && it.best.epoch == epoch);
    let row = view.rows.iter().find(|row| row.epoch == epoch);
    let valid = row.map(|row| PartScores {
        part: Part::Valid,
        images: view.manifest.n_valid,
        accuracy: row.valid_accuracy,
        loss: row.valid_loss,
        classes: summary.map_or_else(Vec::new, |it| it.classes.clone()),
    });
    let test = summary.and_then(|it| it.test.as_ref());
    let test = test.map(|test| PartScores {
        part: Part::Test,
        images: view.manifest.n_test,
        accuracy: test.accuracy,
        loss: test.loss,
        classes: test.classes.clone(),
    });
    valid.into_iter().chain(test).collect()
}

/// Creates the folder of the file if there is none, and clears it of what killed exports left.
fn make_folder(file: &Path) -> Result<()> {
    let Some(folder) = file.parent() else {
        return Ok(());
    };
    if !folder.as_os_str().is_empty() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    files::clear_litter(folder, files::STALE);
    Ok(())
}

/// Writes the file, and returns what a note says of it.
fn write(
    args: &ExportArgs,
    format: Format,
    exported: &Exported,
    state: &StateDict,
) -> Result<String> {
    let metadata = metadata::metadata(exported, format);
    match format {
        Format::Safetensors => {
            tensor_file::write(state, &metadata, &args.file)?;
            Ok(String::new())
        }
        Format::Onnx => {
            let n_bytes = OnnxModel {
                name: exported.experiment.model.arch.name(),
                paper: &exported.experiment.paper(exported.manifest.classes.len()),
                state,
                normalize: exported.experiment.transforms.normalize,
                metadata: &metadata,
                is_half: args.half,
            }
            .write(&args.file)?;
            let width = if args.half { ", 16-bit weights" } else { "" };
            Ok(format!(" as ONNX opset {OPSET}{width}, {}", size(n_bytes)))
        }
    }
}

fn card_text(file: &Path, format: Format, exported: &Exported, view: &RunView) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    card::text(&Card {
        exported,
        format,
        file: &name,
        counts: view.class_counts(),
    })
}

fn card_beside(file: &Path) -> PathBuf {
    file.with_file_name(card::FILE)
}

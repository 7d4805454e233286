//! `runner predict RUN PATH..`: the classes of new photos, as a table.

mod counter;
mod summary;
mod work;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use self::work::Work;
use crate::{
    commands::context::Context,
    console::{Console, is_answer_on_terminal},
    error::{Error, Result},
    inference::{
        ActivationStore, Counts, OpenedRun, Output, Target, TrainedModel,
        embeddings::{self, EmbeddingsFile},
        files::{self, ClassFolders, InputFile, ListFormat, STDIN},
        header,
        partial::{self, Job, PartialTable},
        skip_done,
        table::{TableFormat, TableOptions, UNKNOWN},
    },
    rundir::RunDir,
    text::table::counted,
    train::{activations, checkpoint::Which},
};

/// The number of files whose folders tell whether the table has columns for the true classes.
const N_LOOKED_AT: usize = 1000;

#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are flags of a command line"
)]
pub(crate) struct PredictArgs {
    /// Run directory, or latest:NAME
    pub(crate) run: String,
    /// Photos: files, folders, patterns such as 'new/*.jpg', or - for a list of files on stdin
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Checkpoint to predict with
    #[arg(long, value_enum, default_value = "best")]
    pub(crate) checkpoint: Which,
    /// Write the table to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Format of the table [default: by the name of the output file, or csv; on a terminal, text]
    #[arg(long, value_enum)]
    pub(crate) format: Option<TableFormat>,
    /// Number of most probable classes to write
    #[arg(long, value_name = "K", default_value = "1")]
    pub(crate) top: NonZeroUsize,
    /// Write the class `unknown` where the highest probability is below P, from 0 to 1
    #[arg(long, value_name = "P", value_parser = probability)]
    pub(crate) threshold: Option<f64>,
    /// Whether folders name the true classes of their photos; auto: if one of the first 1000 files is in such a folder
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) truth: Truth,
    /// Also write the input of the head for each row of the table, to a .npy or .safetensors file
    #[arg(long, value_name = "FILE")]
    pub(crate) embeddings: Option<PathBuf>,
    /// Read and write the activation cache, so that photos seen before take less time
    #[arg(long)]
    pub(crate) cache: bool,
    /// Continue an interrupted output file
    #[arg(long, requires = "output")]
    pub(crate) resume: bool,
    /// Overwrite output files, and unfinished ones
    #[arg(long, short, conflicts_with = "resume")]
    pub(crate) force: bool,
    /// The list on stdin is separated by zero bytes, as by `find -print0`
    #[arg(long, short = '0')]
    pub(crate) null: bool,
    /// Override a key that does not change what the model computes, for example threads=4; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Truth {
    Auto,
    Folders,
    None,
}

fn probability(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse::<f64>().ok();
    let number = number.filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

pub(crate) fn run(args: &PredictArgs, cx: &Context) -> Result<()> {
    let console = &cx.console;
    check_outputs(args, console)?;
    let found = cx.run_dir(&args.run)?;
    let run_dir = RunDir::open(found.path())?;
    let sets = &args.sets;
    let opened = OpenedRun::read(&run_dir, args.checkpoint, sets, "predict", console)?;
    let model = opened.into_model(args.cache)?;
    check_threshold(args, &model)?;
    let store = if args.cache {
        open_store(&model, console)?
    } else {
        None
    };
    let (mut files, has_truth) = look_ahead(args, model.classes());
    let options = TableOptions {
        top: args.top.get().min(model.classes().len()),
        threshold: args.threshold,
        has_truth,
    };
    let mut counts = Counts::default();
    let (target, embeddings) = open_outputs(args, cx, &model, options, &mut files, &mut counts)?;
    let output = Output {
        target,
        options,
        classes: model.classes(),
        console,
    };
    let work = Work {
        args,
        model: &model,
        console,
        output,
        embeddings,
        counts,
        n_kept: counts.rows,
    };
    work.run(files, store.as_ref(), &run_dir)
}

/// Fails before anything is read if an output is in the way or makes no sense.
fn check_outputs(args: &PredictArgs, console: &Console) -> Result<()> {
    if let Some(file) = &args.embeddings {
        embeddings::check_name(file)?;
    }
    if args.output.is_none() && console.is_json() && args.format == Some(TableFormat::Csv) {
        return Err(Error::usage("`--json` cannot print a table as CSV")
            .help("write it to a file with `--output`, or leave out `--format`"));
    }
    let n_lists = args.paths.iter().filter(|path| path.as_os_str() == STDIN);
    if n_lists.count() > 1 {
        return Err(Error::usage("stdin can be read only once").help("give `-` only once"));
    }
    let outputs = [&args.output, &args.embeddings].into_iter().flatten();
    let mut outputs = outputs.collect::<Vec<_>>();
    if let [table, embeddings] = outputs[..]
        && table == embeddings
    {
        let message = format!("`{}` is the file of both outputs", table.display());
        return Err(Error::usage(message).at(table));
    }
    // What a resumed command finds of an unfinished file is what it continues.
    outputs.retain(|file| !args.resume || file.exists());
    outputs
        .into_iter()
        .try_for_each(|file| partial::check_free(file, args.force))
}

/// Fails if `unknown` could be a class or the lack of one.
fn check_threshold(args: &PredictArgs, model: &TrainedModel) -> Result<()> {
    if args.threshold.is_some() && model.classes().iter().any(|class| class == UNKNOWN) {
        let message =
            format!("the run has a class `{UNKNOWN}`, so `--threshold` would be ambiguous");
        return Err(Error::usage(message).help("leave out `--threshold`"));
    }
    Ok(())
}

fn open_store(model: &TrainedModel, console: &Console) -> Result<Option<ActivationStore>> {
    Ok(match ActivationStore::open(model)? {
        Ok(store) => Some(store),
        Err(reason) => {
            console.note(&format!("cache: nothing is cached: {reason}"));
            None
        }
    })
}

type Files = Box<dyn Iterator<Item = InputFile> + Send>;

/// The files, and whether folders name the true classes of some of them.
fn look_ahead(args: &PredictArgs, classes: &[String]) -> (Files, bool) {
    let list = if args.null {
        ListFormat::Zeros
    } else {
        ListFormat::Lines
    };
    let classes = match args.truth {
        Truth::None => ClassFolders::new(&[]),
        Truth::Auto | Truth::Folders => ClassFolders::new(classes),
    };
    let mut files = files::find(&args.paths, list, &classes);
    if args.truth != Truth::Auto {
        return (files, args.truth == Truth::Folders);
    }
    let first: Vec<InputFile> = files.by_ref().take(N_LOOKED_AT).collect();
    let has_truth = first.iter().any(|file| file.true_class.is_some());
    (Box::new(first.into_iter().chain(files)), has_truth)
}

/// What an interrupted table must have in common with its continuation, apart from the files.
fn job(
    model: &TrainedModel,
    options: TableOptions,
    format: TableFormat,
    args: &PredictArgs,
) -> Job {
    let embeddings = args.embeddings.as_ref();
    let fields = json!({
        "runner_predict": 1,
        "format": format.name(),
        "columns": options.columns(),
        // As text, because reading a number may change its last digit.
        "threshold": options.threshold.map(|threshold| threshold.to_string()),
        "classes": model.classes(),
        "checkpoint": model.which.name(),
        "epoch": model.epoch,
        "model_sha256": model.model_sha256,
        "preprocessing": activations::preprocessing(&model.experiment),
        "embeddings": embeddings.map(|_| model.predictor.n_embedding()),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Job::new(),
    }
}

/// Opens the outputs. Those that are resumed take the files from `files` that they have already.
fn open_outputs(
    args: &PredictArgs,
    cx: &Context,
    model: &TrainedModel,
    options: TableOptions,
    files: &mut Files,
    counts: &mut Counts,
) -> Result<(Target, Option<EmbeddingsFile>)> {
    let open_embeddings = |resumes| {
        let file = args.embeddings.as_ref();
        file.map(|file| {
            let metadata = vec![
                ("arch", model.experiment.model.arch.name().to_owned()),
                ("checkpoint", model.which.name().to_owned()),
                ("model_sha256", model.model_sha256.clone()),
            ];
            EmbeddingsFile::open(file, model.predictor.n_embedding(), metadata, resumes)
        })
        .transpose()
    };
    let Some(path) = &args.output else {
        let target = match args.format {
            _ if cx.console.is_json() => Target::Events,
            Some(format) => Target::Stdout(format),
            None if is_answer_on_terminal() => Target::Terminal,
            None => Target::Stdout(TableFormat::Csv),
        };
        return Ok((target, open_embeddings(false)?));
    };
    let format = args.format.unwrap_or_else(|| format_of(path));
    let job = job(model, options, format, args);
    let header = header(&options, format)?;
    let begun = if args.resume {
        PartialTable::open(path, &job)?
    } else {
        None
    };
    let Some(mut table) = begun else {
        let table = PartialTable::create(path, &job, &header)?;
        return Ok((Target::File(table, format), open_embeddings(false)?));
    };
    let mut embeddings = open_embeddings(true)?;
    let most = embeddings.as_ref().map_or(u64::MAX, EmbeddingsFile::n_rows);
    let mut end = 0;
    for row in table
        .rows(format)?
        .take(usize::try_from(most).unwrap_or(usize::MAX))
    {
        let row = row?;
        skip_done(files, &row, counts.rows + 1, table.partial())?;
        counts.add_kept(&row);
        end = row.end;
    }
    table.cut(end, &header)?;
    if let Some(embeddings) = &mut embeddings {
        embeddings.cut(counts.rows as u64)?;
    }
    let n_kept = counted(counts.rows, "row");
    cx.console.note(&format!(
        "resuming `{}` after {n_kept}",
        table.partial().display()
    ));
    Ok((Target::File(table, format), embeddings))
}

/// The format that the name of a file tells; CSV if it tells none.
fn format_of(path: &Path) -> TableFormat {
    let extension = path.extension().map(|it| it.to_string_lossy());
    match extension.as_deref() {
        Some("jsonl" | "ndjson") => TableFormat::Jsonl,
        _ => TableFormat::Csv,
    }
}

//! `runner evaluate RUN`: scores a checkpoint on one part of the split of its run, or on the images of another folder.

mod folder;
mod output;
mod positive;
mod tables;
mod text;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};

use self::{folder::Seen, positive::Positive};
use super::{images, notices, prepare};
use crate::{
    commands::args::Overrides,
    commands::context::Context,
    config::{experiment::Experiment, schema},
    console::{Console, answer_width, print_csv},
    data::{
        index::DatasetIndex,
        split::{Part, SplitTable},
    },
    device,
    error::{Error, Result},
    rundir::{RunDir, recipe},
    scores::{
        confusion::macro_average, curves::Ranked, evaluation::Evaluation,
        operating_point::OperatingPoint,
    },
    system::stop,
    text::table::counted,
    train::{
        self, Session,
        answers::{Answers, probabilities},
        checkpoint::{self, Which},
        evaluate::{self, Prediction, Scores},
    },
};

#[derive(Debug, clap::Args)]
pub(crate) struct EvaluateArgs {
    /// Run directory, or latest:NAME
    pub(crate) run: String,
    /// Folder of other images, with subfolders named like the classes of the run
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Checkpoint to evaluate
    #[arg(long, value_enum, default_value = "best")]
    pub(crate) checkpoint: Which,
    /// Images of the run to evaluate on
    #[arg(long, value_enum, default_value = "valid", conflicts_with = "folder")]
    pub(crate) split: Part,
    /// Positive class of curves, sensitivity and specificity [default: the last of two classes]
    #[arg(long, value_name = "CLASS")]
    pub(crate) positive: Option<String>,
    /// Probability from which an image is predicted to be positive [default: 0.5]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,
    /// Write tables, predictions and plots to this folder
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Print the scores as CSV, one row per score
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

/// The images that a checkpoint is evaluated on.
struct Subject {
    index: Arc<DatasetIndex>,
    /// Puts all images of a folder into `part`.
    split: SplitTable,
    part: Part,
    folder: Option<PathBuf>,
    /// How many images of a folder the run has seen, if that can be told.
    seen: Option<Seen>,
}

/// Everything that the forms of output show.
struct Outcome<'a> {
    run: &'a Path,
    which: Which,
    epoch: usize,
    subject: &'a Subject,
    predictions: &'a [Prediction],
    /// As training computes them.
    scores: Scores,
    evaluation: &'a Evaluation,
    targets: &'a [usize],
    /// The probability of each class for each image; empty if they are not finite.
    probabilities: &'a [Vec<f64>],
    positive: Option<Positive>,
    point: Option<OperatingPoint>,
}

pub(crate) fn run(args: &EvaluateArgs, cx: &Context) -> Result<()> {
    let found = cx.run_dir(&args.run)?;
    let run = found.path();
    let console = &cx.console;
    let run_dir = RunDir::open(run)?;
    let loaded = recipe::experiment(&run_dir, &args.overrides.sets)?;
    let allowed = schema::labels("NAME", |key| key.is_for_evaluation);
    loaded
        .check_overrides(run, "evaluate", &allowed)
        .map_err(|error| {
            error.help("use `--split` to choose the images to evaluate on, or pass another folder")
        })?;
    let manifest = recipe::manifest(&run_dir)?;
    let positive = positive::chosen(&manifest.classes, args.positive.as_deref(), args.threshold)?;
    if let Some(folder) = &args.output {
        output::check(folder)?;
    }
    let experiment = loaded.experiment;
    device::set_threads(experiment.threads);
    let device = device::open(experiment.device)?;
    let subject = match &args.folder {
        Some(folder) => of_folder(folder, &experiment, &run_dir, console)?,
        None => of_split(args.split, &experiment, &run_dir, console)?,
    };
    let specs = experiment.model.arch.tensors(subject.index.classes.len());
    let checkpoint = checkpoint::read(&run_dir, args.checkpoint, &specs)?
        .ok_or_else(|| checkpoint::absent(&run_dir, args.checkpoint))?;
    checkpoint.tell_damages(console);
    let setup = Session {
        experiment: &experiment,
        index: Arc::clone(&subject.index),
        split: &subject.split,
        run_dir: &run_dir,
        device,
        console,
        stop: stop::on_signals(),
    };
    let epoch = checkpoint.epoch;
    let model = train::build_evaluation_model(&setup, checkpoint.state);
    let predictions = train::predict_part(&setup, &model, subject.part)?;
    let predictions = predictions.ok_or(Error::interrupted())?;
    console.evaluation_ends();
    let classes = &subject.index.classes;
    let targets: Vec<usize> = predictions.iter().map(|it| it.target).collect();
    let predicted: Vec<usize> = predictions.iter().map(|it| it.predicted).collect();
    let rows = predictions.iter().map(|it| probabilities(&it.logits));
    let mut rows: Vec<Vec<f64>> = rows.collect();
    let evaluation = Evaluation::new(classes, &targets, &predicted, &rows);
    if evaluation.calibration.is_empty() {
        // They are not finite, and cannot be ranked.
        rows.clear();
    }
    let mut outcome = Outcome {
        run,
        which: args.checkpoint,
        epoch,
        subject: &subject,
        predictions: &predictions,
        scores: evaluate::scores(&predictions),
        evaluation: &evaluation,
        targets: &targets,
        probabilities: &rows,
        positive,
        point: None,
    };
    let point = |it: Positive| Some(it.point(classes, &outcome.ranked(it.class)?));
    outcome.point = positive.and_then(point);
    if let Some(folder) = &args.output {
        output::write(&outcome, folder)?;
        console.note(&format!("tables and plots: {}", folder.display()));
    }
    if args.csv {
        return print_csv(tables::scores(&outcome));
    }
    let text = text::page(&outcome, answer_width());
    console.answer("evaluated", outcome.fields(), text.trim_end());
    Ok(())
}

/// The images of one part of the run's own split.
fn of_split(
    part: Part,
    experiment: &Experiment,
    run_dir: &RunDir,
    console: &Console,
) -> Result<Subject> {
    let index = prepare::scan(&experiment.data, console)?;
    let split = images::check(run_dir, &index, &recipe::manifest(run_dir)?)?;
    if split.images(part).is_empty() {
        let text = format!("the split of the run has no {} images", part.name());
        return Err(Error::usage(text).at(run_dir.path()));
    }
    Ok(Subject {
        index: Arc::new(index),
        split,
        part,
        folder: None,
        seen: None,
    })
}

/// All images of another folder.
fn of_folder(
    folder: &Path,
    experiment: &Experiment,
    run_dir: &RunDir,
    console: &Console,
) -> Result<Subject> {
    let manifest = recipe::manifest(run_dir)?;
    let index = folder::scan(experiment, folder, &manifest.classes, console)?;
    let seen = folder::seen(&index, run_dir, &experiment.data, &manifest, console);
    let part = Part::Test;
    Ok(Subject {
        split: SplitTable {
            parts: vec![part; index.images.len()],
        },
        index: Arc::new(index),
        part,
        folder: Some(folder.to_owned()),
        seen,
    })
}

impl Outcome<'_> {
    fn classes(&self) -> &[String] {
        &self.subject.index.classes
    }

    /// `160 valid images`, `12 images of photos/new`
    fn images(&self) -> String {
        let n = self.predictions.len();
        match &self.subject.folder {
            Some(folder) => format!("{} of {}", counted(n, "image"), folder.display()),
            None => counted(n, &format!("{} image", self.subject.part.name())),
        }
    }

    /// Like [`Self::images`], in whole words: `160 validation images`.
    fn images_in_words(&self) -> String {
        if self.subject.folder.is_some() {
            return self.images();
        }
        let noun = format!("{} image", notices::name(self.subject.part));
        counted(self.predictions.len(), &noun)
    }

    fn answers(&self) -> Answers<'_> {
        Answers {
            predictions: self.predictions,
            part: self.subject.part,
            index: &self.subject.index,
        }
    }

    /// The images ranked by the probability of a class, if probabilities are known.
    fn ranked(&self, class: usize) -> Option<Ranked> {
        let is_known = !self.probabilities.is_empty();
        is_known.then(|| Ranked::new(class, self.targets, self.probabilities))
    }

    /// The fields of the JSON object.
    fn fields(&self) -> Value {
        let confusion = evaluate::confusion(self.predictions, self.classes());
        let classes = confusion.scores();
        let subject = self.subject;
        let part = subject.folder.is_none().then(|| subject.part.name());
        json!({
            "run": self.run.to_string_lossy(), "checkpoint": self.which.name(), "epoch": self.epoch,
            "split": part, "folder": subject.folder.as_ref().map(|it| it.to_string_lossy()),
            "images": self.predictions.len(),
            "loss": self.scores.loss, "accuracy": self.scores.accuracy,
            "class": classes, "macro_average": macro_average(&classes), "confusion": confusion.counts,
            "evaluation": self.evaluation, "operating_point": self.point,
            "trained_on": subject.seen.map(|seen| seen.trained),
            "validated_on": subject.seen.map(|seen| seen.validated),
        })
    }
}

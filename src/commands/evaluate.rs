//! `runner evaluate RUN`: scores a checkpoint on one part of the split of its run.

use std::{path::Path, sync::Arc};

use serde_json::json;

use super::{images, prepare, show::class_table};
use crate::{
    commands::args::Overrides,
    commands::context::Context,
    config::{Loaded, schema},
    console::answer_width,
    data::split::Part,
    device,
    error::{Error, Result},
    rundir::{RunDir, recipe},
    scores::confusion::{Confusion, macro_average},
    system::stop,
    text::table::{Align, Table},
    train::{
        self, Session,
        checkpoint::{self, Which},
        evaluate,
    },
};

/// Fails for overrides that would have no effect, or would no longer evaluate what was trained.
fn check_overrides(run: &Path, loaded: &Loaded) -> Result<()> {
    let refused: Vec<String> = loaded
        .overrides()
        .filter(|key| !schema::by_label(key).is_some_and(|key| key.is_for_evaluation))
        .map(|key| format!("`{key}`"))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::usage(format!(
        "`runner evaluate` cannot change {}, with which the run was trained",
        refused.join(", ")
    ))
    .at(run)
    .help(format!(
        "`--set` can change {}",
        schema::labels("NAME", |key| key.is_for_evaluation).join(", ")
    ))
    .help("use `--split` to choose the images to evaluate on"))
}

/// The confusion matrix of more classes is wider than a terminal, so it is not printed.
const MOST_CLASSES_IN_MATRIX: usize = 12;

#[derive(Debug, clap::Args)]
pub(crate) struct EvaluateArgs {
    /// Run directory, or latest:NAME
    pub(crate) run: String,
    /// Checkpoint to evaluate
    #[arg(long, value_enum, default_value = "best")]
    pub(crate) checkpoint: Which,
    /// Images to evaluate on
    #[arg(long, value_enum, default_value = "valid")]
    pub(crate) split: Part,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

pub(crate) fn run(args: &EvaluateArgs, cx: &Context) -> Result<()> {
    let found = cx.run_dir(&args.run)?;
    let run = found.path();
    let (which, part, sets) = (args.checkpoint, args.split, &args.overrides.sets);
    let console = &cx.console;
    let run_dir = RunDir::open(run)?;
    let loaded = recipe::experiment(&run_dir, sets)?;
    check_overrides(run, &loaded)?;
    let experiment = loaded.experiment;
    device::set_threads(experiment.threads);
    let device = device::open(experiment.device)?;
    let index = Arc::new(prepare::scan(&experiment.data, console)?);
    let manifest = recipe::manifest(&run_dir)?;
    let split = images::check(&run_dir, &index, &manifest)?;
    let n_images = split.images(part).len();
    if n_images == 0 {
        let text = format!("the split of the run has no {} images", part.name());
        return Err(Error::usage(text).at(run));
    }
    let specs = experiment.model.arch.tensors(index.classes.len());
    let checkpoint = checkpoint::read(&run_dir, which, &specs)?
        .ok_or_else(|| checkpoint::absent(&run_dir, which))?;
    checkpoint.tell_damages(console);
    let setup = Session {
        experiment: &experiment,
        index,
        split: &split,
        run_dir: &run_dir,
        device,
        console,
        stop: stop::on_signals(),
    };
    let epoch = checkpoint.epoch;
    let model = train::build_evaluation_model(&setup, checkpoint.state);
    let predictions = train::predict_part(&setup, &model, part)?.ok_or(Error::interrupted())?;
    console.evaluation_ends();
    let scores = evaluate::scores(&predictions);
    let text = format!(
        "{} (epoch {epoch}) on {n_images} {} images: loss {:.4}, accuracy {:.2} %",
        which.name(),
        part.name(),
        scores.loss,
        scores.accuracy * 100.0
    );
    let confusion = evaluate::confusion(&predictions, &setup.index.classes);
    let classes = confusion.scores();
    let average = macro_average(&classes);
    let tables = [
        class_table("class", &classes, Some(average), answer_width()),
        confusion_table(&confusion),
    ];
    let tables = tables.join("\n");
    let text = format!("{text}\n\n{}", tables.trim_end());
    let fields = json!({
        "run": run.to_string_lossy(), "checkpoint": which.name(), "epoch": epoch, "split": part.name(),
        "images": n_images,
        "loss": scores.loss, "accuracy": scores.accuracy,
        "class": classes, "macro_average": average, "confusion": confusion.counts,
    });
    console.answer("evaluated", fields, &text);
    Ok(())
}

/// The confusion matrix with one row per true class; empty if there are too many classes.
fn confusion_table(confusion: &Confusion) -> String {
    if confusion.classes.len() > MOST_CLASSES_IN_MATRIX {
        return String::new();
    }
    let mut table = Table::new(&[("true \\ predicted", Align::Left)]);
    for class in confusion.classes {
        table.column(class, Align::Right);
    }
    let rows = confusion.table().into_iter().skip(1);
    rows.for_each(|row| table.row(row));
    table.text()
}

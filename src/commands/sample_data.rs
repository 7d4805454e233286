//! `runner sample-data DIR`: generates a data set of drawings to try runner on.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    commands::context::Context,
    error::Result,
    sample_data::{self, Options, Task},
};

#[derive(Debug, clap::Args)]
pub(crate) struct SampleDataArgs {
    /// Folder to write to; must be new or empty
    pub(crate) dir: PathBuf,
    /// Kind of drawings
    #[arg(long, value_enum, default_value = "pets")]
    pub(crate) task: Task,
    /// Number of images per class
    #[arg(long, default_value_t = 150)]
    pub(crate) per_class: usize,
    /// Random seed; the same seed gives the same images
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// Do not add the deliberately corrupt files
    #[arg(long)]
    pub(crate) no_broken: bool,
}

pub(crate) fn run(args: &SampleDataArgs, cx: &Context) -> Result<()> {
    let (dir, console) = (args.dir.as_path(), &cx.console);
    let options = &Options {
        task: args.task,
        per_class: args.per_class,
        seed: args.seed,
        broken: !args.no_broken,
    };
    let summary = sample_data::write(dir, options, &|n_done, n_files| {
        console.scanned(n_done, n_files);
    });
    console.scan_ends();
    let summary = summary?;
    let text = format!(
        "{}: {} drawings in {} classes, {} of them corrupt",
        dir.display(),
        summary.files,
        summary.classes,
        summary.broken
    );
    console.note(&text);
    console.answer(
        "drawn",
        json!({ "dir": dir.to_string_lossy(), "files": summary.files, "broken": summary.broken }),
        &dir.display().to_string(),
    );
    Ok(())
}

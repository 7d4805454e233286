//! Measures the time and the memory per photo for large numbers of photos, and what a trial of a sweep costs beside its steps:
//! `make bench-scale`. Images, network and activations are tiny, so that almost only the program's own work is measured; the claim is
//! that neither grows faster than the number of photos.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table goes to stdout, progress to stderr"
)]

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::Parser;

#[path = "../shared/bitmap.rs"]
mod bitmap;
#[path = "../shared/child.rs"]
mod child;
#[path = "../shared/machine.rs"]
mod machine;
mod photos;
mod program;
mod sweep;
mod table;
mod trials;

use program::BATCH;

/// Costs per photo at several numbers of photos.
#[derive(Parser)]
struct Options {
    /// Numbers of images, in ascending order; a million needs 6 GB of free disk
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    sizes: Vec<usize>,
    /// Learning rates of the sweep, which has the first number of images
    #[arg(long, default_value_t = 20)]
    trials: usize,
    /// Numbers of trials of the sweeps whose runs are made up
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    many_trials: Vec<usize>,
    /// Measure only the sweeps whose runs are made up
    #[arg(long)]
    only_trials: bool,
    /// Threads for computing and for reading
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Folder for the images, which are deleted at the end [default: in the target directory]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// File for the table [default: benches/results/<date>-scale.md]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The flag that cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut measured = Vec::new();
    let mut trials = None;
    let parent = options.folder.as_deref();
    let parent = parent.unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let sizes = options.sizes.iter().filter(|_| !options.only_trials);
    for n_images in sizes {
        eprintln!("{n_images} images");
        // Removed before the next size, because each needs gigabytes.
        let folder = tempfile::tempdir_in(parent)?;
        measured.push((
            *n_images,
            photos::measure(folder.path(), *n_images, options.threads)?,
        ));
        if trials.is_none() && options.trials > 0 {
            trials = Some(sweep::measure(
                folder.path(),
                options.threads,
                options.trials,
            )?);
        }
    }
    let mut many = Vec::new();
    for n_trials in &options.many_trials {
        eprintln!("{n_trials} trials");
        let folder = tempfile::tempdir_in(parent)?;
        let costs = trials::measure(folder.path(), *n_trials, options.threads)?;
        many.push((*n_trials, costs));
    }
    let mut text = header(&options);
    if !measured.is_empty() {
        text += &table::photos(&measured);
    }
    if let (Some(trials), Some(n_images)) = (trials, options.sizes.first()) {
        text += &table::trials(*n_images, &trials);
    }
    text += &table::many_trials(&many);
    machine::publish(&text, &machine::result_path(options.out, "scale"))
}

fn header(options: &Options) -> String {
    format!(
        "# Large data sets, {}\n\n\
         BMP files of {side} x {side} in two classes; squeezenet1_1 with random weights at 32 x 32, trainable head (1,026 \
         parameters), batch size {BATCH}, activations of 512 values in 16 bits, {} threads. The validation set is a fifth.\n\
         Every step except the epoch is a process, with its start. The files were just written, so they are in the page cache if it is \
         large enough.\n\n\
         {}; {}.\n`{}`\n\n",
        machine::today(),
        options.threads,
        machine::processor(),
        machine::versions(),
        machine::command("scale"),
        side = photos::IMAGE_SIDE,
    )
}

//! Measures the time per photo for large numbers of photos: `make bench-scale`. The images are tiny, so that almost only the
//! program's own work is measured; the claim is that the time per photo stays constant.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table goes to stdout, progress to stderr"
)]

use std::{
    error::Error,
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use serde::Deserialize;

#[path = "shared/bitmap.rs"]
mod bitmap;
#[path = "shared/child.rs"]
mod child;
#[path = "shared/machine.rs"]
mod machine;

/// The height and width of an image file.
const IMAGE_SIDE: usize = 16;
const BATCH: usize = 64;
/// Two epochs, because the second one of a warm run includes no start-up.
const WARM_EPOCHS: usize = 2;

/// Costs per photo at several numbers of photos.
#[derive(Parser)]
struct Options {
    /// Numbers of images
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    sizes: Vec<usize>,
    /// Threads for computing and for reading
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// File for the table [default: benches/results/<date>-scale.md]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The flag that cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The columns of `metrics.csv` that are used.
#[derive(Deserialize)]
struct Epoch {
    seconds: f64,
    waiting_seconds: f64,
}

/// The parts of `summary.toml` that are used.
#[derive(Deserialize)]
struct Summary {
    times: Times,
}

#[derive(Deserialize)]
struct Times {
    filling: f64,
}

struct Row {
    what: &'static str,
    seconds: f64,
    /// The peak memory of the whole process that the row is about.
    peak_mib: Option<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut text = header(&options);
    for n_images in &options.sizes {
        eprintln!("{n_images} images");
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        for row in measure(folder.path(), *n_images, options.threads)? {
            let Row {
                what,
                seconds,
                peak_mib,
            } = row;
            let peak = peak_mib.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.0}"));
            let microseconds = seconds * 1e6 / *n_images as f64;
            writeln!(
                text,
                "| {n_images} | {what} | {seconds:.2} | {microseconds:.0} | {peak} |"
            )?;
        }
    }
    machine::publish(&text, &machine::result_path(options.out, "scale"))
}

fn header(options: &Options) -> String {
    format!(
        "# Many photos, {}\n\n\
         BMP files of {IMAGE_SIDE} x {IMAGE_SIDE} in two classes; vgg16_slim with random weights at 32 x 32, training the \
         classifier, batch size {BATCH}, {} threads.\n\
         Every step except the epoch is a whole process including its start; the files were just written and are in the page cache.\n\
         {}; {}.\n`{}`\n\n\
         | photos | step | seconds | µs per photo | peak MiB |\n|---:|---|---:|---:|---:|\n",
        machine::today(),
        options.threads,
        machine::processor(),
        machine::versions(),
        machine::command("scale"),
    )
}

fn measure(folder: &Path, n_images: usize, threads: usize) -> Result<Vec<Row>, Box<dyn Error>> {
    let root = folder.join("images");
    for class in 0..2 {
        write_class(&root.join(format!("class{class}")), n_images / 2, class)?;
    }
    let bench = Bench { folder, threads };
    let config = folder.join("scale.toml");
    fs::write(&config, experiment(&root, folder))?;

    let cold = bench.run("check", &[])?;
    let again = bench.run("check", &[])?;
    let filling = bench.run("train", &["phase.head.epochs=1"])?;
    let run = folder.join(&filling.run);
    let summary: Summary = toml::from_str(&fs::read_to_string(run.join("summary.toml"))?)?;
    let split = format!(
        "split={{ method = \"file\", file = {} }}",
        toml_text(&run.join("split.csv"))
    );
    let read_split = bench.run("check", &[&split])?;
    let warm = bench.run("train", &[&format!("phase.head.epochs={WARM_EPOCHS}")])?;
    let epochs: Vec<Epoch> = csv::Reader::from_path(folder.join(&warm.run).join("metrics.csv"))?
        .into_deserialize()
        .collect::<Result<_, _>>()?;
    let all_epochs: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
    let Some(last) = epochs.last() else {
        return Err("the run has no epoch".into());
    };
    let row = |what, seconds, peak_mib| Row {
        what,
        seconds,
        peak_mib,
    };
    Ok(vec![
        row("check: scan, split", cold.seconds, cold.peak_mib),
        row(
            "check again: remembered scan, split",
            again.seconds,
            again.peak_mib,
        ),
        row(
            "check: remembered scan, split from a file",
            read_split.seconds,
            read_split.peak_mib,
        ),
        row("cache filling", summary.times.filling, filling.peak_mib),
        row(
            "epoch from the cache, with validation",
            last.seconds,
            warm.peak_mib,
        ),
        row(
            "of which: waiting for the cache in training",
            last.waiting_seconds,
            None,
        ),
        row(
            "the rest of that run: start, checkpoints, pictures",
            warm.seconds - all_epochs,
            None,
        ),
    ])
}

struct Bench<'a> {
    folder: &'a Path,
    threads: usize,
}

struct Measured {
    seconds: f64,
    peak_mib: Option<f64>,
    /// The run directory, if there is one.
    run: PathBuf,
}

impl Bench<'_> {
    fn run(&self, command: &str, sets: &[&str]) -> Result<Measured, Box<dyn Error>> {
        eprintln!("  {command} {}", sets.join(" "));
        let threads = [
            format!("threads={}", self.threads),
            format!("data.workers={}", self.threads),
        ];
        let sets = sets
            .iter()
            .map(OsString::from)
            .chain(threads.iter().map(OsString::from));
        let finished = child::run(
            child::runner()
                .current_dir(self.folder)
                // Leaves the user's own remembered scans alone.
                .env("XDG_CACHE_HOME", self.folder.join("user"))
                .args([command, "scale.toml", "--quiet"])
                .args(sets.flat_map(|set| [OsString::from("--set"), set])),
        )?;
        Ok(Measured {
            seconds: finished.seconds,
            peak_mib: finished.peak_mib,
            run: finished.stdout.trim().into(),
        })
    }
}

/// The experiment. It requires the cache, because for such a small network `auto` may decide against it, and an error is better
/// than a table of something else.
fn experiment(root: &Path, folder: &Path) -> String {
    format!(
        "device = \"cpu\"\n[data]\nroot = {}\nbatch_size = {BATCH}\n[transforms]\nresize = [32, 32]\n\
         [model]\narch = \"vgg16_slim\"\nweights = \"none\"\n[cache]\nmode = \"require\"\ndir = {}\n\
         [[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n",
        toml_text(root),
        toml_text(&folder.join("activations"))
    )
}

fn toml_text(path: &Path) -> String {
    toml::Value::from(path.to_string_lossy().as_ref()).to_string()
}

/// Writes uncompressed images that all differ.
fn write_class(folder: &Path, n_images: usize, class: usize) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for image in 0..n_images {
        fs::write(
            folder.join(format!("{image:06}.bmp")),
            bitmap::bitmap(IMAGE_SIDE, class, image),
        )?;
    }
    Ok(())
}

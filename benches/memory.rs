//! Compares the memory that `runner plan` predicts with the memory that runs take: `make memory`, with `pets` and `weights` in
//! `RUNNER_BENCH_DATA`. Each row is a run of one epoch in its own process and folders; other work on the machine does not affect
//! the result.

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
    process::Command,
};

use clap::Parser;

#[path = "shared/child.rs"]
mod child;
#[path = "shared/machine.rs"]
mod machine;

/// Predicted and measured memory of a matrix of runs.
#[derive(Parser)]
struct Options {
    /// Photos of each class
    #[arg(long, default_value_t = 32)]
    per_class: usize,
    /// Threads for computing and for reading
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Only rows whose description contains this text
    #[arg(long, default_value = "")]
    only: String,
    /// File for the table [default: benches/results/<date>-memory.md]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The flag that cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// A run: its description, and the settings besides those that all runs have.
struct Row {
    what: &'static str,
    photos: Photos,
    sets: &'static [&'static str],
    before: Before,
}

#[derive(Clone, Copy)]
enum Photos {
    Pets,
    /// Photos of 24 megapixels.
    Large,
}

/// What is done before the run is predicted and measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// The same run, so that the cache is full.
    Same,
    /// The run itself, which is then resumed for a second epoch.
    FirstEpoch,
}

const ALL: &str = "phase.head.trainable=[\"all\"]";
const LAST_LAYER: &str = "phase.head.trainable=[\"classifier[6]\"]";
const LAST_BLOCK: &str = "phase.head.trainable=[\"classifier\", \"features[24:]\"]";
const LAST_FIRES: &str = "phase.head.trainable=[\"classifier\", \"features[9:]\"]";
const FC: &str = "phase.head.trainable=[\"fc\"]";
const LAYER4: &str = "phase.head.trainable=[\"fc\", \"layer4\"]";
const THREE_EPOCHS: &str = "phase.head.epochs=3";
const NO_CACHE: &str = "cache.mode=off";
const SLIM: &str = "model.arch=vgg16_slim";
const RESNET18: &str = "model.arch=resnet18";
const RESNET50: &str = "model.arch=resnet50";
const SQUEEZENET: &str = "model.arch=squeezenet1_1";
const DRAWINGS: &str = "model.weights=drawings_v1";
const FRESH: &str = "model.weights=none";
const BATCH_4: &str = "data.batch_size=4";
const BATCH_64: &str = "data.batch_size=64";
const SIDE_128: &str = "transforms.resize=[128, 128]";
const SGD: [&str; 2] = ["optimizer.kind=sgd", "optimizer.lr=1e-4"];

const fn row(what: &'static str, sets: &'static [&'static str]) -> Row {
    Row {
        what,
        photos: Photos::Pets,
        sets,
        before: Before::Nothing,
    }
}

const fn warm(what: &'static str, sets: &'static [&'static str]) -> Row {
    Row {
        before: Before::Same,
        ..row(what, sets)
    }
}

const fn large(what: &'static str, sets: &'static [&'static str]) -> Row {
    Row {
        photos: Photos::Large,
        ..row(what, sets)
    }
}

const ROWS: &[Row] = &[
    row("vgg16, head, cold cache", &[]),
    warm("vgg16, head, full cache", &[]),
    Row {
        before: Before::FirstEpoch,
        ..row("vgg16, head, full cache, resumed", &[])
    },
    warm("vgg16, head, full cache, three epochs", &[THREE_EPOCHS]),
    row("vgg16, head, no cache", &[NO_CACHE]),
    row("vgg16, head, batch 4, no cache", &[BATCH_4, NO_CACHE]),
    row("vgg16, head, batch 64, no cache", &[BATCH_64, NO_CACHE]),
    warm("vgg16, head, batch 64, full cache", &[BATCH_64]),
    warm(
        "vgg16, head, accumulate 2, full cache",
        &["training.accumulate=2"],
    ),
    warm(
        "vgg16, head, clipped, full cache",
        &["training.clip_grad_norm=1.0"],
    ),
    warm("vgg16, head, SGD, full cache", &SGD),
    row(
        "vgg16, head, flipped anew in each epoch",
        &["augment.horizontal_flip=0.5"],
    ),
    row(
        "vgg16, head, a fifth of the photos for testing",
        &["split.test=0.2"],
    ),
    row(
        "vgg16, head, 320 x 320, no cache",
        &["transforms.resize=[320, 320]", NO_CACHE],
    ),
    row("vgg16, `classifier[6]`", &[LAST_LAYER]),
    row("vgg16, `features[24:]`, cold cache", &[LAST_BLOCK]),
    row("vgg16, `features[24:]`, no cache", &[LAST_BLOCK, NO_CACHE]),
    row("vgg16, everything, batch 4", &[ALL, BATCH_4]),
    row("vgg16, everything", &[ALL]),
    row(
        "vgg16, everything, SGD, accumulate 2",
        &[ALL, SGD[0], SGD[1], "training.accumulate=2"],
    ),
    row(
        "vgg16_bn, everything, batch 4",
        &["model.arch=vgg16_bn", FRESH, ALL, BATCH_4],
    ),
    row(
        "vgg11, head, 128 x 128",
        &["model.arch=vgg11", FRESH, SIDE_128],
    ),
    row("vgg19_bn, head", &["model.arch=vgg19_bn", FRESH]),
    row("resnet18, head", &[RESNET18, FRESH, FC]),
    row("resnet18, `layer4`", &[RESNET18, FRESH, LAYER4]),
    row("resnet18, everything", &[RESNET18, FRESH, ALL]),
    row("resnet50, head", &[RESNET50, FRESH, FC]),
    row(
        "resnet50, head, batch 64, no cache",
        &[RESNET50, FRESH, FC, BATCH_64, NO_CACHE],
    ),
    row("resnet50, `layer4`", &[RESNET50, FRESH, LAYER4]),
    row(
        "resnet50, everything, batch 4",
        &[RESNET50, FRESH, ALL, BATCH_4],
    ),
    row("resnet50, everything", &[RESNET50, FRESH, ALL]),
    row("squeezenet1_1, head", &[SQUEEZENET, FRESH]),
    row(
        "squeezenet1_1, `features[9:]`",
        &[SQUEEZENET, FRESH, LAST_FIRES],
    ),
    row("squeezenet1_1, everything", &[SQUEEZENET, FRESH, ALL]),
    large("vgg16, head, photos of 24 megapixels", &[]),
    row("vgg16_slim, head, 128 x 128", &[SLIM, DRAWINGS, SIDE_128]),
    row(
        "vgg16_slim, everything, 128 x 128",
        &[SLIM, DRAWINGS, SIDE_128, ALL],
    ),
    row(
        "vgg16_slim, everything, batch 64",
        &[SLIM, DRAWINGS, BATCH_64, ALL],
    ),
    large(
        "vgg16_slim, head, photos of 24 megapixels",
        &[SLIM, DRAWINGS],
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut text = header(&options);
    let bench = Bench::new(folder.path(), &options)?;
    let mut worst: f64 = 1.0;
    for row in ROWS.iter().filter(|row| row.what.contains(&options.only)) {
        eprintln!("{}", row.what);
        let (predicted, stage) = bench.predict(row)?;
        let measured = bench.measure(row)?;
        let ratio = predicted / measured;
        worst = if ratio.ln().abs() > worst.ln().abs() {
            ratio
        } else {
            worst
        };
        writeln!(
            text,
            "| {} | {predicted:.0} | {measured:.0} | {ratio:.2} | {stage} |",
            row.what
        )?;
        println!("{predicted:.0} {measured:.0} {ratio:.2} {stage}");
    }
    writeln!(text, "\nThe largest deviation is {worst:.2}.")?;
    machine::publish(&text, &machine::result_path(options.out, "memory"))
}

fn header(options: &Options) -> String {
    format!(
        "# Predicted and measured memory, {}\n\n\
         {} photos of each of two classes, a fifth of them for validation, one epoch; batches of 16 images of 224 x 224 and Adam \
         unless the row says otherwise; {} threads. The measured value is the largest resident set of the whole process; the \
         predicted value is printed by `runner plan` before the run, for the state of the cache at that time.\n\n\
         {}; {}.\n`{}`\n\n\
         | run | predicted, MiB | measured, MiB | predicted / measured | stage of the predicted peak |\n|---|---:|---:|---:|---|\n",
        machine::today(),
        options.per_class,
        options.threads,
        machine::processor(),
        machine::versions(),
        machine::command("memory"),
    )
}

struct Bench<'a> {
    folder: &'a Path,
    options: &'a Options,
    weights: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(folder: &'a Path, options: &'a Options) -> Result<Self, Box<dyn Error>> {
        let data = std::env::var_os("RUNNER_BENCH_DATA");
        let data = data.map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
        let pets = data.join("pets");
        for class in ["Cat", "Dog"] {
            let target = folder.join("pets").join(class);
            fs::create_dir_all(&target)?;
            for photo in 0..options.per_class {
                let name = format!("{photo}.jpg");
                fs::copy(pets.join(class).join(&name), target.join(&name))?;
            }
        }
        for (class, color) in [("dark", [40, 60, 80]), ("light", [200, 190, 180])] {
            let target = folder.join("large").join(class);
            fs::create_dir_all(&target)?;
            image::RgbImage::from_pixel(6000, 4000, image::Rgb(color))
                .save(target.join("0.jpg"))?;
            for photo in 1..16 {
                fs::copy(target.join("0.jpg"), target.join(format!("{photo}.jpg")))?;
            }
        }
        let weights = data.join("weights/vgg16_imagenet_features.pth");
        Ok(Self {
            folder,
            options,
            weights: fs::canonicalize(weights)?,
        })
    }

    /// The predicted peak in mebibytes and its stage. A resumed run takes what its first epoch would take with a full cache.
    fn predict(&self, row: &Row) -> Result<(f64, String), Box<dyn Error>> {
        let _ = fs::remove_dir_all(self.folder.join("activations"));
        if row.before != Before::Nothing {
            self.train(row)?;
        }
        let finished = child::run(self.command("plan", row)?.arg("--json"))?;
        let line = finished.stdout.lines().last().ok_or("no plan")?;
        let plan: serde_json::Value = serde_json::from_str(line)?;
        let bytes = plan["memory_bytes"].as_f64().ok_or("no memory")?;
        let stage = plan["memory"]["stage"].as_str().ok_or("no stage")?;
        Ok((bytes / f64::from(1 << 20), stage.to_owned()))
    }

    /// The largest resident set in mebibytes, of the run that was predicted.
    fn measure(&self, row: &Row) -> Result<f64, Box<dyn Error>> {
        let finished = if row.before == Before::FirstEpoch {
            let mut resume = child::runner();
            resume
                .current_dir(self.folder)
                .env("XDG_CACHE_HOME", self.folder.join("user"))
                .args(["resume", "latest:memory", "--quiet"])
                .args(["--set", "phase.head.epochs=2"]);
            child::run(&mut resume)?
        } else {
            self.train(row)?
        };
        // A run of VGG16 takes 2 GB of disk.
        let _ = fs::remove_dir_all(self.folder.join("runs"));
        eprintln!("  trained in {:.0} s", finished.seconds);
        Ok(finished
            .peak_mib
            .ok_or("the system does not report the peak memory")?)
    }

    fn train(&self, row: &Row) -> Result<child::Finished, Box<dyn Error>> {
        let _ = fs::remove_dir_all(self.folder.join("runs"));
        child::run(self.command("train", row)?.arg("--quiet"))
    }

    fn command(&self, command: &str, row: &Row) -> Result<Command, Box<dyn Error>> {
        let config = self.folder.join("memory.toml");
        let root = match row.photos {
            Photos::Pets => "pets",
            Photos::Large => "large",
        };
        fs::write(
            &config,
            format!(
                "device = \"cpu\"\nthreads = {threads}\nmemory = \"ignore\"\n[data]\nroot = \"{root}\"\nworkers = {threads}\n[cache]\n\
                 dir = \"activations\"\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n",
                threads = self.options.threads
            ),
        )?;
        let mut sets: Vec<OsString> = row.sets.iter().map(OsString::from).collect();
        if !row.sets.iter().any(|set| set.starts_with("model.weights")) {
            sets.push(format!("model.weights={}", self.weights.display()).into());
            sets.push("model.fresh=[\"classifier\"]".into());
        }
        let mut runner = child::runner();
        runner
            .current_dir(self.folder)
            // Leaves the user's own remembered scans alone.
            .env("XDG_CACHE_HOME", self.folder.join("user"))
            .args([command, "memory.toml"])
            .args(
                sets.into_iter()
                    .flat_map(|set| [OsString::from("--set"), set]),
            );
        Ok(runner)
    }
}

//! Measures `runner predict`: its rate on photos compared with the rate of the network alone, and its memory for many files:
//! `make bench-predict`.
//!
//! The network alone is measured on uncompressed images of the size of its input, which need neither decoding nor resizing. Both
//! are measured in turns, because the machine may slow down in between.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table goes to stdout, progress to stderr"
)]

use std::{
    error::Error,
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

/// The sides of the network's input, and of the images that need no preprocessing.
const SIDE: usize = 224;
/// Different photos that the many files are links to.
const N_SMALL: usize = 16;

/// Rate and memory of predictions.
#[derive(Parser)]
struct Options {
    /// Folder of photos
    #[arg(long, default_value = "../shared/data/pets")]
    photos: PathBuf,
    /// Architectures, with random weights
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "vgg16,resnet50,squeezenet1_1"
    )]
    archs: Vec<String>,
    /// Photos for each measurement of the rate
    #[arg(long, default_value_t = 256)]
    images: usize,
    /// Measurements of the rate on photos, and of the rate of the network alone
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Numbers of files for the measurement of memory
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    files: Vec<usize>,
    /// File for the table [default: benches/results/<date>-predict.md]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The flag that cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The part of the event `predicted` that is used.
#[derive(Deserialize)]
struct Predicted {
    rows: usize,
    images_per_second: f64,
    /// The whole process, including the reading of the model.
    #[serde(skip)]
    process_seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let folder = folder.path();
    for class in 0..2 {
        write_bitmaps(&folder.join(format!("train/class{class}")), SIDE, 4, class)?;
    }
    let mut text = format!(
        "# Predictions, {}\n\n{}; {}.\n`{}`\n\n",
        machine::today(),
        machine::processor(),
        machine::versions(),
        machine::command("predict"),
    );
    rates(&options, folder, &mut text)?;
    memory(&options, folder, &mut text)?;
    machine::publish(&text, &machine::result_path(options.out, "predict"))
}

/// The rate on photos, as a share of the rate of the network alone.
fn rates(options: &Options, folder: &Path, text: &mut String) -> Result<(), Box<dyn Error>> {
    let (photos, plain) = (folder.join("photos"), folder.join("plain"));
    link_photos(&options.photos, &photos, options.images)?;
    write_bitmaps(&plain, SIDE, options.images, 0)?;
    writeln!(
        text,
        "Images per second on {} photos, and of the network alone: on as many uncompressed images of the size of its input. The \
         largest of {} measurements, in turns.\n\n\
         | network | photos | network alone | share |\n|---|---:|---:|---:|",
        options.images, options.rounds
    )?;
    for arch in &options.archs {
        let run = train(folder, arch, SIDE)?;
        let mut best = [0.0_f64; 2];
        for round in 1..=options.rounds {
            for (best, images) in best.iter_mut().zip([&photos, &plain]) {
                let (predicted, _) = predict(folder, &run, images)?;
                let rate = predicted.images_per_second;
                eprintln!("  {arch} {round}: {} {rate:.1} images/s", images.display());
                *best = best.max(rate);
            }
        }
        let [with_photos, alone] = best;
        let share = with_photos / alone * 100.0;
        writeln!(
            text,
            "| {arch} | {with_photos:.1} | {alone:.1} | {share:.0} % |"
        )?;
    }
    Ok(())
}

/// The peak memory for several numbers of files.
fn memory(options: &Options, folder: &Path, text: &mut String) -> Result<(), Box<dyn Error>> {
    writeln!(
        text,
        "\nvgg16_slim at 32 x 32 pixels, on links to {N_SMALL} small images in one folder.\n\n\
         | files | seconds | images per second | peak MiB |\n|---:|---:|---:|---:|"
    )?;
    let run = train(folder, "vgg16_slim", 32)?;
    let small = folder.join("small");
    write_bitmaps(&small, 32, N_SMALL, 0)?;
    for n_files in &options.files {
        let many = folder.join("many");
        fs::create_dir(&many)?;
        for file in 0..*n_files {
            let from = small.join(format!("{:06}.bmp", file % N_SMALL));
            fs::hard_link(from, many.join(format!("{file:08}.bmp")))?;
        }
        let (predicted, peak) = predict(folder, &run, &many)?;
        if predicted.rows != *n_files {
            return Err(format!("{} rows for {n_files} files", predicted.rows).into());
        }
        let peak = peak.map_or_else(|| "-".to_owned(), |peak| format!("{peak:.0}"));
        let rate = predicted.images_per_second;
        eprintln!("  {n_files} files: {peak} MiB");
        let seconds = predicted.process_seconds;
        writeln!(text, "| {n_files} | {seconds:.1} | {rate:.0} | {peak} |")?;
        fs::remove_dir_all(&many)?;
    }
    Ok(())
}

/// Trains the head for an epoch, and returns the run directory.
fn train(folder: &Path, arch: &str, side: usize) -> Result<PathBuf, Box<dyn Error>> {
    eprintln!("{arch}");
    let experiment = format!(
        "name = \"{arch}\"\ndevice = \"cpu\"\n[data]\nroot = \"train\"\n[transforms]\nresize = [{side}, {side}]\n\
         [model]\narch = \"{arch}\"\nweights = \"none\"\n[cache]\nmode = \"off\"\n\
         [[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"head\"]\n"
    );
    let file = folder.join(format!("{arch}.toml"));
    fs::write(&file, experiment)?;
    let mut command = child::runner();
    let finished = child::run(command.current_dir(folder).arg(&file).arg("--quiet"))?;
    Ok(folder.join(finished.stdout.trim()))
}

/// Predicts everything in a folder. Returns what it says at the end, and its peak memory in MiB.
fn predict(
    folder: &Path,
    run: &Path,
    images: &Path,
) -> Result<(Predicted, Option<f64>), Box<dyn Error>> {
    let mut command = child::runner();
    command
        .current_dir(folder)
        .args(["--json", "predict"])
        .args([run, images])
        .args(["--output", "table.csv", "--force"]);
    let finished = child::run(&mut command)?;
    let last = finished.stdout.lines().last().unwrap_or_default();
    let mut predicted: Predicted = serde_json::from_str(last)?;
    predicted.process_seconds = finished.seconds;
    Ok((predicted, finished.peak_mib))
}

/// Links to `n` photos of a folder, to some of them several times if there are fewer.
fn link_photos(from: &Path, to: &Path, n: usize) -> Result<(), Box<dyn Error>> {
    let pattern = from.join("**/*.jpg");
    let photos = glob::glob(&pattern.to_string_lossy())?.collect::<Result<Vec<_>, _>>()?;
    if photos.is_empty() {
        return Err(format!("there is no photo in `{}`", from.display()).into());
    }
    fs::create_dir(to)?;
    for (number, photo) in photos.iter().cycle().take(n).enumerate() {
        let to = to.join(format!("{number:06}.jpg"));
        // A copy on another disk.
        fs::hard_link(photo, &to).or_else(|_| fs::copy(photo, &to).map(drop))?;
    }
    Ok(())
}

/// Writes uncompressed images that all differ.
fn write_bitmaps(folder: &Path, side: usize, n: usize, class: usize) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for image in 0..n {
        let bytes = bitmap::bitmap(side, class, image);
        fs::write(folder.join(format!("{image:06}.bmp")), bytes)?;
    }
    Ok(())
}

//! Measures the start and the end of a run, and how busy filling the activation cache keeps the cores: `make bench-startup`.
//!
//! A measured run has a warm cache, a known scan and a single training step. Its own tables and the times of its files say when
//! the step began and ended: `steps.csv` is written when the last step of an epoch is done, and `metrics.csv` says how long that
//! epoch trained and validated. The clock starts before the process is spawned and stops when it has been waited for.

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
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use clap::Parser;
use serde::Deserialize;

#[path = "shared/child.rs"]
mod child;
#[path = "shared/machine.rs"]
mod machine;

/// Time between two looks at the threads of a run.
const INTERVAL: Duration = Duration::from_millis(5);
/// The seconds after its start that the use of the cores is shown for one by one.
const FIRST_SECONDS: usize = 6;

/// The start and the end of a run.
#[derive(Parser)]
struct Options {
    /// Folder of photos, with a subfolder for each class
    #[arg(long, default_value = "../shared/data/pets")]
    photos: PathBuf,
    /// Weights of VGG16's features, without a classifier
    #[arg(
        long,
        default_value = "../shared/data/weights/vgg16_imagenet_features.pth"
    )]
    features: PathBuf,
    /// Further weight files, with a classifier
    #[arg(long, value_delimiter = ',')]
    weights: Vec<PathBuf>,
    /// Runs of each experiment
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// File for the tables [default: benches/results/<date>-start.md]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The flag that cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The columns of `metrics.csv` that are used.
#[derive(Deserialize)]
struct Epoch {
    /// Training and validation together.
    seconds: f64,
    valid_seconds: f64,
}

#[derive(Deserialize)]
struct Summary {
    times: Times,
}

#[derive(Deserialize)]
struct Times {
    saving: f64,
}

/// The times of one run, in seconds.
struct Run {
    /// From typing to the beginning of the first step.
    start: f64,
    step: f64,
    /// From the end of validation to the prompt, without the time for checkpoints.
    end: f64,
    saving: f64,
    folder: PathBuf,
    /// The numbers of threads that were ready to run, by seconds since the start.
    ready: Vec<(f64, usize)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let folder = folder.path();
    let mut text = format!(
        "# Start and end of a run, {}\n\n{}; {}.\n`{}`\n\n",
        machine::today(),
        machine::processor(),
        machine::versions(),
        machine::command("startup"),
    );
    let features = experiment(&options.photos, &options.features, true)?;
    eprintln!("filling the cache");
    let filled = run(folder, "filling", &features)?;
    let whole = folder.join("vgg16.safetensors");
    let mut export = child::runner();
    let exported = child::run(export.arg("export").args([&filled.folder, &whole]))?;
    eprintln!(
        "exported {} in {:.1} s and {:.0} MiB",
        exported.stdout.trim(),
        exported.seconds,
        exported.peak_mib.unwrap_or_default()
    );
    fs::remove_dir_all(&filled.folder)?;
    let mut cases = vec![
        (
            "features from a file, classifier drawn".to_owned(),
            features,
        ),
        (
            "all from a file (.safetensors)".to_owned(),
            experiment(&options.photos, &whole, false)?,
        ),
    ];
    for file in &options.weights {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let text = experiment(&options.photos, file, false)?;
        cases.push((format!("all from a file (`{name}`)"), text));
    }
    writeln!(
        text,
        "VGG16 with a warm cache and a known scan, one training step of 16 images. Seconds: the median of {} runs, in turns, \
         and the smallest and largest.\n\n\
         | weights | typing to first step | first step | end of validation to prompt, beside checkpoints | checkpoints |\n\
         |---|---:|---:|---:|---:|",
        options.rounds
    )?;
    let mut runs: Vec<Vec<Run>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for ((name, experiment), runs) in cases.iter().zip(&mut runs) {
            let measured = run(folder, "measured", experiment)?;
            eprintln!(
                "  {name} {round}: {:.2} s, {:.2} s, {:.2} s",
                measured.start, measured.step, measured.end
            );
            fs::remove_dir_all(&measured.folder)?;
            runs.push(measured);
        }
    }
    for ((name, _), runs) in cases.iter().zip(&runs) {
        let of = |time: fn(&Run) -> f64| spread(runs.iter().map(time).collect());
        writeln!(
            text,
            "| {name} | {} | {} | {} | {} |",
            of(|run| run.start),
            of(|run| run.step),
            of(|run| run.end),
            of(|run| run.saving)
        )?;
    }
    show_use(&filled, &mut text)?;
    machine::publish(&text, &machine::result_path(options.out, "start"))
}

/// The text of an experiment with a single training step.
fn experiment(photos: &Path, weights: &Path, is_fresh: bool) -> Result<String, Box<dyn Error>> {
    let absolute = |path: &Path| -> Result<String, Box<dyn Error>> {
        Ok(fs::canonicalize(path)?.to_string_lossy().into_owned())
    };
    let fresh = if is_fresh { "\"classifier\"" } else { "" };
    Ok(format!(
        "device = \"cpu\"\nruns_dir = \"runs\"\n[data]\nroot = {:?}\nbatch_size = 16\n[split]\nvalid = 0.98\n\
         [cache]\ndir = \"activations\"\n[model]\narch = \"vgg16\"\nweights = {:?}\nfresh = [{fresh}]\n\
         [[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n",
        absolute(photos)?,
        absolute(weights)?,
    ))
}

/// Trains an experiment and takes its times.
fn run(folder: &Path, name: &str, experiment: &str) -> Result<Run, Box<dyn Error>> {
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, experiment)?;
    let output = folder.join("stdout");
    let mut command: Command = child::runner();
    command
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .arg(&file)
        .arg("--quiet")
        .stdin(Stdio::null())
        .stdout(fs::File::create(&output)?);
    let typed = SystemTime::now();
    let mut process = command.spawn()?;
    let watched = watch(process.id());
    let ended = child::wait(&mut process)?;
    let prompt = SystemTime::now();
    let ready = watched.join().unwrap_or_default();
    if !ended.is_success {
        return Err(format!("the run of {} failed", file.display()).into());
    }
    let folder = folder.join(fs::read_to_string(&output)?.trim());
    let mut metrics = csv::Reader::from_path(folder.join("metrics.csv"))?;
    let epoch: Epoch = metrics.deserialize().next().ok_or("no epoch")??;
    let summary: Summary = toml::from_str(&fs::read_to_string(folder.join("summary.toml"))?)?;
    let trained = fs::metadata(folder.join("steps.csv"))?.modified()?;
    let (step, saving) = (epoch.seconds - epoch.valid_seconds, summary.times.saving);
    Ok(Run {
        start: trained.duration_since(typed)?.as_secs_f64() - step,
        step,
        end: prompt.duration_since(trained)?.as_secs_f64() - epoch.valid_seconds - saving,
        saving,
        folder,
        ready,
    })
}

/// Counts the threads of a process that are ready to run, running or not, until it ends. Other processes on the machine change
/// this number little, unlike the time that the process gets.
fn watch(process: u32) -> std::thread::JoinHandle<Vec<(f64, usize)>> {
    let tasks = PathBuf::from(format!("/proc/{process}/task"));
    std::thread::spawn(move || {
        let started = Instant::now();
        let mut counts = Vec::new();
        loop {
            let state = |task: fs::DirEntry| {
                let stat = fs::read_to_string(task.path().join("stat")).ok()?;
                // The name of the thread, in parentheses, may contain any character.
                stat.rsplit_once(") ")?.1.chars().next()
            };
            let Ok(tasks) = fs::read_dir(&tasks) else {
                return counts;
            };
            let states: Vec<char> = tasks.flatten().filter_map(state).collect();
            if states.iter().all(|state| *state == 'Z') {
                return counts;
            }
            let n_ready = states.iter().filter(|state| **state == 'R').count();
            counts.push((started.elapsed().as_secs_f64(), n_ready));
            std::thread::sleep(INTERVAL);
        }
    })
}

/// `0.91 (0.88 to 0.95)`
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let middle = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    let [least, most] = [values.first(), values.last()].map(|it| it.copied().unwrap_or(f64::NAN));
    format!("{middle:.2} ({least:.2} to {most:.2})")
}

/// The cores that a run had work for while it filled the cache: those of threads that were ready to run.
fn show_use(run: &Run, text: &mut String) -> Result<(), Box<dyn Error>> {
    if run.ready.is_empty() {
        return Ok(());
    }
    let n_cores = std::thread::available_parallelism()?.get();
    writeln!(
        text,
        "\nThe cores that filling an empty cache had work for, of {n_cores}: of threads that were ready to run, at most {n_cores}, \
         every {} ms.\n\n\
         | seconds after typing | cores with work | all cores with work, share of the time |\n|---|---:|---:|",
        INTERVAL.as_millis()
    )?;
    let mut row = |name: &str, from: f64, to: f64| {
        let counts = run.ready.iter();
        let counts = counts.filter(|(time, _)| (from..to).contains(time));
        let counts: Vec<usize> = counts.map(|(_, n_ready)| *n_ready.min(&n_cores)).collect();
        let n = counts.len().max(1) as f64;
        let mean = counts.iter().sum::<usize>() as f64 / n;
        let n_full = counts.iter().filter(|count| **count == n_cores).count();
        let full = n_full as f64 / n * 100.0;
        writeln!(text, "| {name} | {mean:.2} | {full:.0} % |")
    };
    for second in 0..FIRST_SECONDS {
        let (from, to) = (second as f64, second as f64 + 1.0);
        row(&format!("{second} to {}", second + 1), from, to)?;
    }
    let name = format!("all {:.0}, to the first step", run.start);
    row(&name, 0.0, run.start)?;
    Ok(())
}

//! Our side: runs of the program, and the results in their directories.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::child::{self, Finished};

/// The program with the settings that all rows share.
pub(crate) struct Ours<'a> {
    /// The folder for runs and caches.
    pub(crate) folder: &'a Path,
    pub(crate) root: PathBuf,
    /// The weights file; `None` for random weights.
    pub(crate) weights: Option<PathBuf>,
    pub(crate) device: String,
    pub(crate) threads: usize,
}

/// A successful run.
pub(crate) struct Run {
    pub(crate) dir: PathBuf,
    pub(crate) seconds: f64,
    pub(crate) peak_mib: Option<f64>,
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) summary: Summary,
}

/// The columns of `metrics.csv` that are used.
#[derive(Deserialize)]
pub(crate) struct Epoch {
    pub(crate) images: usize,
    /// The time of training and validation.
    pub(crate) seconds: f64,
    pub(crate) valid_seconds: f64,
    pub(crate) valid_accuracy: f64,
}

/// The parts of `summary.toml` that are used.
#[derive(Deserialize)]
pub(crate) struct Summary {
    pub(crate) steps: usize,
    pub(crate) times: Times,
}

#[derive(Deserialize)]
pub(crate) struct Times {
    pub(crate) filling: f64,
    pub(crate) training: f64,
}

impl Run {
    /// The time of the last epoch, which includes no start-up if there is more than one.
    pub(crate) fn epoch_seconds(&self) -> f64 {
        self.epochs.last().map_or(f64::NAN, |epoch| epoch.seconds)
    }

    /// Images per second of training in the last epoch.
    pub(crate) fn images_per_second(&self) -> f64 {
        self.epochs.last().map_or(f64::NAN, |epoch| {
            epoch.images as f64 / (epoch.seconds - epoch.valid_seconds)
        })
    }

    pub(crate) fn step_milliseconds(&self) -> f64 {
        self.summary.times.training / self.summary.steps as f64 * 1e3
    }

    /// Removes the run, because checkpoints of VGG16 take gigabytes.
    pub(crate) fn remove(&self) -> Result<(), Box<dyn Error>> {
        Ok(fs::remove_dir_all(&self.dir)?)
    }
}

impl Ours<'_> {
    /// Trains one of the project's own experiments, `head_only` or `finetune`.
    pub(crate) fn train(
        &self,
        name: &str,
        cache: &Cache,
        sets: &[String],
    ) -> Result<Run, Box<dyn Error>> {
        let finished = child::run(&mut self.command(name, cache, sets))?;
        Self::read(&finished)
    }

    /// The command that `train` runs.
    pub(crate) fn command(&self, name: &str, cache: &Cache, sets: &[String]) -> Command {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("configs/{name}.toml"));
        let mut command = child::runner();
        command
            // Remembered scans belong to the user, and would shorten the next scan.
            .env("XDG_CACHE_HOME", self.folder.join("user"))
            .arg("train")
            .arg(config)
            .arg("--quiet");
        let mut all = vec![
            format!("data.root={}", toml_text(&self.root)),
            format!("runs_dir={}", toml_text(&self.folder.join("runs"))),
            format!("device=\"{}\"", self.device),
            format!("threads={}", self.threads),
            format!("data.workers={}", self.threads),
        ];
        // A run that starts from another one has its parameters.
        let has_parameters = sets.iter().any(|set| set.starts_with("init_from="));
        match &self.weights {
            _ if has_parameters => {}
            Some(weights) => {
                all.push(format!("model.weights={}", toml_text(weights)));
                all.push("model.fresh=[\"classifier\"]".to_owned());
            }
            None => all.push("model.weights=\"none\"".to_owned()),
        }
        match cache {
            Cache::Off => all.push("cache.mode=\"off\"".to_owned()),
            Cache::In(dir) => all.extend([
                "cache.mode=\"require\"".to_owned(),
                format!("cache.dir={}", toml_text(dir)),
            ]),
        }
        for set in all.iter().chain(sets) {
            command.arg("--set").arg(set);
        }
        command
    }

    /// Reads the run whose directory a process has printed.
    pub(crate) fn read(finished: &Finished) -> Result<Run, Box<dyn Error>> {
        let dir = PathBuf::from(finished.stdout.trim());
        let epochs = csv::Reader::from_path(dir.join("metrics.csv"))?
            .into_deserialize()
            .collect::<Result<_, _>>()?;
        let summary = toml::from_str(&fs::read_to_string(dir.join("summary.toml"))?)?;
        Ok(Run {
            dir,
            seconds: finished.seconds,
            peak_mib: finished.peak_mib,
            epochs,
            summary,
        })
    }

    /// Forgets remembered scans, so that every cold run reads every photo.
    pub(crate) fn forget_scans(&self) -> Result<(), Box<dyn Error>> {
        let folder = self.folder.join("user");
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        Ok(())
    }
}

/// Whether the activations of frozen layers are cached, and where.
pub(crate) enum Cache {
    Off,
    In(PathBuf),
}

/// A path as `--set` takes it.
pub(crate) fn toml_text(path: &Path) -> String {
    toml::Value::from(path.to_string_lossy().as_ref()).to_string()
}

/// The time per photo of VGG16's features in milliseconds.
pub(crate) fn features_forward(threads: usize) -> Result<f64, Box<dyn Error>> {
    measured_by_itself("--features-forward", threads)
}

/// The time in milliseconds of a pass over the parameters and moments of VGG16's classifier.
pub(crate) fn bare_pass(threads: usize) -> Result<f64, Box<dyn Error>> {
    measured_by_itself("--bare-pass", threads)
}

/// What another process of this benchmark measures. Large work here would be counted for the jobs, because a child starts with the peak
/// memory of its parent.
fn measured_by_itself(flag: &str, threads: usize) -> Result<f64, Box<dyn Error>> {
    let finished = child::run(
        Command::new(std::env::current_exe()?)
            .arg(flag)
            .env("RAYON_NUM_THREADS", threads.to_string()),
    )?;
    Ok(finished.stdout.trim().parse()?)
}

/// The times per photo on one core in milliseconds, for decoding and for resizing and normalising. They are printed by a test of
/// the library, whose functions are not public. `None` if the test has nothing to measure.
pub(crate) fn decode(data: &Path) -> Result<Option<(f64, f64)>, Box<dyn Error>> {
    let output = decode_command()
        .env("RUNNER_TEST_SHARED_DATA", data)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let number = |label: &str| -> Option<f64> {
        let (_, rest) = text.split_once(label)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    Ok(number("decode ").zip(number("preprocess ")))
}

/// Builds the test that `decode` runs, so that it is not built between measurements.
pub(crate) fn build_decode() -> Result<(), Box<dyn Error>> {
    let status = decode_command().arg("--list").output()?.status;
    if status.success() {
        Ok(())
    } else {
        Err("cannot build the tests of the library".into())
    }
}

fn decode_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // With the variables that cargo sets for this process, some build scripts of dependencies would run again, and with them the
    // next build of everything that depends on them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", "--release", "--lib", "--quiet", "--"])
        .args([
            "--ignored",
            "--nocapture",
            "milliseconds_per_photo_on_one_core",
        ]);
    command
}

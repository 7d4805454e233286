//! The steps that handle every photo.

use std::{error::Error, fs, path::Path};

use super::{
    bitmap,
    child::Finished,
    program::{self, EXPERIMENT, toml_text},
};

/// The height and width of an image file.
pub(crate) const IMAGE_SIDE: usize = 16;
/// Two epochs, because the second one of a warm run includes no start-up.
const WARM_EPOCHS: &str = "phase.head.epochs=2";

/// A step at one number of photos.
pub(crate) struct Cost {
    pub(crate) what: &'static str,
    pub(crate) seconds: f64,
    /// The processor time of the step, if it is a whole process.
    pub(crate) processor_seconds: Option<f64>,
    /// The peak memory of the whole process that the step belongs to.
    pub(crate) peak_mib: Option<f64>,
}

impl Cost {
    pub(crate) fn of(what: &'static str, finished: &Finished) -> Self {
        Self {
            what,
            seconds: finished.seconds,
            processor_seconds: finished.processor_seconds,
            peak_mib: finished.peak_mib,
        }
    }
}

pub(crate) fn measure(
    folder: &Path,
    n_images: usize,
    threads: usize,
) -> Result<Vec<Cost>, Box<dyn Error>> {
    let root = folder.join("images");
    write_classes(&root, n_images)?;
    program::write_experiment(folder, &root, threads)?;
    let run = |command: &str, sets: &[&str]| program::run(folder, command, EXPERIMENT, sets);

    let cold = run("check", &[])?;
    let again = run("check", &[])?;
    let filling = run("train", &["phase.head.epochs=1"])?;
    let run_dir = program::run_dir(folder, &filling);
    let filling_seconds = program::summary(&run_dir)?.times.filling;
    let split = format!(
        "split={{ method = \"file\", file = {} }}",
        toml_text(&run_dir.join("split.csv"))
    );
    let read_split = run("check", &[&split])?;
    let plan = run("plan", &[])?;
    let warm = run("train", &[WARM_EPOCHS])?;
    let epochs = program::epochs(&program::run_dir(folder, &warm))?;
    let all_epochs: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
    let Some(last) = epochs.last() else {
        return Err("the run has no epoch".into());
    };
    let part = |what, seconds, finished: Option<&Finished>| Cost {
        what,
        seconds,
        processor_seconds: None,
        peak_mib: finished.and_then(|finished| finished.peak_mib),
    };
    Ok(vec![
        Cost::of("check: scan, split", &cold),
        Cost::of("check again: cached scan, split", &again),
        Cost::of("check: cached scan, split from a file", &read_split),
        Cost::of("plan: cached scan, split, lookup of every key", &plan),
        part("cache filling", filling_seconds, Some(&filling)),
        part(
            "epoch from the cache, with validation",
            last.seconds,
            Some(&warm),
        ),
        part(
            "of which waiting for the cache in training",
            last.waiting_seconds,
            None,
        ),
        part(
            "the rest of that run: startup, checkpoints, plots",
            warm.seconds - all_epochs,
            None,
        ),
    ])
}

/// Writes the images of two classes.
pub(crate) fn write_classes(root: &Path, n_images: usize) -> Result<(), Box<dyn Error>> {
    for class in 0..2 {
        write_class(&root.join(format!("class{class}")), n_images / 2, class)?;
    }
    Ok(())
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

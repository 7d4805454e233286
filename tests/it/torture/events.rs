//! What can happen to a run, drawn from a seed.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use super::tools::is_of_numbers;
use crate::{damage::files, program::Case};

/// What a kill fell into, by what it left behind.
#[derive(Default)]
pub(super) struct Moments {
    pub(super) before_the_run: usize,
    pub(super) in_a_checkpoint: usize,
    pub(super) elsewhere: usize,
    pub(super) after_the_last_step: usize,
    /// Not kills: steps with numbers that are none.
    pub(super) numbers: usize,
}

impl fmt::Display for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} before the run, {} in a checkpoint, {} elsewhere, {} after the last step; {} stops for numbers",
            self.before_the_run,
            self.in_a_checkpoint,
            self.elsewhere,
            self.after_the_last_step,
            self.numbers
        )
    }
}

/// Kills that are still to come, and what those before fell into.
pub(super) struct Kills {
    pub(super) left: u64,
    pub(super) moments: Moments,
}

impl Kills {
    pub(super) fn new(left: u64) -> Self {
        Self {
            left,
            moments: Moments::default(),
        }
    }
}

/// An override that a run is resumed with.
pub(super) struct Change {
    pub(super) set: String,
    /// `resolved.toml` before it.
    pub(super) before: String,
}

/// A small generator (SplitMix64): what happens must come again with its seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Below 1.
    pub(super) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        (self.roll() * n as f64) as u64
    }
}

/// How a process ended.
#[derive(Debug, PartialEq)]
pub(super) enum Ended {
    Killed,
    Done,
    /// By itself, for a loss, gradients or parameters that were not finite.
    NotFinite,
}

/// Starts the program and kills it after `delay`, unless it is quicker.
pub(super) fn run_for(case: &Case, args: &[String], delay: Duration) -> Ended {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut child = case
        .command(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while started.elapsed() < delay {
        if let Some(status) = child.try_wait().unwrap() {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            if status.success() {
                return Ended::Done;
            }
            let is_numbers = is_of_numbers(&stderr) && status.code() == Some(1);
            assert!(is_numbers, "{args:?}: {stderr}");
            return Ended::NotFinite;
        }
        thread::sleep(Duration::from_millis(1));
    }
    // SIGKILL: nothing of the program runs any more.
    child.kill().unwrap();
    child.wait().unwrap();
    Ended::Killed
}

/// Damages one file of a run in one of several ways; which it was.
pub(super) fn damage_one_file(run: &Path, dice: &mut Dice) -> PathBuf {
    let files = files(run);
    let file = files[dice.below(files.len() as u64) as usize].clone();
    let path = run.join(&file);
    let mut bytes = fs::read(&path).unwrap();
    // Half of the time hard links are damaged too.
    if dice.below(2) == 0 {
        fs::remove_file(&path).unwrap();
    }
    match dice.below(3) {
        0 => {
            let _ = fs::remove_file(&path);
            return file;
        }
        1 if !bytes.is_empty() => {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
        }
        _ => bytes.truncate(bytes.len() / 2),
    }
    fs::write(path, bytes).unwrap();
    file
}

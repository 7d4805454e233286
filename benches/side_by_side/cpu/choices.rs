//! The settings of the opponent that runs frozen layers once: the better ones on this machine, measured before anything counts.

use std::error::Error;

use serde_json::{Value, json};

use super::{
    super::{
        Sitting,
        ours::Ours,
        torch::{ask_alone, number},
    },
    BATCH, HEAD_LR,
};

/// Variables of a process.
pub(crate) type Environment = &'static [(&'static str, &'static str)];

/// How a PyTorch process may get its memory. By default, glibc returns every large block to the system, which clears it again.
const MEMORY: [(&str, Environment); 3] = [
    ("glibc's defaults", &[]),
    (
        "`THP_MEM_ALLOC_ENABLE=1` (huge pages)",
        &[("THP_MEM_ALLOC_ENABLE", "1")],
    ),
    (
        "`MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` that keep freed blocks",
        &[
            ("MALLOC_MMAP_THRESHOLD_", "4000000000"),
            ("MALLOC_TRIM_THRESHOLD_", "8000000000"),
        ],
    ),
];
const WORKERS: [usize; 2] = [0, 2];

/// PyTorch with frozen outputs that are kept by hand.
pub(crate) struct Opponent {
    /// The precision of frozen layers.
    pub(crate) front: &'static str,
    /// The precision of trained layers in a head job.
    pub(crate) head_step: &'static str,
    /// The precision of trained layers in a fine-tuning job.
    pub(crate) finetune_step: &'static str,
    /// Loader processes.
    pub(crate) workers: usize,
    pub(crate) environment: Environment,
}

impl Opponent {
    pub(crate) fn step(&self, phase: &str) -> &'static str {
        if phase == "head" {
            self.head_step
        } else {
            self.finetune_step
        }
    }

    pub(crate) fn ask(
        &self,
        sitting: &Sitting,
        request: &Value,
    ) -> Result<(Value, Option<f64>), Box<dyn Error>> {
        ask_alone(&sitting.options.python, self.environment, request)
    }
}

/// A measured setting.
struct Trial<T> {
    setting: T,
    name: String,
    milliseconds: f64,
}

/// The opponents in f32 and in bf16, and a text that says what was chosen; no opponents without PyTorch.
pub(crate) fn choose(
    ours: &Ours,
    sitting: &Sitting,
) -> Result<(Vec<Opponent>, String), Box<dyn Error>> {
    if sitting.torch.is_none() {
        return Ok((Vec::new(), String::new()));
    }
    eprintln!("choosing PyTorch's settings");
    let mut words = Vec::new();
    let mut memory = Vec::new();
    for (name, environment) in MEMORY {
        memory.push(Trial {
            setting: environment,
            name: name.to_owned(),
            milliseconds: step(sitting, environment, "head", "f32")?,
        });
    }
    let environment = best(memory, "memory, by a classifier step", &mut words);
    let mut steps = Vec::new();
    for phase in ["head", "finetune"] {
        let mut trials = Vec::new();
        for precision in ["f32", "bf16"] {
            trials.push(Trial {
                setting: precision,
                name: precision.to_owned(),
                milliseconds: step(sitting, environment, phase, precision)?,
            });
        }
        let what = format!("a {phase} step of the bf16 column");
        steps.push(best(trials, &what, &mut words));
    }
    let mut opponents = Vec::new();
    for front in ["f32", "bf16"] {
        let mut trials = Vec::new();
        for workers in sitting
            .options
            .torch_workers
            .map_or(WORKERS.to_vec(), |n| vec![n])
        {
            trials.push(Trial {
                setting: workers,
                name: format!("{workers} loader processes"),
                milliseconds: front_milliseconds(ours, sitting, environment, (front, workers))?,
            });
        }
        let what = format!("frozen layers in {front} with decoding, a photo");
        let is_f32 = front == "f32";
        opponents.push(Opponent {
            front,
            head_step: if is_f32 { "f32" } else { steps[0] },
            finetune_step: if is_f32 { "f32" } else { steps[1] },
            workers: best(trials, &what, &mut words),
            environment,
        });
    }
    let words = format!(
        "The settings of the cached columns are the first of each of these lists, measured once before the jobs, in milliseconds: {}.",
        words.join("; ")
    );
    Ok((opponents, words))
}

/// The fastest setting. Appends what was measured to `words`.
fn best<T>(mut trials: Vec<Trial<T>>, what: &str, words: &mut Vec<String>) -> T {
    trials.sort_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
    let measured: Vec<String> = trials
        .iter()
        .map(|trial| format!("{} {:.0}", trial.name, trial.milliseconds))
        .collect();
    words.push(format!("{what}: {}", measured.join(", ")));
    trials.swap_remove(0).setting
}

fn step(
    sitting: &Sitting,
    environment: Environment,
    phase: &str,
    precision: &str,
) -> Result<f64, Box<dyn Error>> {
    let request = json!({
        "job": "cached_step", "phase": phase, "batch": BATCH, "step": precision, "lr": HEAD_LR,
        "repeats": if sitting.options.quick { 1 } else { 7 }, "threads": sitting.options.threads,
    });
    let (answer, _) = ask_alone(&sitting.options.python, environment, &request)?;
    number(&answer, "milliseconds")
}

/// The time per photo in milliseconds of decoding and the frozen layers.
fn front_milliseconds(
    ours: &Ours,
    sitting: &Sitting,
    environment: Environment,
    (front, workers): (&str, usize),
) -> Result<f64, Box<dyn Error>> {
    let request = json!({
        "job": "cached", "phase": "head", "root": ours.root, "weights": ours.weights, "batch": BATCH,
        "limit": if sitting.options.quick { BATCH } else { 6 * BATCH }, "workers": workers, "front": front,
        "epochs": 0, "threads": sitting.options.threads,
    });
    let (answer, _) = ask_alone(&sitting.options.python, environment, &request)?;
    number(&answer, "fill_milliseconds")
}

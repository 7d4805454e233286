//! The table for CPUs, with real photos and `ImageNet` features.

use std::{error::Error, fs};

use serde_json::{Value, json};

use super::{
    Sitting, features, header,
    ours::{self, Cache, Ours, Run, toml_text},
    subset,
    table::{Row, markdown},
    torch::{ask_alone, number},
    warm_page_cache,
};

const BATCH: usize = features::BATCH;
const N_SERIES: usize = 2;
const OURS: usize = 0;
const TORCH: usize = 1;
/// The number of photos that the project's own measurement of decoding uses.
const DECODED_PHOTOS: usize = 200;
const HEAD_LR: f64 = 1e-4;
const OTHER_HEAD_LR: f64 = 3e-4;
const FINETUNE_LR: f64 = 1e-5;

pub(crate) fn table(sitting: &mut Sitting) -> Result<String, Box<dyn Error>> {
    let options = sitting.options;
    let data = fs::canonicalize(&options.data).map_err(|error| {
        format!(
            "cannot find the data `{}`: {error}; use `--data` or set RUNNER_BENCH_DATA",
            options.data.display()
        )
    })?;
    let root = match options.per_class {
        Some(per_class) => subset(&data.join("pets"), per_class, sitting.folder)?,
        None => data.join("pets"),
    };
    let weights = data.join("weights/vgg16_imagenet_features.pth");
    warm_page_cache(&root)?;
    warm_page_cache(&weights)?;
    let ours = Ours {
        folder: sitting.folder,
        root,
        weights: Some(weights),
        device: "cpu".to_owned(),
        threads: options.threads,
    };
    ours::build_decode()?;
    let mut jobs = Jobs::new(options.epochs);
    for _ in 0..options.pairs_long {
        jobs.measure(&ours, sitting)?;
    }
    let mut rows = jobs.rows;
    rows.extend(classifier_step(&ours, sitting)?);
    rows.extend(features_forward(sitting)?);
    rows.extend(decode(sitting, &data)?);
    let remarks = format!(
        "{} photos for training, {} for validation; VGG16 at 224 x 224 with ImageNet features and a fresh classifier; batch \
         size {BATCH}, Adam, all files in the page cache.\n\
         Head-only jobs have {} epochs, each with validation. For runner the time is that of the whole process, including \
         scan, checkpoints and pictures; for PyTorch {} epoch(s) are measured and multiplied, without start and scan ({} \
         loader processes, frozen features computed in every epoch, no checkpoints). PyTorch has no cache, so both rows show \
         the same time. Filling the cache for the fine-tune epoch takes runner the time in the row below it, once.\n\
         Short measurements are medians of {} alternating repetitions, with their range.",
        jobs.n_train,
        jobs.n_valid,
        options.epochs,
        options.torch_epochs,
        options.torch_workers(),
        options.pairs,
    );
    let table = markdown(&["runner", "PyTorch"], &rows, Some(TORCH));
    Ok(header(sitting, "The real job on a CPU", &remarks) + &table)
}

/// The rows of the long jobs.
struct Jobs {
    /// Cold and warm head-only job, fine-tune epoch, filling its cache, and the two peaks.
    rows: Vec<Row>,
    n_train: usize,
    n_valid: usize,
}

impl Jobs {
    fn new(epochs: usize) -> Self {
        let row = |what: String, unit| Row::new(what, unit, N_SERIES);
        Self {
            rows: vec![
                row(format!("head-only job, {epochs} epochs, cold cache"), "s"),
                row(
                    format!("head-only job, {epochs} epochs, warm cache, another learning rate"),
                    "s",
                ),
                row(
                    "fine-tune epoch (`features[24:]` and classifier)".to_owned(),
                    "s",
                ),
                row(
                    "filling the cache for the fine-tune epoch, once".to_owned(),
                    "s",
                ),
                row("head-only job, peak memory".to_owned(), "MiB"),
                row("fine-tune job, peak memory".to_owned(), "MiB"),
            ],
            n_train: 0,
            n_valid: 0,
        }
    }

    fn add(&mut self, row: usize, series: usize, value: f64) {
        self.rows[row].add(series, value);
    }

    fn measure(&mut self, ours: &Ours, sitting: &Sitting) -> Result<(), Box<dyn Error>> {
        let options = sitting.options;
        let cache = Cache::In(tempfile::tempdir_in(sitting.folder)?.keep());
        ours.forget_scans()?;
        eprintln!("head-only job, cold");
        let cold = ours.train("head_only", &cache, &head(options.epochs, HEAD_LR))?;
        self.add(0, OURS, cold.seconds);
        self.add(4, OURS, cold.peak_mib.unwrap_or(f64::NAN));
        self.count(&cold)?;
        if sitting.torch.is_some() {
            eprintln!("head-only job, PyTorch");
            let (answer, peak_mib) =
                ask_alone(&options.python, &job(ours, sitting, "head", HEAD_LR))?;
            let seconds = epoch_seconds(&answer)? * options.epochs as f64;
            self.add(0, TORCH, seconds);
            self.add(1, TORCH, seconds);
            self.add(4, TORCH, peak_mib.unwrap_or(f64::NAN));
        }
        eprintln!("head-only job, warm");
        let warm = ours.train("head_only", &cache, &head(options.epochs, OTHER_HEAD_LR))?;
        self.add(1, OURS, warm.seconds);
        // A failure here must not lose the measurements before, which take an hour.
        if let Err(error) = self.measure_finetune(ours, sitting, &cache, &cold) {
            eprintln!("the fine-tune rows are empty: {error}");
        }
        for run in [cold, warm] {
            run.remove()?;
        }
        Ok(())
    }

    fn measure_finetune(
        &mut self,
        ours: &Ours,
        sitting: &Sitting,
        cache: &Cache,
        head: &Run,
    ) -> Result<(), Box<dyn Error>> {
        let options = sitting.options;
        eprintln!("fine-tune epoch");
        let start = format!("init_from={}", toml_text(&head.dir));
        let sets = [start, "phase.features24.epochs=1".to_owned()];
        let finetune = ours.train("finetune", cache, &sets)?;
        self.add(2, OURS, finetune.epoch_seconds());
        self.add(3, OURS, finetune.summary.times.filling);
        self.add(5, OURS, finetune.peak_mib.unwrap_or(f64::NAN));
        if sitting.torch.is_some() {
            eprintln!("fine-tune epoch, PyTorch");
            let (answer, peak_mib) = ask_alone(
                &options.python,
                &job(ours, sitting, "finetune", FINETUNE_LR),
            )?;
            self.add(2, TORCH, epoch_seconds(&answer)?);
            self.add(5, TORCH, peak_mib.unwrap_or(f64::NAN));
        }
        finetune.remove()
    }

    fn count(&mut self, run: &Run) -> Result<(), Box<dyn Error>> {
        let split = fs::read_to_string(run.dir.join("split.csv"))?;
        let lines_of = |part: &str| split.lines().filter(|line| line.ends_with(part)).count();
        (self.n_train, self.n_valid) = (lines_of(",train"), lines_of(",valid"));
        Ok(())
    }
}

fn head(epochs: usize, lr: f64) -> [String; 2] {
    [
        format!("phase.head.epochs={epochs}"),
        format!("optimizer.lr={lr:e}"),
    ]
}

fn job(ours: &Ours, sitting: &Sitting, phase: &str, lr: f64) -> Value {
    let options = sitting.options;
    json!({
        "job": "train", "phase": phase, "lr": lr, "batch": BATCH, "root": ours.root, "weights": ours.weights,
        "epochs": options.torch_epochs, "threads": options.threads, "workers": options.torch_workers(),
    })
}

fn epoch_seconds(answer: &Value) -> Result<f64, Box<dyn Error>> {
    Ok(number(answer, "train_seconds")? + number(answer, "valid_seconds")?)
}

/// The rows of a classifier step. Our time is the training time of a run with cached activations, divided by its steps.
fn classifier_step(ours: &Ours, sitting: &mut Sitting) -> Result<[Row; 2], Box<dyn Error>> {
    let (pairs, threads) = (sitting.options.pairs, sitting.options.threads);
    let repeats = if sitting.options.quick { 2 } else { 10 };
    let cache = Cache::In(sitting.folder.join("steps"));
    let sets = head(1, HEAD_LR);
    // Fills the cache.
    ours.train("head_only", &cache, &sets)?.remove()?;
    let mut rows = ["", ", PyTorch `fused=True`"].map(|variant| {
        let what = format!("classifier step, batch {BATCH}, 119.5 M parameters{variant}");
        Row::new(what, "ms", N_SERIES)
    });
    for _ in 0..pairs {
        eprintln!("classifier step");
        let run = ours.train("head_only", &cache, &sets)?;
        run.remove()?;
        for (row, fused) in rows.iter_mut().zip([false, true]) {
            row.add(OURS, run.step_milliseconds());
            let request = json!({
                "job": "classifier_step", "batch": BATCH, "threads": threads, "repeats": repeats, "fused": fused,
            });
            if let Some(torch) = &mut sitting.torch {
                row.add(TORCH, torch.number(&request, "milliseconds")?);
            }
        }
    }
    Ok(rows)
}

fn features_forward(sitting: &mut Sitting) -> Result<[Row; 3], Box<dyn Error>> {
    let (pairs, threads) = (sitting.options.pairs, sitting.options.threads);
    let repeats = if sitting.options.quick { 1 } else { 3 };
    let variants = [
        ("", false, false),
        (", PyTorch channels-last", true, false),
        (
            ", PyTorch channels-last in bf16 (for information)",
            true,
            true,
        ),
    ];
    let mut rows = variants.map(|(variant, _, _)| {
        let what = format!("VGG16 features forward, batch {BATCH}, per photo{variant}");
        Row::new(what, "ms", N_SERIES)
    });
    for _ in 0..pairs {
        eprintln!("features forward");
        let ours = ours::features_forward(threads)?;
        for (row, (_, channels_last, bf16)) in rows.iter_mut().zip(variants) {
            row.add(OURS, ours);
            let request = json!({
                "job": "features_forward", "batch": BATCH, "threads": threads, "repeats": repeats,
                "channels_last": channels_last, "bf16": bf16,
            });
            if let Some(torch) = &mut sitting.torch {
                row.add(TORCH, torch.number(&request, "milliseconds")?);
            }
        }
    }
    Ok(rows)
}

fn decode(sitting: &mut Sitting, data: &std::path::Path) -> Result<[Row; 2], Box<dyn Error>> {
    let row = |what: &str| Row::new(what, "ms", N_SERIES);
    let mut rows = [
        row("decode, per photo on one core"),
        row("resize and normalise, per photo on one core"),
    ];
    for _ in 0..sitting.options.pairs {
        eprintln!("decode");
        if let Some((decode, prepare)) = ours::decode(data)? {
            rows[0].add(OURS, decode);
            rows[1].add(OURS, prepare);
        }
        let request = json!({
            "job": "decode", "threads": 1, "root": data.join("pets"), "photos": DECODED_PHOTOS,
        });
        if let Some(torch) = &mut sitting.torch {
            let answer = torch.ask(&request)?;
            rows[0].add(TORCH, number(&answer, "decode")?);
            rows[1].add(TORCH, number(&answer, "prepare")?);
        }
    }
    Ok(rows)
}

//! The table for GPUs, with drawn photos, random weights, and PyTorch in three precisions.

use std::{
    error::Error,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;

use super::{
    Sitting, child, features, header,
    ours::{Cache, Ours, Run, toml_text},
    table::{Row, markdown},
    torch::{ask_alone, number},
};

const BATCH: usize = features::BATCH;
const PRECISIONS: [&str; 3] = ["f32", "tf32", "bf16"];
const COLUMNS: [&str; 4] = ["runner", "PyTorch f32", "PyTorch TF32", "PyTorch bf16"];
const OURS: usize = 0;
const DEFAULT_PER_CLASS: usize = 1000;
/// The first epoch compiles and tunes kernels, so only the last one counts.
const EPOCHS: usize = 2;
const POLL: Duration = Duration::from_millis(200);

pub(crate) fn table(sitting: &mut Sitting) -> Result<String, Box<dyn Error>> {
    let options = sitting.options;
    let per_class = options.per_class.unwrap_or(DEFAULT_PER_CLASS);
    let root = sitting.folder.join("drawn");
    eprintln!("drawing {per_class} photos of each class");
    child::run(
        child::runner()
            .args([
                "sample-data",
                "--quiet",
                "--no-broken",
                "--per-class",
                &per_class.to_string(),
            ])
            .arg(&root),
    )?;
    let ours = Ours {
        folder: sitting.folder,
        root,
        weights: None,
        device: options.device.clone(),
        threads: options.threads,
    };
    let row = |what: &str, unit| Row::new(what, unit, COLUMNS.len());
    let mut rows = [
        row("head-only epoch, not cached", "s"),
        row("its training speed", "photos/s"),
        row("head-only epoch, cached", "s"),
        row("its training speed", "photos/s"),
        row("fine-tune epoch, not cached", "s"),
        row("its training speed", "photos/s"),
        row("fine-tune epoch, cached", "s"),
        row("classifier step", "ms"),
        row("head-only job, device memory by nvidia-smi", "MiB"),
        row("fine-tune job, device memory by nvidia-smi", "MiB"),
        row(
            "fine-tune job, device memory allocated (`max_memory_allocated`)",
            "MiB",
        ),
    ];
    for _ in 0..options.pairs_long {
        // A failure must not lose the measurements so far.
        if let Err(error) = measure_ours(&ours, sitting, &mut rows) {
            eprintln!("some of our rows are empty: {error}");
        }
        if sitting.torch.is_some() {
            measure_torch(&ours, sitting, &mut rows)?;
        }
    }
    let remarks = format!(
        "{per_class} drawn photos of each of two classes, four fifths of them for training; VGG16 at 224 x 224 with random \
         weights, batch size {BATCH}, Adam. Epochs include validation; the last of {EPOCHS} is shown, since the first one \
         compiles kernels (PyTorch: the median of {}). PyTorch has {} loader processes and no cache. The memory by nvidia-smi \
         is the peak above the memory in use before, including reserves of the allocators and the context.",
        options.torch_epochs.max(EPOCHS),
        options.torch_workers(),
    );
    let table = markdown(&COLUMNS, &rows, &[1]);
    Ok(header(sitting, "The job on a GPU", &remarks) + &table)
}

fn measure_ours(
    ours: &Ours,
    sitting: &Sitting,
    rows: &mut [Row; 11],
) -> Result<(), Box<dyn Error>> {
    let cache = Cache::In(tempfile::tempdir_in(sitting.folder)?.keep());
    let head = [
        format!("phase.head.epochs={EPOCHS}"),
        "optimizer.lr=1e-4".to_owned(),
    ];
    eprintln!("head-only, not cached");
    let (plain, head_mib) = with_device_memory(|| ours.train("head_only", &Cache::Off, &head))?;
    rows[0].add(OURS, plain.epoch_seconds());
    rows[1].add(OURS, plain.images_per_second());
    rows[8].add(OURS, head_mib);
    eprintln!("head-only, cached");
    let cached = ours.train("head_only", &cache, &head)?;
    rows[2].add(OURS, cached.epoch_seconds());
    rows[3].add(OURS, cached.images_per_second());
    rows[7].add(OURS, cached.step_milliseconds());
    let start = format!("init_from={}", toml_text(&plain.dir));
    let sets = [start, format!("phase.features24.epochs={EPOCHS}")];
    eprintln!("fine-tune, not cached");
    let (finetune, finetune_mib) =
        with_device_memory(|| ours.train("finetune", &Cache::Off, &sets))?;
    rows[4].add(OURS, finetune.epoch_seconds());
    rows[5].add(OURS, finetune.images_per_second());
    rows[9].add(OURS, finetune_mib);
    eprintln!("fine-tune, cached");
    let cached_finetune = ours.train("finetune", &cache, &sets)?;
    rows[6].add(OURS, cached_finetune.epoch_seconds());
    for run in [plain, cached, finetune, cached_finetune] {
        Run::remove(&run)?;
    }
    Ok(())
}

fn measure_torch(
    ours: &Ours,
    sitting: &mut Sitting,
    rows: &mut [Row; 11],
) -> Result<(), Box<dyn Error>> {
    let options = sitting.options;
    for (index, precision) in PRECISIONS.into_iter().enumerate() {
        let series = index + 1;
        for (phase, lr, at) in [("head", 1e-4, 0), ("finetune", 1e-5, 4)] {
            eprintln!("{phase}, PyTorch {precision}");
            let request = json!({
                "job": "train", "phase": phase, "lr": lr, "batch": BATCH, "root": ours.root, "weights": null,
                "epochs": options.torch_epochs.max(EPOCHS), "threads": options.threads,
                "workers": options.torch_workers(), "device": options.device, "precision": precision,
            });
            let ((answer, _), mib) =
                with_device_memory(|| ask_alone(&options.python, &[], &request))?;
            let train_seconds = number(&answer, "train_seconds")?;
            rows[at].add(series, train_seconds + number(&answer, "valid_seconds")?);
            rows[at + 1].add(series, number(&answer, "n_train")? / train_seconds);
            if phase == "head" {
                rows[8].add(series, mib);
            } else {
                rows[9].add(series, mib);
                rows[10].add(series, number(&answer, "device_mib").unwrap_or(f64::NAN));
            }
        }
        let request = json!({
            "job": "classifier_step", "batch": BATCH, "threads": options.threads, "repeats": if options.quick { 2 } else { 50 },
            "device": options.device, "precision": precision,
        });
        if let Some(torch) = &mut sitting.torch {
            rows[7].add(series, torch.number(&request, "milliseconds")?);
        }
    }
    Ok(())
}

/// Runs `work` and measures its peak device memory above the memory in use before; NaN without nvidia-smi.
fn with_device_memory<T>(
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<(T, f64), Box<dyn Error>> {
    let Some(before) = device_mib() else {
        return Ok((work()?, f64::NAN));
    };
    let is_done = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let is_done = Arc::clone(&is_done);
        move || {
            let mut most = before;
            while !is_done.load(Ordering::Relaxed) {
                most = device_mib().map_or(most, |now| most.max(now));
                thread::sleep(POLL);
            }
            most
        }
    });
    let outcome = work();
    is_done.store(true, Ordering::Relaxed);
    let most = watcher.join().unwrap_or(f64::NAN);
    Ok((outcome?, most - before))
}

/// The memory in use on the first GPU. Not per process, because a process in a container cannot see its own share.
fn device_mib() -> Option<f64> {
    let output = Command::new("nvidia-smi")
        .args([
            "--query-gpu=memory.used",
            "--format=csv,noheader,nounits",
            "--id=0",
        ])
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

//! The table for CPUs, with real photos and `ImageNet` features.

mod choices;
mod jobs;
mod pieces;

use std::{error::Error, fs};

use super::{
    Sitting, features, header,
    ours::{self, Ours},
    subset,
    table::{Row, markdown},
    warm_page_cache,
};
use choices::Opponent;
use jobs::Jobs;

const BATCH: usize = features::BATCH;
const COLUMNS: [&str; 4] = [
    "runner",
    "PyTorch cached f32",
    "PyTorch cached bf16",
    "PyTorch notebook",
];
const OURS: usize = 0;
/// The two columns of PyTorch with cached features, in the order of their opponents.
const CACHED: [usize; 2] = [1, 2];
const NOTEBOOK: usize = 3;
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
    let (opponents, chosen) = choices::choose(&ours, sitting)?;
    let mut jobs = Jobs::new(options.epochs);
    for _ in 0..options.pairs_long {
        jobs.measure(&ours, sitting, &opponents)?;
    }
    let mut rows = jobs.rows;
    rows.extend(pieces::classifier_step(&ours, sitting, &opponents)?);
    rows.push(pieces::features_forward(sitting)?);
    rows.extend(pieces::decode(sitting, &data)?);
    let remarks = remarks(sitting, jobs.n_train, jobs.n_valid, &chosen);
    let table = markdown(&COLUMNS, &rows, &[CACHED[0], CACHED[1], NOTEBOOK]);
    Ok(header(sitting, "Training on a CPU compared with PyTorch", &remarks) + &table)
}

fn row(what: impl Into<String>, unit: &'static str) -> Row {
    Row::new(what, unit, COLUMNS.len())
}

fn remarks(sitting: &Sitting, n_train: usize, n_valid: usize, chosen: &str) -> String {
    let options = sitting.options;
    format!(
        "{n_train} photos for training, {n_valid} for validation; VGG16 at 224 x 224 with ImageNet features and a new classifier; \
         batch size {BATCH}, Adam, all files in the page cache. Head training has {} epochs, each with a validation. Medians, with \
         the range where something was repeated ({} times the short measurements, {} times the long ones).\n\n\
         - **runner**: `configs/head_only.toml` and `configs/finetune.toml`. The time of a job is that of the whole process: start, \
         scan, cache, epochs, checkpoints, plots. Everything is computed in f32.\n\
         - **PyTorch cached f32**: a script that does by hand what the cache does. It runs the frozen layers once for each photo \
         (`no_grad`, `eval()`, channels-last), keeps their outputs in memory as f32 and draws shuffled mini-batches from them; Adam \
         is fused; validation uses the kept outputs in batches of 256; photos are resized as bytes. Nothing is written: no \
         checkpoints, no tables, no plots. The time of a job is that of everything after the imports: scan, decoding, frozen \
         layers, epochs. At the other learning rate, it is that of loading the kept outputs from a file of `torch.save`, and the \
         epochs; saving them is not counted.\n\
         - **PyTorch cached bf16**: the same, with frozen layers under bf16 autocast, and trained layers too where that was \
         faster. Its numbers are those of another precision than the other columns.\n\
         - **PyTorch notebook**: frozen layers run again in every epoch on photos that are decoded again, in contiguous memory, \
         with plain Adam and {} loader processes. {} epoch(s) were measured and multiplied, without start and scan. There is \
         no cache, so both head jobs take the same time.\n\n\
         The fine-tuning epoch trains `features[24:]` and the classifier; runner and the cached columns train on kept outputs of \
         `features[:24]`, computed once in the time per photo that the table gives, decoding included. {chosen}\n\n\
         The bare pass reads and writes the parameters of the classifier and two moments of each once, and multiplies each by a number; our side \
         measures it right before and after its own steps, in a process with the same threads and allocator. A step needs at least \
         that, and reads the parameters once more in its forward pass.",
        options.epochs,
        options.pairs,
        options.pairs_long,
        options.torch_workers(),
        options.torch_epochs,
    )
}

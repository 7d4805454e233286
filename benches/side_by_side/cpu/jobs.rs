//! The rows of the long jobs: head training from an empty and from a full cache, and a fine-tuning epoch.

use std::{error::Error, fs, path::Path};

use serde_json::{Value, json};

use super::{
    super::{
        Sitting,
        ours::{Cache, Ours, Run, toml_text},
        table::Row,
        torch::{ask_alone, number},
    },
    BATCH, CACHED, FINETUNE_LR, HEAD_LR, NOTEBOOK, OTHER_HEAD_LR, OURS, Opponent, row,
};

// The rows.
const COLD: usize = 0;
const WARM: usize = 1;
const FINETUNE_EPOCH: usize = 2;
const HEAD_FILLING: usize = 3;
const FINETUNE_FILLING: usize = 4;
const STEP: usize = 5;
const ACCURACY: usize = 6;
const HEAD_PEAK: usize = 7;
const FINETUNE_PEAK: usize = 8;

pub(crate) struct Jobs {
    pub(crate) rows: Vec<Row>,
    pub(crate) n_train: usize,
    pub(crate) n_valid: usize,
}

impl Jobs {
    pub(crate) fn new(epochs: usize) -> Self {
        let cold = format!("head training, {epochs} epochs, from nothing");
        let warm =
            format!("head training, {epochs} epochs, frozen outputs kept, another learning rate");
        let rows = vec![
            row(cold, "s"),
            row(warm, "s"),
            row("fine-tuning epoch (`features[24:]` and classifier)", "s"),
            row("decoding and `features`, per photo", "ms"),
            row("decoding and `features[:24]`, per photo", "ms"),
            row("classifier step in the second head training", "ms"),
            row("validation accuracy after the first head training", "%"),
            row("head training from nothing, peak memory", "MiB"),
            row("fine-tuning, peak memory", "MiB"),
        ];
        Self {
            rows,
            n_train: 0,
            n_valid: 0,
        }
    }

    fn add(&mut self, row: usize, series: usize, value: f64) {
        self.rows[row].add(series, value);
    }

    pub(crate) fn measure(
        &mut self,
        ours: &Ours,
        sitting: &Sitting,
        opponents: &[Opponent],
    ) -> Result<(), Box<dyn Error>> {
        let epochs = sitting.options.epochs;
        let cache = Cache::In(tempfile::tempdir_in(sitting.folder)?.keep());
        ours.forget_scans()?;
        eprintln!("head training, cold");
        let cold = ours.train("head_only", &cache, &head(epochs, HEAD_LR))?;
        self.count(&cold)?;
        self.add(COLD, OURS, cold.seconds);
        self.add(HEAD_FILLING, OURS, self.per_photo(&cold));
        self.add(HEAD_PEAK, OURS, cold.peak_mib.unwrap_or(f64::NAN));
        let accuracy = cold
            .epochs
            .last()
            .map_or(f64::NAN, |epoch| epoch.valid_accuracy);
        self.add(ACCURACY, OURS, accuracy * 100.0);
        eprintln!("head training, warm");
        let warm = ours.train("head_only", &cache, &head(epochs, OTHER_HEAD_LR))?;
        self.add(WARM, OURS, warm.seconds);
        self.add(STEP, OURS, warm.step_milliseconds());
        warm.remove()?;
        eprintln!("fine-tuning");
        let start = format!("init_from={}", toml_text(&cold.dir));
        let sets = [start, "phase.features24.epochs=1".to_owned()];
        let finetune = ours.train("finetune", &cache, &sets)?;
        self.add(FINETUNE_EPOCH, OURS, finetune.epoch_seconds());
        self.add(FINETUNE_FILLING, OURS, self.per_photo(&finetune));
        self.add(FINETUNE_PEAK, OURS, finetune.peak_mib.unwrap_or(f64::NAN));
        for run in [cold, finetune] {
            run.remove()?;
        }
        for (opponent, series) in opponents.iter().zip(CACHED) {
            // A failure here must not lose the measurements before, which take an hour.
            if let Err(error) = self.measure_cached(ours, sitting, opponent, series) {
                eprintln!("some rows of PyTorch with cached features are empty: {error}");
            }
        }
        if sitting.torch.is_some()
            && let Err(error) = self.measure_notebook(ours, sitting)
        {
            eprintln!("some rows of the notebook are empty: {error}");
        }
        Ok(())
    }

    fn measure_cached(
        &mut self,
        ours: &Ours,
        sitting: &Sitting,
        opponent: &Opponent,
        series: usize,
    ) -> Result<(), Box<dyn Error>> {
        let epochs = sitting.options.epochs;
        let kept = sitting.folder.join("kept.pt");
        let job = |name: &str, phase: &str, lr: f64, epochs: usize, keep: Option<&Path>| {
            json!({
                "job": name, "phase": phase, "lr": lr, "batch": BATCH, "root": ours.root, "weights": ours.weights,
                "epochs": epochs, "threads": sitting.options.threads, "workers": opponent.workers,
                "front": opponent.front, "step": opponent.step(phase), "keep": keep,
            })
        };
        eprintln!("head training, PyTorch cached {}", opponent.front);
        let request = job("cached", "head", HEAD_LR, epochs, Some(&kept));
        let (cold, peak_mib) = opponent.ask(sitting, &request)?;
        self.add(COLD, series, number(&cold, "seconds")?);
        self.add(HEAD_FILLING, series, number(&cold, "fill_milliseconds")?);
        self.add(ACCURACY, series, number(&cold, "accuracy")? * 100.0);
        self.add(HEAD_PEAK, series, peak_mib.unwrap_or(f64::NAN));
        let request = job("cached_again", "head", OTHER_HEAD_LR, epochs, Some(&kept));
        let (warm, _) = opponent.ask(sitting, &request)?;
        fs::remove_file(&kept)?;
        self.add(WARM, series, number(&warm, "seconds")?);
        self.add(STEP, series, number(&warm, "step_milliseconds")?);
        eprintln!("fine-tuning, PyTorch cached {}", opponent.front);
        let request = job("cached", "finetune", FINETUNE_LR, 1, None);
        let (finetune, peak_mib) = opponent.ask(sitting, &request)?;
        self.add(FINETUNE_EPOCH, series, number(&finetune, "epoch_seconds")?);
        let filling = number(&finetune, "fill_milliseconds")?;
        self.add(FINETUNE_FILLING, series, filling);
        self.add(FINETUNE_PEAK, series, peak_mib.unwrap_or(f64::NAN));
        Ok(())
    }

    fn measure_notebook(&mut self, ours: &Ours, sitting: &Sitting) -> Result<(), Box<dyn Error>> {
        let options = sitting.options;
        let job = |phase: &str, lr: f64| {
            json!({
                "job": "train", "phase": phase, "lr": lr, "batch": BATCH, "root": ours.root, "weights": ours.weights,
                "epochs": options.torch_epochs, "threads": options.threads, "workers": options.torch_workers(),
            })
        };
        eprintln!("head training, notebook");
        let (answer, peak_mib) = ask_alone(&options.python, &[], &job("head", HEAD_LR))?;
        let seconds = epoch_seconds(&answer)? * options.epochs as f64;
        self.add(COLD, NOTEBOOK, seconds);
        self.add(WARM, NOTEBOOK, seconds);
        self.add(HEAD_PEAK, NOTEBOOK, peak_mib.unwrap_or(f64::NAN));
        eprintln!("fine-tuning, notebook");
        let (answer, peak_mib) = ask_alone(&options.python, &[], &job("finetune", FINETUNE_LR))?;
        self.add(FINETUNE_EPOCH, NOTEBOOK, epoch_seconds(&answer)?);
        self.add(FINETUNE_PEAK, NOTEBOOK, peak_mib.unwrap_or(f64::NAN));
        Ok(())
    }

    /// The time in milliseconds in which `run` filled the cache, per photo.
    fn per_photo(&self, run: &Run) -> f64 {
        run.summary.times.filling / (self.n_train + self.n_valid) as f64 * 1e3
    }

    fn count(&mut self, run: &Run) -> Result<(), Box<dyn Error>> {
        let split = fs::read_to_string(run.dir.join("split.csv"))?;
        let lines_of = |part: &str| split.lines().filter(|line| line.ends_with(part)).count();
        (self.n_train, self.n_valid) = (lines_of(",train"), lines_of(",valid"));
        Ok(())
    }
}

pub(crate) fn head(epochs: usize, lr: f64) -> [String; 2] {
    [
        format!("phase.head.epochs={epochs}"),
        format!("optimizer.lr={lr:e}"),
    ]
}

fn epoch_seconds(answer: &Value) -> Result<f64, Box<dyn Error>> {
    Ok(number(answer, "train_seconds")? + number(answer, "valid_seconds")?)
}

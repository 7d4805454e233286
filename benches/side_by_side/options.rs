//! What may be typed behind `cargo bench --bench side_by_side --`.

use std::path::PathBuf;

use clap::Parser;

/// The program against PyTorch.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that is typed or not"
)]
#[derive(Parser)]
pub(crate) struct Options {
    /// Folder with `pets/CLASS/*.jpg` and `weights/vgg16_imagenet_features.pth` [`$RUNNER_BENCH_DATA`]
    #[arg(long, default_value_os_t = environment("RUNNER_BENCH_DATA", "../shared/data").into())]
    pub(crate) data: PathBuf,
    /// A Python that may have torch and torchvision [$PYTHON]
    #[arg(long, default_value_t = environment("PYTHON", "python3"))]
    pub(crate) python: String,
    /// `cuda` makes the GPU's table, on drawn photos and random weights
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// The GPU's table whatever the device
    #[arg(long)]
    pub(crate) gpu_table: bool,
    /// Threads of each half
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Loader processes of PyTorch; the notebook has none [default: 0, with the GPU's table the threads]
    #[arg(long)]
    pub(crate) torch_workers: Option<usize>,
    /// Repetitions of the short rows
    #[arg(long, default_value_t = 3)]
    pub(crate) pairs: usize,
    /// Repetitions of the long jobs
    #[arg(long, default_value_t = 1)]
    pub(crate) pairs_long: usize,
    /// Epochs of the head-only job
    #[arg(long, default_value_t = 10)]
    pub(crate) epochs: usize,
    /// Epochs that PyTorch trains; its time is multiplied
    #[arg(long, default_value_t = 1)]
    pub(crate) torch_epochs: usize,
    /// Photos of each class [default: all, with the GPU's table 1000]
    #[arg(long)]
    pub(crate) per_class: Option<usize>,
    /// A smoke test: 16 photos of each class, 2 epochs, everything once
    #[arg(long)]
    pub(crate) quick: bool,
    /// File for the table [default: benches/results/<date>-cpu.md]
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Prints one measurement of our kernels and ends; the program calls itself so
    #[arg(long, hide = true)]
    pub(crate) features_forward: bool,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// A variable, or what stands for it.
fn environment(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

impl Options {
    /// With what `--quick` stands for.
    pub(crate) fn settled(mut self) -> Self {
        if self.quick {
            self.per_class.get_or_insert(16);
            self.epochs = 2;
            (self.pairs, self.pairs_long, self.torch_epochs) = (1, 1, 1);
        }
        self
    }

    pub(crate) fn is_gpu(&self) -> bool {
        self.gpu_table || self.device != "cpu"
    }

    pub(crate) fn torch_workers(&self) -> usize {
        let usual = if self.is_gpu() { self.threads } else { 0 };
        self.torch_workers.unwrap_or(usual)
    }
}

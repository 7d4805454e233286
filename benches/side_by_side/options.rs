//! The arguments after `cargo bench --bench side_by_side --`.

use std::path::PathBuf;

use clap::Parser;

/// Compare the program with PyTorch.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Parser)]
pub(crate) struct Options {
    /// Folder with `pets/CLASS/*.jpg` and `weights/vgg16_imagenet_features.pth` [`$RUNNER_BENCH_DATA`]
    #[arg(long, default_value_os_t = environment("RUNNER_BENCH_DATA", "../shared/data").into())]
    pub(crate) data: PathBuf,
    /// Python interpreter, with torch and torchvision for the comparison [$PYTHON]
    #[arg(long, default_value_t = environment("PYTHON", "python3"))]
    pub(crate) python: String,
    /// Device; `cuda` makes the table for GPUs, with drawn photos and random weights
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Make the table for GPUs on any device
    #[arg(long)]
    pub(crate) gpu_table: bool,
    /// Number of threads for each side
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Loader processes of PyTorch [default: 0 for the notebook, the better of 0 and 2 where features are cached; the number of threads for the GPU table]
    #[arg(long)]
    pub(crate) torch_workers: Option<usize>,
    /// Repetitions of the short measurements
    #[arg(long, default_value_t = 3)]
    pub(crate) pairs: usize,
    /// Repetitions of the long jobs
    #[arg(long, default_value_t = 1)]
    pub(crate) pairs_long: usize,
    /// Epochs of the head-only job
    #[arg(long, default_value_t = 10)]
    pub(crate) epochs: usize,
    /// Epochs that the notebook trains; the time is extrapolated
    #[arg(long, default_value_t = 1)]
    pub(crate) torch_epochs: usize,
    /// Photos of each class [default: all; 1000 for the GPU table]
    #[arg(long)]
    pub(crate) per_class: Option<usize>,
    /// Smoke test: 16 photos of each class, 2 epochs, everything once
    #[arg(long)]
    pub(crate) quick: bool,
    /// File for the table [default: benches/results/<date>-cpu.md]
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Print one measurement of our kernels and exit; used by the benchmark to start itself
    #[arg(long, hide = true)]
    pub(crate) features_forward: bool,
    /// The same for a bare pass over the memory of a classifier step
    #[arg(long, hide = true)]
    pub(crate) bare_pass: bool,
    /// The flag that cargo passes to every benchmark
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// An environment variable, or a default.
fn environment(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

impl Options {
    /// The options with the effects of `--quick` applied.
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

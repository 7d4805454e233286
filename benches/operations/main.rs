//! The operations of trained layers beyond VGG against PyTorch's, each forward and backward: `make bench-operations`.
//!
//! Our side and PyTorch's take turns, and the fastest round of each counts, because other work on the machine only slows down.
//! With `RAYON_NUM_THREADS=1`, processor time is measured. An argument selects operations by a part of their name.

#![allow(clippy::print_stdout, reason = "the measurements are the output")]

use std::{
    error::Error,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use burn::tensor::{Device, Distribution, Tensor};
// Links the program's allocator, which is part of what is measured.
use runner as _;

#[path = "../../src/kernels/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "not every kernel is measured, and the tests are not compiled"
)]
mod kernels;

mod device {
    use burn::tensor::Device;

    pub(crate) fn is_cpu(_: &Device) -> bool {
        true
    }
}

#[allow(dead_code, reason = "not everything is measured")]
mod model;

use model::layers::{Cost, Layer};

const BATCH: usize = 16;
const ROUNDS: usize = 5;

/// The name of an operation, as `operations.py` reads it: kind, channels, size, and of a convolution outputs, side, stride,
/// padding, groups and whether it has a bias; of a max pooling side, stride, padding and whether it rounds up.
const OPERATIONS: [&str; 32] = [
    "conv 3 224 64 7 2 3 1 0",
    "conv 64 56 64 1 1 0 1 0",
    "conv 64 56 256 1 1 0 1 0",
    "conv 256 56 64 1 1 0 1 0",
    "conv 64 56 64 3 1 1 1 0",
    "conv 256 56 512 1 2 0 1 0",
    "conv 64 56 128 3 2 1 1 0",
    "conv 64 56 128 1 2 0 1 0",
    "conv 128 28 128 3 1 1 1 0",
    "conv 128 56 128 3 2 1 1 0",
    "conv 128 28 512 1 1 0 1 0",
    "conv 256 14 1024 1 1 0 1 0",
    "conv 1024 14 256 1 1 0 1 0",
    "conv 256 14 256 3 1 1 1 0",
    "conv 1024 14 512 1 1 0 1 0",
    "conv 512 14 512 3 2 1 1 0",
    "conv 1024 14 2048 1 2 0 1 0",
    "conv 512 7 512 3 1 1 1 0",
    "conv 512 7 2048 1 1 0 1 0",
    "conv 2048 7 512 1 1 0 1 0",
    "conv 128 56 128 3 1 1 32 0",
    "conv 1024 7 1024 3 1 1 32 0",
    "conv 3 224 64 11 4 2 1 1",
    "conv 64 27 192 5 1 2 1 1",
    "norm 64 112",
    "norm 256 56",
    "norm 2048 7",
    "eval_norm 256 56",
    "relu 64 112",
    "max 64 112 3 2 1 0",
    "max 64 111 3 2 0 1",
    "mean 2048 7",
];

const NETWORKS: [&str; 2] = ["layer4", "resnet18"];

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let n_threads = rayon::current_num_threads();
    let mut torch = Torch::start(&python)?;
    println!("batch {BATCH}, {n_threads} threads, milliseconds: ours / PyTorch's = ratio");
    for name in OPERATIONS.into_iter().chain(NETWORKS) {
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted)) {
            continue;
        }
        let mut layer = Layer::parse(name, &Device::flex().autodiff());
        let input = input_of(name);
        let (mut ours, mut theirs) = (Cost::worst(), Cost::worst());
        for _ in 0..ROUNDS {
            ours.keep_best(layer.cost(&input));
            theirs.keep_best(torch.cost(&format!("{BATCH} {n_threads} {name}"))?);
        }
        let part =
            |ours: f64, theirs: f64| format!("{ours:8.2} / {theirs:8.2} = {:5.2}", ours / theirs);
        println!(
            "{name:28} forward {}   backward {}   both {}",
            part(ours.forward, theirs.forward),
            part(ours.backward, theirs.backward),
            part(ours.total(), theirs.total()),
        );
    }
    torch.process.kill()?;
    Ok(())
}

fn input_of(name: &str) -> Tensor<4> {
    let (channels, size) = match name {
        "layer4" => (1024, 14),
        "resnet18" => (3, 224),
        _ => {
            let words: Vec<usize> = name.split(' ').flat_map(str::parse).collect();
            (words[0], words[1])
        }
    };
    let device = Device::flex().autodiff();
    Tensor::random(
        [BATCH, channels, size, size],
        Distribution::Default,
        &device,
    )
}

/// A running `operations.py`.
struct Torch {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Torch {
    fn start(python: &str) -> Result<Self, Box<dyn Error>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/operations/torch_side.py");
        let mut process = Command::new(python)
            .arg("-u")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the pipes to Python are missing".into());
        };
        Ok(Self {
            process,
            requests,
            answers: BufReader::new(answers),
        })
    }

    fn cost(&mut self, request: &str) -> Result<Cost, Box<dyn Error>> {
        writeln!(self.requests, "{request}")?;
        self.requests.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let numbers: Vec<f64> = line.split_whitespace().flat_map(str::parse).collect();
        let [forward, backward] = numbers[..] else {
            return Err(format!("invalid answer from Python: {line}").into());
        };
        Ok(Cost { forward, backward })
    }
}

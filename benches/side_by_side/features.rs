//! The forward pass of VGG16's features with our CPU kernels, which runs in a child process.

use std::time::Instant;

#[path = "../../src/kernels/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "only the forward pass is measured, and the tests are not compiled"
)]
mod kernels;

use kernels::program::{Layer, Program, ProgramStep};

pub(crate) const BATCH: usize = 16;
const SIDE: usize = 224;
const REPEATS: usize = 3;

/// The output channels of each convolution; `None` is a pooling.
const LAYERS: [Option<usize>; 18] = [
    Some(64),
    Some(64),
    None,
    Some(128),
    Some(128),
    None,
    Some(256),
    Some(256),
    Some(256),
    None,
    Some(512),
    Some(512),
    Some(512),
    None,
    Some(512),
    Some(512),
    Some(512),
    None,
];

/// The median time per photo in milliseconds, after one uncounted warm-up pass.
pub(crate) fn milliseconds_per_photo() -> f64 {
    let program = program();
    let input = values(99, BATCH * 3 * SIDE * SIDE, 1.0);
    let mut times: Vec<f64> = (0..=REPEATS)
        .map(|_| {
            let started = Instant::now();
            std::hint::black_box(program.forward(&input, BATCH, SIDE, SIDE));
            started.elapsed().as_secs_f64() * 1e3 / BATCH as f64
        })
        .skip(1)
        .collect();
    super::table::median(&mut times)
}

fn program() -> Program {
    let mut channels = 3;
    let mut layers = Vec::new();
    for (index, layer) in LAYERS.into_iter().enumerate() {
        let Some(out) = layer else {
            layers.push(Layer::MaxPool {
                side: 2,
                stride: 2,
                padding: 0,
                ceil: false,
            });
            continue;
        };
        // This scale keeps the size of the activations about the same from layer to layer.
        let scale = (6.0 / (9.0 * channels as f32)).sqrt();
        let weight = values(index as u32, out * channels * 9, scale);
        layers.push(Layer::Conv {
            weight,
            out_channels: out,
            in_channels: channels,
            side: 3,
            stride: 1,
            padding: 1,
            groups: 1,
            bias: Some(values(index as u32 + 50, out, 0.1)),
        });
        layers.push(Layer::Relu);
        channels = out;
    }
    let steps = layers
        .into_iter()
        .enumerate()
        .map(|(index, layer)| ProgramStep {
            layer,
            inputs: vec![index],
        });
    Program::new(3, steps.collect())
}

/// Values in -scale..scale, from a generator that needs no crate.
fn values(seed: u32, length: usize, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state as f32 / u32::MAX as f32 * 2.0 - 1.0) * scale
        })
        .collect()
}

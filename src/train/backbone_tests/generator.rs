//! Values for golden numbers without weight files: a tensor's values depend on its PyTorch path and shape alone. The generator is
//! described in `tests/fixtures/backbones/make_golden.py`, which has it once more.

use std::collections::BTreeMap;

use crate::model::{
    paper::Paper,
    state::{HostTensor, StateDict},
};

/// Center and spread of some tensors, by path.
pub(super) type Scales = BTreeMap<String, [f64; 2]>;

/// A complete state dict.
pub(super) fn state(paper: &Paper, scales: &Scales) -> StateDict {
    let tensors = paper.tensors.iter().map(|spec| {
        let tensor = HostTensor {
            shape: spec.shape.clone(),
            values: values(&spec.path, &spec.shape, scales),
        };
        (spec.path.clone(), tensor)
    });
    tensors.collect()
}

/// `[n, 3, side, side]`
pub(super) fn images(n: usize, side: usize) -> Vec<f32> {
    let (coarse, fine) = (seed("input.coarse"), seed("input.fine"));
    let mut pixels = Vec::with_capacity(n * 3 * side * side);
    for plane in 0..n * 3 {
        for y in 0..side {
            for x in 0..side {
                let cell = (plane * 16 + y * 16 / side) * 16 + x * 16 / side;
                pixels.push(unit(coarse, cell) + 0.5 * unit(fine, pixels.len()));
            }
        }
    }
    pixels
}

/// Root mean square, mean, and the mean weighted with the generator's values, which notices a wrong order.
pub(super) fn probe(values: &[f32]) -> [f64; 3] {
    let n = values.len() as f64;
    let weights = seed("probe");
    let mut sums = [0.0; 3];
    for (index, value) in values.iter().enumerate() {
        let value = f64::from(*value);
        sums[0] += value * value;
        sums[1] += value;
        sums[2] += value * f64::from(unit(weights, index));
    }
    [(sums[0] / n).sqrt(), sums[1] / n, sums[2] / n]
}

/// FNV-1a over the bytes of a name.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A value in `-1.0..1.0`: 24 bits of splitmix64.
fn unit(seed: u64, index: usize) -> f32 {
    let steps = index as u64 + 1;
    let mut z = seed.wrapping_add(steps.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((z >> 40) as i64 - (1 << 23)) as f32 / (1 << 23) as f32
}

fn values(path: &str, shape: &[usize], scales: &Scales) -> Vec<f32> {
    let [center, spread] = scale(path, shape, scales).map(|value| value as f32);
    let seed = seed(path);
    let n: usize = shape.iter().product();
    let values = (0..n).map(|index| center + spread * unit(seed, index));
    values.collect()
}

/// Center and spread.
fn scale(path: &str, shape: &[usize], scales: &Scales) -> [f64; 2] {
    let fan_in: usize = shape[1..].iter().product();
    let bound = |gain: f64| [0.0, (gain / fan_in as f64).sqrt()];
    match (scales.get(path), shape) {
        (Some(pair), _) => *pair,
        _ if path.ends_with(".running_var") => [1.0, 0.5],
        _ if path.ends_with(".running_mean") => [0.0, 0.25],
        (None, [_]) if path.ends_with("weight") => [1.0, 0.25],
        (None, [_]) => [0.0, 0.1],
        (None, [_, _]) => bound(3.0),
        (None, _) => bound(6.0),
    }
}

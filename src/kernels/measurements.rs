//! Timings of the kernels on VGG16's shapes, run on request; knows no expected values.

use super::chain::{Chain, Layer};
use super::gradients::{input_gradient, weight_gradient};
use super::reference::{
    Numbers, convolve, pool, random_values, random_weights, relative_error, to_nhwc, widen,
};
use super::tiles::Nhwc;
use super::winograd::Winograd3x3;
use std::time::Instant;

const POOL: usize = 0;
const FEATURES: [usize; 18] = [
    64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512, POOL,
];

/// Least milliseconds of `runs` runs.
fn milliseconds(runs: usize, mut work: impl FnMut()) -> f64 {
    (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min)
}

/// The chain, and the weights and biases of its convolutions.
fn features() -> (Chain, Numbers) {
    let mut channels = 3;
    let mut layers = Vec::new();
    let mut numbers = Vec::new();
    for (index, &out) in FEATURES.iter().enumerate() {
        if out == POOL {
            layers.push(Layer::MaxPool);
            continue;
        }
        let weight = random_weights(index as u64, out, channels);
        let bias: Vec<f32> = random_values(100 + index as u64, out, false)
            .into_iter()
            .map(|value| value * 0.1)
            .collect();
        layers.push(Layer::Conv {
            filters: Winograd3x3::new(&weight, out, channels),
            bias: Some(bias.clone()),
        });
        layers.push(Layer::Relu);
        numbers.push((weight, bias));
        channels = out;
    }
    (Chain::new(3, layers), numbers)
}

#[test]
#[ignore = "takes a minute and measures only"]
fn milliseconds_per_photo_of_vgg16_features() {
    let n = 16;
    let mut shape = Nhwc {
        n,
        height: 224,
        width: 224,
        channels: 3,
    };
    let mut sum = 0.0;
    for (index, &out) in FEATURES.iter().enumerate() {
        if out == POOL {
            shape = shape.pooled();
            continue;
        }
        let weight = random_weights(1, out, shape.channels);
        let bias = random_values(2, out, false);
        let layer = Winograd3x3::new(&weight, out, shape.channels);
        let input = random_values(3, shape.len(), true);
        let after = shape.with_channels(out);
        let pooled = FEATURES[index + 1] == POOL;
        let target = if pooled { after.pooled() } else { after };
        let mut output = vec![0.0; target.len()];
        let time = milliseconds(5, || {
            if pooled {
                layer.forward_pooled(&input, shape, Some(&bias), true, &mut output);
            } else {
                layer.forward(&input, shape, Some(&bias), true, &mut output);
            }
        }) / n as f64;
        let operations = 18.0 * (shape.len() / n * out) as f64;
        println!(
            "{:3} -> {out:3} at {:3}{}: {time:6.2} ms, {:4.0} GFLOP/s direct-equivalent",
            shape.channels,
            shape.height,
            if pooled { " and pool" } else { "         " },
            operations / time / 1e6
        );
        sum += time;
        shape = after;
    }
    println!("sum of layers: {sum:.2} ms per photo");
    let (chain, _) = features();
    let input = random_values(4, n * 3 * 224 * 224, false);
    for n in [16, 1] {
        let input = &input[..n * 3 * 224 * 224];
        let time = milliseconds(5, || {
            chain.forward(input, n, 224, 224);
        });
        println!("chain, batch {n}: {:.2} ms per photo", time / n as f64);
    }
}

#[test]
#[ignore = "takes a minute and measures only"]
fn milliseconds_of_gradients_and_preparation() {
    for (channels, out, side) in [
        (512, 512, 14),
        (512, 512, 28),
        (256, 256, 56),
        (64, 64, 224),
    ] {
        let shape = Nhwc {
            n: 16,
            height: side,
            width: side,
            channels,
        };
        let outside = shape.with_channels(out);
        let input = random_values(1, shape.len(), true);
        let weight = random_weights(2, out, channels);
        let gradient = random_values(3, outside.len(), false);
        let preparation = milliseconds(5, || {
            Winograd3x3::new(&weight, out, channels);
        });
        let of_input = milliseconds(5, || {
            input_gradient(&weight, out, channels, &gradient, outside);
        });
        let of_weight = milliseconds(5, || {
            weight_gradient(&input, &gradient, shape, out);
        });
        println!(
            "{channels} -> {out} at {side}, batch 16: new {preparation:.1} ms, \
             input gradient {of_input:.1} ms, weight gradient {of_weight:.1} ms"
        );
    }
}

#[test]
#[ignore = "a plain f64 VGG16 takes a while"]
fn error_of_vgg16_features_layer_by_layer_and_whole() {
    let (chain, numbers) = features();
    let side = 64;
    let mut shape = Nhwc {
        n: 1,
        height: side,
        width: side,
        channels: 3,
    };
    let input = random_values(5, shape.len(), false);
    let actual = chain.forward(&input, 1, side, side);
    let mut values = widen(&to_nhwc(&input, shape));
    let mut numbers = numbers.iter();
    for &out in &FEATURES {
        if out == POOL {
            values = pool(&values, shape);
            shape = shape.pooled();
            continue;
        }
        let (weight, bias) = numbers.next().unwrap();
        let single: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let expected = convolve(&widen(&single), shape, weight, bias, true);
        let mut output = vec![0.0; expected.len()];
        Winograd3x3::new(weight, out, shape.channels).forward(
            &single,
            shape,
            Some(bias),
            true,
            &mut output,
        );
        println!(
            "{:3} -> {out:3} at {:3}: relative error {:.2e}",
            shape.channels,
            shape.height,
            relative_error(&output, &expected)
        );
        values = convolve(&values, shape, weight, bias, true);
        shape = shape.with_channels(out);
    }
    let error = relative_error(&to_nhwc(&actual.values, shape), &values);
    println!("13 layers: relative error {error:.2e}");
    assert!(error < 2e-5, "{error:e}");
}

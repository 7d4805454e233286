//! Benchmarks of the CPU kernels at the sizes of VGG16 and residual networks with batch size 16: `make bench-kernels`.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
// Links the program's allocator, which is part of what is measured.
use runner as _;

#[path = "../src/kernels/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "not every kernel is measured, and the tests are not compiled"
)]
mod kernels;

#[path = "../src/train/optimizer/adam.rs"]
mod adam;
#[path = "../src/train/optimizer/formula.rs"]
#[allow(dead_code, reason = "only the step on slices is measured")]
mod formula;

use adam::Adam;
use formula::{Formula as _, StepScalars};
use kernels::{
    finish::{Finish, Target},
    gradients,
    grouped::GroupFilters,
    linear::{self, LinearSizes, PartialProducts},
    patches::{FilterSizes, PatchFilters},
    tiles::Nhwc,
    window::SlidingWindow,
    winograd::Winograd3x3,
};

const BATCH: usize = 16;

/// Input channels, output channels and height: each shape of VGG16's convolutions once.
const CONVOLUTIONS: [(usize, usize, usize); 9] = [
    (3, 64, 224),
    (64, 64, 224),
    (64, 128, 112),
    (128, 128, 112),
    (128, 256, 56),
    (256, 256, 56),
    (256, 512, 28),
    (512, 512, 28),
    (512, 512, 14),
];

/// The first layer of the classifier, which has 86 % of its parameters.
const FIRST_LINEAR: LinearSizes = LinearSizes {
    images: BATCH,
    inputs: 25088,
    outputs: 4096,
};

/// Values in -1..1, from a generator that needs no crate.
fn values(seed: u32, length: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        })
        .collect()
}

/// Values as after a `ReLU`.
fn activations(seed: u32, length: usize) -> Vec<f32> {
    values(seed, length)
        .into_iter()
        .map(|value| value.max(0.0))
        .collect()
}

fn shape(channels: usize, height: usize) -> Nhwc {
    Nhwc {
        n: BATCH,
        height,
        width: height,
        channels,
    }
}

fn convolution_forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("convolution forward");
    for (channels, out, height) in CONVOLUTIONS {
        let (inside, outside) = (shape(channels, height), shape(out, height));
        let filters = Winograd3x3::new(&values(1, out * channels * 9), out, channels);
        let (input, bias) = (activations(2, inside.len()), values(3, out));
        let mut output = vec![0.0; outside.len()];
        group.throughput(Throughput::Elements(BATCH as u64));
        let name = format!("{channels} to {out} at {height}");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| filters.forward(&input, inside, Some(&bias), true, &mut output));
        });
    }
    group.finish();
}

/// Input channels, output channels, height, side, stride and groups: stems, bottlenecks and strided convolutions of `ResNets`, and a
/// grouped one of a `ResNeXt`.
const WINDOWS: [(usize, usize, usize, usize, usize, usize); 6] = [
    (3, 64, 224, 7, 2, 1),
    (64, 256, 56, 1, 1, 1),
    (256, 512, 56, 1, 2, 1),
    (128, 128, 56, 3, 2, 1),
    (2048, 512, 7, 1, 1, 1),
    (128, 128, 56, 3, 1, 32),
];

fn other_convolutions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("convolution forward, other windows");
    for (channels, out, height, side, stride, groups) in WINDOWS {
        let window = SlidingWindow {
            side,
            stride,
            padding: side / 2,
        };
        let sizes = FilterSizes {
            out_channels: out,
            in_channels: channels,
            window,
            groups,
        };
        let inside = shape(channels, height);
        let inputs = channels / groups;
        let (weight, bias) = (values(1, out * inputs * window.taps()), values(3, out));
        let weight = |output, input, tap| weight[(output * inputs + input) * window.taps() + tap];
        let input = activations(2, inside.len());
        let mut output = vec![0.0; window.after(inside, out).len()];
        let finish = Finish {
            bias: Some(&bias),
            relu: true,
            ..Finish::default()
        };
        group.throughput(Throughput::Elements(BATCH as u64));
        let name =
            format!("{channels} to {out} at {height}, {side}x{side}/{stride}, {groups} groups");
        let id = BenchmarkId::from_parameter(name);
        if GroupFilters::fits(sizes) {
            let filters = GroupFilters::new(sizes, weight);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let target = Target::dense(&mut output, out);
                    filters.forward(&input, inside, finish, target);
                });
            });
        } else {
            let filters = PatchFilters::new(sizes, weight);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let target = Target::dense(&mut output, out);
                    filters.forward(&input, inside, finish, target);
                });
            });
        }
    }
    group.finish();
}

fn convolution_gradients(criterion: &mut Criterion) {
    let (channels, height) = (512, 14);
    let shape = shape(channels, height);
    let (input, gradient) = (activations(1, shape.len()), values(2, shape.len()));
    let weight = values(3, channels * channels * 9);
    let mut group = criterion.benchmark_group("convolution gradients, 512 to 512 at 14");
    group.bench_function("of the input", |bencher| {
        bencher.iter(|| {
            gradients::input_gradient(&weight, channels, channels, black_box(&gradient), shape)
        });
    });
    group.bench_function("of the weight", |bencher| {
        bencher.iter(|| gradients::weight_gradient(&input, black_box(&gradient), shape, channels));
    });
    group.finish();
}

fn linear_products(criterion: &mut Criterion) {
    let LinearSizes {
        images,
        inputs,
        outputs,
    } = FIRST_LINEAR;
    let (input, weight) = (activations(1, images * inputs), values(2, inputs * outputs));
    let (bias, gradient) = (values(3, outputs), values(4, images * outputs));
    let mut group = criterion.benchmark_group("linear, 25088 to 4096");
    let mut output = vec![0.0; images * outputs];
    group.bench_function("forward", |bencher| {
        bencher.iter(|| {
            PartialProducts::new(FIRST_LINEAR, &input, &weight).finish(&bias, &mut output);
        });
    });
    let mut of_input = vec![0.0; images * inputs];
    group.bench_function("gradient of the input", |bencher| {
        bencher.iter(|| linear::input_gradient(FIRST_LINEAR, &gradient, &weight, &mut of_input));
    });
    let mut of_weight = vec![0.0; inputs * outputs];
    group.bench_function("gradient of the weight", |bencher| {
        bencher.iter(|| linear::weight_gradient(FIRST_LINEAR, &input, &gradient, &mut of_weight));
    });
    group.finish();
}

fn adam_updates(criterion: &mut Criterion) {
    let LinearSizes {
        images,
        inputs,
        outputs,
    } = FIRST_LINEAR;
    let adam = Adam {
        betas: [0.9, 0.999],
        eps: 1e-8,
        is_decoupled: false,
    };
    let rule = adam.rule(StepScalars {
        lr: 1e-4,
        weight_decay: 0.0,
        step: 10,
    });
    let mut parameter = values(1, inputs * outputs);
    let mut moments = vec![vec![0.0; inputs * outputs], vec![1e-4; inputs * outputs]];
    let (input, gradient) = (activations(2, images * inputs), values(3, images * outputs));
    let mut group = criterion.benchmark_group("Adam, 25088 by 4096");
    group.bench_function("update_by_factors", |bencher| {
        bencher.iter(|| {
            let factors = (&input[..], &gradient[..]);
            rule.update_by_factors(FIRST_LINEAR, &mut parameter, factors, &mut moments, None);
        });
    });
    let next = activations(5, images * inputs);
    // The squares of gradients of 1e-20 are subnormal.
    for (name, scale) in [("", 1.0), (", gradients of 1e-20", 1e-20)] {
        let gradient: Vec<f32> = gradient.iter().map(|value| value * scale).collect();
        let name = format!("update_by_factors with the next product{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (factors, next) = ((&input[..], &gradient[..]), Some(&next[..]));
                rule.update_by_factors(FIRST_LINEAR, &mut parameter, factors, &mut moments, next)
            });
        });
    }
    let whole = values(4, inputs * outputs);
    group.bench_function("update", |bencher| {
        bencher.iter(|| rule.update(&mut parameter, &whole, &mut moments));
    });
    group.finish();
}

/// Takes ten samples: a kernel runs long enough that more would not be more precise.
fn few_samples() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
}

criterion_group! {
    name = all;
    config = few_samples();
    targets = convolution_forward, other_convolutions, convolution_gradients, linear_products, adam_updates
}
criterion_main!(all);

//! Tests of the kernels against plain f64 references, and of their bit-for-bit repeatability.

use super::chain::{Chain, ChainLayer};
use super::gradients::{input_gradient, weight_gradient};
use super::layout::{nchw_to_nhwc, nhwc_to_nchw};
use super::pool::max_pool;
use super::reference::{
    Numbers, convolve, pool, random_values, random_weights, relative_error, to_nhwc,
    visit_products, widen,
};
use super::tiles::Nhwc;
use super::winograd::Winograd3x3;

const PLACES: [(usize, usize); 6] = [(1, 1), (5, 7), (14, 14), (17, 33), (1, 9), (4, 200)];
const CHANNELS: [(usize, usize); 9] = [
    (1, 5),
    (3, 64),
    (5, 3),
    (8, 16),
    (16, 1),
    (64, 64),
    (70, 8),
    (64, 70),
    (3, 70),
];

fn cases() -> impl Iterator<Item = (Nhwc, usize)> {
    PLACES.into_iter().flat_map(|(height, width)| {
        CHANNELS.into_iter().map(move |(channels, out)| {
            let shape = Nhwc {
                n: 2,
                height,
                width,
                channels,
            };
            (shape, out)
        })
    })
}

fn convolved(shape: Nhwc, out_channels: usize, input: &[f32], weight: &[f32]) -> Vec<f32> {
    let mut output = vec![0.0; shape.with_channels(out_channels).len()];
    Winograd3x3::new(weight, out_channels, shape.channels).forward(
        input,
        shape,
        None,
        true,
        &mut output,
    );
    output
}

fn in_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn forward_agrees_with_a_direct_convolution() {
    for (shape, out) in cases() {
        let input = random_values(1, shape.len(), true);
        let weight = random_weights(2, out, shape.channels);
        let bias = random_values(3, out, false);
        let layer = Winograd3x3::new(&weight, out, shape.channels);
        for relu in [false, true] {
            let mut output = vec![f32::NAN; shape.with_channels(out).len()];
            layer.forward(&input, shape, Some(&bias), relu, &mut output);
            let expected = convolve(&widen(&input), shape, &weight, &bias, relu);
            let error = relative_error(&output, &expected);
            assert!(error < 5e-6, "{shape:?} -> {out}: {error:e}");
            if layer.pools() {
                let after = shape.with_channels(out);
                let mut pooled = vec![f32::NAN; after.pooled().len()];
                layer.forward_pooled(&input, shape, Some(&bias), relu, &mut pooled);
                let mut separate = vec![f32::NAN; after.pooled().len()];
                max_pool(&output, after, &mut separate);
                assert_eq!(bits(&pooled), bits(&separate), "{shape:?} -> {out}");
            }
        }
    }
}

#[test]
fn a_deep_layer_agrees_with_a_direct_convolution() {
    let shape = Nhwc {
        n: 1,
        height: 14,
        width: 14,
        channels: 512,
    };
    let input = random_values(1, shape.len(), true);
    let weight = random_weights(2, 512, 512);
    let bias = random_values(3, 512, false);
    let mut output = vec![f32::NAN; shape.len()];
    Winograd3x3::new(&weight, 512, 512).forward(&input, shape, Some(&bias), true, &mut output);
    let expected = convolve(&widen(&input), shape, &weight, &bias, true);
    let error = relative_error(&output, &expected);
    assert!(error < 1e-5, "{error:e}");
}

#[test]
fn a_deep_and_very_wide_layer_agrees_with_a_direct_convolution() {
    let shape = Nhwc {
        n: 1,
        height: 2,
        width: 230,
        channels: 256,
    };
    let input = random_values(1, shape.len(), true);
    let weight = random_weights(2, 512, 256);
    let output = convolved(shape, 512, &input, &weight);
    let expected = convolve(&widen(&input), shape, &weight, &[0.0; 512], true);
    assert!(relative_error(&output, &expected) < 5e-6);
}

#[test]
fn more_channels_than_one_sum_agree_with_a_direct_convolution() {
    let shape = Nhwc {
        n: 1,
        height: 5,
        width: 3,
        channels: 1100,
    };
    let input = random_values(1, shape.len(), true);
    let weight = random_weights(2, 20, 1100);
    let output = convolved(shape, 20, &input, &weight);
    let expected = convolve(&widen(&input), shape, &weight, &[0.0; 20], true);
    assert!(relative_error(&output, &expected) < 1e-5);
}

#[test]
fn gradients_agree_with_plain_sums() {
    for (shape, out) in cases() {
        let input = random_values(1, shape.len(), true);
        let weight = random_weights(2, out, shape.channels);
        let outside = shape.with_channels(out);
        let gradient = random_values(3, outside.len(), false);
        let mut of_input = vec![0.0f64; shape.len()];
        let mut of_weight = vec![0.0f64; weight.len()];
        visit_products(shape, out, |from, at, to| {
            of_input[from] += f64::from(weight[at]) * f64::from(gradient[to]);
            of_weight[at] += f64::from(input[from]) * f64::from(gradient[to]);
        });
        let actual = input_gradient(&weight, out, shape.channels, &gradient, outside);
        let error = relative_error(&actual, &of_input);
        assert!(error < 5e-6, "input gradient {shape:?} -> {out}: {error:e}");
        let actual = weight_gradient(&input, &gradient, shape, out);
        let error = relative_error(&actual, &of_weight);
        assert!(
            error < 1e-5,
            "weight gradient {shape:?} -> {out}: {error:e}"
        );
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let shapes = [
        (64, 64, 17, 33),
        (3, 64, 30, 50),
        (70, 8, 14, 14),
        (512, 512, 10, 14),
    ];
    for (channels, out, height, width) in shapes {
        let shape = Nhwc {
            n: 5,
            height,
            width,
            channels,
        };
        let outside = shape.with_channels(out);
        let input = random_values(1, shape.len(), true);
        let weight = random_weights(2, out, channels);
        let gradient = random_values(3, outside.len(), false);
        let results = [1, 2, 5].map(|threads| {
            in_threads(threads, || {
                (
                    bits(&convolved(shape, out, &input, &weight)),
                    bits(&input_gradient(&weight, out, channels, &gradient, outside)),
                    bits(&weight_gradient(&input, &gradient, shape, out)),
                )
            })
        });
        assert!(results[0] == results[1], "{shape:?}: 1 and 2 threads");
        assert!(results[0] == results[2], "{shape:?}: 1 and 5 threads");
    }
}

#[test]
fn an_image_has_the_same_bits_in_every_batch() {
    for (channels, out, side) in [
        (64, 64, 30),
        (3, 64, 49),
        (8, 5, 1),
        (256, 512, 14),
        (70, 16, 7),
        (64, 8, 196),
    ] {
        let whole = Nhwc {
            n: 16,
            height: side,
            width: side,
            channels,
        };
        let input = random_values(1, whole.len(), true);
        let weight = random_weights(2, out, channels);
        let expected = convolved(whole, out, &input, &weight);
        for (first, n) in [(0, 1), (3, 1), (15, 1), (2, 5), (11, 5)] {
            let part = Nhwc { n, ..whole };
            let start = whole.pixel(first, 0, 0);
            let output = convolved(part, out, &input[start..start + part.len()], &weight);
            let start = whole.with_channels(out).pixel(first, 0, 0);
            assert!(
                bits(&output) == bits(&expected[start..start + output.len()]),
                "{channels} -> {out} at {side}: images {first}.. of {n}"
            );
        }
    }
}

#[test]
fn layouts_swap_and_swap_back() {
    for (shape, _) in cases() {
        let values = random_values(1, shape.len(), false);
        let mut swapped = vec![0.0; shape.len()];
        nchw_to_nhwc(&values, shape, &mut swapped);
        assert_eq!(swapped, to_nhwc(&values, shape));
        let mut back = vec![0.0; shape.len()];
        nhwc_to_nchw(&swapped, shape, &mut back);
        assert_eq!(back, values);
    }
}

#[test]
fn a_max_pool_agrees_with_a_plain_one() {
    for (shape, _) in cases() {
        let values = random_values(1, shape.len(), false);
        let mut output = vec![0.0; shape.pooled().len()];
        max_pool(&values, shape, &mut output);
        assert_eq!(widen(&output), pool(&widen(&values), shape));
    }
}

/// Layers of a small chain: `(kind, out channels)`.
fn small_chain() -> (Chain, Numbers) {
    let plan = [(3, 16), (16, 70), (70, 8)];
    let mut layers = Vec::new();
    let mut numbers = Vec::new();
    for (index, (channels, out)) in plan.into_iter().enumerate() {
        let weight = random_weights(10 + index as u64, out, channels);
        let bias = random_values(20 + index as u64, out, false);
        layers.push(ChainLayer::Conv {
            filters: Winograd3x3::new(&weight, out, channels),
            bias: Some(bias.clone()),
        });
        if index == 1 {
            layers.push(ChainLayer::ScaleShift {
                scale: random_values(30, out, false),
                shift: random_values(31, out, false),
            });
        }
        layers.push(ChainLayer::Relu);
        if index < 2 {
            layers.push(ChainLayer::MaxPool);
        }
        numbers.push((weight, bias));
    }
    (Chain::new(3, layers), numbers)
}

#[test]
fn a_chain_agrees_with_its_layers_one_by_one() {
    let (chain, numbers) = small_chain();
    for (height, width) in [(17, 33), (8, 8), (4, 5)] {
        let mut shape = Nhwc {
            n: 3,
            height,
            width,
            channels: 3,
        };
        let input = random_values(1, shape.len(), false);
        let actual = chain.forward(&input, shape.n, height, width);
        let mut values = widen(&to_nhwc(&input, shape));
        for (index, (weight, bias)) in numbers.iter().enumerate() {
            values = convolve(&values, shape, weight, bias, index != 1);
            shape = shape.with_channels(bias.len());
            if index == 1 {
                let scale = random_values(30, bias.len(), false);
                let shift = random_values(31, bias.len(), false);
                for pixel in values.chunks_mut(bias.len()) {
                    for ((value, scale), shift) in pixel.iter_mut().zip(&scale).zip(&shift) {
                        *value = (*value * f64::from(*scale) + f64::from(*shift)).max(0.0);
                    }
                }
            }
            if index < 2 {
                values = pool(&values, shape);
                shape = shape.pooled();
            }
        }
        assert_eq!(
            (actual.channels, actual.height, actual.width),
            (shape.channels, shape.height, shape.width)
        );
        let error = relative_error(&to_nhwc(&actual.values, shape), &values);
        assert!(error < 1e-5, "{height}x{width}: {error:e}");
    }
}

#[test]
fn a_chain_gives_an_image_the_same_bits_in_every_batch_and_repeats_itself() {
    let (chain, _) = small_chain();
    let image = 3 * 60 * 44;
    let input = random_values(1, 16 * image, false);
    let whole = chain.forward(&input, 16, 60, 44);
    assert_eq!(whole, chain.forward(&input, 16, 60, 44));
    let result = whole.values.len() / 16;
    for (first, n) in [(0, 1), (7, 1), (4, 5)] {
        let part = chain.forward(&input[first * image..(first + n) * image], n, 60, 44);
        let expected = &whole.values[first * result..(first + n) * result];
        assert!(
            bits(&part.values) == bits(expected),
            "images {first}.. of {n}"
        );
    }
}

#[test]
fn a_chain_without_layers_returns_its_input() {
    let input = random_values(1, 2 * 3 * 4 * 5, false);
    let activations = Chain::new(3, Vec::new()).forward(&input, 2, 4, 5);
    assert_eq!(activations.values, input);
}

#[test]
fn a_nan_in_the_input_reaches_the_output() {
    for channels in [3, 8] {
        let shape = Nhwc {
            n: 1,
            height: 4,
            width: 4,
            channels,
        };
        let input = vec![f32::NAN; shape.len()];
        let weight = random_weights(2, 20, channels);
        let layer = Winograd3x3::new(&weight, 20, channels);
        for relu in [false, true] {
            let mut output = vec![0.0; shape.with_channels(20).len()];
            layer.forward(&input, shape, None, relu, &mut output);
            assert!(
                output.iter().all(|value| value.is_nan()),
                "{channels} channels, relu {relu}: {output:?}"
            );
        }
    }
}

//! Tests of the kernels against plain f64 references, and of their bit-for-bit repeatability.

use super::finish::{Finish, Target};
use super::gradients::{input_gradient, weight_gradient};
use super::layout::{nchw_to_nhwc, nhwc_to_nchw};
use super::pool::PoolSizes;
use super::reference::{
    bits, convolve, in_threads, pool, random_values, random_weights, relative_error, to_nhwc,
    visit_products, widen,
};
use super::tiles::Nhwc;
use super::winograd::{Winograd3x3, pools};

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
            if pools(shape.channels) {
                let after = shape.with_channels(out);
                let mut pooled = vec![f32::NAN; after.pooled().len()];
                let finish = Finish {
                    bias: Some(&bias),
                    relu,
                    max_pool: true,
                    add: None,
                };
                let target = Target::dense(&mut pooled, out);
                layer.forward_finished(&input, shape, finish, target);
                let mut separate = vec![f32::NAN; after.pooled().len()];
                PoolSizes::HALVING.forward(&output, after, &mut separate);
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
        PoolSizes::HALVING.forward(&values, shape, &mut output);
        assert_eq!(widen(&output), pool(&widen(&values), shape));
    }
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

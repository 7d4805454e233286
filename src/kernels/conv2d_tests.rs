//! Convolutions of every geometry, and pooling, against plain loops in f64.

use super::{
    batch_norm::{self, NormSizes},
    conv2d::{self, ConvSizes},
    conv2d_gradients,
    im2col::PatchGrid,
    pool2d,
    reference::{random_values, relative_error},
};

/// Images, channels, groups, height and width, side, stride, padding.
type Geometry = (usize, [usize; 2], usize, [usize; 2], usize, usize, usize);

/// Convolutions with and without rests of every kind.
const GEOMETRIES: [Geometry; 18] = [
    (2, [5, 7], 1, [12, 13], 1, 1, 0),
    (1, [64, 70], 1, [14, 14], 1, 1, 0),
    (5, [33, 48], 1, [7, 7], 1, 1, 0),
    (5, [25, 49], 1, [14, 14], 1, 1, 0),
    (5, [1, 2], 1, [1, 1], 1, 1, 0),
    (5, [16, 20], 1, [9, 10], 1, 2, 0),
    (3, [3, 8], 1, [23, 20], 7, 2, 3),
    (5, [6, 9], 1, [10, 11], 3, 2, 1),
    (1, [6, 9], 1, [7, 8], 3, 2, 1),
    (1, [3, 4], 1, [31, 35], 11, 4, 2),
    (2, [4, 6], 1, [9, 7], 5, 1, 2),
    (5, [32, 32], 8, [6, 5], 3, 1, 1),
    (3, [8, 16], 4, [9, 9], 3, 2, 1),
    (2, [4, 4], 4, [5, 5], 3, 1, 1),
    (1, [3, 1], 1, [1, 1], 1, 1, 0),
    (5, [3, 2], 1, [4, 4], 4, 4, 0),
    (2, [2, 3], 1, [2, 2], 3, 2, 1),
    (40, [40, 30], 1, [13, 13], 3, 3, 0),
];

fn sizes(index: usize) -> ConvSizes {
    let (images, [in_channels, out_channels], groups, input, side, stride, padding) =
        GEOMETRIES[index];
    ConvSizes {
        images,
        in_channels,
        out_channels,
        groups,
        input,
        side: [side; 2],
        stride: [stride; 2],
        padding: [padding; 2],
    }
}

/// Calls `visit(input index, weight index, output index)` for every product of a convolution.
fn visit_products(sizes: &ConvSizes, mut visit: impl FnMut(usize, usize, usize)) {
    let [height, width] = sizes.output();
    let (inputs, outputs) = (
        sizes.in_channels / sizes.groups,
        sizes.out_channels / sizes.groups,
    );
    for image in 0..sizes.images {
        for out in 0..sizes.out_channels {
            for (y, x) in (0..height * width).map(|at| (at / width, at % width)) {
                let to = ((image * sizes.out_channels + out) * height + y) * width + x;
                for input in 0..inputs {
                    let channel = out / outputs * inputs + input;
                    for tap in 0..sizes.side[0] * sizes.side[1] {
                        let (dy, dx) = (tap / sizes.side[1], tap % sizes.side[1]);
                        let from_y = (y * sizes.stride[0] + dy).wrapping_sub(sizes.padding[0]);
                        let from_x = (x * sizes.stride[1] + dx).wrapping_sub(sizes.padding[1]);
                        if from_y >= sizes.input[0] || from_x >= sizes.input[1] {
                            continue;
                        }
                        let plane = image * sizes.in_channels + channel;
                        let from = (plane * sizes.input[0] + from_y) * sizes.input[1] + from_x;
                        let weight = (out * inputs + input) * sizes.side[0] * sizes.side[1] + tap;
                        visit(from, weight, to);
                    }
                }
            }
        }
    }
}

struct Values {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    gradient: Vec<f32>,
}

fn values(sizes: &ConvSizes) -> Values {
    Values {
        input: random_values(1, sizes.input_len(), true),
        weight: random_values(2, sizes.weight_len(), false),
        bias: random_values(3, sizes.out_channels, false),
        gradient: random_values(4, sizes.output_len(), false),
    }
}

/// The output and the gradients of input, weight and bias.
fn computed(sizes: &ConvSizes, values: &Values, has_bias: bool) -> [Vec<f32>; 4] {
    let bias = has_bias.then_some(&values.bias[..]);
    [
        conv2d::forward(sizes, &values.input, &values.weight, bias),
        conv2d_gradients::input_gradient(sizes, &values.weight, &values.gradient),
        conv2d_gradients::weight_gradient(sizes, &values.input, &values.gradient),
        conv2d_gradients::bias_gradient(sizes, &values.gradient),
    ]
}

#[test]
fn convolutions_and_their_gradients_are_those_of_plain_loops() {
    for index in 0..GEOMETRIES.len() {
        let sizes = sizes(index);
        let values = values(&sizes);
        let pixels = sizes.output()[0] * sizes.output()[1];
        for has_bias in [false, true] {
            let mut expected = [
                vec![0.0f64; sizes.output_len()],
                vec![0.0; sizes.input_len()],
                vec![0.0; sizes.weight_len()],
                vec![0.0; sizes.out_channels],
            ];
            for (at, gradient) in values.gradient.iter().enumerate() {
                let channel = at / pixels % sizes.out_channels;
                if has_bias {
                    expected[0][at] = f64::from(values.bias[channel]);
                }
                expected[3][channel] += f64::from(*gradient);
            }
            visit_products(&sizes, |from, weight, to| {
                let input = f64::from(values.input[from]);
                let factor = f64::from(values.weight[weight]);
                let gradient = f64::from(values.gradient[to]);
                expected[0][to] += input * factor;
                expected[1][from] += factor * gradient;
                expected[2][weight] += input * gradient;
            });
            let actual = computed(&sizes, &values, has_bias);
            for (part, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
                let error = relative_error(actual, expected);
                assert!(error < 1e-6, "{sizes:?}, part {part}: {error}");
            }
        }
    }
}

fn in_a_pool<T: Send>(n_threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build();
    pool.unwrap().install(work)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn bits_of_convolutions_do_not_depend_on_the_number_of_threads() {
    for index in 0..GEOMETRIES.len() {
        let sizes = sizes(index);
        let values = values(&sizes);
        let all = |n_threads| {
            in_a_pool(n_threads, || {
                computed(&sizes, &values, true).map(|part| bits(&part))
            })
        };
        let alone = all(1);
        assert!(alone == all(2) && alone == all(5), "{sizes:?}");
    }
}

#[test]
fn bits_of_an_image_do_not_depend_on_its_batch() {
    for index in 0..GEOMETRIES.len() {
        let sizes = sizes(index);
        let values = values(&sizes);
        let [output, of_input, ..] = computed(&sizes, &values, true);
        let alone = ConvSizes { images: 1, ..sizes };
        for image in 0..sizes.images {
            let cut = |values: &[f32]| {
                let n = values.len() / sizes.images;
                values[image * n..][..n].to_vec()
            };
            let of_image = Values {
                input: cut(&values.input),
                gradient: cut(&values.gradient),
                weight: values.weight.clone(),
                bias: values.bias.clone(),
            };
            let [output_alone, of_input_alone, ..] = computed(&alone, &of_image, true);
            assert_eq!(bits(&cut(&output)), bits(&output_alone), "{sizes:?}");
            assert_eq!(bits(&cut(&of_input)), bits(&of_input_alone), "{sizes:?}");
        }
    }
}

#[test]
fn pooling_takes_the_first_maximum_of_each_window() {
    // Input, output, side, stride, padding; the third and fourth have windows that reach behind the input.
    for (input, output, side, stride, padding) in [
        ([8, 6], [4, 3], 2, 2, 0),
        ([9, 12], [5, 6], 3, 2, 1),
        ([6, 8], [3, 4], 3, 2, 0),
        ([5, 7], [3, 4], 3, 2, 1),
        ([13, 9], [6, 4], 3, 2, 0),
        ([7, 7], [3, 3], 2, 3, 1),
    ] {
        let grid = PatchGrid {
            input,
            output,
            side: [side; 2],
            stride: [stride; 2],
            padding: [padding; 2],
        };
        let (plane, pooled) = (input[0] * input[1], output[0] * output[1]);
        // Half of the values are equal zeros.
        let mut values = random_values(7, 6 * plane, true);
        values[plane + 5] = f32::NAN;
        values[2 * plane..3 * plane].fill(f32::NEG_INFINITY);
        let gradient = random_values(8, 6 * pooled, false);
        let mut expected = (vec![0.0f32; 6 * pooled], vec![0.0f32; 6 * plane]);
        for (at, gradient) in gradient.iter().enumerate() {
            let (index, y, x) = (at / pooled, at % pooled / output[1], at % output[1]);
            let mut best: Option<usize> = None;
            for tap in 0..side * side {
                let from_y = (y * stride + tap / side).wrapping_sub(padding);
                let from_x = (x * stride + tap % side).wrapping_sub(padding);
                if from_y < input[0] && from_x < input[1] {
                    let from = index * plane + from_y * input[1] + from_x;
                    let value = values[from];
                    if best.is_none_or(|best| value > values[best] || value.is_nan()) {
                        best = Some(from);
                    }
                }
            }
            let best = best.unwrap();
            expected.0[at] = values[best];
            expected.1[best] += gradient;
        }
        let (mut output, mut taps) = (vec![0.5; 6 * pooled], vec![0; 6 * pooled]);
        pool2d::max_pool(&grid, &values, &mut output, &mut taps);
        let of_input = pool2d::max_pool_gradient(&grid, &taps, &gradient);
        assert_eq!(bits(&output), bits(&expected.0), "{grid:?}");
        assert_eq!(bits(&of_input), bits(&expected.1), "{grid:?}");
    }
}

/// Mean, variance, output, and the gradients of input, weight and bias of a batch norm in f64.
fn normalised(
    sizes: NormSizes,
    [input, weight, bias, gradient]: [&[f64]; 4],
    eps: f64,
) -> [Vec<f64>; 6] {
    let mut parts: [Vec<f64>; 6] = Default::default();
    parts[2] = vec![0.0; input.len()];
    parts[3] = vec![0.0; input.len()];
    for channel in 0..sizes.channels {
        let places: Vec<usize> = (0..input.len())
            .filter(|at| at / sizes.pixels % sizes.channels == channel)
            .collect();
        let n = places.len() as f64;
        let mean =
            |value: &dyn Fn(usize) -> f64| places.iter().map(|at| value(*at)).sum::<f64>() / n;
        let centre = mean(&|at| input[at]);
        let variance = mean(&|at| (input[at] - centre).powi(2));
        let deviation = (variance + eps).sqrt();
        let hat = |at: usize| (input[at] - centre) / deviation;
        let of_bias = mean(&|at| gradient[at]);
        let of_weight = mean(&|at| gradient[at] * hat(at));
        for at in &places {
            parts[2][*at] = hat(*at) * weight[channel] + bias[channel];
            parts[3][*at] =
                weight[channel] / deviation * (gradient[*at] - of_bias - hat(*at) * of_weight);
        }
        parts[0].push(centre);
        parts[1].push(variance);
        parts[4].push(of_weight * n);
        parts[5].push(of_bias * n);
    }
    parts
}

#[test]
fn a_batch_norm_is_that_of_f64_even_far_from_zero() {
    for (n, channels, pixels, offset) in [
        (5, 7, 49, 0.0),
        (2, 3, 1025, 100.0),
        (1, 5, 196, 3.0),
        (3, 2, 1, 1.0),
    ] {
        let sizes = NormSizes { channels, pixels };
        let len = n * channels * pixels;
        let input: Vec<f32> = random_values(1, len, false)
            .iter()
            .map(|it| it + offset)
            .collect();
        let (weight, bias) = (
            random_values(2, channels, false),
            random_values(3, channels, false),
        );
        let gradient = random_values(4, len, false);
        let wide = |values: &[f32]| values.iter().map(|it| f64::from(*it)).collect::<Vec<_>>();
        let eps = 1e-3;
        let expected = normalised(
            sizes,
            [
                &wide(&input),
                &wide(&weight),
                &wide(&bias),
                &wide(&gradient),
            ],
            eps,
        );
        let all = |n_threads| {
            in_a_pool(n_threads, || {
                let moments = batch_norm::moments(sizes, &input);
                let scale_shift = batch_norm::scale_shift(&moments, &weight, &bias, eps);
                let output = batch_norm::apply(sizes, &scale_shift, &input);
                let sums = batch_norm::channel_gradients(sizes, &moments, eps, &input, &gradient);
                let mut of_input = gradient.clone();
                let of_batch = (&moments[..], eps);
                batch_norm::input_gradient(sizes, of_batch, &weight, &sums, &input, &mut of_input);
                [
                    moments.iter().map(|it| it.mean as f32).collect(),
                    moments.iter().map(|it| it.variance as f32).collect(),
                    output,
                    of_input,
                    sums.iter().map(|it| it.weight as f32).collect::<Vec<_>>(),
                    sums.iter().map(|it| it.bias as f32).collect(),
                ]
            })
        };
        let actual = all(1);
        for (part, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            let error = relative_error(actual, expected);
            // Values far from zero keep fewer digits of their deviations.
            let tolerance = if offset > 10.0 { 2e-5 } else { 1e-6 };
            assert!(error < tolerance, "{n} {sizes:?}, part {part}: {error}");
        }
        assert!(actual.map(|part| bits(&part)) == all(2).map(|part| bits(&part)));
    }
}

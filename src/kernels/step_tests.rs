//! Fully connected layers against plain loops in f64.

use super::{
    linear::{self, LinearSizes, PartialProducts},
    reference::random_values,
};

/// Sizes with and without rests of every kind of tile.
const SIZES: [[usize; 3]; 7] = [
    [1, 1, 1],
    [3, 5, 7],
    [4, 32, 16],
    [16, 100, 1100],
    [5, 70, 33],
    [33, 9, 2],
    [40, 70, 150],
];

fn close(actual: &[f32], expected: &[f64]) {
    let norm = expected
        .iter()
        .map(|value| value * value)
        .sum::<f64>()
        .sqrt();
    let pairs = actual.iter().zip(expected);
    let difference = pairs
        .map(|(a, b)| (f64::from(*a) - b).powi(2))
        .sum::<f64>()
        .sqrt();
    assert_eq!(actual.len(), expected.len());
    assert!(difference <= 1e-6 * norm, "{difference} of {norm}");
}

fn check(work: impl Fn(LinearSizes, &[f32], &[f32], &[f32])) {
    for [images, inputs, outputs] in SIZES {
        let sizes = LinearSizes {
            images,
            inputs,
            outputs,
        };
        let input = random_values(1, images * inputs, false);
        let weight = random_values(2, inputs * outputs, false);
        let gradient = random_values(3, images * outputs, false);
        work(sizes, &input, &weight, &gradient);
    }
}

/// `sum over k of a(row, k) * b(k, column)`
fn product(
    [n_rows, n_sums, n_columns]: [usize; 3],
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
) -> Vec<f64> {
    let value = |row: usize, column: usize| {
        let terms = (0..n_sums).map(|k| f64::from(a(row, k)) * f64::from(b(k, column)));
        terms.sum::<f64>()
    };
    (0..n_rows * n_columns)
        .map(|at| value(at / n_columns, at % n_columns))
        .collect()
}

#[test]
fn a_layer_is_a_product_and_a_bias() {
    check(|sizes, input, weight, _| {
        let LinearSizes {
            images,
            inputs,
            outputs,
        } = sizes;
        let bias = random_values(4, outputs, false);
        let mut actual = vec![f32::NAN; images * outputs];
        PartialProducts::new(sizes, input, weight).finish(&bias, &mut actual);
        let mut expected = product(
            [images, inputs, outputs],
            |image, k| input[image * inputs + k],
            |k, output| weight[k * outputs + output],
        );
        for (at, value) in expected.iter_mut().enumerate() {
            *value += f64::from(bias[at % outputs]);
        }
        close(&actual, &expected);
    });
}

#[test]
fn both_gradients_are_products() {
    check(|sizes, input, weight, gradient| {
        let LinearSizes {
            images,
            inputs,
            outputs,
        } = sizes;
        let mut actual = vec![f32::NAN; inputs * outputs];
        linear::weight_gradient(sizes, input, gradient, &mut actual);
        let expected = product(
            [inputs, images, outputs],
            |row, image| input[image * inputs + row],
            |image, output| gradient[image * outputs + output],
        );
        close(&actual, &expected);
        let mut actual = vec![f32::NAN; images * inputs];
        linear::input_gradient(sizes, gradient, weight, &mut actual);
        let expected = product(
            [images, outputs, inputs],
            |image, k| gradient[image * outputs + k],
            |k, row| weight[row * outputs + k],
        );
        close(&actual, &expected);
    });
}

fn in_a_pool<T: Send>(n_threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build();
    pool.unwrap().install(work)
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    check(|sizes, input, weight, gradient| {
        let all = |n_threads| {
            in_a_pool(n_threads, || {
                let mut output = vec![0.0; sizes.images * sizes.outputs];
                let bias = vec![0.5; sizes.outputs];
                PartialProducts::new(sizes, input, weight).finish(&bias, &mut output);
                let mut back = vec![0.0; input.len()];
                linear::input_gradient(sizes, gradient, weight, &mut back);
                output.extend(back);
                output
                    .iter()
                    .map(|value| value.to_bits())
                    .collect::<Vec<_>>()
            })
        };
        assert!(all(1) == all(2) && all(2) == all(5));
    });
}

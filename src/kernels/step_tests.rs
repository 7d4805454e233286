//! Fully connected layers and optimizer steps against plain loops in f64.

use super::{
    linear::{self, Sizes},
    reference::random_values,
    update::{self, Adam, RmsProp, Rule, Sgd},
};

/// Sizes with and without rests of every kind of tile.
const SIZES: [[usize; 3]; 6] = [
    [1, 1, 1],
    [3, 5, 7],
    [4, 32, 16],
    [16, 100, 1100],
    [5, 70, 33],
    [33, 9, 2],
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

fn check(work: impl Fn(Sizes, &[f32], &[f32], &[f32])) {
    for [images, inputs, outputs] in SIZES {
        let sizes = Sizes {
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
        let Sizes {
            images,
            inputs,
            outputs,
        } = sizes;
        let bias = random_values(4, outputs, false);
        let mut actual = vec![f32::NAN; images * outputs];
        linear::forward(sizes, input, weight, &bias, &mut actual);
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
        let Sizes {
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
                linear::forward(sizes, input, weight, &bias, &mut output);
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

fn rules() -> Vec<(Rule, usize)> {
    let sgd = |momentum, nesterov| Sgd {
        decay: 0.1,
        momentum,
        take: 0.7,
        nesterov,
        lr: 0.01,
    };
    let rms_prop = |momentum| RmsProp {
        decay: 0.1,
        alpha: 0.9,
        take: 0.1,
        eps: 1e-4,
        momentum,
        lr: 0.01,
    };
    vec![
        (
            Rule::Adam(Adam::new([0.9, 0.99], 1e-8, (0.1, 0.0), 0.01, 3)),
            2,
        ),
        (
            Rule::Adam(Adam::new([0.9, 0.99], 1e-8, (0.0, 0.1), 0.01, 3)),
            2,
        ),
        (Rule::Sgd(sgd(0.0, false)), 0),
        (Rule::Sgd(sgd(0.5, false)), 1),
        (Rule::Sgd(sgd(0.5, true)), 1),
        (Rule::RmsProp(rms_prop(0.0)), 1),
        (Rule::RmsProp(rms_prop(0.5)), 3),
    ]
}

/// One step of one number, by the formulas as they are written in the papers.
fn expected(rule: &Rule, p: f64, g: f64, moments: &mut [f64]) -> f64 {
    match (rule, moments) {
        (Rule::Adam(_), _) => unreachable!("Adam is held against PyTorch's numbers elsewhere"),
        (Rule::Sgd(sgd), []) => p - f64::from(sgd.lr) * (g + f64::from(sgd.decay) * p),
        (Rule::Sgd(sgd), moments) => {
            let g = g + f64::from(sgd.decay) * p;
            let momentum = f64::from(sgd.momentum);
            moments[0] = momentum * moments[0] + f64::from(sgd.take) * g;
            let step = if sgd.nesterov {
                g + momentum * moments[0]
            } else {
                moments[0]
            };
            p - f64::from(sgd.lr) * step
        }
        (Rule::RmsProp(rms), moments) => {
            let g = g + f64::from(rms.decay) * p;
            let (alpha, take) = (f64::from(rms.alpha), f64::from(rms.take));
            moments[0] = alpha * moments[0] + take * g * g;
            let mut variance = moments[0];
            if let [_, velocity, mean] = moments {
                *mean = alpha * *mean + take * g;
                variance -= *mean * *mean;
                *velocity = f64::from(rms.momentum) * *velocity
                    + g / (variance.sqrt() + f64::from(rms.eps));
                return p - f64::from(rms.lr) * *velocity;
            }
            p - f64::from(rms.lr) * g / (variance.sqrt() + f64::from(rms.eps))
        }
    }
}

#[test]
fn steps_are_those_of_the_formulas() {
    for (rule, n_moments) in rules() {
        if matches!(rule, Rule::Adam(_)) {
            continue;
        }
        let n_values = 300_001;
        let mut parameter = random_values(5, n_values, false);
        let gradient = random_values(6, n_values, false);
        let mut moments: Vec<Vec<f32>> = vec![vec![0.9; n_values]; n_moments];
        if let [_, _, means] = moments.as_mut_slice() {
            // No variance is below the square of its mean.
            means.fill(0.1);
        }
        let start = parameter.clone();
        let before: Vec<f64> = moments.iter().map(|moment| f64::from(moment[0])).collect();
        update::update(&rule, &mut parameter, &gradient, &mut moments);
        let values = start
            .iter()
            .zip(&gradient)
            .map(|(p, g)| expected(&rule, f64::from(*p), f64::from(*g), &mut before.clone()));
        close(&parameter, &values.collect::<Vec<f64>>());
    }
}

#[test]
fn a_factored_gradient_gives_the_bits_of_the_whole_one() {
    check(|sizes, input, weight, gradient| {
        for (rule, n_moments) in rules() {
            let start = || vec![vec![0.5; weight.len()]; n_moments];
            let (mut whole, mut whole_moments) = (weight.to_vec(), start());
            let mut product = vec![0.0; weight.len()];
            linear::weight_gradient(sizes, input, gradient, &mut product);
            update::update(&rule, &mut whole, &product, &mut whole_moments);
            let (mut factored, mut moments) = (weight.to_vec(), start());
            let factors = (input, gradient);
            update::update_by_factors(&rule, sizes, &mut factored, factors, &mut moments);
            assert!(factored == whole && moments == whole_moments, "{rule:?}");
        }
    });
}

//! The formulas on slices against plain numbers in f64, and factored gradients against whole ones.

use super::{OptimizerKind, StepScalars, formula, moment_names};
use crate::kernels::{
    linear::{self, LinearSizes, PartialProducts},
    reference::random_values,
};

const SCALARS: StepScalars = StepScalars {
    lr: 0.01,
    weight_decay: 0.1,
    step: 3,
};

fn kinds() -> Vec<OptimizerKind> {
    let (betas, eps) = ([0.9, 0.99], 1e-8);
    let sgd = |momentum, nesterov| OptimizerKind::Sgd {
        momentum,
        dampening: 0.3,
        nesterov,
    };
    let rms_prop = |momentum, centered| OptimizerKind::RmsProp {
        alpha: 0.9,
        eps: 1e-4,
        momentum,
        centered,
    };
    vec![
        OptimizerKind::Adam { betas, eps },
        OptimizerKind::AdamW { betas, eps },
        sgd(0.0, false),
        sgd(0.5, false),
        sgd(0.5, true),
        rms_prop(0.0, false),
        rms_prop(0.5, true),
        OptimizerKind::Lion { betas },
    ]
}

/// One step of one number, by the formulas as they are in the papers.
fn expected(kind: OptimizerKind, p: f64, g: f64, moments: &mut [f64]) -> f64 {
    let StepScalars {
        lr,
        weight_decay,
        step,
    } = SCALARS;
    let decayed = g + weight_decay * p;
    match (kind, moments) {
        (OptimizerKind::Adam { betas, eps } | OptimizerKind::AdamW { betas, eps }, [m, v]) => {
            let is_decoupled = matches!(kind, OptimizerKind::AdamW { .. });
            let g = if is_decoupled { g } else { decayed };
            *m = betas[0] * *m + (1.0 - betas[0]) * g;
            *v = betas[1] * *v + (1.0 - betas[1]) * g * g;
            let [m_hat, v_hat] = [(*m, betas[0]), (*v, betas[1])]
                .map(|(m, beta)| m / (1.0 - beta.powi(step as i32)));
            let shrunk = if is_decoupled {
                p * (1.0 - lr * weight_decay)
            } else {
                p
            };
            shrunk - lr * m_hat / (v_hat.sqrt() + eps)
        }
        (OptimizerKind::Sgd { .. }, []) => p - lr * decayed,
        (
            OptimizerKind::Sgd {
                momentum,
                dampening,
                nesterov,
            },
            [velocity],
        ) => {
            *velocity = momentum * *velocity + (1.0 - dampening) * decayed;
            let step = if nesterov {
                decayed + momentum * *velocity
            } else {
                *velocity
            };
            p - lr * step
        }
        (
            OptimizerKind::RmsProp {
                alpha,
                eps,
                momentum,
                ..
            },
            [squares, rest @ ..],
        ) => {
            let g = decayed;
            *squares = alpha * *squares + (1.0 - alpha) * g * g;
            let [velocity, mean] = rest else {
                return p - lr * g / (squares.sqrt() + eps);
            };
            *mean = alpha * *mean + (1.0 - alpha) * g;
            let variance = *squares - *mean * *mean;
            *velocity = momentum * *velocity + g / (variance.sqrt() + eps);
            p - lr * *velocity
        }
        (OptimizerKind::Lion { betas }, [m]) => {
            let update = (betas[0] * *m + (1.0 - betas[0]) * g).signum();
            *m = betas[1] * *m + (1.0 - betas[1]) * g;
            p * (1.0 - lr * weight_decay) - lr * update
        }
        (kind, moments) => panic!("{kind:?} has other moments than {moments:?}"),
    }
}

#[test]
fn steps_are_those_of_the_formulas() {
    for kind in kinds() {
        let n_values = 300_001;
        let mut parameter = random_values(5, n_values, false);
        let gradient = random_values(6, n_values, false);
        let mut moments: Vec<Vec<f32>> = vec![vec![0.9; n_values]; moment_names(kind).len()];
        if let [_, _, means] = moments.as_mut_slice() {
            // No variance is below the square of its mean.
            means.fill(0.1);
        }
        let before: Vec<f64> = moments.iter().map(|moment| f64::from(moment[0])).collect();
        let start = parameter.clone();
        let rule = formula(kind).rule(SCALARS);
        rule.update(&mut parameter, &gradient, &mut moments);
        for (index, actual) in parameter.iter().enumerate() {
            let (p, g) = (f64::from(start[index]), f64::from(gradient[index]));
            let mut of_value = before.clone();
            let expected = expected(kind, p, g, &mut of_value);
            let error = (f64::from(*actual) - expected).abs();
            assert!(
                error <= 1e-6 * (1.0 + p.abs()),
                "{kind:?}: {actual} for {expected}"
            );
            for (moment, expected) in moments.iter().zip(&of_value) {
                let error = (f64::from(moment[index]) - expected).abs();
                assert!(error <= 1e-5, "{kind:?}: a moment is off by {error}");
            }
        }
    }
}

#[test]
fn tiny_gradients_leave_no_squares_and_others_do() {
    let betas = [0.9, 0.99];
    let rule = formula(OptimizerKind::Adam { betas, eps: 1e-8 }).rule(StepScalars {
        weight_decay: 0.0,
        ..SCALARS
    });
    let gradient = [1e-19_f32, -1e-19, 1e-16, -1e-16, 0.0, f32::NAN];
    let mut parameter = [1e-3; 6];
    let mut moments = vec![vec![0.0; 6]; 2];
    rule.update(&mut parameter, &gradient, &mut moments);
    let [means, squares] = moments.as_slice() else {
        panic!("Adam has two moments");
    };
    assert_eq!(squares[..2], [0.0; 2], "a share of 1e-38 is subnormal");
    assert!(squares[2..4].iter().all(|square| square.is_normal()));
    assert!(squares[4] == 0.0 && squares[5].is_nan() && parameter[5].is_nan());
    for (mean, gradient) in means.iter().zip(&gradient[..5]) {
        assert!((mean - 0.1 * gradient).abs() <= 1e-6 * gradient.abs());
    }
    assert_eq!(
        parameter[..2],
        [1e-3; 2],
        "far below a bit of the parameter"
    );
}

#[test]
fn a_tiny_gradient_leaves_no_negative_variance() {
    let rule = formula(OptimizerKind::RmsProp {
        alpha: 0.9,
        eps: 1e-8,
        momentum: 0.0,
        centered: true,
    });
    let rule = rule.rule(StepScalars {
        weight_decay: 0.0,
        ..SCALARS
    });
    let mut parameter = [1e-3];
    let mut moments = vec![vec![0.0]; 2];
    for _ in 0..3 {
        // A tenth of its square is subnormal, a hundredth would be its squared mean.
        rule.update(&mut parameter, &[3e-19], &mut moments);
    }
    assert!((parameter[0] - 1e-3).abs() < 1e-9, "{parameter:?}");
}

#[test]
fn a_factored_gradient_and_products_ahead_have_the_bits_of_separate_passes() {
    for [images, inputs, outputs] in [
        [1, 1, 1],
        [3, 5, 7],
        [16, 100, 1100],
        [33, 9, 2],
        [40, 70, 150],
    ] {
        let sizes = LinearSizes {
            images,
            inputs,
            outputs,
        };
        let input = random_values(1, images * inputs, false);
        let weight = random_values(2, inputs * outputs, false);
        let gradient = random_values(3, images * outputs, false);
        for kind in kinds() {
            let rule = formula(kind).rule(SCALARS);
            let start = || vec![vec![0.5; weight.len()]; moment_names(kind).len()];
            let (mut whole, mut whole_moments) = (weight.clone(), start());
            let mut product = vec![0.0; weight.len()];
            linear::weight_gradient(sizes, &input, &gradient, &mut product);
            rule.update(&mut whole, &product, &mut whole_moments);
            let (mut factored, mut moments) = (weight.clone(), start());
            let factors = (&*input, &*gradient);
            rule.update_by_factors(sizes, &mut factored, factors, &mut moments, None);
            let what = format!("{kind:?}, {images} images, {inputs} by {outputs}");
            assert!(factored == whole && moments == whole_moments, "{what}");

            let next_sizes = LinearSizes {
                images: images + 1,
                ..sizes
            };
            let next = random_values(4, next_sizes.images * inputs, false);
            let (mut again, mut moments) = (weight.clone(), start());
            let products =
                rule.update_by_factors(sizes, &mut again, factors, &mut moments, Some(&next));
            assert!(
                again == whole && moments == whole_moments,
                "{what}, with products"
            );
            let bias = random_values(5, outputs, false);
            let mut expected = vec![0.0; next_sizes.images * outputs];
            PartialProducts::new(next_sizes, &next, &whole).finish(&bias, &mut expected);
            let mut output = vec![0.0; expected.len()];
            products.unwrap().finish(&bias, &mut output);
            assert!(output == expected, "the products of {what}");
        }
    }
}

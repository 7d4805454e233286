//! Our own operations against Burn's, with their gradients.

use std::cell::Cell;

use burn::{
    module::{Param, RunningState},
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, TensorData, activation, module as ops, ops::MaxPoolOptions},
};

use super::{
    activation::{add_relu, relu},
    batch_norm::BatchNorm2d,
    conv,
    paper::MaxPool,
    pool,
};
use crate::{kernels::reference::random_values, test_support::test_device};

/// Norm of the difference over the norm.
fn distance<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) -> f32 {
    let norm = |tensor: Tensor<D>| tensor.square().sum().sqrt().into_scalar::<f32>();
    norm(actual - expected.clone()) / norm(expected).max(f32::MIN_POSITIVE)
}

thread_local! {
    /// The number of tensors that this test has drawn, so that every run draws the same ones.
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
    let seed = DRAWN.get();
    DRAWN.set(seed + 1);
    let values = random_values(seed, shape.iter().product(), false);
    Tensor::from_data(TensorData::new(values, shape), device) + 0.2
}

/// The output, and the gradient of the input when the output's is `factor`.
fn with_gradient(
    input: &Tensor<4>,
    factor: &Tensor<4>,
    work: impl Fn(Tensor<4>) -> Tensor<4>,
) -> [Tensor<4>; 2] {
    // A leaf whose own values the operation must not overwrite, and an inner tensor, whose it may.
    let leaf = input.clone().require_grad();
    let output = work(leaf.clone() * 1.5);
    let mut gradients = (output.clone() * factor.clone()).sum().backward();
    let gradient = leaf.grad_remove(&mut gradients).unwrap();
    [output.inner(), gradient]
}

fn equal(ours: [Tensor<4>; 2], burns: [Tensor<4>; 2], tolerance: f32, what: &str) {
    for (ours, burns) in ours.into_iter().zip(burns) {
        assert_eq!(ours.dims(), burns.dims(), "{what}");
        let distance = distance(ours, burns);
        assert!(distance <= tolerance, "{what}: {distance}");
    }
}

#[test]
fn max_pools_are_those_of_burn() {
    let device = test_device().autodiff();
    // ResNet, SqueezeNet, AlexNet, VGG, and sizes where ceiling matters.
    for (side, stride, padding, ceil, size) in [
        (3, 2, 1, false, 14),
        (3, 2, 0, true, 13),
        (3, 2, 0, true, 14),
        (3, 2, 0, false, 12),
        (2, 2, 0, false, 9),
        (2, 2, 1, true, 5),
    ] {
        let windows = MaxPool {
            side,
            stride,
            padding,
            ceil,
        };
        let options = MaxPoolOptions::new([side; 2])
            .with_stride([stride; 2])
            .with_padding([padding; 2])
            .with_ceil_mode(ceil);
        let input = random([3, 5, size, size + 2], &device);
        let [_, _, height, width] = pool::max_pool(input.clone(), windows).dims();
        assert_eq!(height, windows.after(size));
        let factor = random([3, 5, height, width], &device);
        let ours = with_gradient(&input, &factor, |x| pool::max_pool(x, windows));
        let burns = with_gradient(&input, &factor, |x| ops::max_pool2d(x, options.clone()));
        equal(ours, burns, 0.0, &format!("{windows:?} of {size}"));
    }
}

#[test]
fn average_pools_and_relu_are_those_of_burn() {
    let device = test_device().autodiff();
    let input = random([3, 5, 7, 6], &device);
    for side in [1, 3] {
        let burns = |x: Tensor<4>| {
            let pooled = ops::adaptive_avg_pool2d(x, [side, side]);
            pooled.reshape([3, 5 * side * side, 1, 1])
        };
        let factor = random([3, 5 * side * side, 1, 1], &device);
        let ours = with_gradient(&input, &factor, |x| pool::adaptive_avg(x, side));
        equal(ours, with_gradient(&input, &factor, burns), 1e-6, "average");
    }
    let factor = random([3, 5, 7, 6], &device);
    let ours = with_gradient(&input, &factor, relu);
    let burns = with_gradient(&input, &factor, activation::relu);
    equal(ours, burns, 0.0, "relu");
    let ours = with_gradient(&input, &factor, |x| add_relu(x.clone() * 2.0, x));
    let burns = with_gradient(&input, &factor, |x| activation::relu(x.clone() * 2.0 + x));
    equal(ours, burns, 0.0, "add and relu");
    // The input is used again, so its memory must not be reused.
    let ours = with_gradient(&input, &factor, |x| relu(x.clone()) + x);
    let burns = with_gradient(&input, &factor, |x| activation::relu(x.clone()) + x);
    equal(ours, burns, 0.0, "relu beside");
}

#[test]
fn convolutions_of_any_geometry_have_the_gradients_of_burn_s() {
    let device = test_device().autodiff();
    for (channels, groups, size, side, stride, padding, has_bias) in [
        ([16, 24], 1, 14, 1, 1, 0, false),
        ([16, 24], 1, 7, 1, 1, 0, true),
        ([16, 24], 1, 9, 1, 2, 0, false),
        ([3, 8], 1, 32, 7, 2, 3, false),
        ([6, 10], 1, 15, 3, 2, 1, false),
        ([6, 10], 1, 15, 3, 1, 1, false),
        ([6, 10], 1, 15, 3, 1, 1, true),
        ([16, 16], 4, 10, 3, 1, 1, false),
        ([16, 16], 4, 10, 3, 2, 1, false),
        ([3, 8], 1, 35, 11, 4, 2, true),
        ([4, 8], 1, 13, 5, 1, 2, true),
    ] {
        let layer: Conv2d = Conv2dConfig::new(channels, [side; 2])
            .with_stride([stride; 2])
            .with_groups(groups)
            .with_bias(has_bias)
            .with_padding(PaddingConfig2d::Explicit(
                padding, padding, padding, padding,
            ))
            .init(&device);
        for n in [1, 5] {
            let input = random([n, channels[0], size, size + 1], &device).require_grad();
            let factor = random(layer.forward(input.clone()).dims(), &device);
            let gradients = |output: Tensor<4>| {
                let mut gradients = (output.clone() * factor.clone()).sum().backward();
                let bias = layer.bias.as_ref();
                (
                    [
                        output.inner(),
                        input.grad_remove(&mut gradients).unwrap(),
                        layer.weight.val().grad_remove(&mut gradients).unwrap(),
                    ],
                    bias.map(|bias| bias.val().grad_remove(&mut gradients).unwrap()),
                )
            };
            let ours = gradients(conv::forward(&layer, input.clone()));
            let burns = gradients(layer.forward(input.clone()));
            let what = format!("{channels:?} {groups} {size} {side}/{stride}");
            for (ours, burns) in ours.0.into_iter().zip(burns.0) {
                let distance = distance(ours, burns);
                assert!(distance < 1e-5, "{what}: {distance}");
            }
            assert_eq!(ours.1.is_some(), has_bias);
            if let (Some(ours), Some(burns)) = (ours.1, burns.1) {
                assert!(distance(ours, burns) < 1e-5, "{what}, bias");
            }
        }
    }
}

fn norm(channels: usize, is_training: bool, device: &Device) -> BatchNorm2d {
    let plain = device.clone().inner();
    let values = |offset: f32| {
        let values: Vec<f32> = (0..channels)
            .map(|channel| offset + (channel as f32).sin() * 0.5)
            .collect();
        TensorData::new(values, [channels])
    };
    let param = |offset| Param::from_tensor(Tensor::from_data(values(offset), device));
    BatchNorm2d {
        weight: param(1.0),
        bias: param(0.1),
        running_mean: RunningState::new(Tensor::from_data(values(0.2), &plain)),
        running_var: RunningState::new(Tensor::from_data(values(1.5), &plain)),
        training: Param::from_bool(is_training),
        eps: 1e-3,
        momentum: 0.25,
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

#[test]
fn a_trained_norm_has_the_gradients_of_burn_s_and_pytorch_s_statistics() {
    let device = test_device().autodiff();
    let norm = norm(6, true, &device);
    let input = random([5, 6, 9, 7], &device).require_grad();
    let factor = random([5, 6, 9, 7], &device);
    let parts = |output: Tensor<4>| {
        let mut gradients = (output.clone() * factor.clone()).sum().backward();
        let (weight, bias) = (norm.weight.val(), norm.bias.val());
        (
            [output.inner(), input.grad_remove(&mut gradients).unwrap()],
            weight.grad_remove(&mut gradients).unwrap(),
            bias.grad_remove(&mut gradients).unwrap(),
        )
    };
    let (mean, var) = (
        values(norm.running_mean.value()),
        values(norm.running_var.value()),
    );
    let ours = parts(norm.forward(input.clone()));
    let result = ops::batch_norm_train(input.clone(), norm.weight.val(), norm.bias.val(), 1e-3);
    let (batch_mean, batch_var) = (values(result.mean), values(result.variance));
    let burns = parts(result.output);
    equal(ours.0, burns.0, 2e-6, "norm");
    assert!(distance(ours.1, burns.1) < 1e-5, "weight");
    assert!(distance(ours.2, burns.2) < 1e-5, "bias");
    let unbiased = 315.0 / 314.0;
    for channel in 0..6 {
        let expected = 0.75 * mean[channel] + 0.25 * batch_mean[channel];
        let actual = values(norm.running_mean.value_sync())[channel];
        assert!((actual - expected).abs() < 1e-6, "mean {actual} {expected}");
        let expected = 0.75 * var[channel] + 0.25 * batch_var[channel] * unbiased;
        let actual = values(norm.running_var.value_sync())[channel];
        assert!((actual - expected).abs() < 1e-5, "var {actual} {expected}");
    }
}

#[test]
fn a_frozen_norm_passes_gradients_on_and_keeps_its_statistics() {
    let device = test_device().autodiff();
    let statistics = |norm: &BatchNorm2d| {
        let tensors = [
            norm.running_mean.value_sync(),
            norm.running_var.value_sync(),
        ];
        tensors.map(values)
    };
    for is_tracked in [false, true] {
        let mut norm = norm(6, false, &device);
        if !is_tracked {
            norm.weight = norm.weight.set_require_grad(false);
            norm.bias = norm.bias.set_require_grad(false);
        }
        let before = statistics(&norm);
        let input = random([5, 6, 4, 7], &device);
        let factor = random([5, 6, 4, 7], &device);
        let burns = |x: Tensor<4>| {
            let (mean, var) = (norm.running_mean.value(), norm.running_var.value());
            let (mean, var) = (mean.to_device(&device), var.to_device(&device));
            ops::batch_norm(x, norm.weight.val(), norm.bias.val(), mean, var, 1e-3)
        };
        let ours = with_gradient(&input, &factor, |x| norm.forward(x));
        equal(
            ours,
            with_gradient(&input, &factor, burns),
            2e-6,
            "frozen norm",
        );
        if is_tracked {
            let of_weight = |output: Tensor<4>| {
                let mut gradients = (output * factor.clone()).sum().backward();
                norm.weight.val().grad_remove(&mut gradients).unwrap()
            };
            let ours = of_weight(norm.forward(input.clone()));
            assert!(distance(ours, of_weight(burns(input.clone()))) < 1e-5);
        }
        assert_eq!(statistics(&norm), before);
    }
}

/// A small residual block, whose gradient must be what its loss does when the input moves.
#[test]
fn gradients_agree_with_differences() {
    let device = test_device().autodiff();
    let mut reduce: Conv2d = Conv2dConfig::new([4, 6], [1, 1])
        .with_bias(false)
        .init(&device);
    let mut halve: Conv2d = Conv2dConfig::new([6, 4], [3, 3])
        .with_stride([2, 2])
        .with_bias(false)
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init(&device);
    // Burn draws from a generator that all tests share, and some weights saturate the block.
    reduce.weight = Param::from_tensor(random([6, 4, 1, 1], &device) * 0.4);
    halve.weight = Param::from_tensor(random([4, 6, 3, 3], &device) * 0.13);
    let norms = [norm(6, true, &device), norm(4, false, &device)];
    let windows = MaxPool {
        side: 2,
        stride: 2,
        padding: 0,
        ceil: false,
    };
    let factor = random([3, 4, 1, 1], &device);
    // Keeps the values of a window so far apart that the same one stays the largest.
    let apart: Vec<f32> = (0..3 * 4 * 64).map(|at| (at * 7 % 11) as f32).collect();
    let apart = Tensor::<4>::from_data(TensorData::new(apart, [3, 4, 8, 8]), &device);
    let loss = |input: Tensor<4>| {
        let x = norms[0].forward(conv::forward(&reduce, input.clone()));
        let x = norms[1].forward(conv::forward(&halve, x.tanh()));
        let x = x.tanh() + pool::max_pool(input * 0.1 + apart.clone(), windows);
        (pool::adaptive_avg(x, 1) * factor.clone()).sum()
    };
    let input = random([3, 4, 8, 8], &device).require_grad();
    let mut gradients = loss(input.clone()).backward();
    let gradient = input.grad_remove(&mut gradients).unwrap();
    // Along a random direction the difference of the loss is the product of gradient and direction.
    let direction = random([3, 4, 8, 8], &device);
    let step = 2e-3;
    let at = |factor: f32| {
        let moved = input.clone().detach() + direction.clone() * factor;
        f64::from(loss(moved).into_scalar::<f32>())
    };
    let difference = (at(step) - at(-step)) / (2.0 * f64::from(step));
    let product = (gradient * direction.inner()).sum().into_scalar::<f32>();
    let error = (difference - f64::from(product)).abs();
    assert!(
        error < 2e-2 * difference.abs().max(0.1),
        "{difference} {product}"
    );
}

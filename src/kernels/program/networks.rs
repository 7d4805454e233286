//! Small networks for the tests of programs, and what they are compared with.

use super::super::reference::{random_values, relative_error, to_nhwc, widen};
use super::super::tiles::Nhwc;
use super::reference::evaluate;
use super::{Activations, Layer, Program, ProgramStep};

/// A network that is built step by step. Each function returns the value that it gives.
#[derive(Default)]
pub(super) struct Steps(pub(super) Vec<ProgramStep>);

/// The sizes of a convolution in tests: output channels, side, stride, padding, groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes(
    pub(super) usize,
    pub(super) usize,
    pub(super) usize,
    pub(super) usize,
    pub(super) usize,
);

impl Steps {
    pub(super) fn push(&mut self, layer: Layer, inputs: &[usize]) -> usize {
        self.0.push(ProgramStep {
            layer,
            inputs: inputs.to_vec(),
        });
        self.0.len()
    }

    fn seed(&self) -> u64 {
        100 * self.0.len() as u64
    }

    pub(super) fn conv(
        &mut self,
        input: usize,
        in_channels: usize,
        sizes: Sizes,
        has_bias: bool,
    ) -> usize {
        let Sizes(out_channels, side, stride, padding, groups) = sizes;
        let terms = in_channels / groups * side * side;
        let scale = (1.5 / terms as f32).sqrt();
        let weight = random_values(self.seed(), out_channels * terms, false);
        let layer = Layer::Conv {
            weight: weight.into_iter().map(|value| value * scale).collect(),
            out_channels,
            in_channels,
            side,
            stride,
            padding,
            groups,
            bias: has_bias.then(|| random_values(self.seed() + 1, out_channels, false)),
        };
        self.push(layer, &[input])
    }

    pub(super) fn norm(&mut self, input: usize, channels: usize) -> usize {
        let values = |seed, least: f32| {
            let values = random_values(self.seed() + seed, channels, false);
            values
                .into_iter()
                .map(|value| value.abs() + least)
                .collect()
        };
        let layer = Layer::BatchNorm {
            weight: values(2, 0.5),
            bias: values(3, -0.5),
            mean: values(4, -0.5),
            var: values(5, 0.3),
            eps: 1e-5,
        };
        self.push(layer, &[input])
    }

    pub(super) fn relu(&mut self, input: usize) -> usize {
        self.push(Layer::Relu, &[input])
    }

    pub(super) fn pool(
        &mut self,
        input: usize,
        side: usize,
        stride: usize,
        padding: usize,
        ceil: bool,
    ) -> usize {
        let layer = Layer::MaxPool {
            side,
            stride,
            padding,
            ceil,
        };
        self.push(layer, &[input])
    }

    /// Convolution, batch norm, `ReLU`.
    fn conv_norm_relu(&mut self, input: usize, in_channels: usize, sizes: Sizes) -> usize {
        let value = self.conv(input, in_channels, sizes, false);
        let value = self.norm(value, sizes.0);
        self.relu(value)
    }

    pub(super) fn run(self, input: &[f32], n: usize, height: usize, width: usize) -> Activations {
        Program::new(3, self.0).forward(input, n, height, width)
    }
}

/// A residual network with both kinds of blocks, with a shortcut that comes before or after the other path.
pub(super) fn residual() -> Steps {
    let mut steps = Steps::default();
    let stem = steps.conv_norm_relu(0, 3, Sizes(16, 7, 2, 3, 1));
    let pooled = steps.pool(stem, 3, 2, 1, false);
    let mut value = pooled;
    for (index, (channels, out, stride)) in [(16, 32, 1), (32, 32, 1), (32, 64, 2)]
        .into_iter()
        .enumerate()
    {
        let mut shortcut = value;
        let mut downsample = |steps: &mut Steps| {
            if channels != out {
                let conv = steps.conv(value, channels, Sizes(out, 1, stride, 0, 1), false);
                shortcut = steps.norm(conv, out);
            }
        };
        if index == 0 {
            downsample(&mut steps);
        }
        let path = steps.conv_norm_relu(value, channels, Sizes(16, 1, 1, 0, 1));
        let path = steps.conv_norm_relu(
            path,
            16,
            Sizes(16, 3, stride, 1, if index == 1 { 4 } else { 1 }),
        );
        let path = steps.conv(path, 16, Sizes(out, 1, 1, 0, 1), false);
        let path = steps.norm(path, out);
        if index == 2 {
            downsample(&mut steps);
        }
        let sum = steps.push(Layer::Add, &[path, shortcut]);
        value = steps.relu(sum);
    }
    // A basic block, whose second convolution adds in Winograd's inverse transform.
    let path = steps.conv_norm_relu(value, 64, Sizes(64, 3, 1, 1, 1));
    let path = steps.conv(path, 64, Sizes(64, 3, 1, 1, 1), false);
    let path = steps.norm(path, 64);
    let sum = steps.push(Layer::Add, &[path, value]);
    let value = steps.relu(sum);
    steps.push(Layer::AdaptivePool { side: 1 }, &[value]);
    steps
}

/// Two fire modules with pooling rounded up, and a classifier by convolution.
pub(super) fn fire() -> Steps {
    let mut steps = Steps::default();
    let stem = steps.conv(0, 3, Sizes(20, 3, 2, 0, 1), true);
    let stem = steps.relu(stem);
    let mut value = steps.pool(stem, 3, 2, 0, true);
    for (channels, squeezed, out) in [(20, 8, 24), (48, 16, 17)] {
        let squeeze = steps.conv(value, channels, Sizes(squeezed, 1, 1, 0, 1), true);
        let squeeze = steps.relu(squeeze);
        let one = steps.conv(squeeze, squeezed, Sizes(out, 1, 1, 0, 1), true);
        let one = steps.relu(one);
        let three = steps.conv(squeeze, squeezed, Sizes(out, 3, 1, 1, 1), true);
        let three = steps.relu(three);
        value = steps.push(Layer::Concat, &[one, three]);
    }
    value = steps.pool(value, 3, 2, 0, true);
    value = steps.push(Layer::Identity, &[value]);
    value = steps.conv(value, 34, Sizes(10, 1, 1, 0, 1), true);
    value = steps.relu(value);
    steps.push(Layer::AdaptivePool { side: 1 }, &[value]);
    steps
}

/// Strided convolutions of large windows and pooling to a fixed size.
pub(super) fn large_windows() -> Steps {
    let mut steps = Steps::default();
    let mut value = steps.conv(0, 3, Sizes(16, 11, 4, 2, 1), true);
    value = steps.relu(value);
    value = steps.pool(value, 3, 2, 0, false);
    value = steps.conv(value, 16, Sizes(24, 5, 1, 2, 1), true);
    value = steps.relu(value);
    steps.push(Layer::AdaptivePool { side: 6 }, &[value]);
    steps
}

/// VGG's order: a bias before the batch norm, and pooling of stride 2.
pub(super) fn plain() -> Steps {
    let mut steps = Steps::default();
    let mut value = 0;
    for (channels, out, has_norm) in [(3, 16, false), (16, 70, true), (70, 8, false)] {
        value = steps.conv(value, channels, Sizes(out, 3, 1, 1, 1), true);
        if has_norm {
            value = steps.norm(value, out);
        }
        value = steps.relu(value);
        if out != 8 {
            value = steps.pool(value, 2, 2, 0, false);
        }
    }
    steps
}

/// Values that are read several times, which forbids to fuse, to join and to change them in place.
pub(super) fn tangled() -> Steps {
    let mut steps = Steps::default();
    let conv = steps.conv(0, 3, Sizes(12, 3, 1, 1, 1), false);
    let norm = steps.norm(conv, 12);
    let relu = steps.relu(norm);
    let sum = steps.push(Layer::Add, &[conv, relu]);
    let twice = steps.push(Layer::Add, &[sum, sum]);
    let relu = steps.relu(twice);
    let joined = steps.push(Layer::Concat, &[relu, norm, relu, 0]);
    let conv = steps.conv(joined, 39, Sizes(12, 1, 1, 0, 1), true);
    let unused = steps.relu(conv);
    steps.norm(unused, 12);
    let same = steps.push(Layer::Identity, &[conv]);
    let sum = steps.push(Layer::Add, &[same, norm]);
    let joined = steps.push(Layer::Concat, &[sum, conv]);
    let norm = steps.norm(joined, 24);
    let conv = steps.conv(norm, 24, Sizes(5, 3, 1, 1, 1), false);
    let strided = steps.conv(norm, 24, Sizes(7, 3, 2, 1, 1), false);
    let pooled = steps.pool(conv, 3, 2, 1, false);
    steps.push(Layer::Concat, &[strided, pooled]);
    steps
}

pub(super) type Network = (&'static str, fn() -> Steps);

pub(super) const NETWORKS: [Network; 5] = [
    ("residual", residual),
    ("fire", fire),
    ("large windows", large_windows),
    ("plain", plain),
    ("tangled", tangled),
];

pub(super) fn assert_agrees(
    name: &str,
    build: impl Fn() -> Steps,
    (n, height, width): (usize, usize, usize),
) {
    let shape = Nhwc {
        n,
        height,
        width,
        channels: 3,
    };
    let input = random_values(1, shape.len(), false);
    let (expected, after) = evaluate(&build().0, &widen(&to_nhwc(&input, shape)), shape);
    let actual = build().run(&input, n, height, width);
    assert_eq!(
        (actual.channels, actual.height, actual.width),
        (after.channels, after.height, after.width),
        "{name}"
    );
    let error = relative_error(&to_nhwc(&actual.values, after), &expected);
    assert!(error < 1e-5, "{name} of {n}x{height}x{width}: {error:e}");
}

//! Layers and small networks of our own operations, and what their passes cost.

use burn::{
    module::{Module, Param, RunningState},
    nn::{
        Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor},
};

use super::{
    activation::{add_relu, relu},
    batch_norm::BatchNorm2d,
    conv,
    paper::MaxPool,
    pool,
};

/// Milliseconds of the clock, or of the processor if there is only one thread: they hardly depend on other work on the machine.
fn now() -> f64 {
    let clock = if rayon::current_num_threads() == 1 {
        libc::CLOCK_PROCESS_CPUTIME_ID
    } else {
        libc::CLOCK_MONOTONIC
    };
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    #[expect(
        unsafe_code,
        reason = "the standard library has no clock of the processor"
    )]
    // SAFETY: `time` is a valid place to write to, and both clocks exist on every Unix.
    unsafe {
        libc::clock_gettime(clock, &raw mut time);
    }
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// Milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) forward: f64,
    pub(crate) backward: f64,
}

impl Cost {
    pub(crate) fn worst() -> Self {
        Self {
            forward: f64::INFINITY,
            backward: f64::INFINITY,
        }
    }

    pub(crate) fn keep_best(&mut self, other: Self) {
        self.forward = self.forward.min(other.forward);
        self.backward = self.backward.min(other.backward);
    }

    pub(crate) fn total(self) -> f64 {
        self.forward + self.backward
    }
}

pub(crate) enum Layer {
    Conv(Conv2d),
    Norm(BatchNorm2d),
    Relu,
    Max(MaxPool),
    Mean,
    /// Blocks, and a fully connected layer behind the mean.
    Network(Option<Box<ConvNorm>>, Vec<Block>, Linear),
}

impl Layer {
    pub(crate) fn parse(name: &str, device: &Device) -> Self {
        let numbers: Vec<usize> = name.split(' ').flat_map(str::parse).collect();
        match name.split(' ').next() {
            Some("conv") => {
                let [inputs, _, outputs, side, stride, padding, groups, bias] = numbers[..] else {
                    panic!("eight numbers of a convolution")
                };
                let config = config([inputs, outputs], side, stride, padding);
                let config = config.with_groups(groups).with_bias(bias == 1);
                Self::Conv(config.init(device))
            }
            Some("norm") => Self::Norm(norm(numbers[0], true, device)),
            Some("eval_norm") => Self::Norm(norm(numbers[0], false, device).no_grad()),
            Some("relu") => Self::Relu,
            Some("max") => Self::Max(MaxPool {
                side: numbers[2],
                stride: numbers[3],
                padding: numbers[4],
                ceil: numbers[5] == 1,
            }),
            Some("mean") => Self::Mean,
            Some("layer4") => {
                let block = |inputs, stride| Block::bottleneck(inputs, 512, stride, device);
                let blocks = vec![block(1024, 2), block(2048, 1), block(2048, 1)];
                Self::Network(None, blocks, LinearConfig::new(2048, 1000).init(device))
            }
            Some("resnet18") => {
                let stem = ConvNorm::new([3, 64], 7, 2, device);
                let mut blocks = Vec::new();
                for (inputs, outputs, stride) in
                    [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
                {
                    blocks.push(Block::basic(inputs, outputs, stride, device));
                    blocks.push(Block::basic(outputs, outputs, 1, device));
                }
                let head = LinearConfig::new(512, 1000).init(device);
                Self::Network(Some(Box::new(stem)), blocks, head)
            }
            _ => panic!("unknown operation"),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(layer) => conv::forward(layer, input),
            Self::Norm(norm) => norm.forward(input),
            Self::Relu => relu(input),
            Self::Max(windows) => pool::max_pool(input, *windows),
            Self::Mean => pool::adaptive_avg(input, 1),
            Self::Network(stem, blocks, head) => {
                let windows = MaxPool {
                    side: 3,
                    stride: 2,
                    padding: 1,
                    ceil: false,
                };
                let x = match stem {
                    Some(stem) => pool::max_pool(relu(stem.forward(input)), windows),
                    None => input,
                };
                let x = blocks.iter().fold(x, |x, block| block.forward(x));
                let x = head.forward(pool::adaptive_avg(x, 1).flatten::<2>(1, 3));
                x.unsqueeze_dims(&[2, 3])
            }
        }
    }

    pub(crate) fn cost(&mut self, input: &Tensor<4>) -> Cost {
        // The first layer of what is trained has no gradient to pass on.
        let is_network = matches!(self, Self::Network(..));
        let input = input.clone().detach();
        let input = if is_network {
            input
        } else {
            input.require_grad()
        };
        // Pixels that a layer may overwrite.
        let input = if is_network { input } else { input * 1.0 };
        let start = now();
        let output = self.forward(input);
        let between = now();
        drop(output.backward());
        Cost {
            forward: between - start,
            backward: now() - between,
        }
    }
}

fn config(channels: [usize; 2], side: usize, stride: usize, padding: usize) -> Conv2dConfig {
    Conv2dConfig::new(channels, [side; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(
            padding, padding, padding, padding,
        ))
        .with_bias(false)
}

fn norm(channels: usize, is_training: bool, device: &Device) -> BatchNorm2d {
    BatchNorm2d {
        weight: Param::from_tensor(Tensor::ones([channels], device)),
        bias: Param::from_tensor(Tensor::zeros([channels], device)),
        running_mean: RunningState::new(Tensor::zeros([channels], &device.clone().inner())),
        running_var: RunningState::new(Tensor::ones([channels], &device.clone().inner())),
        training: Param::from_bool(is_training),
        eps: 1e-5,
        momentum: 0.1,
    }
}

pub(crate) struct ConvNorm(Conv2d, BatchNorm2d);

impl ConvNorm {
    fn new(channels: [usize; 2], side: usize, stride: usize, device: &Device) -> Self {
        let conv = config(channels, side, stride, side / 2).init(device);
        Self(conv, norm(channels[1], true, device))
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.1.forward(conv::forward(&self.0, input))
    }
}

pub(crate) struct Block {
    layers: Vec<ConvNorm>,
    downsample: Option<ConvNorm>,
}

impl Block {
    fn bottleneck(inputs: usize, width: usize, stride: usize, device: &Device) -> Self {
        let layers = vec![
            ConvNorm::new([inputs, width], 1, 1, device),
            ConvNorm::new([width, width], 3, stride, device),
            ConvNorm::new([width, 4 * width], 1, 1, device),
        ];
        let downsample =
            (inputs != 4 * width).then(|| ConvNorm::new([inputs, 4 * width], 1, stride, device));
        Self { layers, downsample }
    }

    fn basic(inputs: usize, outputs: usize, stride: usize, device: &Device) -> Self {
        let layers = vec![
            ConvNorm::new([inputs, outputs], 3, stride, device),
            ConvNorm::new([outputs, outputs], 3, 1, device),
        ];
        let downsample =
            (inputs != outputs).then(|| ConvNorm::new([inputs, outputs], 1, stride, device));
        Self { layers, downsample }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut x = input.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            if index + 1 < self.layers.len() {
                x = relu(x);
            }
        }
        let beside = match &self.downsample {
            Some(layer) => layer.forward(input),
            None => input,
        };
        add_relu(x, beside)
    }
}

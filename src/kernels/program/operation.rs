//! The operations of a compiled program: the kernels with their values. Knows no buffers.

use super::super::elementwise::{self, Change};
use super::super::finish::{Finish, Target};
use super::super::grouped::GroupFilters;
use super::super::patches::{FilterSizes, PatchFilters};
use super::super::pool::{PoolSizes, adaptive_average};
use super::super::tiles::Nhwc;
use super::super::window::SlidingWindow;
use super::super::winograd::{self, Winograd3x3};
use super::Layer;
use super::fuse::Fused;

/// The kernel of an operation, with its values.
pub(super) enum Operation {
    Conv(Conv),
    ScaleShift {
        scale: Vec<f32>,
        shift: Vec<f32>,
        relu: bool,
    },
    Relu,
    MaxPool(PoolSizes),
    AdaptivePool {
        side: usize,
    },
    Add {
        relu: bool,
    },
    Concat,
}

/// A convolution with what is fused into it.
pub(super) struct Conv {
    filters: Filters,
    bias: Option<Vec<f32>>,
    relu: bool,
    max_pool: bool,
}

enum Filters {
    Winograd(Winograd3x3),
    Patches(PatchFilters),
    Groups(GroupFilters),
}

/// The sizes of a convolution; `None` for another layer.
pub(super) fn conv_sizes(layer: &Layer) -> Option<FilterSizes> {
    let Layer::Conv {
        out_channels,
        in_channels,
        side,
        stride,
        padding,
        groups,
        ..
    } = *layer
    else {
        return None;
    };
    let window = SlidingWindow {
        side,
        stride,
        padding,
    };
    Some(FilterSizes {
        out_channels,
        in_channels,
        window,
        groups,
    })
}

/// Whether a layer is a convolution that is computed by Winograd's algorithm, which can also pool.
pub(super) fn uses_winograd(layer: &Layer) -> bool {
    conv_sizes(layer).is_some_and(|sizes| {
        sizes.window == winograd::WINDOW && sizes.groups == 1 && winograd::pools(sizes.in_channels)
    })
}

impl Operation {
    /// Takes the layers of `fused` out of `layers`.
    pub(super) fn new(fused: &Fused, layers: &mut [Option<Layer>]) -> Self {
        let mut take = |step: usize| layers[step].take().expect("a step is fused once");
        let layer = take(fused.step);
        let (sizes, uses_winograd) = (conv_sizes(&layer), uses_winograd(&layer));
        let max_pool = layer.max_pool();
        match layer {
            Layer::Conv {
                mut weight,
                mut bias,
                ..
            } => {
                if let Some(norm) = fused.norm {
                    bias = Some(fold(&mut weight, &take(norm)));
                }
                let sizes = sizes.expect("it is a convolution");
                Self::Conv(Conv {
                    filters: Filters::new(&weight, sizes, uses_winograd),
                    bias,
                    relu: fused.relu,
                    max_pool: fused.pool,
                })
            }
            Layer::BatchNorm {
                weight,
                bias,
                mean,
                var,
                eps,
            } => {
                let (scale, shift) = scale_and_shift(&weight, &bias, &mean, &var, eps);
                Self::ScaleShift {
                    scale,
                    shift,
                    relu: fused.relu,
                }
            }
            Layer::Relu => Self::Relu,
            Layer::MaxPool { .. } => Self::MaxPool(max_pool.expect("it is a pooling")),
            Layer::AdaptivePool { side } => Self::AdaptivePool { side },
            Layer::Add => Self::Add { relu: fused.relu },
            Layer::Concat => Self::Concat,
            Layer::Identity => unreachable!("a step that does nothing is left out"),
        }
    }
}

impl Filters {
    fn new(weight: &[f32], sizes: FilterSizes, uses_winograd: bool) -> Self {
        let (out, inputs) = (sizes.out_channels, sizes.in_channels / sizes.groups);
        let taps = sizes.window.taps();
        assert_eq!(weight.len(), out * inputs * taps, "weight size");
        if uses_winograd {
            return Self::Winograd(Winograd3x3::new(weight, out, inputs));
        }
        let weight = |output, input, tap| weight[(output * inputs + input) * taps + tap];
        if GroupFilters::fits(sizes) {
            Self::Groups(GroupFilters::new(sizes, weight))
        } else {
            Self::Patches(PatchFilters::new(sizes, weight))
        }
    }
}

impl Conv {
    /// Convolves NHWC `input` of `shape`, and adds `add` if given.
    pub(super) fn forward(&self, input: &[f32], shape: Nhwc, add: Option<&[f32]>, output: Target) {
        let finish = Finish {
            bias: self.bias.as_deref(),
            add,
            relu: self.relu,
            max_pool: self.max_pool,
        };
        match &self.filters {
            Filters::Winograd(filters) => filters.forward_finished(input, shape, finish, output),
            Filters::Patches(filters) => filters.forward(input, shape, finish, output),
            Filters::Groups(filters) => filters.forward(input, shape, finish, output),
        }
    }
}

impl Operation {
    /// The change that this operation makes to single values, if it is one.
    pub(super) fn change(&self) -> Option<Change<'_>> {
        match self {
            Self::ScaleShift { scale, shift, relu } => Some(Change {
                scale_shift: Some((scale, shift)),
                relu: *relu,
            }),
            Self::Relu => Some(Change {
                scale_shift: None,
                relu: true,
            }),
            _ => None,
        }
    }

    /// Runs an operation other than a convolution or a concatenation on dense values.
    pub(super) fn forward(&self, inputs: &[&[f32]], shape: Nhwc, output: &mut [f32]) {
        match self {
            Self::MaxPool(pool) => pool.forward(inputs[0], shape, output),
            Self::AdaptivePool { side } => adaptive_average(inputs[0], shape, *side, output),
            Self::Add { relu } => {
                output.copy_from_slice(inputs[0]);
                elementwise::add(output, inputs[1], *relu);
            }
            _ => {
                output.copy_from_slice(inputs[0]);
                if let Some(change) = self.change() {
                    change.apply(output, shape.channels);
                }
            }
        }
    }
}

/// Folds a batch norm into the weights of the convolution before it, and returns the bias. Each value is rounded once.
fn fold(weight: &mut [f32], norm: &Layer) -> Vec<f32> {
    let Layer::BatchNorm {
        weight: scale,
        bias,
        mean,
        var,
        eps,
    } = norm
    else {
        unreachable!("only a batch norm is folded");
    };
    let per_channel = weight.len() / scale.len();
    let mut folded = Vec::with_capacity(scale.len());
    for (channel, weight) in weight.chunks_exact_mut(per_channel).enumerate() {
        let deviation = (f64::from(var[channel]) + eps).sqrt();
        let factor = f64::from(scale[channel]) / deviation;
        for weight in weight {
            *weight = (f64::from(*weight) * factor) as f32;
        }
        folded.push((f64::from(bias[channel]) - f64::from(mean[channel]) * factor) as f32);
    }
    folded
}

/// The scale and shift per channel that a batch norm in eval mode amounts to.
fn scale_and_shift(
    weight: &[f32],
    bias: &[f32],
    mean: &[f32],
    var: &[f32],
    eps: f64,
) -> (Vec<f32>, Vec<f32>) {
    let deviations = var.iter().map(|var| (f64::from(*var) + eps).sqrt());
    let scale: Vec<f32> = weight
        .iter()
        .zip(deviations)
        .map(|(weight, deviation)| (f64::from(*weight) / deviation) as f32)
        .collect();
    let shifts = bias.iter().zip(mean).zip(&scale);
    let shift = shifts
        .map(|((bias, mean), scale)| bias - mean * scale)
        .collect();
    (scale, shift)
}

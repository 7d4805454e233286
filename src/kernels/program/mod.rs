//! A compiled network of frozen layers: operations over numbered values, fused, in stages over a few reused NHWC buffers. Knows only
//! the layers' values, not where they come from.

mod fuse;
mod operation;
mod run;
mod stages;

#[cfg(test)]
mod networks;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use super::pool::PoolSizes;
use super::tiles::Nhwc;
use super::window::SlidingWindow;
use fuse::{Fused, fuse};
use operation::Operation;
use stages::{Stage, stages};

pub(crate) use run::release_buffers;

/// The most values (32 MB) that the inputs and the output of a step may take together. A larger batch is cut into groups of images,
/// so that the output of a layer is mostly still in the cache when the next layer reads it.
pub(crate) const GROUP_VALUES: usize = 1 << 23;

/// One operation of a network, with its values in `PyTorch`'s shapes.
pub(crate) enum Layer {
    /// Convolution with a square window; `weight` is `[out, in / groups, side, side]`.
    Conv {
        weight: Vec<f32>,
        out_channels: usize,
        in_channels: usize,
        side: usize,
        stride: usize,
        padding: usize,
        groups: usize,
        bias: Option<Vec<f32>>,
    },
    /// Batch norm in eval mode, one value per channel each.
    BatchNorm {
        weight: Vec<f32>,
        bias: Vec<f32>,
        mean: Vec<f32>,
        var: Vec<f32>,
        eps: f64,
    },
    /// Sets negative values to zero.
    Relu,
    /// Max pooling with a square window.
    MaxPool {
        side: usize,
        stride: usize,
        padding: usize,
        ceil: bool,
    },
    /// Average pooling to `side * side` pixels, as `torch.nn.AdaptiveAvgPool2d(side)`.
    AdaptivePool { side: usize },
    /// The sum of two values.
    Add,
    /// The channels of several values, one after the other.
    Concat,
    /// Returns its input, as dropout in eval mode.
    Identity,
}

/// A layer and the values that it reads: value 0 is the pixels, value `k` what step `k - 1` gives.
pub(crate) struct ProgramStep {
    pub(crate) layer: Layer,
    pub(crate) inputs: Vec<usize>,
}

/// The values `[n, channels, height, width]` that a program returns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Activations {
    pub(crate) values: Vec<f32>,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Layers that are ready to run.
pub(crate) struct Program {
    plan: Plan,
    operations: Vec<Operation>,
}

/// The operations and buffers of a program, which follow from its steps without the values of their weights.
pub(crate) struct Plan {
    in_channels: usize,
    /// The inputs and sizes of each step, as it was before it was fused.
    steps: Vec<(Size, Vec<usize>)>,
    fused: Vec<Fused>,
    stages: Vec<Stage>,
    /// The value that the program returns.
    result: usize,
}

/// How a layer changes the sizes of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Same,
    Conv {
        window: SlidingWindow,
        out_channels: usize,
    },
    MaxPool(PoolSizes),
    Square(usize),
    Joined,
}

impl Layer {
    fn size(&self) -> Size {
        match *self {
            Self::Conv {
                side,
                stride,
                padding,
                out_channels,
                ..
            } => Size::Conv {
                window: SlidingWindow {
                    side,
                    stride,
                    padding,
                },
                out_channels,
            },
            Self::MaxPool { .. } => self.max_pool().map_or(Size::Same, Size::MaxPool),
            Self::AdaptivePool { side } => Size::Square(side),
            Self::Concat => Size::Joined,
            Self::BatchNorm { .. } | Self::Relu | Self::Add | Self::Identity => Size::Same,
        }
    }

    fn max_pool(&self) -> Option<PoolSizes> {
        let Self::MaxPool {
            side,
            stride,
            padding,
            ceil,
        } = *self
        else {
            return None;
        };
        let window = SlidingWindow {
            side,
            stride,
            padding,
        };
        Some(PoolSizes { window, ceil })
    }
}

impl Size {
    /// The sizes of the output, given those of the inputs.
    fn after(self, inputs: &[Nhwc]) -> Nhwc {
        let first = inputs[0];
        match self {
            Self::Same => first,
            Self::Conv {
                window,
                out_channels,
            } => window.after(first, out_channels),
            Self::MaxPool(pool) => pool.after(first),
            Self::Square(side) => Nhwc {
                height: side,
                width: side,
                ..first
            },
            Self::Joined => first.with_channels(inputs.iter().map(|input| input.channels).sum()),
        }
    }

    /// Whether the output has fewer pixels than the input.
    fn shrinks(self) -> bool {
        match self {
            Self::Conv { window, .. } | Self::MaxPool(PoolSizes { window, .. }) => {
                window.stride > 1
            }
            Self::Square(_) => true,
            Self::Same | Self::Joined => false,
        }
    }
}

impl Plan {
    /// Plans `steps`, which read `in_channels` channels of pixels and whose last one gives the result. Their weights may be missing.
    ///
    /// Panics if a step reads a value that comes later, or has the wrong number of inputs.
    pub(crate) fn new(in_channels: usize, steps: &[ProgramStep]) -> Self {
        for (index, step) in steps.iter().enumerate() {
            let count = step.inputs.len();
            let is_right = match step.layer {
                Layer::Add => count == 2,
                Layer::Concat => count > 0,
                _ => count == 1,
            };
            assert!(is_right, "number of inputs of step {index}");
            assert!(
                step.inputs.iter().all(|input| *input <= index),
                "step {index} reads a later value"
            );
        }
        let (fused, result) = fuse(steps);
        Self {
            in_channels,
            steps: steps
                .iter()
                .map(|step| (step.layer.size(), step.inputs.clone()))
                .collect(),
            stages: stages(&fused, steps, result),
            fused,
            result,
        }
    }

    /// The sizes of all values, given those of the pixels.
    fn shapes(&self, pixels: Nhwc) -> Vec<Nhwc> {
        let mut shapes = vec![pixels];
        for (size, inputs) in &self.steps {
            let inputs: Vec<_> = inputs.iter().map(|value| shapes[*value]).collect();
            shapes.push(size.after(&inputs));
        }
        shapes
    }

    /// The number of images that go through a stage at a time.
    fn group(&self, stage: &Stage, shapes: &[Nhwc], n: usize) -> usize {
        let sizes = stage.steps.iter().map(|step| {
            let inputs = self.steps[*step].1.iter();
            let read: usize = inputs.map(|value| shapes[*value].len()).sum();
            read + shapes[step + 1].len()
        });
        let largest = sizes.max().unwrap_or(0);
        (GROUP_VALUES / largest.max(1)).clamp(1, n.max(1))
    }
}

impl Program {
    /// Compiles `steps`, which read `in_channels` channels of pixels and whose last one gives the result.
    ///
    /// Panics where `Plan::new` does, and if weights do not have the sizes of their layer.
    pub(crate) fn new(in_channels: usize, steps: Vec<ProgramStep>) -> Self {
        let plan = Plan::new(in_channels, &steps);
        let mut layers: Vec<_> = steps.into_iter().map(|step| Some(step.layer)).collect();
        let operations = plan.fused.iter();
        let operations = operations.map(|fused| Operation::new(fused, &mut layers));
        Self {
            operations: operations.collect(),
            plan,
        }
    }

    /// Runs NCHW `input` (`[n, in, height, width]`) through all layers.
    pub(crate) fn forward(
        &self,
        input: &[f32],
        n: usize,
        height: usize,
        width: usize,
    ) -> Activations {
        let shape = Nhwc {
            n,
            height,
            width,
            channels: self.plan.in_channels,
        };
        assert_eq!(input.len(), shape.len(), "input size");
        run::run(self, input, shape)
    }
}

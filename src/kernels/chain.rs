//! A chain of layers over two reused NHWC buffers. Knows only the layers' values, not where they come from.

use super::buffer::{AlignedBuffer, SHARED_SCRATCH};
use super::layout::{nchw_to_nhwc, nhwc_to_nchw};
use super::pool::max_pool;
use super::tiles::Nhwc;
use super::winograd::Winograd3x3;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::cell::Cell;

/// The most values (32 MB) that a stage's input and output may take together. A larger batch is cut into groups of images, so
/// that the output of a layer is mostly still in the cache when the next layer reads it.
pub(crate) const GROUP_VALUES: usize = 1 << 23;

/// The number of values per task of an elementwise layer.
const ELEMENTWISE_VALUES: usize = 1 << 15;

/// A layer of a chain. All keep height and width except `MaxPool`, which halves them (2x2, stride 2, rounded down).
pub(crate) enum ChainLayer {
    /// 3x3 convolution of stride 1 and padding 1.
    Conv {
        filters: Winograd3x3,
        bias: Option<Vec<f32>>,
    },
    /// `value * scale + shift` per channel: batch norm in eval mode.
    ScaleShift { scale: Vec<f32>, shift: Vec<f32> },
    /// Sets negative values to zero.
    Relu,
    /// 2x2 max pool of stride 2.
    MaxPool,
}

/// The values `[n, channels, height, width]` that a chain returns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Activations {
    pub(crate) values: Vec<f32>,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Layers that run one after the other.
pub(crate) struct Chain {
    in_channels: usize,
    layers: Vec<ChainLayer>,
}

/// Two buffers that a thread keeps between passes. A layer reads one and writes the other.
#[derive(Default)]
struct PingPong {
    read: AlignedBuffer,
    write: AlignedBuffer,
}

/// The buffers of groups of images, and those of the whole batch between stages.
#[derive(Default)]
struct Workspace {
    group: PingPong,
    batch: PingPong,
}

thread_local! {
    static WORKSPACE: Cell<Workspace> = Cell::new(Workspace::default());
}

/// Frees the buffers that this thread keeps.
pub(crate) fn release_buffers() {
    WORKSPACE.take();
    SHARED_SCRATCH.take();
}

/// One pass over the values, with the layers that are fused into it.
struct ChainStep<'a> {
    layer: &'a ChainLayer,
    relu: bool,
    pooled: bool,
    layers: usize,
}

impl Chain {
    /// A chain that reads `in_channels` channels.
    pub(crate) fn new(in_channels: usize, layers: Vec<ChainLayer>) -> Self {
        Self {
            in_channels,
            layers,
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
            channels: self.in_channels,
        };
        assert_eq!(input.len(), shape.len(), "input size");
        let mut workspace = WORKSPACE.take();
        let activations = self.run(input, shape, &mut workspace);
        WORKSPACE.set(workspace);
        activations
    }

    fn run(&self, input: &[f32], mut shape: Nhwc, workspace: &mut Workspace) -> Activations {
        let Workspace { group, batch } = workspace;
        nchw_to_nhwc(input, shape, batch.read.take_mut(shape.len()));
        let mut layers = &self.layers[..];
        while !layers.is_empty() {
            let (stage, rest) = layers.split_at(stage_length(layers));
            let (target, largest) = sizes_of(stage, shape);
            let images = (GROUP_VALUES / largest.max(1)).clamp(1, shape.n.max(1));
            let (one, one_target) = (Nhwc { n: 1, ..shape }, Nhwc { n: 1, ..target });
            let source = batch.read.take(shape.len());
            let values = batch.write.take_mut(target.len());
            if !source.is_empty() {
                let parts = source.chunks(images * one.len());
                let targets = values.chunks_mut((images * one_target.len()).max(1));
                for (source, values) in parts.zip(targets) {
                    let shape = Nhwc {
                        n: source.len() / one.len(),
                        ..shape
                    };
                    run_stage(stage, source, shape, group, values);
                }
            }
            std::mem::swap(&mut batch.read, &mut batch.write);
            shape = target;
            layers = rest;
        }
        let mut values = vec![0.0; shape.len()];
        nhwc_to_nchw(batch.read.take(shape.len()), shape, &mut values);
        Activations {
            values,
            channels: shape.channels,
            height: shape.height,
            width: shape.width,
        }
    }
}

/// The number of layers up to and including the first pooling.
fn stage_length(layers: &[ChainLayer]) -> usize {
    layers
        .iter()
        .position(|layer| matches!(layer, ChainLayer::MaxPool))
        .map_or(layers.len(), |pool| pool + 1)
}

/// The sizes after `layers`, and the most values that a step reads and writes for one image.
fn sizes_of(layers: &[ChainLayer], mut shape: Nhwc) -> (Nhwc, usize) {
    let mut largest = 0;
    for layer in layers {
        let next = after(layer, shape);
        largest = largest.max(Nhwc { n: 1, ..shape }.len() + Nhwc { n: 1, ..next }.len());
        shape = next;
    }
    (shape, largest)
}

fn after(layer: &ChainLayer, shape: Nhwc) -> Nhwc {
    match layer {
        ChainLayer::Conv { filters, .. } => shape.with_channels(filters.out_channels()),
        ChainLayer::ScaleShift { .. } | ChainLayer::Relu => shape,
        ChainLayer::MaxPool => shape.pooled(),
    }
}

/// The first step of `layers`. A convolution is fused with a following `Relu` and `MaxPool`.
fn first_step(layers: &[ChainLayer]) -> ChainStep<'_> {
    let layer = &layers[0];
    let mut step = ChainStep {
        layer,
        relu: false,
        pooled: false,
        layers: 1,
    };
    if let ChainLayer::Conv { filters, .. } = layer {
        if matches!(layers.get(step.layers), Some(ChainLayer::Relu)) {
            step.relu = true;
            step.layers += 1;
        }
        if filters.pools() && matches!(layers.get(step.layers), Some(ChainLayer::MaxPool)) {
            step.pooled = true;
            step.layers += 1;
        }
    }
    step
}

/// Runs NHWC `source` of `shape` through a stage into `target`, through the group's buffers.
fn run_stage(
    mut layers: &[ChainLayer],
    source: &[f32],
    mut shape: Nhwc,
    group: &mut PingPong,
    target: &mut [f32],
) {
    let mut fresh = true;
    while !layers.is_empty() {
        let step = first_step(layers);
        layers = &layers[step.layers..];
        let mut next = after(step.layer, shape);
        if step.pooled {
            next = next.pooled();
        }
        let in_place = matches!(step.layer, ChainLayer::ScaleShift { .. } | ChainLayer::Relu);
        if in_place && !fresh && !layers.is_empty() {
            change_in_place(step.layer, group.read.take_mut(shape.len()), shape.channels);
            continue;
        }
        let input = if fresh {
            source
        } else {
            group.read.take(shape.len())
        };
        if layers.is_empty() {
            run_step(&step, input, shape, target);
            return;
        }
        run_step(&step, input, shape, group.write.take_mut(next.len()));
        std::mem::swap(&mut group.read, &mut group.write);
        fresh = false;
        shape = next;
    }
}

fn run_step(step: &ChainStep, input: &[f32], shape: Nhwc, output: &mut [f32]) {
    match step.layer {
        ChainLayer::Conv { filters, bias } => {
            let bias = bias.as_deref();
            if step.pooled {
                filters.forward_pooled(input, shape, bias, step.relu, output);
            } else {
                filters.forward(input, shape, bias, step.relu, output);
            }
        }
        ChainLayer::ScaleShift { .. } | ChainLayer::Relu => {
            output.copy_from_slice(input);
            change_in_place(step.layer, output, shape.channels);
        }
        ChainLayer::MaxPool => max_pool(input, shape, output),
    }
}

/// Applies an elementwise layer to NHWC values.
fn change_in_place(layer: &ChainLayer, values: &mut [f32], channels: usize) {
    let (scale, shift) = match layer {
        ChainLayer::ScaleShift { scale, shift } => (Some(&scale[..]), &shift[..]),
        _ => (None, &[][..]),
    };
    assert!(
        scale.is_none_or(|scale| scale.len() == channels && shift.len() == channels),
        "one scale and one shift per channel"
    );
    let pixels = (ELEMENTWISE_VALUES / channels).max(1);
    values.par_chunks_mut(pixels * channels).for_each(|values| {
        Arch::new().dispatch(ChangePixels {
            scale,
            shift,
            values,
        });
    });
}

/// Scales and shifts NHWC pixels if a scale is given, else sets negative values to zero.
struct ChangePixels<'a> {
    scale: Option<&'a [f32]>,
    shift: &'a [f32],
    values: &'a mut [f32],
}

impl WithSimd for ChangePixels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        if let Some(scale) = self.scale {
            for pixel in self.values.chunks_exact_mut(scale.len()) {
                for ((value, scale), shift) in pixel.iter_mut().zip(scale).zip(self.shift) {
                    *value = *value * scale + shift;
                }
            }
        } else {
            for value in self.values {
                // Unlike `max`, this keeps a NaN.
                *value = if *value < 0.0 { 0.0 } else { *value };
            }
        }
    }
}

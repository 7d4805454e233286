//! The memory of the frozen first layers as `model::front` runs them on the CPU: their transformed filters, and the buffers of
//! `kernels::program`. Pure.

use super::{
    heap::{Block, Buffer, Heap, Part},
    network::{self, filters, grow_scratch},
};
use crate::{
    config::experiment::ImageSize,
    kernels::{program::GROUP_VALUES, winograd},
    model::layout::{Arch, FeatureLayer},
};

/// Layers that are prepared to run.
pub(super) struct Front<'a> {
    arch: Arch,
    size: ImageSize,
    /// How many of the layers are in `features`.
    n_features: usize,
    /// The layers after `features`.
    rest: &'a [network::Layer],
    filters: Vec<Block>,
}

/// The shape of one image: channels, height, width.
#[derive(Clone, Copy)]
struct Shape([usize; 3]);

impl Shape {
    fn n_values(self) -> usize {
        self.0.iter().product()
    }

    fn after(self, layer: FeatureLayer) -> Self {
        let [channels, height, width] = self.0;
        Self(match layer {
            FeatureLayer::Conv { out_channels, .. } => [out_channels, height, width],
            FeatureLayer::BatchNorm { .. } | FeatureLayer::Relu => self.0,
            FeatureLayer::MaxPool => [channels, height / 2, width / 2],
        })
    }
}

impl<'a> Front<'a> {
    /// Prepares the first `n_layers` of `layers`, which is the whole network.
    pub(super) fn new(
        heap: &mut Heap,
        arch: Arch,
        size: ImageSize,
        layers: &'a [network::Layer],
        n_layers: usize,
    ) -> Self {
        let features = arch.features();
        let n_features = features.len().min(n_layers);
        let mut made = Vec::new();
        for layer in &features[..n_features] {
            if let FeatureLayer::Conv {
                in_channels,
                out_channels,
            } = *layer
            {
                let weight = heap.floats(Part::Copies, 9 * in_channels * out_channels);
                made.push(filters(heap, in_channels, out_channels));
                heap.free(weight);
            }
        }
        Self {
            arch,
            size,
            n_features,
            rest: &layers[n_features..n_layers],
            filters: made,
        }
    }

    /// Runs `n` images from their pixels to the output of the last layer.
    pub(super) fn run(&self, heap: &mut Heap, n: usize, pixels: Block) -> Block {
        let features = self.arch.features();
        let mut layers = &features[..self.n_features];
        let mut shape = Shape([3, self.size.height, self.size.width]);
        heap.grow(Buffer::BatchRead, n * shape.n_values());
        while !layers.is_empty() {
            let is_pool = |layer: &FeatureLayer| matches!(layer, FeatureLayer::MaxPool);
            let length = layers
                .iter()
                .position(is_pool)
                .map_or(layers.len(), |at| at + 1);
            let (stage, rest) = layers.split_at(length);
            let target = stage.iter().fold(shape, |shape, layer| shape.after(*layer));
            heap.grow(Buffer::BatchWrite, n * target.n_values());
            run_stage(heap, stage, shape, n);
            heap.swap(Buffer::BatchRead, Buffer::BatchWrite);
            (layers, shape) = (rest, target);
        }
        let values = heap.floats(Part::Activations, n * shape.n_values());
        heap.free(pixels);
        network::evaluated(heap, self.rest, n, values)
    }

    /// Frees the filters and the buffers.
    pub(super) fn release(self, heap: &mut Heap) {
        heap.free_all(self.filters);
        heap.release_buffers();
    }
}

/// Runs the convolutions up to a pooling, group by group. The last of them writes to the buffer of the batch.
fn run_stage(heap: &mut Heap, stage: &[FeatureLayer], mut shape: Shape, n: usize) {
    let pairs = stage.iter().scan(shape, |shape, layer| {
        let before = *shape;
        *shape = before.after(*layer);
        Some(before.n_values() + shape.n_values())
    });
    let largest = pairs.max().unwrap_or(1);
    let n_in_group = (GROUP_VALUES / largest.max(1)).clamp(1, n.max(1));
    let mut slots = [Buffer::GroupRead, Buffer::GroupWrite].into_iter().cycle();
    for (index, layer) in stage.iter().enumerate() {
        shape = shape.after(*layer);
        if let FeatureLayer::Conv {
            in_channels,
            out_channels,
        } = *layer
        {
            let n_pixels = n * shape.n_values() / out_channels;
            grow_scratch(heap, n_pixels, in_channels, out_channels);
            // The last step writes to the buffer of the whole batch; a direct convolution does not fuse the pooling.
            let is_last = match stage[index + 1..] {
                [] | [FeatureLayer::Relu] => true,
                [FeatureLayer::Relu, FeatureLayer::MaxPool] => winograd::pools(in_channels),
                _ => false,
            };
            if !is_last {
                let slot = slots.next().unwrap_or(Buffer::GroupRead);
                heap.grow(slot, n_in_group * shape.n_values());
            }
        }
    }
}

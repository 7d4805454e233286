//! The memory of the frozen first layers as `model::front` runs them on the CPU: their transformed filters, and the buffers of
//! `kernels::program`. Pure.

use std::ops::Range;

use super::{
    heap::{Block, Buffer, Heap, Part},
    network::{self, filters, grow_scratch},
};
use crate::{
    kernels::{program::GROUP_VALUES, winograd},
    model::paper::{Op, Paper, Step},
};

/// Layers that are prepared to run.
pub(super) struct Front<'a> {
    paper: &'a Paper,
    /// How many steps the kernels run; Burn runs the rest.
    n_kernels: usize,
    /// The layers after these.
    rest: &'a [network::Layer],
    filters: Vec<Block>,
}

impl<'a> Front<'a> {
    /// Prepares the first `n_steps` of `layers`, which is the whole network.
    pub(super) fn new(
        heap: &mut Heap,
        paper: &'a Paper,
        layers: &'a [network::Layer],
        n_steps: usize,
    ) -> Self {
        let is_pool = |step: &Step| matches!(step.op, Op::AdaptivePool { .. } | Op::Linear);
        let n_kernels = paper.steps.iter().position(is_pool).unwrap_or(0);
        let n_kernels = n_kernels.min(n_steps);
        let mut made = Vec::new();
        for step in &paper.steps[..n_kernels] {
            if let Op::Conv(kernel) = step.op {
                let in_channels = paper.shape(step.inputs[0])[0];
                let n_values = kernel.side * kernel.side * in_channels * step.shape[0];
                let weight = heap.floats(Part::Copies, n_values);
                made.push(filters(heap, in_channels, step.shape[0]));
                heap.free(weight);
            }
        }
        Self {
            paper,
            n_kernels,
            rest: &layers[n_kernels..n_steps],
            filters: made,
        }
    }

    /// Runs `n` images from their pixels to the output of the last layer.
    pub(super) fn run(&self, heap: &mut Heap, n: usize, pixels: Block) -> Block {
        let n_values = |value: usize| -> usize { self.paper.shape(value).iter().product() };
        let mut steps = 0..0;
        heap.grow(Buffer::BatchRead, n * n_values(0));
        while steps.end < self.n_kernels {
            let rest = &self.paper.steps[steps.end..self.n_kernels];
            let is_pool = |step: &Step| matches!(step.op, Op::MaxPool(_));
            let length = rest
                .iter()
                .position(is_pool)
                .map_or(rest.len(), |at| at + 1);
            steps = steps.end..steps.end + length;
            heap.grow(Buffer::BatchWrite, n * n_values(steps.end));
            run_stage(heap, self.paper, steps.clone(), n);
            heap.swap(Buffer::BatchRead, Buffer::BatchWrite);
        }
        let values = heap.floats(Part::Activations, n * n_values(self.n_kernels));
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
fn run_stage(heap: &mut Heap, paper: &Paper, steps: Range<usize>, n: usize) {
    let n_values = |value: usize| -> usize { paper.shape(value).iter().product() };
    let largest = steps
        .clone()
        .map(|step| n_values(step) + n_values(step + 1));
    let largest = largest.max().unwrap_or(1);
    let n_in_group = (GROUP_VALUES / largest.max(1)).clamp(1, n.max(1));
    let stage = &paper.steps[steps.clone()];
    for (index, step) in stage.iter().enumerate() {
        if !matches!(step.op, Op::Conv(_)) {
            continue;
        }
        let value = steps.start + index + 1;
        let (in_channels, out_channels) = (paper.shape(value - 1)[0], step.shape[0]);
        grow_scratch(
            heap,
            n * n_values(value) / out_channels,
            in_channels,
            out_channels,
        );
        // The last step writes to the buffer of the whole batch; a direct convolution does not fuse the pooling.
        let after: Vec<Op> = stage[index + 1..].iter().map(|step| step.op).collect();
        let is_last = match after[..] {
            [] | [Op::Relu] => true,
            [Op::Relu, Op::MaxPool(_)] => winograd::pools(in_channels),
            _ => false,
        };
        if !is_last {
            heap.grow(Buffer::GroupWrite, n_in_group * n_values(value));
            heap.swap(Buffer::GroupRead, Buffer::GroupWrite);
        }
    }
}

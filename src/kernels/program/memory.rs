//! The memory that a program takes, for its prediction. Knows no values.

use super::super::grouped::GroupFilters;
use super::super::patches::PatchFilters;
use super::super::sizes;
use super::super::tiles::{Nhwc, TILE};
use super::operation::{conv_sizes, uses_winograd};
use super::stages::Place;
use super::{Plan, ProgramStep};

/// What happens to the buffers during a pass of a program, in order. Buffers are kept between passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferEvent {
    /// The buffer of the batch that is read grows to this many values.
    Read(usize),
    /// The buffer of the batch that is written grows to this many values.
    Write(usize),
    /// The two buffers of the batch change places.
    Swap,
    /// A buffer of the group with this index grows to this many values.
    Slot(usize, usize),
    /// The scratch memory that threads share grows to this many values in transformed tiles and in products.
    Scratch(usize, usize),
}

/// The number of values in the packed or transformed weights of each convolution of `steps`, whose weights may be missing.
pub(crate) fn filter_values(steps: &[ProgramStep]) -> Vec<usize> {
    let layers = steps.iter().map(|step| &step.layer);
    let values = layers.filter_map(|layer| {
        let sizes = conv_sizes(layer)?;
        Some(if uses_winograd(layer) {
            sizes::filter_values(sizes.in_channels, sizes.out_channels)
        } else if GroupFilters::fits(sizes) {
            GroupFilters::packed_values(sizes)
        } else {
            PatchFilters::packed_values(sizes)
        })
    });
    values.collect()
}

impl Plan {
    /// How the buffers grow during a pass of `n` images.
    pub(crate) fn buffers(&self, n: usize, height: usize, width: usize) -> Vec<BufferEvent> {
        let pixels = Nhwc {
            n: 1,
            height,
            width,
            channels: self.in_channels,
        };
        let shapes = self.shapes(pixels);
        let mut events = vec![BufferEvent::Read(n * pixels.len())];
        for stage in &self.stages {
            let images = self.group(stage, &shapes, n);
            events.push(BufferEvent::Write(n * shapes[stage.output].len()));
            let operations = &self.fused[stage.operations.clone()];
            for (fused, places) in operations.iter().zip(&stage.places) {
                let whole = places.part_of.map_or(fused.output, |(whole, _)| whole);
                if let Place::Slot(slot) = places.output {
                    events.push(BufferEvent::Slot(slot, images * shapes[whole].len()));
                }
                let scratch = fused.winograd.and_then(|sizes| {
                    let shape = shapes[fused.inputs[0]];
                    let rows = images * shape.height.div_ceil(TILE);
                    let tiles = rows * shape.width.div_ceil(TILE);
                    sizes::shared_scratch(tiles, sizes.in_channels, sizes.out_channels)
                });
                if let Some((transformed, products)) = scratch {
                    events.push(BufferEvent::Scratch(transformed, products));
                }
            }
            events.push(BufferEvent::Swap);
        }
        events
    }
}

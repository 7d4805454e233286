//! The passes of a compiled program over its buffers. Knows no weights.

use super::super::buffer::{AlignedBuffer, SHARED_SCRATCH};
use super::super::elementwise;
use super::super::finish::Target;
use super::super::layout::{nchw_to_nhwc, nhwc_to_nchw};
use super::super::tiles::Nhwc;
use super::fuse::Fused;
use super::operation::Operation;
use super::stages::{Place, Places, Stage};
use super::{Activations, Program};
use std::cell::Cell;

/// The buffers of groups of images, and those of the whole batch between stages.
#[derive(Default)]
struct Workspace {
    slots: Vec<AlignedBuffer>,
    read: AlignedBuffer,
    write: AlignedBuffer,
}

thread_local! {
    static WORKSPACE: Cell<Workspace> = Cell::new(Workspace::default());
}

/// Frees the buffers that this thread keeps.
pub(crate) fn release_buffers() {
    WORKSPACE.take();
    SHARED_SCRATCH.take();
}

/// Runs NCHW `input` through all stages.
pub(super) fn run(program: &Program, input: &[f32], pixels: Nhwc) -> Activations {
    let mut workspace = WORKSPACE.take();
    let plan = &program.plan;
    // The sizes for one image.
    let shapes = plan.shapes(Nhwc { n: 1, ..pixels });
    let n = pixels.n;
    nchw_to_nhwc(input, pixels, workspace.read.take_mut(pixels.len()));
    for stage in &plan.stages {
        let (one, one_target) = (shapes[stage.input].len(), shapes[stage.output].len());
        let images = plan.group(stage, &shapes, n);
        let source = workspace.read.take(n * one);
        let target = workspace.write.take_mut(n * one_target);
        if !source.is_empty() && !target.is_empty() {
            let sources = source.chunks(images * one);
            let targets = target.chunks_mut(images * one_target);
            for (source, target) in sources.zip(targets) {
                let mut group = Group {
                    operations: &program.operations[stage.operations.clone()],
                    fused: &plan.fused[stage.operations.clone()],
                    shapes: &shapes,
                    n: source.len() / one,
                    slots: &mut workspace.slots,
                    source,
                    target,
                };
                group.run(stage);
            }
        }
        std::mem::swap(&mut workspace.read, &mut workspace.write);
    }
    let shape = Nhwc {
        n,
        ..shapes[plan.result]
    };
    let mut values = vec![0.0; shape.len()];
    nhwc_to_nchw(workspace.read.take(shape.len()), shape, &mut values);
    WORKSPACE.set(workspace);
    Activations {
        values,
        channels: shape.channels,
        height: shape.height,
        width: shape.width,
    }
}

/// A group of images that goes through a stage.
struct Group<'a> {
    operations: &'a [Operation],
    fused: &'a [Fused],
    shapes: &'a [Nhwc],
    n: usize,
    slots: &'a mut Vec<AlignedBuffer>,
    source: &'a [f32],
    target: &'a mut [f32],
}

impl Group<'_> {
    fn run(&mut self, stage: &Stage) {
        let operations = self.operations.iter().zip(self.fused);
        for ((operation, fused), places) in operations.zip(&stage.places) {
            self.step(operation, fused, places);
        }
    }

    fn shape(&self, value: usize) -> Nhwc {
        Nhwc {
            n: self.n,
            ..self.shapes[value]
        }
    }

    fn step(&mut self, operation: &Operation, fused: &Fused, places: &Places) {
        // The buffer of a part is as large as the whole.
        let whole = places.part_of.map_or(fused.output, |(whole, _)| whole);
        let length = self.shape(whole).len();
        if let Place::Slot(slot) = places.output {
            if self.slots.len() <= slot {
                self.slots.resize_with(slot + 1, AlignedBuffer::default);
            }
            // Taken out, so that the operation can read the others.
            let mut buffer = std::mem::take(&mut self.slots[slot]);
            self.write(operation, fused, places, buffer.take_mut(length));
            self.slots[slot] = buffer;
        } else {
            let target = std::mem::take(&mut self.target);
            self.write(operation, fused, places, &mut target[..length]);
            self.target = target;
        }
    }

    /// Runs an operation into `output`, the buffer of the whole value.
    fn write(&self, operation: &Operation, fused: &Fused, places: &Places, output: &mut [f32]) {
        let shape = self.shape(fused.inputs[0]);
        let read = |number: usize| {
            let length = self.shape(fused.inputs[number]).len();
            match places.inputs[number] {
                Some(Place::Source) => &self.source[..length],
                Some(Place::Slot(slot)) => self.slots[slot].take(length),
                Some(Place::Target) | None => unreachable!("a stage does not read its output"),
            }
        };
        let is_in_place = matches!(places.output, Place::Slot(_))
            && places.inputs.first() == Some(&Some(places.output));
        match operation {
            Operation::Conv(conv) => {
                let channels = self.shape(fused.output).channels;
                let target = match places.part_of {
                    Some((whole, number)) => self.part(output, whole, number),
                    None => Target::dense(output, channels),
                };
                let add = (fused.inputs.len() > 1).then(|| read(1));
                conv.forward(read(0), shape, add, target);
            }
            Operation::Concat => {
                for (number, input) in fused.inputs.iter().enumerate() {
                    if places.inputs[number].is_some() {
                        let target = self.part(output, fused.output, number);
                        elementwise::copy(read(number), self.shape(*input), target);
                    }
                }
            }
            Operation::Add { relu } if is_in_place => elementwise::add(output, read(1), *relu),
            _ => {
                if let Some(change) = operation.change().filter(|_| is_in_place) {
                    change.apply(output, shape.channels);
                } else {
                    let inputs: Vec<_> = (0..fused.inputs.len()).map(read).collect();
                    operation.forward(&inputs, shape, output);
                }
            }
        }
    }

    /// The channels of the input with this number, in the buffer of a concatenation's output.
    fn part<'a>(&self, output: &'a mut [f32], whole: usize, number: usize) -> Target<'a> {
        let concat = self.fused.iter().find(|one| one.output == whole);
        let inputs = concat.map_or(&[][..], |concat| &concat.inputs[..number]);
        let offset: usize = inputs
            .iter()
            .map(|input| self.shapes[*input].channels)
            .sum();
        Target {
            stride: self.shapes[whole].channels,
            values: &mut output[offset..],
        }
    }
}

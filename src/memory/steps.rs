//! What the steps of a network take on the CPU: a cost for each operation, and the peak of a pass of a batch. Counts values. Pure.

use std::ops::Range;

use crate::{
    config::experiment::{Experiment, FrozenBatchNorm},
    kernels::{gradients, linear, sizes, tiles::TILE},
    model::paper::{Kernel, Op, Paper, Step, TensorSpec, is_in},
};

/// What one step takes for a batch beside its inputs, its output and their gradients.
#[derive(Default)]
struct Cost {
    /// Whether the output overwrites the input, and its gradient that of the output.
    is_in_place: bool,
    /// What is kept for the backward pass beside the output, which the next step needs, or this one.
    kept: usize,
    /// The temporary values of the forward and of the backward pass.
    forward: usize,
    backward: usize,
    /// The filters that are prepared once where the step is frozen.
    filters: usize,
    /// The buffers that the computing thread keeps between steps, after a forward pass and after a backward pass.
    scratch: usize,
    backward_scratch: usize,
}

/// A network, a batch, and what is trained of it.
pub(super) struct Network<'a> {
    pub(super) paper: &'a Paper,
    n: usize,
    /// The exact paths of the trained parameters; empty outside training.
    trainable: &'a [String],
    /// Whether frozen batch norms use the statistics of the batch too.
    norms_drift: bool,
    /// Whether the gradients of fully connected layers are multiplied out.
    is_whole: bool,
}

/// The largest sum during a pass, and what it consists of.
#[derive(Clone, Copy, Default)]
pub(super) struct Peak {
    pub(super) activations: usize,
    pub(super) gradients: usize,
    /// Temporary values and the buffers that threads keep.
    pub(super) buffers: usize,
}

impl<'a> Network<'a> {
    pub(super) fn new(
        experiment: &Experiment,
        paper: &'a Paper,
        n: usize,
        trainable: &'a [String],
    ) -> Self {
        let training = &experiment.training;
        Self {
            paper,
            n,
            trainable,
            norms_drift: experiment.model.frozen_batch_norm == FrozenBatchNorm::Train,
            is_whole: training.accumulate.get() > 1 || training.clip_grad_norm.is_some(),
        }
    }

    pub(super) fn values(&self, value: usize) -> usize {
        self.n * self.paper.shape(value).iter().product::<usize>()
    }

    fn is_trained(&self, step: &Step) -> bool {
        let mut paths = self.trainable.iter();
        !step.tensors.is_empty() && paths.any(|path| is_in(path, &step.module))
    }

    /// The cost of a step, as its operation in `model` and its kernels allocate it.
    fn cost(&self, index: usize) -> Cost {
        let step = &self.paper.steps[index];
        let (inputs, outputs) = (self.values(step.inputs[0]), self.values(index + 1));
        let is_evaluated = self.trainable.is_empty();
        match step.op {
            Op::Conv(kernel) => self.convolution(kernel, step, inputs, outputs),
            Op::BatchNorm(_) => Cost {
                is_in_place: is_evaluated || !(self.norms_drift || self.is_trained(step)),
                ..Cost::default()
            },
            Op::Relu | Op::Add => Cost {
                is_in_place: true,
                ..Cost::default()
            },
            Op::Linear => Cost {
                forward: linear::MAX_PARTS * outputs,
                ..Cost::default()
            },
            Op::MaxPool(_) => Cost {
                // The position of each maximum is one byte.
                kept: outputs / size_of::<f32>(),
                ..Cost::default()
            },
            // Pooling to the size that the input has already changes nothing.
            Op::AdaptivePool { .. } => Cost {
                is_in_place: inputs == outputs,
                ..Cost::default()
            },
            Op::Dropout => Cost {
                is_in_place: is_evaluated,
                // The mask.
                kept: outputs,
                ..Cost::default()
            },
            Op::Concat => Cost::default(),
        }
    }

    fn convolution(&self, kernel: Kernel, step: &Step, inputs: usize, outputs: usize) -> Cost {
        let (inside, outside) = (self.paper.shape(step.inputs[0])[0], step.shape[0]);
        if kernel != Kernel::new(3) {
            // Patches are gathered a few megabytes at a time.
            let taps = kernel.side * kernel.side;
            return Cost {
                filters: taps * inside / kernel.groups * outside.next_multiple_of(16),
                ..Cost::default()
            };
        }
        let n_tiles = (outputs / outside).div_ceil(TILE * TILE);
        let scratch = |inside, outside| {
            let shared = sizes::shared_scratch(n_tiles, inside, outside);
            shared.map_or(0, |(transformed, products)| transformed + products)
        };
        let (held, sums) = gradients::scratch(n_tiles, inside, outside);
        let filters = sizes::filter_values(inside, outside);
        Cost {
            // Beside the filters, the input and the output with channels last.
            forward: filters + inputs + outputs,
            backward: sizes::filter_values(outside, inside) + inputs + outputs,
            filters,
            scratch: scratch(inside, outside),
            backward_scratch: scratch(outside, inside).max(held + sums),
            ..Cost::default()
        }
    }

    /// The prepared filters of frozen steps, and the buffers that the computing thread keeps after they ran.
    pub(super) fn prepared(&self, steps: Range<usize>) -> usize {
        let costs = steps.map(|index| self.cost(index));
        let (filters, scratch) = costs.fold((0, 0), |(filters, scratch), cost| {
            (filters + cost.filters, cost.scratch.max(scratch))
        });
        filters + scratch
    }

    /// The peak of a pass through `steps`, which begin at a cut: forward, and backward if something is trained.
    ///
    /// A value is in memory until its last reader has run, and its gradient from that reader on. What trained steps read, and nearly
    /// every value behind the first of them, is kept for the backward pass.
    pub(super) fn pass(&self, steps: Range<usize>) -> Peak {
        let last_readers = self.paper.last_readers();
        let n_values = self.paper.steps.len() + 1;
        let (mut is_tracked, mut is_kept) = (vec![false; n_values], vec![false; n_values]);
        let (mut peak, mut kept, mut scratch) = (Peak::default(), 0, 0);
        for index in steps.clone() {
            let (step, cost) = (&self.paper.steps[index], self.cost(index));
            let is_trained = self.is_trained(step);
            is_tracked[index + 1] = is_trained || step.inputs.iter().any(|it| is_tracked[*it]);
            for value in step.inputs.iter().filter(|_| is_trained) {
                let is_counted =
                    is_tracked[*value] || std::mem::replace(&mut is_kept[*value], true);
                kept += if is_counted { 0 } else { self.values(*value) };
            }
            let alive = |tracked: bool| {
                let is_read = |it: &usize| last_readers[*it].is_some_and(|last| last >= index);
                let values = (steps.start..=index).filter(is_read);
                let values = values.filter(|it| is_tracked[*it] == tracked && !is_kept[*it]);
                values.map(|it| self.values(it)).sum::<usize>()
            };
            let output = self.values(index + 1);
            let new = if cost.is_in_place { 0 } else { output };
            scratch = scratch.max(cost.scratch);
            peak = peak.max(Peak {
                activations: kept + alive(false) + new,
                gradients: 0,
                buffers: scratch + cost.forward,
            });
            if is_tracked[index + 1] {
                scratch = scratch.max(cost.backward_scratch);
                // The gradients of the inputs and of the output, which itself is no longer needed by then.
                peak = peak.max(Peak {
                    activations: kept + cost.kept + alive(true) + output,
                    gradients: self.gradients(index..steps.end),
                    buffers: scratch + cost.backward,
                });
                kept += new + cost.kept;
            }
        }
        peak
    }

    /// The gradients that the backward pass of `steps` leaves. Those of fully connected layers may stay products of two factors.
    fn gradients(&self, steps: Range<usize>) -> usize {
        let steps = self.paper.steps[steps].iter();
        let whole = steps.filter(|step| self.is_whole || step.op != Op::Linear);
        let specs = whole.flat_map(|step| &self.paper.tensors[step.tensors.clone()]);
        let trained = specs.filter(|spec| self.trainable.contains(&spec.path));
        trained.map(TensorSpec::n_elements).sum()
    }
}

impl Peak {
    fn total(self) -> usize {
        self.activations + self.gradients + self.buffers
    }

    fn max(self, other: Self) -> Self {
        if other.total() > self.total() {
            other
        } else {
            self
        }
    }
}

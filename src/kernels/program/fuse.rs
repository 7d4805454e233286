//! Which steps run as one operation. Knows no numbers and no buffers.

use super::super::patches::FilterSizes;
use super::super::pool::PoolSizes;
use super::operation::{conv_sizes, uses_winograd};
use super::{Layer, ProgramStep};

/// Consecutive steps that run as one operation.
pub(super) struct Fused {
    /// The step that the others are fused with.
    pub(super) step: usize,
    /// A batch norm that is folded into the convolution.
    pub(super) norm: Option<usize>,
    /// Whether the last input is added to the sums of the convolution.
    pub(super) add: bool,
    pub(super) relu: bool,
    /// Whether the 2x2 pooling of stride 2 behind it is included.
    pub(super) pool: bool,
    /// The values that are read.
    pub(super) inputs: Vec<usize>,
    /// The value that comes out.
    pub(super) output: usize,
    /// The sizes of a convolution by Winograd's algorithm.
    pub(super) winograd: Option<FilterSizes>,
    /// All steps that this operation replaces.
    pub(super) steps: Vec<usize>,
}

/// Fuses convolutions with a following batch norm, addition, `ReLU` and pooling, and other operations with a following `ReLU`.
/// Returns the operations in order, and the value that the last step gives.
pub(super) fn fuse(steps: &[ProgramStep]) -> (Vec<Fused>, usize) {
    let graph = Graph::new(steps);
    let mut fused: Vec<Fused> = Vec::new();
    let mut is_done: Vec<bool> = graph.is_needed.iter().map(|is_needed| !is_needed).collect();
    for index in 0..steps.len() {
        if is_done[index] {
            continue;
        }
        let operation = graph.operation(index, &is_done);
        for step in &operation.steps {
            is_done[*step] = true;
        }
        fused.push(operation);
    }
    (fused, graph.result)
}

struct Graph<'a> {
    steps: &'a [ProgramStep],
    /// The value that each value is the same as, other than itself behind `Identity`.
    same_as: Vec<usize>,
    /// The steps that read each value.
    readers: Vec<Vec<usize>>,
    /// Whether the result depends on a step.
    is_needed: Vec<bool>,
    result: usize,
}

impl<'a> Graph<'a> {
    fn new(steps: &'a [ProgramStep]) -> Self {
        let mut same_as: Vec<usize> = (0..=steps.len()).collect();
        for (index, step) in steps.iter().enumerate() {
            if matches!(step.layer, Layer::Identity) {
                same_as[index + 1] = same_as[step.inputs[0]];
            }
        }
        let result = same_as[steps.len()];
        let mut readers = vec![Vec::new(); steps.len() + 1];
        let mut is_needed = vec![false; steps.len()];
        for (index, step) in steps.iter().enumerate().rev() {
            let value = index + 1;
            is_needed[index] =
                same_as[value] == value && (value == result || !readers[value].is_empty());
            if is_needed[index] {
                for input in &step.inputs {
                    readers[same_as[*input]].push(index);
                }
            }
        }
        Self {
            steps,
            same_as,
            readers,
            is_needed,
            result,
        }
    }

    /// The operation that begins with a step.
    fn operation(&self, index: usize, is_done: &[bool]) -> Fused {
        let step = &self.steps[index];
        let mut fused = Fused {
            step: index,
            norm: None,
            add: false,
            relu: false,
            pool: false,
            inputs: step
                .inputs
                .iter()
                .map(|input| self.same_as[*input])
                .collect(),
            output: index + 1,
            winograd: conv_sizes(&step.layer).filter(|_| uses_winograd(&step.layer)),
            steps: vec![index],
        };
        match &step.layer {
            Layer::Conv { bias, .. } => {
                // A bias would have to be scaled as well, and VGG's values must stay as they are.
                if bias.is_none()
                    && let Some(norm) =
                        self.next(&fused, |layer| matches!(layer, Layer::BatchNorm { .. }))
                {
                    fused.take(norm);
                    fused.norm = Some(norm);
                }
                if let Some(add) = self.next(&fused, |layer| matches!(layer, Layer::Add)) {
                    self.fuse_addition(&mut fused, add, is_done);
                }
                self.fuse_relu(&mut fused);
                let is_halving = |layer: &Layer| layer.max_pool() == Some(PoolSizes::HALVING);
                if fused.winograd.is_some()
                    && !fused.add
                    && let Some(pool) = self.next(&fused, is_halving)
                {
                    fused.take(pool);
                    fused.pool = true;
                }
            }
            Layer::BatchNorm { .. } | Layer::Add => self.fuse_relu(&mut fused),
            _ => {}
        }
        fused
    }

    /// The only step that reads an operation's output, if it is a wanted one.
    fn next(&self, fused: &Fused, is_wanted: impl Fn(&Layer) -> bool) -> Option<usize> {
        let [reader] = self.readers[fused.output][..] else {
            return None;
        };
        (fused.output != self.result && is_wanted(&self.steps[reader].layer)).then_some(reader)
    }

    fn fuse_relu(&self, fused: &mut Fused) {
        if let Some(relu) = self.next(fused, |layer| matches!(layer, Layer::Relu)) {
            fused.take(relu);
            fused.relu = true;
        }
    }

    /// Adds the other value in the operation itself, if it is there by then.
    fn fuse_addition(&self, fused: &mut Fused, add: usize, is_done: &[bool]) {
        let inputs = self.steps[add]
            .inputs
            .iter()
            .map(|input| self.same_as[*input]);
        let other = inputs.clone().find(|input| *input != fused.output);
        if let Some(other) = other.filter(|other| *other == 0 || is_done[other - 1]) {
            fused.take(add);
            fused.add = true;
            fused.inputs.push(other);
        }
    }
}

impl Fused {
    fn take(&mut self, step: usize) {
        self.steps.push(step);
        self.output = step + 1;
    }
}

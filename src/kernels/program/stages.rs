//! Where the values of a program are stored: stages from one map size to the next, and the buffers within them. Knows no numbers.

use super::fuse::Fused;
use super::{Layer, ProgramStep};
use std::collections::BTreeMap;
use std::ops::Range;

/// Operations that run on a group of images, from a value that is stored for the whole batch to the next one.
pub(super) struct Stage {
    /// The operations, by index.
    pub(super) operations: Range<usize>,
    /// Where each operation reads and writes.
    pub(super) places: Vec<Places>,
    /// The steps that the operations stand for.
    pub(super) steps: Vec<usize>,
    pub(super) input: usize,
    pub(super) output: usize,
}

/// A buffer that a value is stored in during a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The input of the stage.
    Source,
    /// The output of the stage.
    Target,
    /// A buffer of the group.
    Slot(usize),
}

pub(super) struct Places {
    /// `None` for a value that is already where a concatenation puts it.
    pub(super) inputs: Vec<Option<Place>>,
    pub(super) output: Place,
    /// The concatenation whose channels the output is written among, and its number there.
    pub(super) part_of: Option<(usize, usize)>,
}

/// Cuts operations into stages. A stage ends where a map has shrunk and only one value is still needed.
pub(super) fn stages(operations: &[Fused], steps: &[ProgramStep], result: usize) -> Vec<Stage> {
    let graph = Graph::new(operations, steps, result);
    let mut stages = Vec::new();
    let (mut start, mut input, mut has_shrunk) = (0, 0, false);
    let cuts = graph.cuts();
    for (index, cut) in cuts.iter().enumerate() {
        let since = index
            .checked_sub(1)
            .map_or(0, |previous| cuts[previous] + 1);
        has_shrunk |= graph.shrinks(since..cut + 1);
        let next = cuts.get(index + 1);
        // Poolings right behind a strided convolution belong to its stage, because the map between them is large.
        if next.is_none_or(|next| has_shrunk && !graph.shrinks(cut + 1..next + 1)) {
            stages.push(graph.stage(start..cut + 1, input));
            (start, input, has_shrunk) = (cut + 1, operations[*cut].output, false);
        }
    }
    stages
}

struct Graph<'a> {
    operations: &'a [Fused],
    steps: &'a [ProgramStep],
    /// The operation that reads each value last; beyond all operations for the result.
    last_reader: BTreeMap<usize, usize>,
    /// Values that convolutions write among the channels of a concatenation: its index, and their number there.
    parts: BTreeMap<usize, (usize, usize)>,
}

impl<'a> Graph<'a> {
    fn new(operations: &'a [Fused], steps: &'a [ProgramStep], result: usize) -> Self {
        let mut last_reader = BTreeMap::new();
        let mut n_readers = BTreeMap::new();
        for (index, operation) in operations.iter().enumerate() {
            for input in &operation.inputs {
                last_reader.insert(*input, index);
                *n_readers.entry(*input).or_insert(0) += 1;
            }
        }
        last_reader.insert(result, operations.len());
        let mut graph = Self {
            operations,
            steps,
            last_reader,
            parts: BTreeMap::new(),
        };
        for (index, operation) in operations.iter().enumerate() {
            if !graph.is_concat(operation) || operation.inputs.len() < 2 {
                continue;
            }
            for (number, input) in operation.inputs.iter().enumerate() {
                let is_conv = |other: &Fused| {
                    other.output == *input && matches!(steps[other.step].layer, Layer::Conv { .. })
                };
                if n_readers[input] == 1 && *input != result && operations.iter().any(is_conv) {
                    graph.parts.insert(*input, (index, number));
                }
            }
        }
        graph
    }

    fn is_concat(&self, operation: &Fused) -> bool {
        matches!(self.steps[operation.step].layer, Layer::Concat)
    }

    /// The operations after which only their own output is still needed.
    fn cuts(&self) -> Vec<usize> {
        let is_cut = |index: &usize| {
            let earlier = self.operations[..*index]
                .iter()
                .map(|earlier| earlier.output);
            let mut earlier = earlier.chain([0]);
            earlier.all(|value| {
                self.last_reader
                    .get(&value)
                    .is_none_or(|last| last <= index)
            }) && self
                .last_reader
                .contains_key(&self.operations[*index].output)
        };
        (0..self.operations.len()).filter(is_cut).collect()
    }

    fn shrinks(&self, operations: Range<usize>) -> bool {
        let mut steps = self.operations[operations]
            .iter()
            .flat_map(|operation| &operation.steps);
        steps.any(|step| self.steps[*step].layer.size().shrinks())
    }

    fn stage(&self, range: Range<usize>, input: usize) -> Stage {
        let mut buffers = Buffers {
            graph: self,
            output: range.end - 1,
            places: BTreeMap::from([(input, Place::Source)]),
            is_used: Vec::new(),
        };
        let places = range.clone().map(|index| buffers.places(index)).collect();
        let operations = &self.operations[range.clone()];
        Stage {
            output: operations.last().map_or(input, |last| last.output),
            steps: operations
                .iter()
                .flat_map(|one| one.steps.clone())
                .collect(),
            operations: range,
            places,
            input,
        }
    }
}

/// The buffers of a stage while its operations are walked through.
struct Buffers<'a> {
    graph: &'a Graph<'a>,
    /// The last operation of the stage.
    output: usize,
    places: BTreeMap<usize, Place>,
    is_used: Vec<bool>,
}

impl Buffers<'_> {
    fn places(&mut self, index: usize) -> Places {
        let operation = &self.graph.operations[index];
        let inputs: Vec<_> = operation
            .inputs
            .iter()
            .map(|input| {
                let is_there = self
                    .graph
                    .parts
                    .get(input)
                    .is_some_and(|part| part.0 == index);
                (!is_there).then(|| self.places[input])
            })
            .collect();
        let part = self.graph.parts.get(&operation.output).copied();
        // A part takes the place of the whole, which its first part reserves.
        let (owner, value) = part.map_or((index, operation.output), |(concat, _)| {
            (concat, self.graph.operations[concat].output)
        });
        let output = if owner == self.output {
            Place::Target
        } else if let Some(place) = self.places.get(&value) {
            *place
        } else {
            self.place_in_slot(index, inputs.first().copied().flatten())
        };
        self.places.insert(value, output);
        for input in &operation.inputs {
            if self.graph.last_reader.get(input) == Some(&index)
                && let Some(Place::Slot(slot)) = self.places.remove(input)
                && output != Place::Slot(slot)
            {
                self.is_used[slot] = false;
            }
        }
        Places {
            inputs,
            output,
            part_of: part.map(|(concat, number)| (self.graph.operations[concat].output, number)),
        }
    }

    /// The input's slot if an operation can change it in place, else a free one.
    fn place_in_slot(&mut self, index: usize, input: Option<Place>) -> Place {
        let operation = &self.graph.operations[index];
        let is_elementwise = matches!(
            self.graph.steps[operation.step].layer,
            Layer::BatchNorm { .. } | Layer::Relu | Layer::Add
        );
        let (first, others) = operation.inputs.split_at(1);
        let is_last =
            self.graph.last_reader.get(&first[0]) == Some(&index) && !others.contains(&first[0]);
        if is_elementwise && is_last && matches!(input, Some(Place::Slot(_))) {
            return input.expect("it has a place");
        }
        let free = self.is_used.iter().position(|is_used| !is_used);
        let slot = free.unwrap_or(self.is_used.len());
        self.is_used.resize(self.is_used.len().max(slot + 1), false);
        self.is_used[slot] = true;
        Place::Slot(slot)
    }
}

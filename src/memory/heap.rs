//! A model of the heap: blocks that are allocated and freed, and freed blocks that the allocator keeps. Resident memory is the sum
//! of the two, and its maximum is recorded for each stage of the run. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

/// The allocator reuses freed blocks of this size and more; it has smaller ones at hand anyway.
const MIN_LARGE: usize = 1 << 20;
const PAGE: usize = 1 << 12;
/// The unit of the largest blocks, which an allocator rounds up so that they can be reused.
const HUGE_PAGE: usize = 2 << 20;
/// Freed blocks, and bytes of them, that the allocator has not given back yet.
const MAX_KEPT: usize = 64;
const MAX_KEPT_BYTES: usize = 1 << 30;

/// The bytes that a block takes if it is large.
fn large_bytes(n_bytes: usize) -> Option<usize> {
    let unit = if n_bytes < HUGE_PAGE { PAGE } else { HUGE_PAGE };
    (n_bytes >= MIN_LARGE).then(|| n_bytes.next_multiple_of(unit))
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Code, threads and tables: what exists before the first image.
    Program,
    /// Photos while they are decoded, and those loaded ahead.
    Images,
    Parameters,
    /// The optimizer's moments.
    Optimizer,
    Gradients,
    Activations,
    /// Transformed filters, and the buffers of the kernels.
    Kernels,
    /// Copies of parameters while they are read, transposed or written.
    Copies,
    /// Freed blocks that the allocator keeps for reuse.
    Freed,
}

impl Part {
    pub(crate) const ALL: [Self; 9] = [
        Self::Program,
        Self::Images,
        Self::Parameters,
        Self::Optimizer,
        Self::Gradients,
        Self::Activations,
        Self::Kernels,
        Self::Copies,
        Self::Freed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Images => "images",
            Self::Parameters => "parameters",
            Self::Optimizer => "optimizer",
            Self::Gradients => "gradients",
            Self::Activations => "activations",
            Self::Kernels => "filters and buffers",
            Self::Copies => "copies of parameters",
            Self::Freed => "kept for reuse",
        }
    }
}

/// A stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    Loading,
    Building,
    Filling,
    Training,
    Validating,
    Saving,
    Drawing,
    Testing,
}

impl Stage {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loading => "while the parameters are read",
            Self::Building => "while the model is built",
            Self::Filling => "while the cache is filled",
            Self::Training => "in a training step",
            Self::Validating => "while validating",
            Self::Saving => "while a checkpoint is written",
            Self::Drawing => "while the photos of predictions.png are drawn",
            Self::Testing => "while the best checkpoint is tested",
        }
    }
}

/// A buffer that the computing thread keeps between calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Buffer {
    /// The first buffer of `kernels::buffer::Scratch`.
    Transformed,
    Products,
    /// The first slot of a group of images in `kernels::program`.
    GroupRead,
    GroupWrite,
    BatchRead,
    BatchWrite,
}

/// The bytes that each `Part` takes.
pub(crate) type Sizes = [usize; Part::ALL.len()];

#[must_use]
pub(super) struct Block {
    part: Part,
    n_bytes: usize,
    /// Whether the system's allocator handles the block.
    is_small: bool,
}

pub(super) struct Heap {
    live: Sizes,
    stage: Stage,
    /// The bytes in small blocks, now and at most. The system's allocator seldom returns them to the system.
    small: usize,
    most_small: usize,
    /// The sizes of freed blocks, oldest first.
    kept: Vec<usize>,
    kept_bytes: usize,
    buffers: BTreeMap<Buffer, (usize, Block)>,
    peaks: BTreeMap<Stage, Sizes>,
}

impl Heap {
    pub(super) fn new(program_bytes: usize) -> Self {
        let mut live = Sizes::default();
        live[Part::Program as usize] = program_bytes;
        Self {
            live,
            stage: Stage::Loading,
            small: 0,
            most_small: 0,
            kept: Vec::new(),
            kept_bytes: 0,
            buffers: BTreeMap::new(),
            peaks: BTreeMap::new(),
        }
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.remember();
    }

    pub(super) fn alloc(&mut self, part: Part, n_bytes: usize) -> Block {
        let Some(n_bytes) = large_bytes(n_bytes) else {
            return self.alloc_small(part, n_bytes);
        };
        if let Some(at) = self.kept.iter().rposition(|kept| *kept == n_bytes) {
            self.kept.remove(at);
            self.kept_bytes -= n_bytes;
        }
        self.add(part, n_bytes, false)
    }

    pub(super) fn floats(&mut self, part: Part, n_values: usize) -> Block {
        self.alloc(part, n_values * size_of::<f32>())
    }

    /// Allocates several blocks of one size.
    pub(super) fn many(&mut self, part: Part, n_blocks: usize, n_bytes: usize) -> Vec<Block> {
        if large_bytes(n_bytes).is_none() {
            // One block stands for all, because freed small blocks are reused for any size.
            return vec![self.alloc_small(part, n_blocks * n_bytes)];
        }
        (0..n_blocks).map(|_| self.alloc(part, n_bytes)).collect()
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is freed is gone for its owner"
    )]
    pub(super) fn free(&mut self, block: Block) {
        let Block {
            part,
            n_bytes,
            is_small,
        } = block;
        self.live[part as usize] -= n_bytes;
        if is_small {
            self.small -= n_bytes;
            return;
        }
        while self.kept.len() == MAX_KEPT
            || (!self.kept.is_empty() && self.kept_bytes + n_bytes > MAX_KEPT_BYTES)
        {
            self.kept_bytes -= self.kept.remove(0);
        }
        if n_bytes <= MAX_KEPT_BYTES {
            self.kept.push(n_bytes);
            self.kept_bytes += n_bytes;
        }
    }

    pub(super) fn free_all(&mut self, blocks: impl IntoIterator<Item = Block>) {
        for block in blocks {
            self.free(block);
        }
    }

    /// Grows a buffer to at least this many values, as `AlignedBuffer::take_mut` does.
    pub(super) fn grow(&mut self, buffer: Buffer, n_values: usize) {
        let is_large_enough = self
            .buffers
            .get(&buffer)
            .is_some_and(|(n, _)| *n >= n_values);
        if is_large_enough {
            return;
        }
        let block = self.floats(Part::Kernels, n_values);
        if let Some((_, old)) = self.buffers.insert(buffer, (n_values, block)) {
            self.free(old);
        }
    }

    pub(super) fn swap(&mut self, a: Buffer, b: Buffer) {
        let (first, second) = (self.buffers.remove(&a), self.buffers.remove(&b));
        self.buffers.extend(first.map(|first| (b, first)));
        self.buffers.extend(second.map(|second| (a, second)));
    }

    pub(super) fn release_buffers(&mut self) {
        let buffers = std::mem::take(&mut self.buffers);
        self.free_all(buffers.into_values().map(|(_, block)| block));
    }

    /// The peak of each stage.
    pub(super) fn into_peaks(self) -> BTreeMap<Stage, Sizes> {
        self.peaks
    }

    fn alloc_small(&mut self, part: Part, n_bytes: usize) -> Block {
        self.small += n_bytes;
        self.most_small = self.most_small.max(self.small);
        self.add(part, n_bytes, true)
    }

    fn add(&mut self, part: Part, n_bytes: usize, is_small: bool) -> Block {
        self.live[part as usize] += n_bytes;
        self.remember();
        Block {
            part,
            n_bytes,
            is_small,
        }
    }

    fn remember(&mut self) {
        let mut sizes = self.live;
        sizes[Part::Freed as usize] = self.kept_bytes + self.most_small - self.small;
        let total: usize = sizes.iter().sum();
        let peak = self.peaks.entry(self.stage).or_default();
        // Of equal peaks the last, in which less is kept and more is in use.
        if total >= peak.iter().sum() {
            *peak = sizes;
        }
    }
}

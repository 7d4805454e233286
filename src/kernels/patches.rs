//! Convolution with any window by gathered patches and matrix products. Knows no Winograd transforms.

use super::buffer::{AlignedBuffer, BLOCK_SCRATCH, with_scratch};
use super::filters::PANEL;
use super::finish::{Finish, FinishPanel, Target};
use super::gemm::{GemmSizes, MOST_COLUMNS, Matrix, multiply};
use super::tiles::Nhwc;
use super::window::SlidingWindow;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// The rows of the smallest panel: one vector of the widest instruction set. Groups with fewer output channels share a panel.
const SMALLEST_PANEL: usize = 16;

/// The fewest terms of a sum. The gemm crate takes another way through shorter ones, whose order depends on the sizes.
const SHORTEST_SUM: usize = 3;

/// The sizes of a convolution, for images of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilterSizes {
    pub(crate) out_channels: usize,
    pub(crate) in_channels: usize,
    pub(crate) window: SlidingWindow,
    pub(crate) groups: usize,
}

/// Weights in panels of up to 64 output channels, `[terms][rows]` each, rows padded to a multiple of 16.
pub(crate) struct PatchFilters {
    sizes: FilterSizes,
    ranges: Vec<InputRange>,
    panels: Vec<Panel>,
    values: AlignedBuffer,
    n_values: usize,
    /// The number of values of a patch.
    depth: usize,
}

/// Input channels that panels read together: those of a group, or of several small ones.
struct InputRange {
    channels: Range<usize>,
    /// The values of these channels within a patch, `[y][x][channel]`.
    terms: Range<usize>,
}

struct Panel {
    range: usize,
    outputs: Range<usize>,
    /// The position in the packed weights.
    start: usize,
}

impl Panel {
    fn rows(&self) -> usize {
        self.outputs.len().next_multiple_of(SMALLEST_PANEL)
    }
}

impl PatchFilters {
    /// Packs the weights that `weight(output channel, input channel within the group, y * side + x)` gives.
    pub(crate) fn new(sizes: FilterSizes, weight: impl Fn(usize, usize, usize) -> f32) -> Self {
        let (ranges, panels) = layout(sizes);
        let n_values = packed_values(&ranges, &panels);
        let mut buffer = AlignedBuffer::zeroed(n_values);
        let values = buffer.take_mut(n_values);
        let inputs = sizes.in_channels / sizes.groups;
        let outputs = sizes.out_channels / sizes.groups;
        for panel in &panels {
            let range = &ranges[panel.range].channels;
            for (row, output) in panel.outputs.clone().enumerate() {
                // Other groups of the panel keep zeros here.
                let first = output / outputs * inputs - range.start;
                for input in 0..inputs {
                    for tap in 0..sizes.window.taps() {
                        let term = tap * range.len() + first + input;
                        values[panel.start + term * panel.rows() + row] =
                            weight(output, input, tap);
                    }
                }
            }
        }
        let depth = ranges.last().map_or(0, |range| range.terms.end);
        Self {
            sizes,
            ranges,
            panels,
            values: buffer,
            n_values,
            depth,
        }
    }

    /// Convolves NHWC `input` of `shape` into `output`. Does not pool.
    pub(crate) fn forward(&self, input: &[f32], shape: Nhwc, finish: Finish, output: Target) {
        let outside = self.sizes.window.after(shape, self.sizes.out_channels);
        let pixels = outside.n * outside.height * outside.width;
        assert!(!finish.max_pool, "patches do not pool");
        assert_eq!(shape.channels, self.sizes.in_channels, "input channels");
        assert_eq!(input.len(), shape.len(), "input size");
        assert!(output.holds(pixels, outside.channels), "output size");
        if pixels == 0 {
            return;
        }
        let block = block_size(pixels);
        let Target { values, stride } = output;
        values
            .par_chunks_mut(block * stride)
            .enumerate()
            .for_each(|(index, output)| {
                let first = index * block;
                let work = Block {
                    filters: self,
                    input,
                    shape,
                    outside,
                    finish,
                    pixels: first..pixels.min(first + block),
                    stride,
                };
                work.run(output);
            });
    }

    /// Whether each patch is a pixel of the input.
    fn reads_in_place(&self) -> bool {
        self.sizes.window
            == SlidingWindow {
                side: 1,
                stride: 1,
                padding: 0,
            }
            && self.ranges.len() == 1
            && self.depth == self.sizes.in_channels
    }
}

/// Cuts channels into ranges of inputs and panels of outputs.
fn layout(sizes: FilterSizes) -> (Vec<InputRange>, Vec<Panel>) {
    let FilterSizes {
        out_channels,
        in_channels,
        window,
        groups,
    } = sizes;
    assert!(groups > 0 && window.stride > 0, "no groups or no stride");
    assert!(
        in_channels.is_multiple_of(groups) && out_channels.is_multiple_of(groups),
        "channels in unequal groups"
    );
    let (inputs, outputs) = (in_channels / groups, out_channels / groups);
    assert!(inputs > 0 && outputs > 0, "no channels");
    let together = (SMALLEST_PANEL / outputs).clamp(1, groups);
    let (mut ranges, mut panels) = (Vec::new(), Vec::<Panel>::new());
    let (mut term, mut start) = (0, 0);
    for first in (0..groups).step_by(together) {
        let last = groups.min(first + together);
        let channels = first * inputs..last * inputs;
        let terms = (window.taps() * channels.len()).max(SHORTEST_SUM);
        for output in (first * outputs..last * outputs).step_by(PANEL) {
            let panel = Panel {
                range: ranges.len(),
                outputs: output..(last * outputs).min(output + PANEL),
                start,
            };
            start += terms * panel.rows();
            panels.push(panel);
        }
        ranges.push(InputRange {
            channels,
            terms: term..term + terms,
        });
        term += terms;
    }
    (ranges, panels)
}

fn packed_values(ranges: &[InputRange], panels: &[Panel]) -> usize {
    let sizes = panels
        .iter()
        .map(|panel| panel.rows() * ranges[panel.range].terms.len());
    sizes.sum()
}

/// The number of pixels per task: about as many as a matrix product takes, but enough tasks for all threads.
fn block_size(pixels: usize) -> usize {
    let tasks = pixels.div_ceil(MOST_COLUMNS);
    let rounds = tasks.div_ceil(rayon::current_num_threads());
    let tasks = rounds * rayon::current_num_threads();
    // Whole kernel widths of the gemm crate.
    pixels.div_ceil(tasks).next_multiple_of(6).min(MOST_COLUMNS)
}

/// Consecutive output pixels of a batch.
struct Block<'a> {
    filters: &'a PatchFilters,
    input: &'a [f32],
    shape: Nhwc,
    outside: Nhwc,
    finish: Finish<'a>,
    pixels: Range<usize>,
    stride: usize,
}

impl Block<'_> {
    fn run(&self, output: &mut [f32]) {
        let depth = self.filters.depth;
        // The gemm crate sums a single column in another order, and results must not depend on the number of pixels.
        let columns = self.pixels.len().max(2);
        with_scratch(&BLOCK_SCRATCH, |scratch| {
            let products = scratch.products.take_mut(columns * PANEL);
            if self.filters.reads_in_place() && self.pixels.len() > 1 {
                let patches = &self.input[self.pixels.start * depth..self.pixels.end * depth];
                self.multiply(patches, columns, products, output);
            } else {
                let patches = scratch.transformed.take_mut(columns * depth);
                Arch::new().dispatch(Gather {
                    block: self,
                    patches,
                });
                self.multiply(patches, columns, products, output);
            }
        });
    }

    fn multiply(&self, patches: &[f32], columns: usize, products: &mut [f32], output: &mut [f32]) {
        let filters = self.filters;
        let channels = filters.sizes.out_channels;
        let arch = Arch::new();
        let values = filters.values.take(filters.n_values);
        for panel in &filters.panels {
            let terms = self.terms(panel);
            let sizes = GemmSizes {
                rows: panel.rows(),
                columns,
                depth: terms.len(),
            };
            let left = Matrix {
                values: &values[panel.start..panel.start + terms.len() * sizes.rows],
                row_stride: 1,
                column_stride: sizes.rows,
            };
            let right = Matrix {
                values: &patches[terms.start..],
                row_stride: 1,
                column_stride: filters.depth,
            };
            multiply(sizes, left, right, products, sizes.rows, false);
            let first = self.pixels.start * channels + panel.outputs.start;
            arch.dispatch(FinishPanel {
                products,
                rows: sizes.rows,
                pixels: self.pixels.len(),
                channels: panel.outputs.len(),
                bias: self.finish.bias.map(|bias| &bias[panel.outputs.clone()]),
                add: self.finish.add.map(|add| (&add[first..], channels)),
                relu: self.finish.relu,
                output: &mut output[panel.outputs.start..],
                stride: self.stride,
            });
        }
    }

    fn terms(&self, panel: &Panel) -> Range<usize> {
        self.filters.ranges[panel.range].terms.clone()
    }
}

/// Copies the window of each pixel of a block into a patch, zeros outside the image.
struct Gather<'a> {
    block: &'a Block<'a>,
    patches: &'a mut [f32],
}

impl WithSimd for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Nhwc { height, width, .. } = self.block.outside;
        let mut patches = self.patches.chunks_exact_mut(self.block.filters.depth);
        let mut pixels = self.block.pixels.clone();
        while !pixels.is_empty() {
            let (row, first) = (pixels.start / width, pixels.start % width);
            let last = width.min(first + pixels.len());
            for x in first..last {
                if let Some(patch) = patches.next() {
                    self.block
                        .gather_one((row / height, row % height, x), patch);
                }
            }
            pixels.start += last - first;
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    fn gather_one(&self, (image, y, x): (usize, usize, usize), patch: &mut [f32]) {
        let window = self.filters.sizes.window;
        let shape = self.shape;
        // Places left of or above the image wrap around to huge numbers, which are outside the image too.
        let top = (y * window.stride).wrapping_sub(window.padding);
        let left = (x * window.stride).wrapping_sub(window.padding);
        let is_inside = left < shape.width && left + window.side <= shape.width;
        for range in &self.filters.ranges {
            let channels = range.channels.clone();
            let patch = &mut patch[range.terms.clone()];
            let line = window.side * channels.len();
            patch[window.side * line..].fill(0.0);
            for (dy, target) in patch.chunks_exact_mut(line).enumerate().take(window.side) {
                let y = top.wrapping_add(dy);
                if y >= shape.height {
                    target.fill(0.0);
                } else if is_inside && channels.len() == shape.channels {
                    copy(&self.input[shape.pixel(image, y, left)..], target);
                } else {
                    for (dx, target) in target.chunks_exact_mut(channels.len()).enumerate() {
                        let x = left.wrapping_add(dx);
                        if x < shape.width {
                            let start = shape.pixel(image, y, x) + channels.start;
                            copy(&self.input[start..], target);
                        } else {
                            target.fill(0.0);
                        }
                    }
                }
            }
        }
    }
}

/// The longest copy that is faster without a call of the C library.
const SHORT_COPY: usize = 96;

/// Fills `target` with the first values of `source`.
#[inline(always)]
fn copy(source: &[f32], target: &mut [f32]) {
    let source = &source[..target.len()];
    match target.len() {
        4..8 => copy_in_parts::<4>(source, target),
        8..16 => copy_in_parts::<8>(source, target),
        16..=SHORT_COPY => copy_in_parts::<16>(source, target),
        _ => target.copy_from_slice(source),
    }
}

/// Copies at least `N` values, `N` at a time. The last part overlaps the one before it.
#[inline(always)]
fn copy_in_parts<const N: usize>(source: &[f32], target: &mut [f32]) {
    for (source, target) in source.chunks_exact(N).zip(target.chunks_exact_mut(N)) {
        target.copy_from_slice(source);
    }
    if let (Some(source), Some(target)) = (source.last_chunk::<N>(), target.last_chunk_mut::<N>()) {
        *target = *source;
    }
}

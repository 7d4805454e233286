//! Resamples images like torchvision's `Resize` on float tensors: bilinear or bicubic, with antialiasing, without rounding to 8 bits
//! between or after the passes. Normalizes the output. Pure.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::{
    config::experiment::{Interpolation, Normalize},
    data::decode::RgbImage8,
};

/// The number of values of a line that are added up at a time: four of the widest registers.
const BLOCK: usize = 64;

/// What is computed of a resampled image.
pub(super) struct Resampling {
    /// The part of the image that is resampled: left, top, width, height.
    pub(super) part: [usize; 4],
    /// The number of rows and columns that the part is resampled to.
    pub(super) size: [usize; 2],
    /// The rows and columns of the result that are computed; neither is empty.
    pub(super) window: [Range<usize>; 2],
    pub(super) interpolation: Interpolation,
}

/// The input lines that contribute to one output line, and their weights, which add up to 1.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

impl Interpolation {
    /// The distance from which on the filter is 0.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The filter at a distance. Bicubic is Keys' kernel with a = -0.5, as in Pillow, whatever PyTorch uses without antialiasing.
    /// Source: `aa_filter` of `PyTorch`'s `UpSampleKernel.cpp`.
    fn weight(self, distance: f64) -> f64 {
        const A: f64 = -0.5;
        let x = distance.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}

/// The taps of the outputs in `wanted`, of a filter that widens with the scale, so that every input pixel contributes when an image
/// is shrunk. Source: `_compute_weights_aa` of `PyTorch`'s `UpSampleKernel.cpp`, which is Pillow's `precompute_coeffs`.
fn taps(
    n_inputs: usize,
    n_outputs: usize,
    wanted: Range<usize>,
    filter: Interpolation,
) -> Vec<Taps> {
    let scale = n_inputs as f64 / n_outputs as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let taps = wanted.map(|output| {
        let center = scale * (output as f64 + 0.5);
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(n_inputs);
        let weights = (first..end).map(|input| {
            let distance = (input as f64 + 0.5 - center) / stretch;
            filter.weight(distance)
        });
        let weights: Vec<f64> = weights.collect();
        let total: f64 = weights.iter().sum();
        Taps {
            first,
            weights: weights
                .iter()
                .map(|weight| (weight / total) as f32)
                .collect(),
        }
    });
    taps.collect()
}

/// The horizontal taps of all output columns, the same number for each: those that a column does not have weigh 0, which adds nothing
/// to its sum. So the loop over taps has one length, which the processor predicts.
struct Across {
    /// The first value of each column in the line.
    first: Vec<usize>,
    n_taps: usize,
    /// `[columns, taps]`
    weights: Vec<f32>,
}

impl Across {
    /// `start` is the input column that the line begins with.
    fn new(taps: &[Taps], start: usize) -> Self {
        let n_taps = taps.iter().map(|it| it.weights.len()).max().unwrap_or(0);
        let padded = taps.iter().flat_map(|it| {
            let padding = std::iter::repeat_n(0.0, n_taps - it.weights.len());
            it.weights.iter().copied().chain(padding)
        });
        let first = taps.iter().map(|it| 3 * (it.first - start));
        Self {
            n_taps,
            weights: padded.collect(),
            first: first.collect(),
        }
    }
}

/// Writes the window of the resampled image as normalized planes `[3, rows, columns]`; values are `(pixel / 255 - mean) / std`.
/// A bicubic filter overshoots at edges; as in torchvision on float tensors, its values are not clamped to `0..=1`.
pub(super) fn resize(
    image: &RgbImage8,
    resampling: &Resampling,
    normalize: &Normalize,
    out: &mut [f32],
) {
    let Resampling {
        part: [left, top, width, height],
        size,
        window: [rows, columns],
        interpolation,
    } = resampling;
    let down = taps(*height, size[0], rows.clone(), *interpolation);
    let across = taps(*width, size[1], columns.clone(), *interpolation);
    // Only the input columns that the window needs are added up, so that a crop costs no more than what it shows.
    let start = across.first().map_or(0, |taps| taps.first);
    let end = across.last().map_or(0, Taps::end);
    let across = Across::new(&across, start);
    let inputs_of_row = 3 * (left + start)..3 * (left + end);
    let n_columns = columns.len();
    // The taps that weigh nothing may lie behind the last pixel, and `gather` loads four values for the three of a pixel.
    let mut line = vec![0.0; 3 * (end - start + across.n_taps) + 1];
    let arch = Arch::new();
    let mut inputs: Vec<(&[u8], f32)> = Vec::new();
    let mut sums = vec![[0.0; 4]; n_columns];
    for (row, taps) in down.iter().enumerate() {
        let pixels = image.pixels.chunks_exact(3 * image.width);
        let pixels = pixels.skip(top + taps.first).zip(&taps.weights);
        inputs.clear();
        inputs.extend(pixels.map(|(input, weight)| (&input[inputs_of_row.clone()], *weight)));
        let [red, green, blue] = planes(out, rows.len() * n_columns);
        let range = row * n_columns..(row + 1) * n_columns;
        let planes = [
            &mut red[range.clone()],
            &mut green[range.clone()],
            &mut blue[range],
        ];
        arch.dispatch(Row {
            line: &mut line,
            inputs: &inputs,
            across: &across,
            sums: &mut sums,
            planes,
            normalize,
        });
    }
}

/// The work on one row of the output.
struct Row<'a> {
    line: &'a mut [f32],
    /// The input rows that contribute, and their weights.
    inputs: &'a [(&'a [u8], f32)],
    across: &'a Across,
    sums: &'a mut [[f32; 4]],
    planes: [&'a mut [f32]; 3],
    normalize: &'a Normalize,
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        add_up(self.line, self.inputs);
        sum_taps(self.line, self.across, self.sums);
        normalized(self.sums, self.normalize, self.planes);
    }
}

fn planes(out: &mut [f32], n_values: usize) -> [&mut [f32]; 3] {
    let (red, rest) = out.split_at_mut(n_values);
    let (green, blue) = rest.split_at_mut(n_values);
    [red, green, blue]
}

/// Writes the weighted sums of the input rows to the beginning of `line`.
#[inline(always)]
fn add_up(line: &mut [f32], inputs: &[(&[u8], f32)]) {
    let n_values = inputs.first().map_or(0, |(input, _)| input.len());
    let (blocks, rest) = line[..n_values].as_chunks_mut::<BLOCK>();
    let n_in_blocks = blocks.len() * BLOCK;
    for (index, block) in blocks.iter_mut().enumerate() {
        // The sums stay in registers over all rows.
        let mut sums = [0.0; BLOCK];
        for (input, weight) in inputs {
            let input = &input[index * BLOCK..][..BLOCK];
            for (sum, value) in sums.iter_mut().zip(input) {
                *sum += weight * f32::from(*value);
            }
        }
        *block = sums;
    }
    rest.fill(0.0);
    for (input, weight) in inputs {
        for (sum, value) in rest.iter_mut().zip(&input[n_in_blocks..]) {
            *sum += weight * f32::from(*value);
        }
    }
}

/// Writes the weighted sums of the pixels that contribute to each column: red, green, blue, and a fourth value without a meaning,
/// because a register holds four.
#[inline(always)]
fn sum_taps(line: &[f32], across: &Across, sums: &mut [[f32; 4]]) {
    // With a length that the compiler knows, the sum of a column is straight code without checks.
    match across.n_taps {
        2 => sum_n_taps::<2>(line, across, sums),
        3 => sum_n_taps::<3>(line, across, sums),
        4 => sum_n_taps::<4>(line, across, sums),
        5 => sum_n_taps::<5>(line, across, sums),
        6 => sum_n_taps::<6>(line, across, sums),
        7 => sum_n_taps::<7>(line, across, sums),
        8 => sum_n_taps::<8>(line, across, sums),
        9 => sum_n_taps::<9>(line, across, sums),
        10 => sum_n_taps::<10>(line, across, sums),
        n_taps => {
            let weights = across.weights.chunks_exact(n_taps.max(1));
            let columns = sums.iter_mut().zip(&across.first).zip(weights);
            for ((sum, first), weights) in columns {
                let mut total = [0.0; 4];
                let pixels = line[*first..].windows(4).step_by(3);
                for (pixel, weight) in pixels.zip(weights) {
                    for (total, value) in total.iter_mut().zip(pixel) {
                        *total += weight * value;
                    }
                }
                *sum = total;
            }
        }
    }
}

#[inline(always)]
fn sum_n_taps<const N: usize>(line: &[f32], across: &Across, sums: &mut [[f32; 4]]) {
    let weights = across.weights.as_chunks::<N>().0;
    let n_values = 3 * N + 1;
    for ((sum, first), weights) in sums.iter_mut().zip(&across.first).zip(weights) {
        let pixels = &line[*first..][..n_values];
        let mut total = [0.0; 4];
        for (tap, weight) in weights.iter().enumerate() {
            for (total, value) in total.iter_mut().zip(&pixels[3 * tap..3 * tap + 4]) {
                *total += weight * value;
            }
        }
        *sum = total;
    }
}

/// Writes a row of each plane.
#[inline(always)]
fn normalized(sums: &[[f32; 4]], normalize: &Normalize, planes: [&mut [f32]; 3]) {
    let Normalize { mean, std } = normalize;
    for (channel, plane) in planes.into_iter().enumerate() {
        let (mean, std) = (mean[channel], std[channel]);
        for (value, sums) in plane.iter_mut().zip(sums) {
            *value = (sums[channel] / 255.0 - mean) / std;
        }
    }
}

#[cfg(test)]
mod tests;

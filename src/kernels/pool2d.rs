//! Max pooling of NCHW values by windows of any side, stride and padding, with the places of the maxima, and the mean of planes.
//! Knows no layers.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    buffer::computed,
    im2col::{PatchGrid, fill_phases},
    transforms::{load_up_to, store_up_to},
};

/// The fewest values of a task.
const TASK_VALUES: usize = 1 << 14;

/// Pools planes `[.., h, w]` into `[.., h', w']`, and writes which tap of each window was largest. As in PyTorch, a window's first
/// maximum counts, and a NaN is larger than anything. Every window must hold a pixel, and have at most 256 taps.
pub(crate) fn max_pool(grid: &PatchGrid, input: &[f32], output: &mut [f32], taps: &mut [u8]) {
    let plane = grid.input[0] * grid.input[1];
    let pooled = grid.output[0] * grid.output[1];
    assert!(grid.taps() <= 256, "a tap's number is a byte");
    assert_eq!(input.len() * pooled, output.len() * plane, "planes");
    assert_eq!(output.len(), taps.len(), "taps");
    let planes = (TASK_VALUES / plane).max(1);
    let first_taps = FirstTaps::new(grid);
    let arch = Arch::new();
    output
        .par_chunks_mut(planes * pooled)
        .zip(taps.par_chunks_mut(planes * pooled))
        .zip(input.par_chunks(planes * plane))
        .for_each_init(PoolScratch::default, |scratch, ((output, taps), input)| {
            // Pixels outside stay as they are, because every plane writes the same ones.
            scratch.phases.clear();
            scratch
                .phases
                .resize(grid.phase_values(), f32::NEG_INFINITY);
            scratch.taps.resize(pooled, 0.0);
            let targets = output
                .chunks_exact_mut(pooled)
                .zip(taps.chunks_exact_mut(pooled));
            for ((output, taps), plane) in targets.zip(input.chunks_exact(plane)) {
                fill_phases(grid, plane, &mut scratch.phases);
                arch.dispatch(PoolPlane {
                    grid,
                    first_taps: &first_taps,
                    phases: &scratch.phases,
                    output,
                    taps: &mut scratch.taps,
                });
                for (tap, number) in taps.iter_mut().zip(&scratch.taps) {
                    *tap = *number as u8;
                }
            }
        });
}

#[derive(Default)]
struct PoolScratch {
    phases: Vec<f32>,
    /// The numbers of taps, as floats, so that they fill vectors of the same length.
    taps: Vec<f32>,
}

/// The first tap of a window that lies in the plane: the sum of that of its row and that of its column.
struct FirstTaps {
    rows: Vec<f32>,
    columns: Vec<f32>,
}

impl FirstTaps {
    fn new(grid: &PatchGrid) -> Self {
        let taps = |axis: usize, factor: usize| {
            let outside = |place: usize| {
                grid.padding[axis].saturating_sub(place * grid.stride[axis]) * factor
            };
            (0..grid.output[axis])
                .map(|place| outside(place) as f32)
                .collect()
        };
        Self {
            rows: taps(0, grid.side[1]),
            columns: taps(1, 1),
        }
    }
}

struct PoolPlane<'a> {
    grid: &'a PatchGrid,
    first_taps: &'a FirstTaps,
    phases: &'a [f32],
    output: &'a mut [f32],
    taps: &'a mut [f32],
}

impl WithSimd for PoolPlane<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.grid.output[1];
        let rows = self
            .output
            .chunks_exact_mut(width)
            .zip(self.taps.chunks_exact_mut(width));
        for (y, (output, taps)) in rows.enumerate() {
            let first_row = simd.splat_f32s(self.first_taps.rows[y]);
            for (part, output) in output.chunks_mut(S::F32_LANES).enumerate() {
                let here = part * S::F32_LANES..part * S::F32_LANES + output.len();
                let first_column = load_up_to(simd, &self.first_taps.columns[here.clone()]);
                let mut best = simd.add_f32s(first_row, first_column);
                let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
                for tap in 0..self.grid.taps() {
                    let start = self.grid.start(tap, y) + here.start;
                    let value = load_up_to(simd, &self.phases[start..start + output.len()]);
                    let is_nan = simd.not_m32s(simd.equal_f32s(value, value));
                    let is_larger = simd.or_m32s(simd.greater_than_f32s(value, largest), is_nan);
                    largest = simd.select_f32s(is_larger, value, largest);
                    best = simd.select_f32s(is_larger, simd.splat_f32s(tap as f32), best);
                }
                store_up_to(simd, output, largest);
                store_up_to(simd, &mut taps[here], best);
            }
        }
    }
}

/// Adds the gradient of the output `[.., h', w']` to the pixels that were largest: `[.., h, w]`.
pub(crate) fn max_pool_gradient(
    grid: &PatchGrid,
    taps: &[u8],
    output_gradient: &[f32],
) -> Vec<f32> {
    let [height, width] = grid.output;
    let plane = grid.input[0] * grid.input[1];
    let pooled = height * width;
    let planes = (TASK_VALUES / plane).max(1);
    // A pixel's place is that of its tap, and of its window without padding.
    let offsets: Vec<usize> = (0..grid.taps())
        .map(|tap| tap / grid.side[1] * grid.input[1] + tap % grid.side[1])
        .collect();
    let padding = grid.padding[0] * grid.input[1] + grid.padding[1];
    let length = output_gradient.len() / pooled * plane;
    computed(length, planes * plane, |task, target| {
        let first = task * planes * pooled;
        let sources = output_gradient[first..]
            .chunks_exact(pooled)
            .zip(taps[first..].chunks_exact(pooled));
        for (target, (gradient, taps)) in target.chunks_exact_mut(plane).zip(sources) {
            let rows = gradient.chunks_exact(width).zip(taps.chunks_exact(width));
            for (y, (gradient, taps)) in rows.enumerate() {
                let mut window = y * grid.stride[0] * grid.input[1];
                for (value, tap) in gradient.iter().zip(taps) {
                    target[window + offsets[usize::from(*tap)] - padding] += value;
                    window += grid.stride[1];
                }
            }
        }
    })
}

/// The mean of each plane of `pixels` values.
pub(crate) fn means(input: &[f32], pixels: usize, output: &mut [f32]) {
    let planes = (TASK_VALUES / pixels).max(1);
    output
        .par_chunks_mut(planes)
        .zip(input.par_chunks(planes * pixels))
        .for_each(|(output, input)| {
            for (mean, plane) in output.iter_mut().zip(input.chunks_exact(pixels)) {
                let mut sums = [0.0f32; 16];
                for part in plane.chunks(16) {
                    for (sum, value) in sums.iter_mut().zip(part) {
                        *sum += value;
                    }
                }
                *mean = sums.iter().sum::<f32>() / pixels as f32;
            }
        });
}

/// Spreads the gradient of each mean over its plane.
pub(crate) fn means_gradient(output_gradient: &[f32], pixels: usize) -> Vec<f32> {
    let planes = (TASK_VALUES / pixels).max(1);
    let length = output_gradient.len() * pixels;
    computed(length, planes * pixels, |task, target| {
        let gradient = &output_gradient[task * planes..];
        for (plane, gradient) in target.chunks_exact_mut(pixels).zip(gradient) {
            plane.fill(gradient / pixels as f32);
        }
    })
}

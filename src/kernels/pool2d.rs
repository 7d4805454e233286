//! Max pooling of NCHW values by windows of any side, stride and padding, with the places of the maxima, and the mean of planes.
//! Knows no layers.

use pulp::Arch;
use rayon::prelude::*;

use super::patches::{PatchGrid, fill_phases};

/// The fewest values of a task.
const TASK_VALUES: usize = 1 << 14;

/// Pools planes `[.., h, w]` into `[.., h', w']`, and writes which tap of each window was largest. As in PyTorch, a window's first
/// maximum counts, and a NaN is larger than anything. Every window must hold a pixel, and have at most 256 taps.
pub(crate) fn max_pool(grid: &PatchGrid, input: &[f32], output: &mut [f32], taps: &mut [u8]) {
    let [height, width] = grid.output;
    let plane = grid.input[0] * grid.input[1];
    let pooled = height * width;
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
            scratch.best.resize(width, 0);
            let targets = output
                .chunks_exact_mut(pooled)
                .zip(taps.chunks_exact_mut(pooled));
            for ((output, taps), plane) in targets.zip(input.chunks_exact(plane)) {
                fill_phases(grid, plane, &mut scratch.phases);
                arch.dispatch(
                    #[inline(always)]
                    || pool_plane(grid, &first_taps, scratch, output, taps),
                );
            }
        });
}

#[derive(Default)]
struct PoolScratch {
    phases: Vec<f32>,
    best: Vec<u32>,
}

/// The first tap of a window that lies in the plane: the sum of that of its row and that of its column.
struct FirstTaps {
    rows: Vec<u32>,
    columns: Vec<u32>,
}

impl FirstTaps {
    fn new(grid: &PatchGrid) -> Self {
        let taps = |axis: usize, factor: usize| {
            let outside = |place: usize| {
                grid.padding[axis].saturating_sub(place * grid.stride[axis]) * factor
            };
            (0..grid.output[axis])
                .map(|place| outside(place) as u32)
                .collect()
        };
        Self {
            rows: taps(0, grid.side[1]),
            columns: taps(1, 1),
        }
    }
}

#[inline(always)]
fn pool_plane(
    grid: &PatchGrid,
    first: &FirstTaps,
    scratch: &mut PoolScratch,
    output: &mut [f32],
    taps: &mut [u8],
) {
    let width = grid.output[1];
    let best = &mut scratch.best[..width];
    let rows = output
        .chunks_exact_mut(width)
        .zip(taps.chunks_exact_mut(width));
    for (y, (output, taps)) in rows.enumerate() {
        output.fill(f32::NEG_INFINITY);
        for (best, column) in best.iter_mut().zip(&first.columns) {
            *best = first.rows[y] + column;
        }
        for tap in 0..grid.taps() {
            let start = grid.start(tap, y);
            let values = &scratch.phases[start..start + width];
            let largest = output.iter_mut().zip(best.iter_mut());
            for ((largest, best), value) in largest.zip(values) {
                let is_larger = (*value > *largest) | value.is_nan();
                *largest = if is_larger { *value } else { *largest };
                *best = if is_larger { tap as u32 } else { *best };
            }
        }
        for (tap, best) in taps.iter_mut().zip(best.iter()) {
            *tap = *best as u8;
        }
    }
}

/// Adds the gradient of the output `[.., h', w']` to the pixels that were largest: `[.., h, w]`.
pub(crate) fn max_pool_gradient(
    grid: &PatchGrid,
    taps: &[u8],
    output_gradient: &[f32],
    input_gradient: &mut [f32],
) {
    let [height, width] = grid.output;
    let plane = grid.input[0] * grid.input[1];
    let pooled = height * width;
    let planes = (TASK_VALUES / plane).max(1);
    // A pixel's place is that of its tap, and of its window without padding.
    let places: Vec<usize> = (0..grid.taps())
        .map(|tap| tap / grid.side[1] * grid.input[1] + tap % grid.side[1])
        .collect();
    let padding = grid.padding[0] * grid.input[1] + grid.padding[1];
    input_gradient
        .par_chunks_mut(planes * plane)
        .zip(output_gradient.par_chunks(planes * pooled))
        .zip(taps.par_chunks(planes * pooled))
        .for_each(|((target, gradient), taps)| {
            target.fill(0.0);
            let sources = gradient.chunks_exact(pooled).zip(taps.chunks_exact(pooled));
            for (target, (gradient, taps)) in target.chunks_exact_mut(plane).zip(sources) {
                let rows = gradient.chunks_exact(width).zip(taps.chunks_exact(width));
                for (y, (gradient, taps)) in rows.enumerate() {
                    let mut window = y * grid.stride[0] * grid.input[1];
                    for (value, tap) in gradient.iter().zip(taps) {
                        target[window + places[usize::from(*tap)] - padding] += value;
                        window += grid.stride[1];
                    }
                }
            }
        });
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
pub(crate) fn means_gradient(output_gradient: &[f32], pixels: usize, input_gradient: &mut [f32]) {
    let planes = (TASK_VALUES / pixels).max(1);
    input_gradient
        .par_chunks_mut(planes * pixels)
        .zip(output_gradient.par_chunks(planes))
        .for_each(|(target, gradient)| {
            for (plane, gradient) in target.chunks_exact_mut(pixels).zip(gradient) {
                plane.fill(gradient / pixels as f32);
            }
        });
}

//! Max pooling and average pooling of NHWC values. Knows no layers.

use super::tiles::Nhwc;
use super::transforms::{larger, load_up_to, store_up_to};
use super::window::SlidingWindow;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// The sizes of a max pooling, in `PyTorch`'s words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolSizes {
    pub(crate) window: SlidingWindow,
    /// Whether an incomplete last window counts.
    pub(crate) ceil: bool,
}

impl PoolSizes {
    /// The pooling that convolutions can be fused with: 2x2 of stride 2.
    pub(crate) const HALVING: Self = Self {
        window: SlidingWindow {
            side: 2,
            stride: 2,
            padding: 0,
        },
        ceil: false,
    };

    /// The sizes after pooling.
    pub(crate) fn after(self, shape: Nhwc) -> Nhwc {
        let places = |length| {
            if self.ceil {
                self.window.places_rounded_up(length)
            } else {
                self.window.places(length)
            }
        };
        Nhwc {
            height: places(shape.height),
            width: places(shape.width),
            ..shape
        }
    }

    /// Pools NHWC `input` of `shape` into `output`. Padding never wins, and a NaN does, as in `PyTorch`.
    pub(crate) fn forward(self, input: &[f32], shape: Nhwc, output: &mut [f32]) {
        if self == Self::HALVING {
            halve(input, shape, output);
            return;
        }
        let target = self.after(shape);
        assert_eq!(input.len(), shape.len(), "input size");
        assert_eq!(output.len(), target.len(), "output size");
        assert!(
            self.window.padding < self.window.side,
            "a window of nothing but padding"
        );
        if output.is_empty() {
            return;
        }
        let covered = |place: usize, length: usize| {
            let start = place * self.window.stride;
            start.saturating_sub(self.window.padding)
                ..length.min(start + self.window.side - self.window.padding)
        };
        output
            .par_chunks_mut(target.width * target.channels)
            .enumerate()
            .for_each(|(row, output)| {
                let (image, y) = (row / target.height, row % target.height);
                let rows = covered(y, shape.height);
                Arch::new().dispatch(MaxRow {
                    input: &input[shape.pixel(image, 0, 0)..shape.pixel(image + 1, 0, 0)],
                    rows,
                    covered: |x| covered(x, shape.width),
                    shape,
                    output,
                });
            });
    }
}

/// A row of a max pooling with any window.
struct MaxRow<'a, F> {
    /// The values of the image.
    input: &'a [f32],
    rows: Range<usize>,
    /// The pixel columns under the window at a place.
    covered: F,
    shape: Nhwc,
    output: &'a mut [f32],
}

impl<F: Fn(usize) -> Range<usize>> WithSimd for MaxRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            input,
            rows,
            covered,
            shape,
            output,
        } = self;
        let channels = shape.channels;
        for (place, target) in output.chunks_exact_mut(channels).enumerate() {
            let columns = covered(place);
            for (part, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                let start = part * S::F32_LANES;
                let mut value = simd.splat_f32s(f32::NEG_INFINITY);
                for y in rows.clone() {
                    for x in columns.clone() {
                        let at = shape.pixel(0, y, x) + start;
                        let next = load_up_to(simd, &input[at..at + target.len()]);
                        value = larger(simd, value, next);
                    }
                }
                store_up_to(simd, target, value);
            }
        }
    }
}

/// Averages NHWC `input` of `shape` over `side * side` parts of the map, as `torch.nn.AdaptiveAvgPool2d(side)`. Each part is summed
/// row by row.
pub(crate) fn adaptive_average(input: &[f32], shape: Nhwc, side: usize, output: &mut [f32]) {
    assert_eq!(input.len(), shape.len(), "input size");
    assert_eq!(
        output.len(),
        shape.n * side * side * shape.channels,
        "output size"
    );
    if output.is_empty() {
        return;
    }
    assert!(!input.is_empty(), "an average of no pixels");
    let part =
        |place: usize, length: usize| place * length / side..((place + 1) * length).div_ceil(side);
    output
        .par_chunks_mut(shape.channels)
        .enumerate()
        .for_each(|(place, output)| {
            let (image, cell) = (place / (side * side), place % (side * side));
            Arch::new().dispatch(AverageCell {
                input,
                image,
                rows: part(cell / side, shape.height),
                columns: part(cell % side, shape.width),
                shape,
                output,
            });
        });
}

struct AverageCell<'a> {
    input: &'a [f32],
    image: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    shape: Nhwc,
    output: &'a mut [f32],
}

impl WithSimd for AverageCell<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let count = simd.splat_f32s((self.rows.len() * self.columns.len()) as f32);
        for (part, target) in self.output.chunks_mut(S::F32_LANES).enumerate() {
            let start = part * S::F32_LANES;
            let mut sum = simd.splat_f32s(0.0);
            for y in self.rows.clone() {
                for x in self.columns.clone() {
                    let at = self.shape.pixel(self.image, y, x) + start;
                    sum = simd.add_f32s(sum, load_up_to(simd, &self.input[at..at + target.len()]));
                }
            }
            store_up_to(simd, target, simd.div_f32s(sum, count));
        }
    }
}

/// Pools NHWC `input` of `shape` by 2x2 into `output` of `shape.pooled()`, dropping a last odd row or column.
fn halve(input: &[f32], shape: Nhwc, output: &mut [f32]) {
    let target = shape.pooled();
    assert_eq!(input.len(), shape.len(), "input size");
    assert_eq!(output.len(), target.len(), "output size");
    if output.is_empty() {
        return;
    }
    output
        .par_chunks_mut(target.width * target.channels)
        .enumerate()
        .for_each(|(row, output)| {
            let start = shape.pixel(row / target.height, row % target.height * 2, 0);
            let line = shape.width * shape.channels;
            Arch::new().dispatch(PoolRow {
                upper: &input[start..start + line],
                lower: &input[start + line..start + 2 * line],
                output,
                channels: shape.channels,
            });
        });
}

struct PoolRow<'a> {
    upper: &'a [f32],
    lower: &'a [f32],
    output: &'a mut [f32],
    channels: usize,
}

impl WithSimd for PoolRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.channels;
        let pairs = self
            .upper
            .chunks_exact(2 * channels)
            .zip(self.lower.chunks_exact(2 * channels));
        for (target, (upper, lower)) in self.output.chunks_exact_mut(channels).zip(pairs) {
            for (part, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                let start = part * S::F32_LANES;
                let load = |line: &[f32], first: usize| {
                    load_up_to(simd, &line[first + start..first + start + target.len()])
                };
                let upper = larger(simd, load(upper, 0), load(upper, channels));
                let lower = larger(simd, load(lower, 0), load(lower, channels));
                store_up_to(simd, target, larger(simd, upper, lower));
            }
        }
    }
}
